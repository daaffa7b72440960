"""What is known of the stages of a run: stages.json of its folder, written after each stage, and their curves beside
it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rl.statistics.pairs import paired_difference
from rollouts.store.disk import write_atomically

STAGES, CURVES = "stages.json", "stages"
# The model before the first stage.
START = "start"


@dataclass
class StageRecord:
    """One stage as the report tells it."""

    stage: str
    # Folder of its model; relative where it was given so.
    model: str
    # Wall seconds of training it, or of finding it again.
    seconds: float = 0.0
    # What it was taught, in words.
    taught: str = ""
    # Stratum -> accuracy, interval and counts of the greedy answers (`rl.evaluate.comparison.measure`); empty = not
    # asked.
    greedy: dict[str, dict[str, Any]] = field(default_factory=dict)
    # Verdict of each held-out item, in order; None = it has none.
    right: list[bool | None] = field(default_factory=list)
    # What each item shares an image or a pair with, as a number; the unit of intervals and tests.
    clusters: list[int] = field(default_factory=list)
    # See `added`, against the stage before that was asked; None = there is none.
    added: dict[str, Any] | None = None


class StageBook:
    """stages.json of a run's folder, written after each stage."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / STAGES
        known = json.loads(self._path.read_text(encoding="utf-8")) if self._path.exists() else []
        self.records = [StageRecord(**one) for one in known]

    def known(self, stage: str, model: Path) -> StageRecord | None:
        """What an interrupted run wrote of this very model."""
        return next((one for one in self.records if (one.stage, one.model) == (stage, str(model)) and one.right), None)

    def write(self, record: StageRecord) -> None:
        """Add the record of a stage, with what it added to the one before. An older one of the stage goes, and whatever
        followed from it."""
        names = [one.stage for one in self.records]
        kept = self.records[: names.index(record.stage)] if record.stage in names else self.records
        predecessors = [one for one in kept if one.right]
        record.added = added(predecessors[-1], record) if predecessors and record.right else None
        self.records = [*kept, record]
        text = json.dumps([asdict(one) for one in self.records], indent=1)
        write_atomically(self._path, text.encode())


def added(before: StageRecord, after: StageRecord) -> dict[str, Any]:
    """What one model is better than another on the same items: `difference` of accuracy over those that both have a
    verdict on, its interval `low` to `high`, the two-sided `p_value`, `num_items`, and how both were made
    (`rl.statistics.pairs.paired_difference`)."""
    difference = paired_difference(_values(before.right), _values(after.right), [str(one) for one in after.clusters])
    return {
        "difference": difference.value or 0.0,
        "low": difference.low,
        "high": difference.high,
        "p_value": 1.0 if difference.p_value is None else difference.p_value,
        "num_items": difference.num_items,
        "method": difference.method,
        "test": difference.test,
    }


def _values(right: Sequence[bool | None]) -> list[float | None]:
    return [None if one is None else float(one) for one in right]


def in_percent(row: Mapping[str, Any]) -> str:
    """`67.5 % (63.7 to 71.0)`: accuracy and its interval."""
    return f"{100 * row['accuracy']:.1f} % ({100 * row['low']:.1f} to {100 * row['high']:.1f})"
