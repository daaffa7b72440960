"""Numbers of stored answers, each with an interval that knows which items share an image: the headline, metrics,
strata, several samples of an item, and what probes take away."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rl.evaluate.suite.numbers.rows import Answered, Reply, is_right
from rl.probes import groups
from rl.statistics.corpus import Corpus, corpus_estimate
from rl.statistics.estimates import Estimate, estimate
from rl.statistics.pairs import Difference, paired_difference
from rl.statistics.repeated import Vote, avg_at_n, majority_at_k, pass_at_k, pass_hat_k, worst_at_k

# The value of one item; None = no verdict.
Value = Callable[[Answered], float | None]


def right(answer: Answered) -> float | None:
    """Whether the greedy answer is right."""
    return is_right(answer.greedy)


def points(answer: Answered) -> float | None:
    """What the greedy answer earns, not clipped (criteria may take points away)."""
    return answer.greedy.value


def of(answers: Sequence[Answered], value: Value, *, bounded: bool = True) -> Estimate:
    """The mean of the items with a 95 % interval over their clusters."""
    return estimate(
        [value(one) for one in answers], [one.cluster for one in answers], bounds=(0.0, 1.0) if bounded else None
    )


def strata(
    answers: Sequence[Answered], names: Sequence[str], value: Value, *, bounded: bool = True
) -> dict[str, dict[str, Estimate]]:
    """Stratum -> its values -> the mean there; items without the stratum are left out of it."""
    estimates: dict[str, dict[str, Estimate]] = {}
    for name in names:
        there = sorted({one.stratum(name) for one in answers} - {""})
        estimates[name] = {
            what: of([one for one in answers if one.stratum(name) == what], value, bounded=bounded) for what in there
        }
    return estimates


def sampled(answers: Sequence[Answered]) -> dict[str, Estimate]:
    """avg@n, pass@k, pass^k and maj@n over the sampled completions; nothing where there are none."""
    sizes = {len(one.sampled) for one in answers}
    if not answers or 0 in sizes:
        return {}
    n = min(sizes)
    estimates = {f"avg@{n}": of(answers, lambda one: avg_at_n(_verdicts(one)))}
    for k in _numbers_up_to(n):
        estimates[f"pass@{k}"] = of(answers, _passes(pass_at_k, k))
        estimates[f"pass^{k}"] = of(answers, _passes(pass_hat_k, k))
    estimates[f"maj@{n}"] = of(answers, lambda one: majority_at_k([_vote(reply) for reply in one.sampled]))
    return estimates


def sampled_points(answers: Sequence[Answered]) -> dict[str, Estimate]:
    """avg@n and worst@k of answers that earn points, over the sampled completions, not clipped; nothing where there are
    none. An item with fewer than k judged samples has no worst@k."""
    sizes = {len(one.sampled) for one in answers}
    if not answers or 0 in sizes:
        return {}
    n = min(sizes)
    estimates = {f"avg@{n}": of(answers, lambda one: _mean([reply.value for reply in one.sampled]), bounded=False)}
    for k in _numbers_up_to(n)[1:]:
        estimates[f"worst@{k}"] = of(answers, _worst(k), bounded=False)
    return estimates


def _worst(k: int) -> Value:
    def value(answer: Answered) -> float | None:
        values = [reply.value for reply in answer.sampled if reply.value is not None]
        return worst_at_k(values, k) if len(values) >= k else None

    return value


def _numbers_up_to(n: int) -> list[int]:
    """1, 2, 4 .. and n."""
    return sorted({1, n} | {2**power for power in range(n.bit_length()) if 2**power <= n})


def _verdicts(answer: Answered) -> list[bool | None]:
    return [None if (one := is_right(reply)) is None else one == 1.0 for reply in answer.sampled]


def _passes(score: Callable[[int, int, int], float], k: int) -> Value:
    def value(answer: Answered) -> float | None:
        verdicts = [one for one in _verdicts(answer) if one is not None]
        return score(len(verdicts), sum(verdicts), k) if len(verdicts) >= k else None

    return value


def _vote(reply: Reply) -> Vote:
    verdict = is_right(reply)
    return Vote(reply.choice, None if verdict is None else verdict == 1.0)


class Pairs(NamedTuple):
    """Items that must be right together (ProbMed, MediConfusion)."""

    # Share of the groups of which all is right.
    all_right: Estimate
    # Groups without a verdict; they are in no share.
    num_unjudged: int
    # Of pairs whose right answers differ: how many there are, how many could not be read, and the share of the others
    # that got one answer twice; None = there is no such pair.
    num_pairs: int
    num_unread: int
    confused: Estimate | None


def grouped(answers: Sequence[Answered]) -> Pairs | None:
    """Groups of the benchmark's own, with intervals over clusters; None where it has none."""
    members: dict[str, list[Answered]] = {}
    for one in answers:
        if one.group:
            members.setdefault(one.group, []).append(one)
    if not members:
        return None
    rows = [_row(one) for group in members.values() for one in group]
    result = groups.all_right(rows)
    clusters = {name: group[0].cluster for name, group in members.items()}
    twos = {name for name, group in members.items() if len(group) == 2 and len({one.gold_choice for one in group}) == 2}
    of_twos = [one for one in rows if one.group in twos]
    pairs = groups.confusion(of_twos)
    return Pairs(
        estimate(
            [None if right is None else float(right) for right in result.all_right.values()],
            [clusters[name] for name in result.all_right], bounds=(0.0, 1.0),
        ),
        result.num_unjudged,
        pairs.num_pairs,
        pairs.num_unread,
        estimate(list(pairs.same.values()), [clusters[name] for name in pairs.same], bounds=(0.0, 1.0))
        if twos
        else None,
    )  # fmt: skip


