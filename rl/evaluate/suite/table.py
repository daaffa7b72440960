"""What an evaluation on benchmarks found, in a terminal: every score beside the best that was earned without looking.
Nothing is computed here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from rl.evaluate.suite.numbers.published import reasons
from rollouts.terminal import open_console, plain, table

# A mark on a score that blindness may have earned.
BLIND_MARK = "(blind)"
NAMES = {
    "chance": "chance", "majority": "majority answer", "options_only": "options only",
    "question_only": "question only", "question_exact": "question only, exact words", "constant": "constant report",
    "frequent": "most frequent report", "nearest": "report of the nearest image", "blank": "image blanked",
    "swapped": "image swapped", "text_only": "text only",
}  # fmt: skip


def print_summary(summary: Mapping[str, Any], console: Console | None = None) -> None:
    """Print an evaluation."""
    console = console or open_console()
    records = summary["benchmarks"]
    rows = [row for one in records for row in _headlines(one)]
    columns = ["benchmark", "items", "score", "official", "best blind", "seen from", "not judged"]
    if not any(row[-1] for row in rows):  # a column that 80 characters have no room for
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    console.print(table(f"{summary.get('model', 'a model')} in %", columns, rows))
    if summary.get("macro"):
        console.print(f"mean of the accuracies: {_with_interval(summary['macro'])}")
    for one in records:
        print_metrics(one, console)
        print_baselines(one, console)
        print_probes(one, console)
    print_published(records, console)
    for line in _notes(records):
        console.print(plain(line), soft_wrap=True)


def _headlines(one: Mapping[str, Any]) -> list[Sequence[str | Text]]:
    rows: list[Sequence[str | Text]] = []
    if one["clean"] is not None:
        name = one["name"] if one["headline"] == "accuracy" else f"{one['name']} {one['headline']}"
        official = _percent(one["official"]["value"])
        rows.append(_headline(name, one, one["clean"], official, one.get("detectable")))
    if reports := one.get("reports"):
        name = f"{one['name']} {reports['headline']}"
        rows.append(_headline(name, reports, reports["score"], "", None))
    return rows


def _headline(
    name: str, one: Mapping[str, Any], score: Mapping[str, Any], official: str, least: Mapping[str, float] | None
) -> Sequence[str | Text]:
    best = one.get("best_blind")
    marked = one.get("touches_blind", False)
    return (
        name,
        f"{score['num_items']:,}",
        in_two(_with_interval(score), f" {BLIND_MARK}" if marked else "", "bold red" if marked else ""),
        official,
        f"{NAMES.get(best['name'], best['name'])}\n{_percent(best['value'])}" if best else "none",
        f"{100 * least['0.2']:.1f}" if least else "",
        str(score["num_unscored"]) if score["num_unscored"] else "",
    )


def print_metrics(one: Mapping[str, Any], console: Console) -> None:
    """The metrics of a benchmark of reports, each on its own scale beside what one report for every study earns; or why
    one is not computed."""
    metrics = (one.get("reports") or {}).get("metrics") or {}
    rows = [(name, _value(metric), _number(metric.get("constant"))) for name, metric in metrics.items()]
    if rows:
        console.print(
            table(f"{one['name']}: metrics, on their own scale", ("metric", "value", "constant report"), rows)
        )
    for name, metric in metrics.items():
        if metric["value"] is None:
            console.print(
                plain(f"{one['name']}: {name} {metric.get('not_computed') or 'is not defined'}"), soft_wrap=True
            )


def _value(metric: Mapping[str, Any]) -> str:
    ends = "" if metric["low"] is None else f" ({_number(metric['low'])} to {_number(metric['high'])})"
    unjudged = f", {metric['num_unscored']:,} not judged" if metric.get("num_unscored") else ""
    return f"{_number(metric['value'])}{ends}{unjudged}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def print_baselines(one: Mapping[str, Any], console: Console) -> None:
    """The baselines of one benchmark beside its score."""
    for part in (one, one.get("reports") or {}):
        baselines = part.get("baselines") or {}
        rows = [
            (NAMES.get(name, name), _with_interval(blind["score"]), _difference(blind["difference"]))
            for name, blind in baselines.items()
        ]
        if rows:
            console.print(
                table(f"{one['name']}: earned without looking", ("baseline", "score", "model minus it"), rows)
            )


def print_probes(one: Mapping[str, Any], console: Console) -> None:
    """Each probe as a difference to the same items as they are."""
    for part in (one, one.get("reports") or {}):
        rows = [
            (
                name, f"{probe['score']['num_items']:,}",
                f"{_percent(probe['score']['value'])} / {_percent(probe['plain']['value'])}",
                in_two(_difference(probe["difference"])),
                in_two(_with_interval(probe["retained"])) if probe["retained"] else "",
                _percent(probe["changed"]["value"]),
            )
            for name, probe in (part.get("probes") or {}).items()
        ]  # fmt: skip
        if rows:
            columns = ("probe", "items", "probed / plain", "difference", "retained", "changed")
            console.print(table(f"{one['name']}: probes", columns, rows))


def not_judged(one: Mapping[str, Any]) -> str:
    """What is to be said of completions without a verdict; "" where each has one."""
    record = one.get("unjudged") or {"num_completions": 0}
    if not record["num_completions"]:
        return ""
    return (
        f"{record['num_completions']:,} completions have no verdict and are in no mean, such as: {record['such_as']}."
        " The same command with resume=true asks a judge that failed once more, and not the model"
    )


def print_published(records: Sequence[Mapping[str, Any]], console: Console) -> None:
    """The numbers that others print, each beside the one here and what blindness earns, and why the two may not be
    compared."""
    entries = [(one["name"], row) for one in records for row in one.get("published") or ()]
    for source in dict.fromkeys(title_of(row["source"]) for _, row in entries):
        rows = [_published(name, row) for name, row in entries if title_of(row["source"]) == source]
        columns = ("benchmark", "here", "best blind", "printed", "not above blind", "comparable")
        console.print(table(f"{source} beside these numbers, in %", columns, rows))
    for one in records:
        for why, metrics in reasons(one.get("published") or ()).items():
            console.print(plain(f"{one['name']} {', '.join(metrics)}: not comparable, {why}"), soft_wrap=True)


def title_of(source: str) -> str:
    """The table that a reference is a column of: "Fleming-VL, Table 4" of "Fleming-VL, Table 4 (CIDEr)"."""
    return source.partition(" (")[0]


def _published(name: str, row: Mapping[str, Any]) -> Sequence[str | Text]:
    metric = [] if row["metric"] == "accuracy" else [f"{row['metric']} {row['as_in']}".strip()]
    return (
        "\n".join([name, *metric]),
        row["reason"] if row["here"]["value"] is None else in_two(_with_interval(row["here"])),
        "" if row["blind"] is None else _percent(row["blind"]),
        f"{row['lowest']:g} to {row['highest']:g}",
        "" if row["num_blind"] is None else f"{row['num_blind']} of {row['num']}",
        "yes" if row["comparable"] else "no",
    )


def _of_groups(one: Mapping[str, Any]) -> list[str]:
    """What the benchmark's own groups say, in sentences."""
    groups = one.get("groups")
    if not groups:
        return []
    lines = [f"{one['name']}: all of a group right in {_with_interval(groups['all_right'])} % of the groups"]
    if confused := groups["confused"]:
        lines.append(
            f"{one['name']}: the same answer to both of a pair in {_with_interval(confused)} % of"
            f" {groups['num_pairs']:,} pairs ({groups['num_unread']:,} could not be read)"
        )
    return lines


