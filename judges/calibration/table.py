"""Prints grades for people: one line for each verdict, and how far the judge agrees with the labels. Model text is
shown as JSON, never as markup."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from judges.calibration.agreement import Interval, Table
from judges.calibration.grading import Grade, Summary

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
    return Text.assemble(
        (f"{mark} line {row.case.line}: {verdict}", style), f" by {row.layer}: {texts}; {_plain(row.reason)[:160]}"
    )


def _short(text: str) -> str:
    return json.dumps(text if len(text) <= _MAX_CHARS else text[:_MAX_CHARS] + "\u2026", ensure_ascii=False)


def _plain(text: str) -> str:
    """Replace line breaks and control characters by spaces: a judge's words are a model's words."""
    return "".join(char if char.isprintable() else " " for char in text)


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
    table = RichTable(box=SIMPLE_HEAD)
    for heading in ("type", "right accepted", "wrong refused", "kappa", "unsure", "failed"):
        table.add_column(heading, justify="left" if heading == "type" else "right", no_wrap=True)
    rows = {"all": summary.total, **(summary.by_type if len(summary.by_type) > 1 else {})}
    for name, one in rows.items():
        table.add_row(Text(name or "-"), *_cells(one), end_section=name == "all")
    console.print(table)


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items(), key=lambda item: -item[1]))


def _cells(table: Table) -> tuple[str, ...]:
    return (
        f"{table.right_accepted}/{table.num_right} {_measure(table.sensitivity, table.sensitivity_interval)}",
        f"{table.wrong_refused}/{table.num_wrong} {_measure(table.specificity, table.specificity_interval)}",
        _measure(table.kappa, table.kappa_interval),
        str(table.unsure),
        str(table.failed),
    )


def _measure(value: float, interval: Interval) -> str:
    return "-" if math.isnan(value) else f"{round(value, 3) + 0.0:.3f} ({interval.low:.2f} to {interval.high:.2f})"
