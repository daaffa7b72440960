"""The RL set, drawn from the training pool: by difficulty where bounds are set, then by the paper's rules (Fleming-VL,
Sec 3.2).

1. The set is a seeded random subset of the pool.
2. A share of its multiple-choice items is asked open: `answer_type` becomes "open", options and gold letter stay in the
   record. Options are shown to the model when, and only when, the type is "mcq" or "multi", so prompt and routing of
   rewards agree.
3. Yes/no items are at most a share f of the final set: beside M others, floor(f * M / (1 - f)) of them are kept. (The
   paper says "about 5 %" and not of what; this is our reading.)

Every choice depends on the seed and the sample's id alone, never on the order of the pool.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from rl.data.sets import UnusableData
from rollouts.records import Sample, stable_hash

_UNIT = float(1 << 63)  # stable_hash gives 63 bits
_ROUNDING = 1e-9  # 0.05 * 19 / 0.95 is 1, not 0.9999999999999999


def by_difficulty(pool: Sequence[Sample], low: float | None, high: float | None) -> tuple[list[Sample], dict[str, int]]:
    """The samples whose difficulty lies in `low`..`high`, both ends included, and what took how many others away.

    A difficulty is the share of a model's attempts that failed (1 - pass rate): 0 = always solved, 1 = never solved. At
    either end all completions of a group earn the same, so nothing is learned from it. None = no bound; without bounds
    every sample stays. With a bound, a sample without a difficulty is left out: whether it is too easy is unknown.

    Raises:
        UnusableData: a bound is set and no sample has a difficulty, or none lies within the bounds.
    """
    if low is None and high is None:
        return list(pool), {}
    known = [sample.difficulty for sample in pool if sample.difficulty is not None]
    bounds = f"data.min_difficulty={low}, data.max_difficulty={high}"
    if not known:
        raise UnusableData(
            f"{bounds}: no training row has a difficulty (0 easy to 1 hard), so a bound would leave nothing; give the"
            " rows the field difficulty, or set both to null"
        )
    least, most = 0.0 if low is None else low, 1.0 if high is None else high
    kept = [sample for sample in pool if sample.difficulty is not None and least <= sample.difficulty <= most]
    if not kept:
        raise UnusableData(
            f"{bounds}: none of {len(known)} training rows with a difficulty lies between, they go from {min(known):g}"
            f" to {max(known):g}"
        )
    counts = {
        "easier than data.min_difficulty": sum(one < least for one in known),
        "harder than data.max_difficulty": sum(one > most for one in known),
        "without a difficulty, which the bounds need": len(pool) - len(known),
    }
    return kept, {f"not in the RL set: {why}": count for why, count in counts.items() if count}


def rl_set(
    pool: Sequence[Sample], *, num_rl: int | None, open_fraction: float, max_yes_no_fraction: float, seed: int
) -> list[Sample]:
    """At most `num_rl` samples (None: as many as the pool gives) in a seeded order.

    Raises:
        ValueError: `open_fraction` is outside 0..1, or `max_yes_no_fraction` outside 0..1 (1 excluded).
        UnusableData: nothing is left.
    """
    if not 0.0 <= open_fraction <= 1.0:
        raise ValueError(f"data.open_fraction is {open_fraction}, expected 0 to 1")
    if not 0.0 <= max_yes_no_fraction < 1.0:
        raise ValueError(f"data.max_yes_no_fraction is {max_yes_no_fraction}, expected at least 0 and less than 1")
    shuffled = sorted(pool, key=lambda sample: stable_hash(seed, "rl-subset", sample.id))
    others = [sample for sample in shuffled if sample.answer_type != "yes_no"]
    yes_no = [sample for sample in shuffled if sample.answer_type == "yes_no"]
    if num_rl is not None:
        # A full set holds floor(f * num_rl) yes/no items where there are as many, and others for the rest.
        yes_no = yes_no[: math.floor(max_yes_no_fraction * num_rl + _ROUNDING)]
        others = others[: num_rl - len(yes_no)]
    yes_no = yes_no[: max_yes_no(len(others), max_yes_no_fraction)]
    if pool and not others and not yes_no:
        raise UnusableData(
            f"all {len(pool)} training samples are yes/no questions, and data.max_yes_no_fraction={max_yes_no_fraction}"
            " keeps none of them without others beside them; add other questions"
        )
    kept = [ask_open(sample) if _drawn_open(sample, open_fraction, seed) else sample for sample in others]
    return sorted(kept + yes_no, key=lambda sample: stable_hash(seed, "rl-order", sample.id))


def max_yes_no(num_others: int, fraction: float) -> int:
    """How many yes/no items may stand beside `num_others` others, so that they are at most `fraction` of all."""
    return math.floor(fraction * num_others / (1.0 - fraction) + _ROUNDING)


def ask_open(sample: Sample) -> Sample:
    """The same item asked without its options, which stay in the record so that it can still be scored by letter."""
    return dataclasses.replace(sample, answer_type="open", tags={**sample.tags, "asked_open_from": sample.answer_type})


def _drawn_open(sample: Sample, open_fraction: float, seed: int) -> bool:
    return sample.answer_type == "mcq" and stable_hash(seed, "asked-open", sample.id) / _UNIT < open_fraction
