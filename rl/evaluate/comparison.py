"""The SFT and the GRPO model on the same held-out items: shares with intervals, differences with p values.

Of several samples an item its mean counts, never the draws; items that share an image or are a pair are one cluster
(`rl/evaluate/clusters.py`). Intervals are 95 %: Wilson's, on as many items as the clusters are worth. Differences are
paired by item, their intervals bootstrapped over clusters; p is McNemar's mid-p where every cluster is one item of
right or wrong, else of sign flips of the clusters' sums. Each row says which (`rl/statistics/`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rl.evaluate.asking import EvalResult
from rl.evaluate.clusters import clusters_of
from rl.evaluate.ways import Mode
from rl.statistics.estimates import Interval, estimate
from rl.statistics.pairs import holm_by_name, paired_difference
from rollouts.records import Sample

CLOSED = ("mcq", "multi", "yes_no")
# Of a stratum to be called worse, after Holm's correction over all strata of one way of asking.
SIGNIFICANCE = 0.05
Stratum = tuple[str, Callable[[Sample], bool]]


def strata(samples: Sequence[Sample]) -> list[Stratum]:
    """All items, then closed and open ones, each answer type, each modality; name and membership."""

    def of_type(name: str) -> Callable[[Sample], bool]:
        return lambda sample: sample.answer_type == name

    def of_modality(name: str) -> Callable[[Sample], bool]:
        return lambda sample: sample.modality == name

    candidates: list[Stratum] = [("all", lambda _: True)]
    candidates += [("closed", is_closed), ("open", lambda sample: not is_closed(sample))]
    candidates += [
        (f"answer_type/{name}", of_type(name)) for name in sorted({sample.answer_type for sample in samples})
    ]
    candidates += [
        (f"modality/{name}", of_modality(name))
        for name in sorted({sample.modality for sample in samples if sample.modality})
    ]
    return [(name, member) for name, member in candidates if any(member(sample) for sample in samples)]


def is_closed(sample: Sample) -> bool:
    """Whether the question itself lists its answers: multiple choice and yes/no. An open item may keep options that are
    not shown."""
    return sample.answer_type in CLOSED


def measure(result: EvalResult, mode: Mode, member: Callable[[Sample], bool]) -> dict[str, float | int | str]:
    """Accuracy of one model on one stratum, asked one way.

    Returns:
        accuracy, low, high (95 %), method (of the interval), num_items (with at least one verdict), num_clusters,
        num_unscored (completions without a verdict), format_rate and mean_length (tokens), both over all completions.
    """
    places = [place for place, sample in enumerate(result.samples) if member(sample)]
    means, clusters = result.item_means(mode), result.clusters
    accuracy = estimate([means[place] for place in places], [clusters[place] for place in places])
    completions = [one for place in places for one in result.answers[mode][place]]
    return {
        "accuracy": accuracy.value or 0.0,
        "low": 0.0 if accuracy.low is None else accuracy.low,
        "high": 1.0 if accuracy.high is None else accuracy.high,
        "method": accuracy.method,
        "num_items": accuracy.num_items,
        "num_clusters": accuracy.num_clusters,
        "num_unscored": sum(one.correct is None for one in completions),
        "format_rate": sum(one.well_formed for one in completions) / max(1, len(completions)),
        "mean_length": sum(one.num_tokens for one in completions) / max(1, len(completions)),
    }


def difference(
    sft: EvalResult, grpo: EvalResult, mode: Mode, member: Callable[[Sample], bool]
) -> dict[str, float | str | None]:
    """GRPO minus SFT on the items of a stratum that both have a verdict on.

    Returns:
        difference and its 95 % interval difference_low, difference_high (None with fewer than two clusters), p_value,
        detectable (the smallest true difference found in 80 % of such comparisons; None where no item differs), verdict
        ("win", "tie", "loss", by the interval), discordant, deff, difference_method and test. No item in common: 0, p 1
        and a tie.
    """
    first, second = sft.item_means(mode), grpo.item_means(mode)
    places = [place for place, sample in enumerate(sft.samples) if member(sample)]
    gain = paired_difference(
        [first[place] for place in places],
        [second[place] for place in places],
        [sft.clusters[place] for place in places],
    )
    return {
        "difference": gain.value or 0.0,
        "difference_low": gain.low,
        "difference_high": gain.high,
        "p_value": 1.0 if gain.p_value is None else gain.p_value,
        "detectable": gain.detectable,
        "verdict": gain.verdict,
        "discordant": gain.discordant,
        "deff": gain.deff,
        "difference_method": gain.method,
        "test": gain.test,
    }


def compare(sft: EvalResult, grpo: EvalResult) -> dict[str, Any]:
    """Everything summary.json says of the two models.

    Returns:
        way of asking -> stratum -> {sft, grpo: see `measure`, those of `difference`, intervals_overlap}; num_items and
        num_clusters of the held-out set; under "worse" the strata, as "greedy/modality/ct", in which GRPO is
        significantly worse (Holm over the strata of one way of asking, 5 %; blanked images excepted).

    Raises:
        ValueError: the two results are not about the same items in the same order.
    """
    if [sample.id for sample in sft.samples] != [sample.id for sample in grpo.samples]:
        raise ValueError(f"{sft.name} and {grpo.name} answered different items; evaluate both on the same held-out set")
    summary: dict[str, Any] = {"num_items": len(sft.samples), "num_clusters": len(set(sft.clusters))}
    worse: list[str] = []
    for mode in (mode for mode in sft.answers if mode in grpo.answers):
        summary[mode] = {name: _compare_stratum(sft, grpo, mode, member) for name, member in strata(sft.samples)}
        if mode != "blank":
            worse += [f"{mode}/{name}" for name in _significantly_worse(summary[mode])]
    return {**summary, "worse": worse}


def _compare_stratum(sft: EvalResult, grpo: EvalResult, mode: Mode, member: Callable[[Sample], bool]) -> dict[str, Any]:
    before, after = measure(sft, mode, member), measure(grpo, mode, member)
    overlap = _interval(before).overlaps(_interval(after))
    return {"sft": before, "grpo": after, **difference(sft, grpo, mode, member), "intervals_overlap": overlap}


def _interval(row: Mapping[str, Any]) -> Interval:
    return Interval(row["low"], row["high"])


def _significantly_worse(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Names of the rows with a negative difference whose p value survives Holm's correction over all rows, most certain
    first."""
    adjusted = holm_by_name({name: row["p_value"] for name, row in rows.items()})
    rejected = [name for name in sorted(rows, key=lambda name: rows[name]["p_value"]) if adjusted[name] <= SIGNIFICANCE]
    return [name for name in rejected if rows[name]["difference"] < 0]


