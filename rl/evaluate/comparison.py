"""The SFT and the GRPO model on the same held-out items: shares with intervals, differences with p values.

All intervals are 95 % Wilson intervals over items: greedy and blank answers are one draw an item; of several samples an
item its mean counts (`rl.evaluate.statistics.clustered_wilson`), never the draws. Differences are paired by item:
McNemar's mid-p for one draw, sign flips for means.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rl.evaluate.asking import EvalResult
from rl.evaluate.statistics import Interval, clustered_wilson, mcnemar, paired_permutation, wilson
from rl.evaluate.ways import Mode
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

    found: list[Stratum] = [("all", lambda _: True)]
    found += [("closed", is_closed), ("open", lambda sample: not is_closed(sample))]
    found += [(f"answer_type/{name}", of_type(name)) for name in sorted({sample.answer_type for sample in samples})]
    found += [
        (f"modality/{name}", of_modality(name))
        for name in sorted({sample.modality for sample in samples if sample.modality})
    ]
    return [(name, member) for name, member in found if any(member(sample) for sample in samples)]


def is_closed(sample: Sample) -> bool:
    """Whether the question itself lists its answers: multiple choice and yes/no. An open item may keep options that are
    not shown."""
    return sample.answer_type in CLOSED


def measure(result: EvalResult, mode: Mode, member: Callable[[Sample], bool]) -> dict[str, float | int]:
    """Accuracy of one model on one stratum, asked one way.

    Returns:
        accuracy, low, high (95 % over items), num_items (with at least one verdict), num_unscored (completions without
        a verdict), format_rate and mean_length (tokens), both over all completions.
    """
    places = [place for place, sample in enumerate(result.samples) if member(sample)]
    means = result.item_means(mode)
    known = [mean for place in places if (mean := means[place]) is not None]
    completions = [judged for place in places for judged in result.answers[mode][place]]
    interval = clustered_wilson(known) if mode == "sampled" else wilson(round(sum(known)), len(known))
    return {
        "accuracy": sum(known) / len(known) if known else 0.0,
        "low": interval.low,
        "high": interval.high,
        "num_items": len(known),
        "num_unscored": sum(judged.correct is None for judged in completions),
        "format_rate": sum(judged.well_formed for judged in completions) / max(1, len(completions)),
        "mean_length": sum(judged.num_tokens for judged in completions) / max(1, len(completions)),
    }


def difference(
    sft: EvalResult, grpo: EvalResult, mode: Mode, member: Callable[[Sample], bool]
) -> dict[str, float | bool]:
    """GRPO minus SFT on the items of a stratum that both have a verdict on: the difference of accuracy and its
    two-sided p value."""
    pairs = zip(sft.samples, sft.item_means(mode), grpo.item_means(mode), strict=True)
    both = [
        (first, second)
        for sample, first, second in pairs
        if member(sample) and first is not None and second is not None
    ]
    changes = [second - first for first, second in both]
    if mode == "sampled":
        p_value = paired_permutation(changes)
    else:
        p_value = mcnemar(sum(change < 0 for change in changes), sum(change > 0 for change in changes))
    return {"difference": sum(changes) / max(1, len(changes)), "p_value": p_value}


def compare(sft: EvalResult, grpo: EvalResult) -> dict[str, Any]:
    """Everything summary.json says of the two models.

    Returns:
        way of asking -> stratum -> {sft, grpo: see `measure`, difference, p_value, intervals_overlap}; under "worse"
        the strata, as
        "greedy/modality/ct", in which GRPO is significantly worse (Holm over the strata of one way of asking, 5 %;
        blanked images excepted).

    Raises:
        ValueError: the two results are not about the same items in the same order.
    """
    if [sample.id for sample in sft.samples] != [sample.id for sample in grpo.samples]:
        raise ValueError(f"{sft.name} and {grpo.name} answered different items; evaluate both on the same held-out set")
    summary: dict[str, Any] = {"num_items": len(sft.samples)}
    worse: list[str] = []
    for mode in (mode for mode in sft.answers if mode in grpo.answers):
        summary[mode] = {name: _compare_stratum(sft, grpo, mode, member) for name, member in strata(sft.samples)}
        if mode != "blank":
            worse += [f"{mode}/{name}" for name in _significantly_worse(summary[mode])]
    return {**summary, "worse": worse}


def _compare_stratum(sft: EvalResult, grpo: EvalResult, mode: Mode, member: Callable[[Sample], bool]) -> dict[str, Any]:
    before, after = measure(sft, mode, member), measure(grpo, mode, member)
    overlap = Interval(before["low"], before["high"]).overlaps(Interval(after["low"], after["high"]))
    return {"sft": before, "grpo": after, **difference(sft, grpo, mode, member), "intervals_overlap": overlap}


def _significantly_worse(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Names of the rows with a negative difference whose p value survives Holm's step-down correction over all rows."""
    ordered = sorted(rows, key=lambda name: rows[name]["p_value"])
    rejected: list[str] = []
    for rank, name in enumerate(ordered):
        if rows[name]["p_value"] * (len(ordered) - rank) > SIGNIFICANCE:
            break
        rejected.append(name)
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
    right = [_hits(sample, answers[sample.answer_type]) for sample in held_out]
    rows: dict[str, dict[str, float | int | str]] = {}
    for name, member in strata(held_out):
        if not name.startswith("modality/"):
            hits = [hit for sample, hit in zip(held_out, right, strict=True) if member(sample)]
            interval = wilson(sum(hits), len(hits))
            rows[name] = {
                "accuracy": sum(hits) / len(hits),
                "low": interval.low,
                "high": interval.high,
                "num_items": len(hits),
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
