"""What the grades of a labelled file say about a judge, and whether it is good enough to train on (JUDGING.md, layer
8)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from shlex import quote
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
class Grade:
    """A case and the judge's verdict on it."""

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
    # Verdict -> number of rows, "failed" among them; layer that decided -> number of rows.
    verdicts: dict[str, int]
    layers: dict[str, int]
    # All labelled rows, and those of each kind of question.
    total: Table
    by_type: dict[str, Table]
    # Seconds of judging, added up over rows that ran side by side; money in the currency of the configured prices.
    judge_seconds: float
    cost: float


def summarise(grades: Iterable[Grade]) -> Summary:
    """Count and measure grades. Rows without a label are in the counts and in no table."""
    rows = list(grades)
    with_label = [row for row in rows if row.case.expected is not None]
    kinds = sorted({row.case.type for row in with_label})
    return Summary(
        len(rows),
        _counts(row.decision or "failed" for row in rows),
        _counts(row.layer for row in rows),
        _table(with_label),
        {kind: _table([row for row in with_label if row.case.type == kind]) for kind in kinds},
        math.fsum(row.seconds for row in rows),
        math.fsum(row.cost for row in rows),
    )


def _counts(names: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return dict(sorted(counts.items()))


def _table(rows: Sequence[Grade]) -> Table:
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
            + f"\n{describe(summary)}\nTake a better judge or prompt (python -m judges.calibrate "
            f"{quote(str(settings.calibration))} ... shows every row), or ask for less."
        )


def measures(table: Table, settings: JudgeConfig) -> list[tuple[str, float, Interval, float]]:
    """Return name, value, 95 % interval and least value asked for of each number that a judge must reach."""
    return [
        ("kappa", table.kappa, table.kappa_interval, settings.min_kappa),
        ("sensitivity", table.sensitivity, table.sensitivity_interval, settings.min_sensitivity),
        ("specificity", table.specificity, table.specificity_interval, settings.min_specificity),
    ]


def describe(summary: Summary) -> str:
    """Return one line: right answers accepted, wrong ones refused, kappa with its interval, failures."""
    table = summary.total
    low, high = table.kappa_interval
    return (
        f"{table.right_accepted} of {table.num_right} right answers accepted, {table.wrong_refused} of"
        f" {table.num_wrong} wrong ones refused, kappa {table.kappa:.3f} ({low:.3f} to {high:.3f}), {table.unsure}"
        f" unsure, {table.failed} failed"
    )


def table_as_dict(table: Table) -> dict[str, Any]:
    """Return counts, rates and intervals, JSON-ready; null for what is not defined."""
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
    """Return the summary, JSON-ready; `judge_seconds` in seconds."""
    return {
        "num_cases": summary.num_cases,
        "verdicts": summary.verdicts,
        "layers": summary.layers,
        "total": table_as_dict(summary.total),
        "by_type": {kind: table_as_dict(table) for kind, table in summary.by_type.items()},
        "judge_seconds": summary.judge_seconds,
        "cost": summary.cost,
    }
