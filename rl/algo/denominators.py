"""What the sums of a mini-batch are divided by: counts over all its rows, known when the last of them is scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Denominators:
    """What the sums of one mini-batch are divided by, over all ranks. Invalid rows are in none of them (TRL #6439)."""

    # Valid rows, and their completion tokens, in this mini-batch.
    num_rows: int
    num_tokens: int
    # Mean number of completion tokens over all mini-batches of the step; None = not all of them were counted.
    step_tokens: float | None
    # Tokens a completion may have at most.
    max_completion_length: int


def denominators(
    lengths: Sequence[Sequence[int]], max_completion_length: int, num_minibatches: int | None = None
) -> list[Denominators]:
    """One `Denominators` a mini-batch.

    Args:
        lengths: token counts of the valid rows of each mini-batch at hand.
        max_completion_length: in tokens.
        num_minibatches: how many the step has; None = those at hand are all of them.
    """
    whole = num_minibatches is None or num_minibatches == len(lengths)
    step_tokens = sum(map(sum, lengths)) / max(len(lengths), 1) if whole else None
    return [Denominators(len(rows), sum(rows), step_tokens, max_completion_length) for rows in lengths]
