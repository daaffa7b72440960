"""Gains as tables in a terminal. Numbers come from `rl/compare/gains.py`; nothing is computed here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console, Group

from rl.evaluate.ways import MODES, WAYS
from rollouts.terminal import open_console, plain, table

NOTE = (
    "95 % intervals and p values over clusters (items that share an image or a pair), paired by item; win and loss by"
    " the interval; Holm over the rows of a table. A gain counts as far as no control makes it, too: read the rows"
    " `over` a control. A tie says nothing below the difference that could be seen."
)


def print_gains(gains: Mapping[str, Any], console: Console | None = None) -> None:
    """Print what `gains` found, a table for each way of asking."""
    console = console or open_console()
    for mode in (mode for mode in MODES if mode in gains):
        part = gains[mode]
        accuracies = ", ".join(f"{name} {_accuracy(one)}" for name, one in part["models"].items())
        title = f"{WAYS[mode]}, {gains['num_items']} held-out items"
        rows = [
            (
                _what(row),
                plain(_signed(row), "bold" if row["significant"] else ""),
                _p(row["p_value"]),
                _p(row["p_holm"]),
                row["verdict"],
                "" if row["detectable"] is None else f"{100 * row['detectable']:.1f}",
            )
            for row in part["rows"]
        ]
        columns = ("gain", "points (95 %)", "p", "p Holm", "verdict", "could be seen")
        console.print(Group(table(title, columns, rows), plain(f"accuracy in %: {accuracies}")))
    console.print(plain(NOTE))


def _what(row: Mapping[str, Any]) -> str:
    return f"{row['of']} over {row['over']}" + (" (what the control gains)" if row["kind"] == "control" else "")


def _accuracy(one: Mapping[str, Any]) -> str:
    if one["value"] is None:
        return "none judged"
    return f"{100 * one['value']:.1f} ({100 * one['low']:.1f}-{100 * one['high']:.1f})"


def _signed(row: Mapping[str, Any]) -> str:
    if row["value"] is None:
        return "no item has both"
    interval = "" if row["low"] is None else f" ({100 * row['low']:+.1f} to {100 * row['high']:+.1f})"
    return f"{100 * row['value']:+.1f}{interval}"


def _p(value: float | None) -> str:
    if value is None:
        return ""
    return "<0.001" if value < 0.001 else f"{value:.3f}"