def _notes(records: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = [
        "95 % intervals over images (or what the card's cluster names). score: items whose gold is not in doubt, each"
        " once; official: every row, as its authors count it. seen from: the difference of two models that this set"
        " tells in 80 of 100 cases where they differ on a fifth of it, in points."
    ]
    for one in records:
        if one.get("touches_blind", False):
            best = one["best_blind"]
            lines.append(
                f"{one['name']}: the interval reaches {NAMES.get(best['name'], best['name'])}"
                f" ({_percent(best['value'])}), so the score does not show that anything was seen."
            )
        lines += _of_groups(one)
        if note := not_judged(one):
            lines.append(f"{one['name']}: {note}")
        lines += [f"{one['name']}: {mismatch}" for mismatch in one["mismatches"]]
        if one["num_asked"] + len(one["unusable"]) < one["num_rows"]:
            lines.append(f"{one['name']}: {one['num_asked']:,} of {one['num_rows']:,} rows were asked")
        lines += [f"{one['name']}: {overlap}" for overlap in one["overlap"] if not overlap.startswith("0 of")]
        lines += [f"{one['name']}: no baseline {name}, {why}" for name, why in one["not_computed"].items()]
        lines += (
            [f"{one['name']}: {len(one['refused']):,} items were refused and have no value"] if one["refused"] else []
        )
    return lines


def _percent(share: float | None) -> str:
    return "not computed" if share is None else f"{100 * share:.1f}"


def _with_interval(score: Mapping[str, Any]) -> str:
    if score["value"] is None:
        return "none judged"
    ends = "" if score["low"] is None else f" ({100 * score['low']:.1f}-{100 * score['high']:.1f})"
    return f"{100 * score['value']:.1f}{ends}"


def in_two(text: str, mark: str = "", style: str = "") -> Text:
    """A value with its interval on a line below it, so that a table of many columns has room in 80 characters."""
    value, _, ends = text.partition(" (")
    ends, _, verdict = ends.partition(") ")
    lines = (f"{value} {verdict}".strip() + mark, *([f"({ends.rstrip(')')})"] if ends else []))
    return Text("\n").join(plain(line, style) for line in lines)


def _difference(difference: Mapping[str, Any]) -> str:
    if difference["value"] is None:
        return ""
    ends = "" if difference["low"] is None else f" ({100 * difference['low']:+.1f} to {100 * difference['high']:+.1f})"
    return f"{100 * difference['value']:+.1f}{ends} {difference['verdict']}"


def print_curve(curve: Mapping[str, Any], console: Console | None = None) -> None:
    """Print the headline of every benchmark over models."""
    console = console or open_console()
    names = list(dict.fromkeys(name for point in curve["points"] for name in point["scores"]))
    rows = [
        (point["label"], *(_with_interval(point["scores"][name]) if name in point["scores"] else "" for name in names))
        for point in curve["points"]
    ]
    console.print(table("headlines in %", ("model", *names), rows))
