"""A grading for people: every verdict on a line, and how far the judge agrees with the labels. Model text is shown as
JSON, never as markup."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from judges.calibration.agreement import Interval, Table
from judges.calibration.grading import Graded, Summary
from rollouts.terminal import one_line, printable, table

# A file of so many rows is shown whole; of a longer one only what deserves a look, the rest is in the file of verdicts.
_SHOWN_WHOLE = 40
_MOST_SHOWN = 40
_MAX_CHARS = 60


def print_rows(graded: Sequence[Graded], console: Console) -> None:
    """The verdicts: all of a short file; of a longer one those that the label denies and those that failed."""
    whole = len(graded) <= _SHOWN_WHOLE
    chosen = [row for row in graded if whole or row.agrees is False or row.decision is None]
    labelled = any(row.case.expected for row in graded)
    if not whole and labelled:
        console.print(f"{len(chosen)} of {len(graded)} rows that the label denies or that failed:")
    for row in chosen[:_MOST_SHOWN]:
        console.print(_line(row), soft_wrap=True)
    if len(chosen) > _MOST_SHOWN:
        console.print(f"... and {len(chosen) - _MOST_SHOWN} more in the file of verdicts")


def _line(row: Graded) -> Text:
    style = {True: "green", False: "bold red", None: "yellow" if row.decision is None else ""}[row.agrees]
    mark = {True: "\u2713", False: "\u2717", None: "-"}[row.agrees]
    verdict = row.decision or f"failed ({row.failure})"
    texts = f"{_short(row.case.completion)} for {_short(row.case.reference)}"
    said = f" by {row.layer}: {texts}; {one_line(row.reason, 160)}"
    return Text.assemble((f"{mark} line {row.case.line}: {verdict}", style), printable(said))


def _short(text: str) -> str:
    return json.dumps(text if len(text) <= _MAX_CHARS else text[:_MAX_CHARS] + "\u2026", ensure_ascii=False)


def print_summary(summary: Summary, wall_seconds: float, console: Console) -> None:
    """Verdicts, layers, agreement by kind of question (right accepted = sensitivity, wrong refused = specificity),
    seconds and cost."""
    console.print(f"\n{summary.num_cases} rows: {_counts(summary.verdicts)}; decided by {_counts(summary.layers)}")
    cost = f", cost {summary.cost:.4f}" if summary.cost else ""
    console.print(f"{wall_seconds:.1f} s, {summary.judge_seconds:.1f} s of judging side by side{cost}")
    labelled = summary.total.num_right + summary.total.num_wrong + summary.total.failed
    if not labelled:
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
