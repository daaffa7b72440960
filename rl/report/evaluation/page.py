"""report.html of an evaluation's folder: one file without scripts or network that opens at once, however many items
were asked. Nothing a model wrote becomes markup."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import Any

from rl.evaluate.suite.table import NAMES, not_judged
from rl.report.evaluation.flips import Compared, compare_folders, summary_of
from rl.report.evaluation.numbers import Headline, foreign, headlines, methods, tables
from rl.report.templating import REPORT, environment
from rollouts.store.disk import write_atomically


def write_evaluation_report(folder: Path, against: Path | None = None) -> Path:
    """Build the page of an evaluation, beside another model where `against` names its folder; returns its path.

    The difference is this model minus the other.

    Raises:
        StoreError: a summary or rows cannot be read. DiskFull: there is no room; an older report stays.
    """
    summary = summary_of(folder)
    other = summary_of(against) if against is not None else None
    compared = compare_folders(against, folder) if against is not None else []
    page = environment().get_template("evaluation.html").render(view(summary, other, compared, folder, against))
    path = folder / REPORT
    write_atomically(path, page.encode("utf-8", "backslashreplace"))
    return path


def view(
    summary: Mapping[str, Any],
    other: Mapping[str, Any] | None,
    compared: Sequence[Compared],
    folder: Path,
    against: Path | None,
) -> dict[str, Any]:
    """What the template shows, texts raw."""
    theirs = {(one.name, one.metric): one for one in headlines(other)} if other else {}
    flips = {one.name: one for one in compared}
    rows = [_row(one, theirs.get((one.name, one.metric)), flips.get(one.name)) for one in headlines(summary)]
    return {
        "name": folder.resolve().name,
        "summary": summary,
        "other": other,
        "rows": rows,
        "macro": summary.get("macro"),
        "benchmarks": [_benchmark(one, flips.get(one["name"])) for one in summary["benchmarks"]],
        "methods": methods(summary, compared),
        "look": f"python -m rollouts.view {quote(str(folder))}",
        "look_both": f"python -m rollouts.view {quote(str(against))} {quote(str(folder))}" if against else "",
        "names": NAMES,
    }


def _row(one: Headline, other: Headline | None, compared: Compared | None) -> dict[str, Any]:
    return {
        "name": one.name,
        "title": one.title,
        "metric": one.metric,
        "scale": one.scale,
        "score": one.score,
        "other": other.score if other else None,
        "ticks": [{"name": name, "at": made["value"] / one.scale} for name, made in one.blind.items()],
        "best": one.best,
        "touches": one.touches,
        "compared": compared,
    }


def _benchmark(one: Mapping[str, Any], compared: Compared | None) -> dict[str, Any]:
    parts = [part for part in (one if one.get("clean") else None, one.get("reports")) if part]
    missing = {name: one.get(name) for name in ("clean", "official", "reports", "sampled", "groups")}
    return {
        **one,
        **missing,
        "notes_of": _notes(one),
        "baselines_of": [
            (NAMES.get(name, name), made) for part in parts for name, made in (part.get("baselines") or {}).items()
        ],
        "probes_of": [(name, made) for part in parts for name, made in (part.get("probes") or {}).items()],
        "metrics_of": [
            (name, made, made.get("direction") == -1)  # RadCliQ counts errors, and not in hundredths of anything
            for part in parts
            for name, made in (part.get("metrics") or {}).items()
        ],
        "foreign": foreign(one),
        "tables_of": tables(one),
        "strata_of": [
            (name, value, made)
            for name, values in (one.get("strata") or {}).items()
            for value, made in values.items()
            if made["value"] is not None
        ],
        "compared": compared,
    }


def _notes(one: Mapping[str, Any]) -> list[str]:
    """What a reviewer must know of a benchmark before its number."""
    notes = [*one["mismatches"], *one["overlap"]]
    if one["num_asked"] + len(one["unusable"]) < one["num_rows"]:
        notes.append(f"{one['num_asked']:,} of {one['num_rows']:,} rows were asked, so this is a subset")
    if one["unusable"]:
        notes.append(f"{len(one['unusable']):,} rows cannot be asked; official counts them wrong")
    if one["refused"]:
        notes.append(f"{len(one['refused']):,} items were refused by the processor or the engine and have no value")
    if note := not_judged(one):
        notes.append(note)
    notes += [f"no baseline {NAMES.get(name, name)}: {why}" for name, why in one["not_computed"].items()]
    return notes
