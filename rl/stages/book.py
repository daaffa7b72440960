"""What is known of the stages of a run: stages.json of its folder, written after each stage, and their curves beside
it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rl.statistics.pairs import mcnemar
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
    # Against the stage before that was asked: difference of accuracy and McNemar's mid-p over the items that both have
    # a verdict on; None = there is none before.
    added: dict[str, float] | None = None


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
        """Add the record of a stage, in the place of an older one, and what it added to the one before."""
        before = [one for one in self.records if one.stage != record.stage and one.right]
        record.added = added(before[-1].right, record.right) if before and record.right else None
        self.records = [*(one for one in self.records if one.stage != record.stage), record]
        text = json.dumps([asdict(one) for one in self.records], indent=1)
        write_atomically(self._path, text.encode())


def added(before: Sequence[bool | None], after: Sequence[bool | None]) -> dict[str, float]:
    """What a stage added on the same items: the difference of accuracy over those that both models have a verdict on,
    its two-sided p (McNemar's mid-p), and how many these are."""
    pairs = [(one, two) for one, two in zip(before, after, strict=True) if one is not None and two is not None]
    gained, lost = sum(two > one for one, two in pairs), sum(two < one for one, two in pairs)
    return {
        "difference": (gained - lost) / max(1, len(pairs)),
        "p_value": mcnemar(lost, gained),
        "num_items": len(pairs),
    }


def in_percent(row: Mapping[str, Any]) -> str:
    """`67.5 % (63.7 to 71.0)`: accuracy and its interval."""
    return f"{100 * row['accuracy']:.1f} % ({100 * row['low']:.1f} to {100 * row['high']:.1f})"
