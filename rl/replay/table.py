"""The report of a replay as tables in the terminal. Names and ids of a run are shown as text, whatever characters they
hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from rollouts.terminal import open_console, plain, table

_SHOWN_FLIPS = 20
_TITLE = (
    "what each reward paid: completions scored both times, share of equal values, means, flips up and down, changes of"
    " status"
)


def print_report(report: Mapping[str, Any], console: Console | None = None) -> None:
    """Print what `rl.replay.report.summarize` and its caller put together."""
    console = console or open_console()
    console.print(_rewards(report))
    for line in _lines(report):
        console.print(plain(line))
    if report.get("variance"):
        console.print(_variance(report["variance"], report["times"]))
    if report["flips"]:
        console.print(_flips(report["flips"]))


def _rewards(report: Mapping[str, Any]) -> Table:
    rows = []
    for name, one in [*report["rewards"].items(), ("total", {"flips_up": "", "flips_down": "", **report["total"]})]:
        changes = ", ".join(f"{change} {count}" for change, count in one.get("status_changes", {}).items())
        means = (_number(one["mean_before"]), _number(one["mean_after"]), _number(one["mean_shift"], "+.4f"))
        flips = (str(one["flips_up"]), str(one["flips_down"]))
        rows.append((name, str(one["num_both"]), _share(one["agreement"]), *means, *flips, changes))
    return table(_TITLE, ("reward", "both", "equal", "before", "after", "shift", "up", "down", "status"), rows)


def _lines(report: Mapping[str, Any]) -> Iterator[str]:
    groups, advantages, judge = report["groups"], report["advantages"], report["judge"]
    yield (
        f"identical: {report['num_identical']} of {report['num_completions']} completions"
        f" ({_share(report['share_identical'])}) in every value, status, total and advantage"
    )
    yield (
        f"groups: of {groups['num_groups']}, {groups['order_changed']} in another order and {groups['best_changed']}"
        f" with another best; mean Kendall tau-b {_number(groups['mean_kendall_tau'])} over {groups['num_ranked']} that"
        f" rank anything; signal lost in {groups['signal_lost']}, gained in {groups['signal_gained']}"
    )
    yield (
        f"advantages: {advantages['num_changed']} changed, by {_number(advantages['mean_absolute_change'])} on average"
        f" over all, {advantages['sign_changes']} to the other sign; {advantages['newly_trained']} newly trained on,"
        f" {advantages['no_longer_trained']} no longer"
    )
    yield (
        f"judge: {judge.get('judge/calls', 0):.0f} calls, {judge.get('judge/tokens', 0):.0f} tokens, cost"
        f" {judge.get('judge/cost_total', 0.0):.4f}; {judge.get('judge/by_cache', 0):.0f} verdicts from the cache"
    )
    yield from (f"left out: {problem}" for problem in report["problems"])


def _variance(variance: Mapping[str, Mapping[str, Any]], times: int) -> Table:
    rows = [
        (
            name,
            str(one["num_completions"]),
            _share(one["share_unanimous"]),
            _share(one["pair_agreement"]),
            _number(one["mean_std"]),
            str(one["num_unsettled"]),
        )
        for name, one in variance.items()
    ]
    columns = ("reward", "completions", "unanimous", "two agree", "mean std", "sometimes unscored")
    return table(f"judged {times} times, never from the cache", columns, rows)


def _flips(flips: list[Mapping[str, Any]]) -> Table:
    more = f", the first {_SHOWN_FLIPS}; all are in the report and in diff.parquet" if len(flips) > _SHOWN_FLIPS else ""
    rows = [
        (
            str(one["step"]),
            one["prompt_id"],
            str(one["sample_index"]),
            one["reward"],
            _number(one["before"], "g"),
            _number(one["after"], "g"),
        )
        for one in flips[:_SHOWN_FLIPS]
    ]
    return table(f"{len(flips)} flips{more}", ("step", "prompt", "completion", "reward", "before", "after"), rows)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}" if value < 1 else "100 %"


def _number(value: float | None, form: str = ".4f") -> str:
    return "-" if value is None else format(value, form)