def letters(answers: Sequence[Answered]) -> dict[str, float]:
    """Share of each letter among the answers to multiple choice that were read: one that stands out is a bias."""
    return groups.letters([_row(one) for one in answers if one.answer_type == "mcq"])


def _row(answer: Answered) -> groups.Answered:
    verdict = right(answer)
    return groups.Answered(answer.group, None if verdict is None else verdict == 1.0, answer.greedy.choice)


class Probe(NamedTuple):
    """What a probe did to the items that have it."""

    # Mean of the variants; of the same items as they are; probe minus plain.
    score: Estimate
    plain: Estimate
    difference: Difference
    # Probe / plain; None = nothing was right before.
    retained: Estimate | None
    # Share of items whose answer changed, among those that could be read both times.
    changed: Estimate
    # Share of items right in every variant.
    all_right: Estimate


def probe(answers: Sequence[Answered], made: Sequence[Answered], value: Value) -> Probe:
    """A probe's items beside those they were made of; several variants of an item count as their mean."""
    variants: dict[str, list[Answered]] = {}
    for one in made:
        variants.setdefault(one.pair_id, []).append(one)
    pairs = [(one, variants[one.id]) for one in answers if one.id in variants]
    clusters = [one.cluster for one, _ in pairs]
    before = [value(one) for one, _ in pairs]
    after = [_mean([value(other) for other in others]) for _, others in pairs]
    kept = [
        (a, b, cluster)
        for a, b, cluster in zip(before, after, clusters, strict=True)
        if a is not None and b is not None
    ]
    retained = None
    if kept and sum(a for a, _, _ in kept) > 0:
        rows = np.array([(b, a) for a, b, _ in kept])
        retained = corpus_estimate(Corpus(rows, _ratio), [cluster for _, _, cluster in kept])
    return Probe(
        score=estimate(after, clusters),
        plain=estimate(before, clusters),
        difference=paired_difference(before, after, clusters),
        retained=retained,
        changed=estimate([_mean([_differs(one, other) for other in others]) for one, others in pairs], clusters),
        all_right=estimate([_least([value(other) for other in others]) for _, others in pairs], clusters),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    """The mean of the values that are there; None where none is."""
    known = [one for one in values if one is not None]
    return math.fsum(known) / len(known) if known else None


def _least(values: Sequence[float | None]) -> float | None:
    """The least of all values; None where one is missing, unless another is 0 already."""
    known = [one for one in values if one is not None]
    return min(known) if known and (len(known) == len(values) or min(known) == 0) else None


def _ratio(sums: NDArray[np.float64]) -> float | None:
    return float(sums[0] / sums[1]) if sums[1] > 0 else None


def _differs(one: Answered, other: Answered) -> float | None:
    """Whether two answers differ; None where either could not be read. Options that a probe moved are told by text."""
    if one.greedy.choice is None or other.greedy.choice is None:
        return None
    return float(_choice_text(one) != _choice_text(other))


def _choice_text(answer: Answered) -> str:
    """The text of the option that was chosen, where it is one; else what was said."""
    choice = answer.greedy.choice or ""
    texts = [
        answer.options[place] for letter in choice if (place := ord(letter) - ord("A")) in range(len(answer.options))
    ]
    return (
        " | ".join(sorted(" ".join(text.casefold().split()) for text in texts)) if len(texts) == len(choice) else choice
    )


def macro_f1(answers: Sequence[Answered]) -> Estimate:
    """Mean of the F1 of each gold label, 0 to 1, with a bootstrap over clusters; an answer that could not be read is
    wrong and no label of its own, one without a verdict is left out."""
    items = [one for one in answers if one.greedy.value is not None]
    labels = sorted({one.gold_choice for one in items})
    size = len(labels)
    rows = np.zeros((len(items), size * (size + 1)))
    for place, one in enumerate(items):
        choice = labels.index(one.greedy.choice) if one.greedy.choice in labels else size
        rows[place, labels.index(one.gold_choice) * (size + 1) + choice] = 1

    def finish(sums: NDArray[np.float64]) -> float | None:
        table = sums.reshape(size, size + 1)
        gold, choice, hit = table.sum(axis=1), table.sum(axis=0)[:size], np.diagonal(table)
        there = gold + choice > 0
        return float(np.mean(2 * hit[there] / (gold + choice)[there])) if there.any() else None

    return corpus_estimate(Corpus(rows, finish), [one.cluster for one in items])


def differences(answers: Sequence[Answered], value: Value, blind: Mapping[str, float]) -> tuple[Estimate, Difference]:
    """A baseline's mean on these items, and the model minus it item by item. `blind`: item -> the baseline's value."""
    theirs: list[float | None] = [blind.get(one.id) for one in answers]
    clusters = [one.cluster for one in answers]
    return estimate(theirs, clusters), paired_difference(theirs, [value(one) for one in answers], clusters)
