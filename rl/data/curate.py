"""The paper's RL set, drawn from the training pool (Fleming-VL, Sec 3.2; RECIPE.md C5 to C7 and C11).

1. A share of the multiple-choice items is asked open: `answer_type` becomes "open", options and gold letter stay in the record. An
   item is asked with its options when, and only when, its type is "mcq" or "multi", so the prompt and the routing of rewards agree.
2. The set is a seeded random subset.
3. Yes/no items are at most a share f of the final set: beside M other items, floor(f * M / (1 - f)) of them are kept.

Every choice depends on the seed and the sample's id alone, never on the order of the pool.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from rollouts.records import Sample, stable_hash

_UNIT = float(1 << 63)  # stable_hash gives 63 bits


def rl_set(
    pool: Sequence[Sample], *, num_rl: int | None, open_fraction: float, max_yes_no_fraction: float, seed: int
) -> list[Sample]:
    """At most `num_rl` samples (None: as many as the pool gives) in a seeded order. Raises ValueError on a share outside its range."""
    if not 0.0 <= open_fraction <= 1.0:
        raise ValueError(f"data.open_fraction is {open_fraction}, expected 0 to 1")
    if not 0.0 <= max_yes_no_fraction <= 1.0:
        raise ValueError(f"data.max_yes_no_fraction is {max_yes_no_fraction}, expected 0 to 1")
    shuffled = sorted(pool, key=lambda sample: stable_hash(seed, "rl-subset", sample.id))
    others = [sample for sample in shuffled if sample.answer_type != "yes_no"]
    yes_no = [sample for sample in shuffled if sample.answer_type == "yes_no"]
    num_others, num_yes_no = _counts(len(others), len(yes_no), num_rl, max_yes_no_fraction)
    kept = [ask_open(sample) if _drawn_open(sample, open_fraction, seed) else sample for sample in others[:num_others]]
    return sorted(kept + yes_no[:num_yes_no], key=lambda sample: stable_hash(seed, "rl-order", sample.id))


def max_yes_no(num_others: int, fraction: float) -> int:
    """How many yes/no items may stand beside `num_others` others: floor(f * M / (1 - f)). A fraction of 1 sets no limit."""
    if fraction >= 1.0:
        raise ValueError("a fraction of 1 sets no limit; do not ask for it")
    return math.floor(fraction * num_others / (1.0 - fraction) + 1e-9)  # 0.05 * 19 / 0.95 is 1, not 0.9999...


def ask_open(sample: Sample) -> Sample:
    """The same item asked without its options, which stay in the record so that it can still be scored by letter."""
    tags = {**sample.tags, "asked_as": "open", "built_as": sample.answer_type}
    return dataclasses.replace(sample, answer_type="open", tags=tags)


def _drawn_open(sample: Sample, open_fraction: float, seed: int) -> bool:
    return sample.answer_type == "mcq" and stable_hash(seed, "asked-open", sample.id) / _UNIT < open_fraction


def _counts(num_others: int, num_yes_no: int, num_rl: int | None, fraction: float) -> tuple[int, int]:
    """How many others and how many yes/no items the final set holds."""
    if fraction >= 1.0:
        total = num_others + num_yes_no if num_rl is None else min(num_rl, num_others + num_yes_no)
        wanted_yes_no = round(total * num_yes_no / max(1, num_others + num_yes_no))  # the pool's own share
        return total - wanted_yes_no, wanted_yes_no
    if num_rl is not None:
        # the largest yes/no count within the share of a full set, and at least enough others to fill the set
        share = min(num_yes_no, math.floor(fraction * num_rl + 1e-9))
        num_others = min(num_others, num_rl - share)
        num_yes_no = share
    return num_others, min(num_yes_no, max_yes_no(num_others, fraction))
