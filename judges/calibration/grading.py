"""What grading a labelled file says about a judge, and whether that is good enough to train on (JUDGING.md, layer
8)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from judges.calibration.agreement import Interval, Table, table_of
from judges.cases import Case
from judges.settings import JudgeConfig
from judges.verdict import Decision, Failure, JudgeError

# Above this share of failed judgements nothing is known about the judge: what fails may well be what is hard.
MAX_FAILED = 0.05


class JudgeNotGoodEnough(JudgeError):
    """The judge grades a labelled set worse than the run asks for; the message holds the numbers."""


@dataclass(frozen=True)
class Graded:
    """A case and what came of it."""

    case: Case
    # Exactly one of the two is set, as in a verdict.
    decision: Decision | None
    failure: Failure | str | None = None
    # "parser" (there was no answer to judge), "precheck", "rules", "cache", "judge", "second_opinion" or "panel".
    layer: str = ""
    reason: str = ""
    transcript: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    cost: float = 0.0

    @property
    def agrees(self) -> bool | None:
        """Whether the judge pays what the label says; None = no label, or no verdict."""
        if self.case.expected is None or self.decision is None:
            return None
        return (self.decision == "correct") == (self.case.expected == "correct")


@dataclass(frozen=True)
class Summary:
    """Counts and agreement of graded cases."""

    num_cases: int
    # Verdict -> rows, "failed" among them; and layer that decided -> rows.
    verdicts: dict[str, int]
    layers: dict[str, int]
    # Of all labelled rows, and of each kind of question.
    total: Table
    by_type: dict[str, Table]
    # Of the judge, added up over rows, which ran side by side; money in the currency of the configured prices.
    judge_seconds: float
    cost: float


def summarise(graded: Iterable[Graded]) -> Summary:
    """The numbers of graded cases. Rows without a label are in the counts and in no table."""
    rows = list(graded)
    labelled = [row for row in rows if row.case.expected is not None]
    kinds = sorted({row.case.type for row in labelled})
    return Summary(
        len(rows),
        _counted(row.decision or "failed" for row in rows),
        _counted(row.layer for row in rows),
        _table(labelled),
        {kind: _table([row for row in labelled if row.case.type == kind]) for kind in kinds},
        math.fsum(row.seconds for row in rows),
        math.fsum(row.cost for row in rows),
    )


def _counted(names: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return dict(sorted(counts.items()))


def _table(rows: Sequence[Graded]) -> Table:
    return table_of((row.case.expected == "correct", row.decision) for row in rows)


def require(summary: Summary, settings: JudgeConfig) -> None:
    """Raise JudgeNotGoodEnough where the numbers are below `min_kappa`, `min_sensitivity` or `min_specificity`, or too
    few rows have a verdict."""
    table, where = summary.total, f"judge.calibration={settings.calibration}"
    if table.failed > MAX_FAILED * summary.num_cases:
        reasons = f"{table.failed} of {summary.num_cases} judgements failed"
        raise JudgeNotGoodEnough(
            f"{where}: {reasons}, at most {MAX_FAILED:.0%} may. Look at the reasons in calibration.jsonl of the run's"
            " folder, and mend the endpoint."
        )
    below = [
        f"{name} {value:.3f} ({interval.low:.3f} to {interval.high:.3f}), at least {least:g} is asked"
        f" (judge.min_{name})"
        for name, value, interval, least in measures(table, settings)
        if not value >= least
    ]
    if below:
        raise JudgeNotGoodEnough(
            f"the judge grades {where} worse than this run asks for, so it does not start:\n  "
            + "\n  ".join(below)
            + f"\n{describe(summary)}\nTake a better judge or prompt (python -m judges.calibrate {settings.calibration}"
            " ... shows every row), or ask for less."
        )


def measures(table: Table, settings: JudgeConfig) -> list[tuple[str, float, Interval, float]]:
    """Name, value, 95 % interval and configured least value of what a judge is held to."""
    return [
        ("kappa", table.kappa, table.kappa_interval, settings.min_kappa),
        ("sensitivity", table.sensitivity, table.sensitivity_interval, settings.min_sensitivity),
        ("specificity", table.specificity, table.specificity_interval, settings.min_specificity),
    ]


def describe(summary: Summary) -> str:
    """One line: accepted and refused by label, kappa with its interval, failures."""
    table = summary.total
    low, high = table.kappa_interval
    return (
        f"{table.right_accepted} of {table.num_right} right answers accepted, {table.wrong_refused} of"
        f" {table.num_wrong} wrong ones refused, kappa {table.kappa:.3f} ({low:.3f} to {high:.3f}), {table.unsure}"
        f" unsure, {table.failed} failed"
    )


def table_as_dict(table: Table) -> dict[str, Any]:
    """Counts, rates and intervals, JSON-ready: null for what is not defined."""
    measured = {
        "sensitivity": (table.sensitivity, table.sensitivity_interval),
        "specificity": (table.specificity, table.specificity_interval),
        "accuracy": (table.accuracy, table.accuracy_interval),
        "kappa": (table.kappa, table.kappa_interval),
    }
    return {
        **vars(table),
        **{
            name: None if math.isnan(value) else {"value": value, "low": interval.low, "high": interval.high}
            for name, (value, interval) in measured.items()
        },
    }


def summary_as_dict(summary: Summary) -> dict[str, Any]:
    """The summary, JSON-ready."""
    return {
        "num_cases": summary.num_cases,
        "verdicts": summary.verdicts,
        "layers": summary.layers,
        "total": table_as_dict(summary.total),
        "by_type": {kind: table_as_dict(table) for kind, table in summary.by_type.items()},
        "judge_seconds": summary.judge_seconds,
        "cost": summary.cost,
    }
