"""Reads what completions were paid, without texts and transcripts. Commands that compare two runs use it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from rollouts.measures import mean_or_none
from rollouts.store.layout import StepFiles
from rollouts.store.reader import read_table

# Above it a value says right, at or below it wrong; a flip is a value that crosses it.
RIGHT = 0.5
_COLUMNS = ("step", "prompt_id", "sample_index", "outcomes", "total", "valid", "advantage")


class Paid(NamedTuple):
    """What one completion was paid."""

    # Reward name -> (status, value).
    outcomes: dict[str, tuple[str, float | None]]
    total: float | None
    valid: bool
    advantage: float | None

    def value(self, reward: str) -> float | None:
        """The value of this reward; None = it has none here."""
        return self.outcomes.get(reward, ("", None))[1]

    def is_right(self, reward: str) -> bool | None:
        """Whether this reward says right; None = it has no value, which says neither."""
        value = self.value(reward)
        return None if value is None else value > RIGHT


class PaidKey(NamedTuple):
    """Which completion of a run it was."""

    step: int
    prompt_id: str
    sample_index: int


def read_paid(files: StepFiles) -> Iterator[tuple[PaidKey, Paid]]:
    """The completions of one step in the order of their keys. Raises DamagedStore or NewerSchema."""
    table = read_table(files, _COLUMNS)
    named = _outcomes(table["outcomes"].combine_chunks())
    for row, outcomes in zip(table.drop_columns(["outcomes"]).to_pylist(), named, strict=True):
        yield (
            PaidKey(row["step"], row["prompt_id"], row["sample_index"]),
            Paid(outcomes, row["total"], row["valid"], row["advantage"]),
        )


def _outcomes(column: pa.ListArray) -> Iterator[dict[str, tuple[str, float | None]]]:
    """Status and value of each reward, row by row. Long transcripts never become Python objects."""
    flat = column.flatten()
    names, statuses, values = (pc.struct_field(flat, name).to_pylist() for name in ("name", "status", "value"))
    start = 0
    for count in pc.list_value_length(column).to_pylist():
        end = start + (count or 0)
        yield {
            name: (status, value)
            for name, status, value in zip(names[start:end], statuses[start:end], values[start:end], strict=True)
        }
        start = end


def compare_pairs(pairs: Sequence[tuple[float | None, float | None]]) -> dict[str, Any]:
    """Means over the pairs in which both sides have a value; agreement = the share of them that is equal to the last
    bit."""
    both = [(first, second) for first, second in pairs if first is not None and second is not None]
    before, after = mean_or_none([first for first, _ in both]), mean_or_none([second for _, second in both])
    return {
        "num_before": sum(first is not None for first, _ in pairs),
        "num_after": sum(second is not None for _, second in pairs),
        "num_both": len(both),
        "agreement": mean_or_none([float(first == second) for first, second in both]),
        "mean_before": before,
        "mean_after": after,
        "mean_shift": None if before is None or after is None else after - before,
    }
