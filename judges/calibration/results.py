"""The file of graded cases: one JSON line each, written when the verdict comes, so that a grading that was stopped goes
on where it was."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

from judges.calibration.grading import Graded
from judges.cases import Case
from judges.local.server import served_name
from judges.model.prompts import LANGUAGES, load_prompt
from judges.settings import SHIPPED_MODEL, JudgeConfig, first_seat, found, panel_seats, second_seat
from judges.verdict import JudgeConfigError

# Settings that can change a verdict, beside the texts of the prompts. Where and how patiently an endpoint is asked
# cannot.
_DECIDING = (
    "kind",
    "model",
    "show_images",
    "prechecks",
    "sampling",
    "second_opinion",
    "second_model",
    "panel",
    "panel_rule",
    "panel_quorum",
)


def identity(settings: JudgeConfig) -> str:
    """Twelve digits that stand for a judge: the settings that can change a verdict, and the texts of its prompts."""
    seats = [first_seat(settings), *panel_seats(settings).values()]
    seats += [second_seat(settings)] if settings.second_opinion != "off" else []
    asks = settings.kind != "rules"
    prompts = [load_prompt(seat.prompt, language).version for seat in seats for language in LANGUAGES] if asks else []
    values = dataclasses.asdict(settings)
    told = {name: values[name] for name in (_DECIDING if asks else ("kind",))}
    if settings.kind == "local":
        told["model"] = served_name(found(settings.model or SHIPPED_MODEL))  # holds a digest of the weights
    return hashlib.sha256(json.dumps([told, prompts], sort_keys=True).encode()).hexdigest()[:12]


def case_id(case: Case) -> str:
    """Twelve digits that stand for what is graded; the label is not part of it, so that a corrected label costs no
    call."""
    parts = [case.question, case.reference, case.completion, list(case.aliases), case.language]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]


class Results:
    """An open file of graded cases; a context manager. `done` holds the verdicts it had when it was opened; failed rows
    are not among them."""

    def __init__(self, path: str | Path, judge: str, cases: Iterable[Case]) -> None:
        """`judge`: see `identity`. Raises JudgeConfigError where the file holds another judge's verdicts, or something
        else altogether."""
        self.path = Path(path)
        self._judge = judge
        self.done: dict[str, Graded] = {}
        by_id = {case_id(case): case for case in cases}
        if self.path.is_dir():
            raise JudgeConfigError(
                f"--out {self.path} is a folder, expected a file such as {self.path / 'verdicts.jsonl'}"
            )
        if self.path.exists():
            self._read(by_id)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def _read(self, by_id: dict[str, Case]) -> None:
        whole, _, torn = self.path.read_bytes().rpartition(b"\n")
        for number, line in enumerate(whole.split(b"\n"), start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                id, judge, verdict = row["id"], row["judge_id"], row["decision"]
            except (ValueError, TypeError, KeyError):
                raise JudgeConfigError(
                    f"--out {self.path}:{number} is no graded case; name a new file, or one of an earlier grading"
                ) from None
            if judge != self._judge:
                raise JudgeConfigError(
                    f"--out {self.path} holds verdicts of another judge (line {number}: {row.get('judge')}; {judge}"
                    f" instead of {self._judge}). Name another file, or remove this one."
                )
            if verdict is not None and id in by_id:
                self.done[id] = _graded(row, by_id[id])
        if torn:  # a line that a killed process did not finish
            os.truncate(self.path, len(whole) + 1 if whole else 0)

    def left(self, cases: Iterable[Case]) -> list[Case]:
        """The cases without a verdict; rows that say the same are one."""
        return list({case_id(case): case for case in cases if case_id(case) not in self.done}.values())

    def add(self, graded: Graded, answerer: str) -> None:
        """Append one row in one write. `answerer`: the judge's name, for the reader."""
        row = {"id": case_id(graded.case), "judge_id": self._judge, "judge": answerer, **row_of(graded)}
        # A half surrogate pair, which JSON may hold and UTF-8 may not, becomes "?".
        os.write(self._file, (json.dumps(row, ensure_ascii=False) + "\n").encode("utf-8", "replace"))
        if graded.decision is not None:
            self.done[case_id(graded.case)] = graded

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Results:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def row_of(graded: Graded) -> dict[str, Any]:
    """A graded case as it is stored: the case, the verdict in a word, and how it came about."""
    case = graded.case
    return {
        "line": case.line,
        "key": case.key,
        "type": case.type,
        "language": case.language,
        "question": case.question,
        "reference": case.reference,
        "aliases": list(case.aliases),
        "completion": case.completion,
        "expected": case.expected,
        "verdict": graded.decision or "failed",
        "agrees": graded.agrees,
        "decision": graded.decision,
        "failure": graded.failure,
        "layer": graded.layer,
        "reason": graded.reason,
        "seconds": round(graded.seconds, 4),
        "cost": graded.cost,
        "transcript": graded.transcript,
    }


def _graded(row: dict[str, Any], case: Case) -> Graded:
    return Graded(
        case,
        row["decision"],
        None,
        str(row.get("layer", "")),
        str(row.get("reason", "")),
        row.get("transcript") or {},
        float(row.get("seconds") or 0.0),
        float(row.get("cost") or 0.0),
    )
