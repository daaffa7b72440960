"""Prints grades for people: one line for each verdict, and how far the judge agrees with the labels. Model text is
shown as JSON, never as markup."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from judges.calibration.agreement import Interval, Table
from judges.calibration.grading import Grade, Summary
from rollouts.terminal import one_line, printable, table

# A file of so many rows is shown whole; of a longer one only what deserves a look, the rest is in the file of verdicts.
_SHOWN_WHOLE = 40
_MOST_SHOWN = 40
_MAX_CHARS = 60


def print_rows(grades: Sequence[Grade], console: Console) -> None:
    """Print the verdicts: all of a short file; of a longer one those that disagree with the label and those that
    failed."""
    whole = len(grades) <= _SHOWN_WHOLE
    rows = [row for row in grades if whole or row.agrees is False or row.decision is None]
    has_labels = any(row.case.expected for row in grades)
    if not whole and has_labels:
        console.print(f"{len(rows)} of {len(grades)} rows that the label denies or that failed:")
    for row in rows[:_MOST_SHOWN]:
        console.print(_line(row), soft_wrap=True)
    if len(rows) > _MOST_SHOWN:
        console.print(f"... and {len(rows) - _MOST_SHOWN} more in the file of verdicts")


def _line(row: Grade) -> Text:
    style = {True: "green", False: "bold red", None: "yellow" if row.decision is None else ""}[row.agrees]
    mark = {True: "\u2713", False: "\u2717", None: "-"}[row.agrees]
    verdict = row.decision or f"failed ({row.failure})"
    texts = f"{_short(row.case.completion)} for {_short(row.case.reference)}"
    detail = f" by {row.layer}: {texts}; {one_line(row.reason, 160)}"
    return Text.assemble((f"{mark} line {row.case.line}: {verdict}", style), printable(detail))


def _short(text: str) -> str:
    return json.dumps(text if len(text) <= _MAX_CHARS else text[:_MAX_CHARS] + "\u2026", ensure_ascii=False)


def print_summary(summary: Summary, wall_seconds: float, console: Console) -> None:
    """Print verdicts, layers, agreement for each kind of question (right accepted = sensitivity, wrong refused =
    specificity), seconds and cost. `wall_seconds`: seconds the command took."""
    console.print(f"\n{summary.num_cases} rows: {_counts(summary.verdicts)}; decided by {_counts(summary.layers)}")
    cost = f", cost {summary.cost:.4f}" if summary.cost else ""
    console.print(f"{wall_seconds:.1f} s, {summary.judge_seconds:.1f} s of judging side by side{cost}")
    num_labels = summary.total.num_right + summary.total.num_wrong + summary.total.failed
    if not num_labels:
        console.print("No row carries a label (expected), so nothing is said about how good the judge is.")
        return
    console.print(
        "95 % intervals: Wilson's for shares, Jeffreys' for kappa; unsure counts as not accepted", soft_wrap=True
    )
    by_type = summary.by_type if len(summary.by_type) > 1 else {}
    rows = [("all", *_cells(summary.total)), None, *((name or "-", *_cells(one)) for name, one in by_type.items())]
    columns = ("type", "right accepted", "wrong refused", "kappa", "unsure", "failed")
    console.print(table("", columns, rows))


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items(), key=lambda item: -item[1]))


def _cells(one: Table) -> tuple[str, ...]:
    return (
        f"{one.right_accepted}/{one.num_right} {_measure(one.sensitivity, one.sensitivity_interval)}",
        f"{one.wrong_refused}/{one.num_wrong} {_measure(one.specificity, one.specificity_interval)}",
        _measure(one.kappa, one.kappa_interval),
        str(one.unsure),
        str(one.failed),
    )


def _measure(value: float, interval: Interval) -> str:
    return "-" if math.isnan(value) else f"{round(value, 3) + 0.0:.3f} ({interval.low:.2f} to {interval.high:.2f})"
