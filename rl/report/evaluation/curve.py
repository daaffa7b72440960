"""The page of several models on the same benchmarks, such as checkpoints of one run: scores with intervals in the order
of the models, each linked to its own page, and the paired difference to the first."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from shlex import quote as shell_quote
from typing import Any
from urllib.parse import quote

from rl.data.sets import UnusableData
from rl.evaluate.suite.comparing import compare
from rl.evaluate.suite.curve import CURVE
from rl.report.charts import Series, line_chart
from rl.report.evaluation.flips import summary_of
from rl.report.evaluation.numbers import headlines
from rl.report.templating import REPORT, environment
from rollouts.store.disk import write_atomically
from rollouts.store.layout import DamagedStore

_STEP = re.compile(r"step_0*(\d+)")


def write_curve_report(folder: Path) -> Path:
    """Build the page of a folder with curve.json; returns its path.

    Raises:
        StoreError: curve.json, a summary or rows cannot be read. DiskFull: there is no room.
    """
    try:
        labels = [point["folder"] for point in json.loads((folder / CURVE).read_text(encoding="utf-8"))["points"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedStore(f"{folder / CURVE} cannot be read: {' '.join(str(error).split())[:200]}") from None
    summaries = {label: summary_of(folder / label) for label in labels}
    changes, reason = _changes(folder, labels)
    page = environment().get_template("curve.html").render(
        name=folder.resolve().name,
        models=labels,
        compare=" ".join(["python -m rl.compare", *(shell_quote(str(folder / label)) for label in labels)]),
        benchmarks=_benchmarks(summaries, changes),
        reason=reason,
    )  # fmt: skip
    path = folder / REPORT
    write_atomically(path, page.encode("utf-8", "backslashreplace"))
    return path


def _changes(folder: Path, labels: Sequence[str]) -> tuple[dict[str, Mapping[str, Any]], str]:
    """Model -> benchmark -> its difference to the first model; or why they are not compared."""
    if len(labels) < 2:
        return {}, ""
    try:
        comparison = compare([folder / label for label in labels])
    except UnusableData as error:
        return {}, str(error)
    made: dict[str, Mapping[str, Any]] = {}
    for label, other in zip(labels[1:], comparison["others"], strict=True):
        made[label] = {name: one["difference"] for name, one in other["benchmarks"].items()}
    return made, ""


def _benchmarks(
    summaries: Mapping[str, Mapping[str, Any]], changes: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Each headline over the models that have it, with a chart where the models are steps of a run."""
    benchmarks: dict[tuple[str, str], dict[str, Any]] = {}
    for label, summary in summaries.items():
        for one in headlines(summary):
            about = {"title": one.title, "metric": one.metric, "scale": one.scale, "rows": []}
            rows = benchmarks.setdefault((one.name, one.metric), about)["rows"]
            rows.append(
                {
                    "label": label,
                    "address": f"{quote(label)}/{REPORT}#b-{one.name}",
                    "score": one.score,
                    "best": one.best,
                    "touches": one.touches,
                    "change": changes.get(label, {}).get(one.name),
                }
            )
    return [{**one, "chart": _chart(one)} for one in benchmarks.values()]


def _chart(one: Mapping[str, Any]) -> str | None:
    steps = [_STEP.fullmatch(row["label"]) for row in one["rows"]]
    points = [
        (float(step[1]), row["score"]["value"])
        for step, row in zip(steps, one["rows"], strict=True)
        if step and row["score"]["value"] is not None
    ]
    if len(points) < 2 or len(points) < len(steps):
        return None
    return line_chart([Series(one["title"], sorted(points), "--blue")], "{:.0%}".format, bounds=(0.0, one["scale"]))