def majority_baseline(train: Sequence[Sample], held_out: Sequence[Sample]) -> dict[str, dict[str, float | int | str]]:
    """What always giving the most frequent training answer of the answer type would score on the held-out items,
    without looking.

    For multiple choice the answer is the letter, because options differ from item to item; elsewhere it is the text,
    right also where it is an alias. An answer type that training never saw scores 0.

    Returns:
        "all", "closed", "open", "answer_type/..." -> accuracy, low, high, num_items; and for an answer type the answer
        itself.
    """
    kinds: set[str] = {sample.answer_type for sample in held_out}
    answers = {kind: _most_frequent([_key(sample) for sample in train if sample.answer_type == kind]) for kind in kinds}
    right = [float(_hits(sample, answers[sample.answer_type])) for sample in held_out]
    clusters = clusters_of(held_out)
    rows: dict[str, dict[str, float | int | str]] = {}
    for name, member in strata(held_out):
        if not name.startswith("modality/"):
            places = [place for place, sample in enumerate(held_out) if member(sample)]
            accuracy = estimate([right[place] for place in places], [clusters[place] for place in places])
            rows[name] = {
                "accuracy": accuracy.value or 0.0,
                "low": accuracy.low or 0.0,
                "high": 1.0 if accuracy.high is None else accuracy.high,
                "num_items": accuracy.num_items,
            }
            if name.startswith("answer_type/"):
                rows[name]["answer"] = answers[name.removeprefix("answer_type/")] or ""
    return rows


def _key(sample: Sample) -> str:
    if sample.answer_type in ("mcq", "multi"):
        return "".join(sample.gold_letters or ())
    return _folded(sample.gold_text)


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def _most_frequent(answers: Sequence[str]) -> str | None:
    """The most frequent answer, the first in the alphabet among equals; None = there is none."""
    counts = Counter(answers)
    return min(counts, key=lambda answer: (-counts[answer], answer)) if counts else None


def _hits(sample: Sample, answer: str | None) -> bool:
    accepted = {_key(sample)}
    if sample.answer_type not in ("mcq", "multi"):
        accepted |= {_folded(alias) for alias in sample.aliases}
    return answer in accepted
