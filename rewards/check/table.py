"""The report of `python -m rewards.check` as tables. Nothing a model or a plugin wrote is read as markup or as a
terminal command."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rewards.check.faults import Report

BAR = 40
SHOWN_FAILURES = 5


def show(found: Report, arguments: Mapping[str, Any], judge: str) -> None:
    """Print the report; what would break training comes last."""
    console = Console(highlight=False, width=None if Console().is_terminal else 120)
    groups = ", ".join(f"{number} {origin}" for origin, number in found.num_groups.items())
    given = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    console.print(plain(f"{found.reward}({given})  {found.home}\n{groups} groups{'; ' + judge if judge else ''}\n"))
    console.print(_statuses(found))
    if found.values:
        console.print(_values(found))
        console.print(_histogram(found))
    if found.failures:
        _show_failures(console, found)
    for note in found.notes:
        console.print(plain(f"note: {note}"))
    console.print()
    for fault in found.faults:
        console.print(plain(f"would break training  {fault.kind}: {fault.message}", "bold red"))
    if not found.faults:
        console.print(plain("nothing found that would break training", "bold green"))


def plain(text: str, style: str = "") -> Text:
    """Text as it stands, without markup; control characters other than line breaks are shown as a replacement
    character."""
    return Text("".join(char if char == "\n" or char.isprintable() else "\ufffd" for char in text), style=style)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left", no_wrap=True)
    return table


def _statuses(found: Report) -> Table:
    table = _table("completions by answer type", "", "ok", "abstain", "error", "timeout")
    table.add_column(no_wrap=True, overflow="ellipsis")
    for kind, counts in sorted(found.statuses.items()):
        said = plain(f"not for it: {found.not_for_reasons[kind]}"[:90]) if kind in found.not_for else ""
        table.add_row(kind, *(str(counts.get(status, 0)) for status in ("ok", "abstain", "error", "timeout")), said)
    return table


def _values(found: Report) -> Table:
    table = _table("\nwhat it pays", "")
    table.add_column()
    low_high = "anything" if found.range is None else f"{found.range[0]:g} to {found.range[1]:g}"
    values = found.values
    spread = (
        f"{values['least']:g} to {values['greatest']:g}, mean {values['mean']:.3f}, {values['distinct']:g} distinct"
        f" values (allowed: {low_high})"
    )
    table.add_row("values", spread)
    for origin, share in found.signal.items():
        if share is not None:
            table.add_row(f"groups with a signal, {origin}", f"{share:.0%}")
    for name, mean in found.paid.items():
        table.add_row(f"mean of {name} completions", f"{mean:.3f}")
    seconds = found.seconds
    table.add_row(
        "seconds",
        f"median {seconds['median']:.5f}, p95 {seconds['p95']:.5f}, {seconds['per_1000']:.2f} for 1,000 completions",
    )
    return table


def _histogram(found: Report) -> Table:
    table = _table("\nvalues", "from", "to", "completions")
    table.add_column()
    most = max(count for _, _, count in found.histogram)
    for low, high, count in found.histogram:
        bar = "█" * round(BAR * count / most) or ("▏" if count else "")
        table.add_row(f"{low:.3f}", f"{high:.3f}", str(count), bar)
    return table


def _show_failures(console: Console, found: Report) -> None:
    console.print(plain("\nfailures", "italic"))
    for failure in found.failures[:SHOWN_FAILURES]:
        console.print(
            plain(f"{failure['count']:>5} {failure['status']}: {failure['reason']} (first on {failure['sample']})")
        )
    if len(found.failures) > SHOWN_FAILURES:
        console.print(plain(f"      and {len(found.failures) - SHOWN_FAILURES} more kinds (--json shows all)"))
    told = next((failure["traceback"] for failure in found.failures if failure["traceback"]), "")
    # A type that the reward is not for fails on purpose; its traceback tells nothing.
    if told and any(fault.kind.startswith(("fails", "applies")) for fault in found.faults):
        console.print(plain("\n" + told.rstrip()))
