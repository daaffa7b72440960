"""What an evaluation found, as tables in a terminal. Numbers come from `rl/evaluate/comparison.py`; nothing is computed
here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, Group
from rich.table import Column, Table
from rich.text import Text

from rl.evaluate.asking import EvalResult
from rl.evaluate.comparison import measure, strata
from rl.evaluate.ways import MODES, WAYS
from rollouts.terminal import open_console, plain, table

# Rows below which a line is drawn.
_ENDS = ("all", "open")


def print_table(
    comparison: Mapping[str, Any],
    baseline: Mapping[str, Mapping[str, Any]] | None = None,
    console: Console | None = None,
) -> None:
    """Print the result of `compare`, with the majority-answer baseline where one is given."""
    console = console or open_console()
    modes = [mode for mode in MODES if mode in comparison]
    console.print(_summary(comparison, modes))
    for mode in (mode for mode in modes if mode != "blank"):
        console.print(_by_stratum(comparison, mode))
    if baseline or "blank" in comparison:
        console.print(_blind(comparison, baseline or {}))
    console.print(_notes(comparison, modes))


def _summary(comparison: Mapping[str, Any], modes: Sequence[str]) -> Table:
    rows = []
    for mode in modes:
        row = comparison[mode]["all"]
        rows.append(
            (
                WAYS[mode],
                _with_interval(row["sft"]),
                _with_interval(row["grpo"]),
                _change(row),
                _p(row["p_value"]),
                _verdict(row),
            )
        )
    columns = ("asked", "SFT", "GRPO", "change", "p", "verdict")
    title = f"SFT and GRPO model on the same {comparison['num_items']} held-out items, accuracy in %"
    return table(title, columns, rows)


def _by_stratum(comparison: Mapping[str, Any], mode: str) -> Table:
    rows: list[Sequence[str | Text] | None] = []
    for name, kind in _kinds({name: row["grpo"]["num_items"] for name, row in comparison[mode].items()}).items():
        row = comparison[mode][name]
        worse = f"{mode}/{name}" in comparison["worse"]
        rows.append(
            (
                kind,
                str(row["grpo"]["num_items"]),
                _with_interval(row["sft"]),
                _with_interval(row["grpo"]),
                plain(_signed(row["difference"]), "bold red" if worse else ""),
                _p(row["p_value"]),
                _verdict(row),
            )
        )
        rows += [None] if name in _ENDS else []
    columns = (_kind(), "items", "SFT", "GRPO", "change", "p", "verdict")
    return table(f"{WAYS[mode]}, by kind of item", columns, rows)


def _blind(comparison: Mapping[str, Any], baseline: Mapping[str, Mapping[str, Any]]) -> Table:
    blank = comparison.get("blank", {})
    first = next(comparison[mode] for mode in MODES if mode in comparison)
    counts = {name: row["grpo"]["num_items"] for name, row in first.items()}
    rows: list[Sequence[str | Text] | None] = []
    for name, kind in _kinds(counts).items():
        own = [_percent(blank[name][model]["accuracy"]) if name in blank else "" for model in ("sft", "grpo")]
        rows.append((kind, str(counts[name]), _percent(baseline[name]["accuracy"]) if name in baseline else "", *own))
        rows += [None] if name in _ENDS else []
    columns = (_kind(), "items", "majority answer", "SFT, image blanked", "GRPO, image blanked")
    return table("what blindness earns, by kind of item", columns, rows)


def _kinds(counts: Mapping[str, int]) -> dict[str, str]:
    """Name of each stratum -> how a table calls it: `modality/CT` is CT. A stratum of the items of another one, such as
    `answer_type/open`, is left out."""
    called: dict[str, str] = {}
    for name, count in counts.items():
        short = name.rpartition("/")[2]
        if short not in called.values():
            called[name] = short
        elif count != counts[next(other for other, known in called.items() if known == short)]:
            called[name] = name
    return called


def _kind() -> Column:
    """Names of kinds are not broken where a terminal is narrow: the intervals beside them are, behind the number."""
    return Column("kind", no_wrap=True)


def _notes(comparison: Mapping[str, Any], modes: Sequence[str]) -> Group:
    items, clusters = comparison["num_items"], comparison.get("num_clusters", comparison["num_items"])
    alone = "every item has its own image" if clusters == items else f"{items} items share {clusters} images or pairs"
    lines = [
        f"95 % intervals over clusters: {alone}, and an item sampled several times counts once. Change: paired"
        f" bootstrap; p: {_tests(comparison, modes)}. win / loss: the interval of the change lies above / below 0;"
        " tie (N): it does not, and a true difference of N points would have been found in 80 % of such comparisons."
    ]
    lines.append(f"Well-formed, SFT and GRPO: {', '.join(_format(comparison, mode) for mode in modes)} %.")
    for model in ("sft", "grpo"):
        unscored = sum(comparison[mode]["all"][model]["num_unscored"] for mode in modes)
        if unscored:
            lines.append(
                f"{unscored} completions of the {model.upper()} model could not be judged; they count neither as right"
                " nor as wrong."
            )
    if comparison["worse"]:
        lines.append(f"Worse by more than chance explains (Holm, 5 %): {', '.join(comparison['worse'])}")
    else:
        lines.append("No kind of item got worse by more than chance explains (Holm, 5 %).")
    return Group(*lines)


def _format(comparison: Mapping[str, Any], mode: str) -> str:
    row = comparison[mode]["all"]
    return f"{WAYS[mode]} {_percent(row['sft']['format_rate'])} and {_percent(row['grpo']['format_rate'])}"


def _change(row: Mapping[str, Any]) -> str:
    low, high = row.get("difference_low"), row.get("difference_high")
    interval = "" if low is None or high is None else f" ({_signed(low)} to {_signed(high)})"
    return _signed(row["difference"]) + interval


def _verdict(row: Mapping[str, Any]) -> str:
    detectable = row.get("detectable")
    return f"{row['verdict']} ({_percent(detectable)})" if detectable else row["verdict"]


def _tests(comparison: Mapping[str, Any], modes: Sequence[str]) -> str:
    return ", ".join(sorted({comparison[mode]["all"]["test"] for mode in modes}))


def print_one(
    result: EvalResult, baseline: Mapping[str, Mapping[str, Any]], console: Console | None = None
) -> dict[str, Any]:
    """Print one model alone; returns the numbers, way of asking -> stratum -> `measure`."""
    console = console or open_console()
    modes = [mode for mode in MODES if mode in result.answers]
    numbers: dict[str, Any] = {
        mode: {name: measure(result, mode, member) for name, member in strata(result.samples)} for mode in modes
    }
    rows: list[Sequence[str | Text] | None] = []
    kinds = _kinds({name: row["num_items"] for name, row in numbers[modes[0]].items()})
    for name, kind in kinds.items():
        row = numbers[modes[0]][name]
        cells = [_with_interval(numbers[mode][name]) for mode in modes]
        majority = _percent(baseline[name]["accuracy"]) if name in baseline else ""
        rows.append((kind, str(row["num_items"]), *cells, majority, _percent(row["format_rate"])))
        rows += [None] if name in _ENDS else []
    columns: tuple[str | Column, ...] = (_kind(), "items", *(WAYS[mode] for mode in modes), "majority", "format")
    console.print(table(f"{result.name} on {len(result.samples)} held-out items, accuracy in %", columns, rows))
    unscored = sum(numbers[mode]["all"]["num_unscored"] for mode in modes)
    if unscored:
        console.print(f"{unscored} completions could not be judged; they count neither as right nor as wrong.")
    return numbers


def _with_interval(row: Mapping[str, float]) -> str:
    return (
        f"{100 * row['accuracy']:.1f} ({100 * row['low']:.1f}-{100 * row['high']:.1f})"
        if row["num_items"]
        else "none judged"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _signed(share: float) -> str:
    return f"{100 * share:+.1f}"


def _p(value: float) -> str:
    return "<0.001" if value < 0.001 else f"{value:.3f}"
