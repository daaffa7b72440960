"""The stages of a run as its report shows them: what each added on the same held-out items, and its curve."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rl.report.charts import Series, line_chart
from rl.run.progress import duration
from rl.stages.book import CURVES, StageBook, StageRecord


def stages_of(run_dir: Path) -> dict[str, Any]:
    """`rows` and `curves` in the order of the stages; empty for a run that kept none."""
    records = StageBook(run_dir).records
    if not records:
        return {}
    rows = [
        {
            "stage": one.stage,
            "taught": one.taught,
            "all": one.greedy.get("all"),
            "added": one.added,
            "time": duration(one.seconds) if one.seconds else "",
        }
        for one in records
    ]
    curves = [curve for one in records if (curve := _curve(run_dir, one))]
    return {"rows": rows, "curves": curves}


def _curve(run_dir: Path, record: StageRecord) -> dict[str, Any] | None:
    """The loss of a supervised stage over its updates."""
    path = run_dir / CURVES / f"{record.stage}.jsonl"
    if not path.is_file():
        return None
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    points = [(float(line["step"]), float(line["loss"])) for line in lines if line["loss"] is not None]
    if not points:
        return None
    chart = line_chart([Series("loss", points, "--blue")], "{:.3g}".format)
    return {"title": f"{record.stage}: loss", "note": record.taught, "last": f"{points[-1][1]:.3g}", "chart": chart}
