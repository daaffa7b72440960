"""The file of grades: one JSON line for each, written when the verdict comes. A command that was stopped goes on where
the file ends."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

from judges.calibration.grading import Grade
from judges.cases import Case
from judges.local.server import served_name
from judges.model.prompts import LANGUAGES, load_prompt
from judges.settings import SHIPPED_MODEL, JudgeConfig, first_seat, locate, panel_seats, second_seat
from judges.verdict import JudgeConfigError

# Settings that can change a verdict, beside the texts of the prompts. The address of an endpoint and the patience with
# it cannot.
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
    """Return twelve hex digits that stand for a judge: a digest of the settings that can change a verdict and of the
    prompts' texts."""
    seats = [first_seat(settings), *panel_seats(settings).values()]
    seats += [second_seat(settings)] if settings.second_opinion != "off" else []
    asks = settings.kind != "rules"
    prompts = [load_prompt(seat.prompt, language).version for seat in seats for language in LANGUAGES] if asks else []
    values = dataclasses.asdict(settings)
    own = {name: values[name] for name in (_DECIDING if asks else ("kind",))}
    if settings.kind == "local":
        own["model"] = served_name(locate(settings.model or SHIPPED_MODEL))  # holds a digest of the weights
    return hashlib.sha256(json.dumps([own, prompts], sort_keys=True).encode()).hexdigest()[:12]


def case_id(case: Case) -> str:
    """Return twelve hex digits that stand for what is graded. The label is not part of it, so that a corrected label
    costs no call."""
    parts = [case.question, case.reference, case.completion, list(case.aliases), case.language]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]


class Results:
    """An open file of grades; a context manager. `grades` holds the verdicts of the file, without the failed rows."""

    def __init__(self, path: str | Path, judge: str, cases: Iterable[Case]) -> None:
        """`judge`: from `identity`. Raises JudgeConfigError where the file holds another judge's verdicts, or no grades
        at all."""
        self.path = Path(path)
        self._judge = judge
        self.grades: dict[str, Grade] = {}
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
                self.grades[id] = _grade_of(row, by_id[id])
        if torn:  # a line that a killed process did not finish
            os.truncate(self.path, len(whole) + 1 if whole else 0)

    def missing(self, cases: Iterable[Case]) -> list[Case]:
        """Return the cases without a verdict. Of cases that say the same it returns the last."""
        return list({case_id(case): case for case in cases if case_id(case) not in self.grades}.values())

    def add(self, grade: Grade, answerer: str) -> None:
        """Append one row in one write. `answerer`: the judge's name, for people."""
        row = {"id": case_id(grade.case), "judge_id": self._judge, "judge": answerer, **row_of(grade)}
        # A half surrogate pair, which JSON may hold and UTF-8 may not, becomes "?".
        os.write(self._file, (json.dumps(row, ensure_ascii=False) + "\n").encode("utf-8", "replace"))
        if grade.decision is not None:
            self.grades[case_id(grade.case)] = grade

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


def row_of(grade: Grade) -> dict[str, Any]:
    """Return a grade as the file holds it: the case, the verdict in a word, and how it came about."""
    case = grade.case
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
        "verdict": grade.decision or "failed",
        "agrees": grade.agrees,
        "decision": grade.decision,
        "failure": grade.failure,
        "layer": grade.layer,
        "reason": grade.reason,
        "seconds": round(grade.seconds, 4),
        "cost": grade.cost,
        "transcript": grade.transcript,
    }


def _grade_of(row: dict[str, Any], case: Case) -> Grade:
    return Grade(
        case,
        row["decision"],
        None,
        str(row.get("layer", "")),
        str(row.get("reason", "")),
        row.get("transcript") or {},
        float(row.get("seconds") or 0.0),
        float(row.get("cost") or 0.0),
    )
