"""`report.html`: what a run learned, as one file that opens anywhere, without a server, a network or a script. Written
at the end of a run;
`python -m rl.report RUN` writes it for a run that is going on or was interrupted.

Reads only what the run's folder holds (config.yaml, metrics.jsonl, summary.json, rollouts), whatever of it is there
yet. Model text is escaped by the template engine, and a content security policy in the page forbids everything but its
own style and pictures.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from rl.config.controls import TAKEN_AWAY
from rl.evaluate.ways import WAYS
from rl.report.charts import Series, area_chart, line_chart
from rl.report.evaluation.of_run import write_evaluations
from rl.report.groups import choose_groups, describe_group
from rl.report.stages import stages_of
from rl.report.templating import REPORT, environment
from rl.run.folder import CONFIG, GAINS, SUMMARY
from rl.run.progress import duration
from rl.run.tracking import read_metrics
from rollouts.store.disk import write_atomically

Metrics = Sequence[Mapping[str, float | None]]

# Title, what it means in one sentence, (metric, name, colour) of each line, how values are written, bounds.
_CURVES: tuple[tuple[str, str, tuple[tuple[str, str, str], ...], str, tuple[float, float] | None], ...] = (
    ("Reward", "Mean over the valid completions of a step.", (("reward", "reward", "--blue"),), "{:.2f}", None),
    ("Accuracy", "Share of the sampled answers that are right, by answer type.", (), "{:.0%}", (0.0, 1.0)),
    (
        "Held-out accuracy",
        "Quick greedy subset (eval.every_steps); step 0 is the SFT model.",
        (("eval/accuracy", "held-out", "--blue"),),
        "{:.0%}",
        (0.0, 1.0),
    ),
    ("KL to the SFT model", "k3 estimate, mean over tokens.", (("kl", "kl", "--blue"),), "{:.3g}", None),
    ("Length", "Mean tokens of a completion.", (("completions/mean_length", "tokens", "--blue"),), "{:.3g}", None),
    ("Entropy", "Of the policy, nats a token.", (("entropy", "entropy", "--blue"),), "{:.2f}", None),
    (
        "Format",
        "Share of completions with exactly the four tags.",
        (("completions/format_rate", "format", "--blue"),),
        "{:.0%}",
        (0.0, 1.0),
    ),
    (
        "Gradient norm",
        "Before clipping, mean over the updates of a step.",
        (("grad_norm", "norm", "--blue"),),
        "{:.3g}",
        None,
    ),
    (
        "Engine against policy",
        "Mean |difference| of log-probs on the same tokens.",
        (("rollout_corr/logprob_abs_diff_mean", "difference", "--blue"),),
        "{:.3g}",
        None,
    ),
)
_GROUP_AREAS = (
    ("by_group/frac_all_bad", "all wrong", "--red"),
    ("by_group/frac_mixed", "mixed", "--grey"),
    ("by_group/frac_all_good", "all right", "--blue"),
)
_KIND_COLOURS = ("--blue", "--orange", "--aqua", "--violet", "--yellow")


def write_report(run_dir: Path | str) -> Path:
    """Build `report.html` from what the run's folder holds; returns its path. A run that is going on or was interrupted
    gets a report too.

    Raises:
        DiskFull: there is no room; an older report stays.
    """
    run_dir = Path(run_dir)
    metrics = read_metrics(run_dir)
    # Step 0 is the SFT model, which no step made.
    num_steps = sum(bool(line["step"]) for line in metrics)
    summary = _read(run_dir / SUMMARY, json.loads)
    groups, troubles = choose_groups(run_dir)
    evaluations = write_evaluations(run_dir, troubles)
    page = (
        environment()
        .get_template("report.html")
        .render(
            name=run_dir.resolve().name,
            config=_read(run_dir / CONFIG, yaml.safe_load),
            summary=summary,
            num_steps=num_steps,
            tiles=_tiles(metrics, summary, num_steps),
            curves=_curves(metrics),
            seconds=_seconds(metrics, num_steps),
            comparison=_comparison(summary),
            gains=_gains(_read(run_dir / GAINS, json.loads)),
            stages=stages_of(run_dir),
            evaluations=evaluations,
            groups=[describe_group(group) for group in groups],
            troubles=troubles,
        )
    )
    path = run_dir / REPORT
    write_atomically(path, page.encode())
    return path


def _read(path: Path, parse: Callable[[str], Any]) -> dict[str, Any]:
    return (parse(path.read_text()) or {}) if path.exists() else {}


def _points(metrics: Metrics, name: str) -> list[tuple[float, float]]:
    pairs = ((line["step"], line.get(name)) for line in metrics)
    return [(float(step), float(value)) for step, value in pairs if step is not None and value is not None]


def _tiles(metrics: Metrics, summary: Mapping[str, Any], num_steps: int) -> list[dict[str, str]]:
    """The numbers on top: held-out accuracy if there is a summary, else the state of training."""
    tiles: list[dict[str, str]] = []
    for mode in ("greedy", "sampled"):
        row = summary.get("comparison", {}).get(mode, {}).get("all")
        if row:
            change = f"{100 * row['difference']:+.1f} points on the SFT model's {row['sft']['accuracy']:.1%}"
            tiles.append({"label": f"held-out, {mode}", "value": f"{row['grpo']['accuracy']:.1%}", "note": change})
    for name, label, form in (
        ("reward", "reward", "{:.3f}"),
        ("completions/format_rate", "format rate", "{:.0%}"),
        ("kl", "KL to SFT", "{:.4f}"),
    ):
        points = _points(metrics, name)
        if points:
            note = f"at step {points[-1][0]:g}; first step {form.format(points[0][1])}"
            tiles.append({"label": label, "value": form.format(points[-1][1]), "note": note})
    completions = sum(value for _, value in _points(metrics, "num_completions"))
    seconds = summary.get("seconds")
    if completions:
        tiles.append({"label": "completions", "value": f"{completions:,.0f}", "note": f"in {num_steps} steps"})
    if seconds:
        tiles.append({"label": "wall time", "value": duration(seconds), "note": "SFT, GRPO and evaluation"})
    return tiles


def _curves(metrics: Metrics) -> list[dict[str, Any]]:
    """Title, note, legend and drawing of each curve that has a point."""
    kinds = sorted({name for line in metrics for name in line if name.startswith("accuracy/")})
    by_kind = [
        (name, name.removeprefix("accuracy/"), colour) for name, colour in zip(kinds, _KIND_COLOURS, strict=False)
    ]
    curves = []
    for title, note, lines, form, bounds in _CURVES:
        wanted = lines or (by_kind if len(by_kind) > 1 else [("accuracy", "accuracy", "--blue")])
        series = [Series(label, points, colour) for name, label, colour in wanted if (points := _points(metrics, name))]
        if series:
            chart = line_chart(series, form.format, bounds=bounds)
            legend = [(one.name, one.colour) for one in series] if len(series) > 1 else []
            curves.append(
                {"title": title, "note": note, "last": _last(metrics, lines, form), "legend": legend, "chart": chart}
            )
    areas = [Series(label, _points(metrics, name), colour) for name, label, colour in _GROUP_AREAS]
    if areas[0].points and len({len(one.points) for one in areas}) == 1:
        chart = area_chart(areas, "{:.0%}".format)
        legend = [(one.name, one.colour) for one in areas]
        note = "Only mixed groups carry a gradient of the reward."
        curves.append({"title": "Groups", "note": note, "last": "", "legend": legend, "chart": chart})
    return curves


def _last(metrics: Metrics, lines: Sequence[tuple[str, str, str]], form: str) -> str:
    points = _points(metrics, lines[0][0] if lines else "accuracy")
    return form.format(points[-1][1]) if points else ""


def _seconds(metrics: Metrics, num_steps: int) -> dict[str, Any]:
    """Mean seconds of each part of a step, the longest first, and what no part accounts for. The quick evaluations,
    which only some steps have, come on top and are spread over all of them."""
    names = {name for line in metrics for name in line if name.startswith("timing_s/")}
    means = {
        name.removeprefix("timing_s/"): math.fsum(value for _, value in _points(metrics, name)) / max(num_steps, 1)
        for name in names
    }
    evaluation = means.get("eval", 0.0)
    step = means.pop("step", None)
    whole = step + evaluation if step else sum(means.values())
    if not whole:
        return {}
    parts = sorted(((name, value) for name, value in means.items() if value > 0), key=lambda part: -part[1])
    rest = whole - sum(value for _, value in parts)
    if rest > 0.005 * whole:
        parts.append(("other", rest))
    return {
        "whole": whole,
        "parts": [{"name": name, "seconds": value, "share": min(1.0, value / whole)} for name, value in parts],
    }


def _evidence(row: Mapping[str, Any]) -> str:
    """The interval of a difference and what it could have shown, in words; "" for a run of an earlier version."""
    low, high, detectable = (row.get(name) for name in ("difference_low", "difference_high", "detectable"))
    words = [] if low is None or high is None else [f"95 % interval {100 * low:+.1f} to {100 * high:+.1f} points"]
    words += [f"a true difference of {100 * detectable:.1f} is found in 80 % of such sets"] if detectable else []
    return "; ".join([*words, row["test"]]) if words else ""


def _comparison(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """For each way of asking the rows of the SFT-versus-GRPO table, as `rl.evaluate.comparison.compare` made them."""
    comparison, baseline = summary.get("comparison", {}), summary.get("majority_baseline", {})
    tables = []
    for mode, label in WAYS.items():
        rows = [
            {
                **row,
                "name": name,
                "worse": f"{mode}/{name}" in comparison.get("worse", []),
                "baseline": baseline.get(name, {}).get("accuracy"),
                "verdict": row.get("verdict", ""),  # a run of an earlier version has none
                "told": _evidence(row),
            }
            for name, row in comparison.get(mode, {}).items()
        ]
        if rows:
            tables.append({"mode": mode, "label": label, "rows": rows})
    return tables


def _gains(gains: Mapping[str, Any]) -> list[dict[str, Any]]:
    """For each way of asking the rows of gains over the SFT model and over the controls, as `rl.compare.gains` made
    them, with the place of each on an axis that holds all of them."""
    controls = {one["name"]: one["control"] for one in gains.get("folders", ()) if one["control"] != "none"}
    tables = []
    for mode, label in WAYS.items():
        rows = [row for row in gains.get(mode, {}).get("rows", ()) if row["value"] is not None]
        ends = [abs(row[name]) for row in rows for name in ("value", "low", "high") if row[name] is not None]
        widest = max([0.01, *ends])
        for row in rows:
            row["places"] = {
                name: 50 + 50 * row[name] / widest for name in ("value", "low", "high") if row[name] is not None
            }
            taken = TAKEN_AWAY.get(controls.get(row["over"], controls.get(row["of"], "")), "")
            row["why"] = f"this control takes away {taken}" if taken else ""
        if rows:
            tables.append({"label": label, "rows": rows, "widest": widest})
    return tables
