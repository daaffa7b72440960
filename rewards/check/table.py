"""The report of `python -m rewards.check` as tables. Nothing a model or a plugin wrote is read as markup or as a
terminal command."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from rewards.check.faults import Report
from rewards.check.log import Comparison
from rollouts.terminal import one_line, open_console, plain, table

BAR = 40
SHOWN_FAILURES = 5
SHOWN_PAIRS, SHOWN_UNREAD = 12, 5
# The end of a completion that stands beside a difference, in characters.
SHOWN_END = 160
STATUSES = ("ok", "abstain", "error", "timeout")


def show(report: Report, arguments: Mapping[str, Any], judge: str) -> None:
    """Print the report; what would break training comes last."""
    console = open_console()
    groups = ", ".join(f"{number} {origin}" for origin, number in report.num_groups.items())
    given = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    console.print(plain(f"{report.reward}({given})  {report.home}\n{groups} groups{'; ' + judge if judge else ''}\n"))
    console.print(_statuses(report))
    if report.values:
        console.print(_values(report))
        console.print(_histogram(report))
    if report.failures:
        _show_failures(console, report)
    for note in report.notes:
        console.print(plain(f"note: {note}"))
    console.print()
    for fault in report.faults:
        console.print(plain(f"would break training  {fault.kind}: {fault.message}", "bold red"))
    if not report.faults:
        console.print(plain("nothing found that would break training", "bold green"))


def _statuses(report: Report) -> Table:
    columns = ("type", *STATUSES, Column(""))
    rows = [
        (
            kind,
            *(str(counts.get(status, 0)) for status in STATUSES),
            f"not for it: {report.not_for_reasons[kind]}"[:72] if kind in report.not_for else "",
        )
        for kind, counts in sorted(report.statuses.items())
    ]
    return table("completions by answer type", columns, rows)


def _values(report: Report) -> Table:
    low_high = "anything" if report.range is None else f"{report.range[0]:g} to {report.range[1]:g}"
    values, seconds = report.values, report.seconds
    spread = (
        f"{values['least']:g} to {values['greatest']:g}, mean {values['mean']:.3f}, {values['distinct']:g} distinct"
        f" values (allowed: {low_high})"
    )
    times = f"median {seconds['median']:.5f}, p95 {seconds['p95']:.5f}, {seconds['per_1000']:.2f} for 1,000 completions"
    signals = {origin: share for origin, share in report.signal.items() if share is not None}
    rows = [
        ("values", spread),
        *((f"groups with a signal, {origin}", f"{share:.0%}") for origin, share in signals.items()),
        *((f"mean of {name} completions", f"{mean:.3f}") for name, mean in report.paid.items()),
        ("seconds", times),
    ]
    return table("what it pays", ("", Column("")), rows)


def _histogram(report: Report) -> Table:
    most = max(count for _, _, count in report.histogram)
    bars = ["█" * round(BAR * count / most) or ("▏" if count else "") for _, _, count in report.histogram]
    rows = [
        (f"{low:.3f}", f"{high:.3f}", str(count), bar)
        for (low, high, count), bar in zip(report.histogram, bars, strict=True)
    ]
    return table("values", ("from", "to", "completions", Column("")), rows)


def _show_failures(console: Console, report: Report) -> None:
    console.print(plain("\nfailures", "italic"))
    for failure in report.failures[:SHOWN_FAILURES]:
        console.print(
            plain(f"{failure['count']:>5} {failure['status']}: {failure['reason']} (first on {failure['sample']})")
        )
    if len(report.failures) > SHOWN_FAILURES:
        console.print(plain(f"      and {len(report.failures) - SHOWN_FAILURES} more kinds (--json shows all)"))
    traceback = next((failure["traceback"] for failure in report.failures if failure["traceback"]), "")
    # A type that the reward is not for fails on purpose; its traceback tells nothing.
    if traceback and any(fault.kind.startswith(("fails", "applies")) for fault in report.faults):
        console.print(plain("\n" + traceback.rstrip()))


def show_comparison(log: str, comparison: Comparison, most: int) -> None:
    """Print where a log and our reward pay differently, the first `most` of them."""
    console = open_console()
    console.print(
        plain(
            f"{log}: {comparison.num_rows:,} rows graded by {comparison.reward}, {comparison.num_same:,} paid the same,"
            f" {len(comparison.differences):,} differently\n"
        ),
        soft_wrap=True,
    )
    rows = [(f"{there:g}", _amount(here), f"{count:,}") for there, here, count in comparison.pairs[:SHOWN_PAIRS]]
    console.print(table("what is paid", ("there", "here", "rows"), rows))
    if len(comparison.pairs) > SHOWN_PAIRS:
        console.print(plain(f"and {len(comparison.pairs) - SHOWN_PAIRS} more pairs (--json shows all)"))
    for one in comparison.differences[:most]:
        end = one_line(one.completion[-SHOWN_END:])
        console.print(
            plain(
                f"\nline {one.line}: paid {one.there:g} there, {_amount(one.here)} here ({one_line(one.reason, 200)})"
            )
        )
        console.print(plain(f"  right: {one_line(one.gold, 80)}\n  ends with: {end}"), soft_wrap=True)
    if len(comparison.differences) > most:
        console.print(plain(f"\nand {len(comparison.differences) - most:,} more (--show N shows more, --json all)"))
    if comparison.unread:
        lines = "line" if len(comparison.unread) == 1 else "lines"
        console.print(plain(f"\n{len(comparison.unread):,} {lines} could not be graded", "bold red"))
        for reason in comparison.unread[:SHOWN_UNREAD]:
            console.print(plain(f"  {one_line(reason, 200)}"), soft_wrap=True)


def _amount(value: float | None) -> str:
    return "no value" if value is None else f"{value:g}"
