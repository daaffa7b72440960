"""The folder of an evaluation: every number computed from its rows and kept facts, without the model, its libraries or
the benchmark's files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import rewards.answers
from rewards.metrics.door import MetricDoor, NotComputed, door
from rl.config import MetricConfig
from rl.data.sets import UnusableData
from rl.evaluate.suite import facts
from rl.evaluate.suite.numbers.rows import read_step
from rl.evaluate.suite.numbers.summary import KIND, record, together
from rl.evaluate.suite.table import print_summary
from rl.run.folder import SUMMARY, versions
from rollouts.store.disk import write_atomically
from rollouts.store.layout import DamagedStore, list_steps

# Where a training run keeps its evaluations, a folder each.
OF_RUN = "evaluations"


def ordered(folder: Path) -> list[str]:
    """The evaluations of a run: SFT, the steps, GRPO."""
    there = sorted(path.parent.name for path in folder.glob(f"*/{SUMMARY}"))
    places = {"SFT": 0, "GRPO": 2}
    return sorted(there, key=lambda name: (places.get(name, 1), name))


def sum_up(folder: Path, door: MetricDoor | None = None, **about: Any) -> dict[str, Any]:
    """Compute every number of a folder from its rows, and write summary.json. `door`: to the Python of metrics that
    need a model; None = those are not computed. `about`: what the rows do not say (model, judge); what an earlier
    summary says of it stays.

    Raises:
        UnusableData: the folder holds no evaluation of benchmarks. StoreError: its rows cannot be read.
    """
    known = facts.read_all(folder)
    if not known:
        raise UnusableData(
            f"{folder} holds no evaluation of benchmarks (no {facts.FOLDER}/*.json); give a folder that"
            " python -m rl.evaluate benchmark=[..] wrote"
        )
    steps = {stored.step: stored for stored in list_steps(folder)}
    records = []
    for one in known:
        if one.step not in steps:
            raise DamagedStore(f"{folder} has no rows of {one.card.label} (step {one.step})")
        records.append(record(one, read_step(steps[one.step]), door))
    before = _summary_of(folder)
    kept = {name: before[name] for name in ("model", "judge", "policy_version", "parser", "versions") if name in before}
    summary: dict[str, Any] = {
        "kind": KIND,
        "parser": parser_version(),
        "versions": versions(),
        **kept,
        **about,
        "computed_by": {"parser": parser_version(), "versions": versions()},
        "macro": together(records),
        "benchmarks": records,
    }
    write_summary(folder, summary)
    return summary


def _summary_of(folder: Path) -> Mapping[str, Any]:
    """What summary.json says already; nothing where there is none, or none that can be read."""
    try:
        value = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) and value.get("kind") == KIND else {}


def write_summary(folder: Path, summary: Mapping[str, Any]) -> None:
    """Write summary.json whole or not at all. Raises DiskFull."""
    text = json.dumps(summary, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomically(folder / SUMMARY, text.encode("utf-8", "backslashreplace"))


def parser_version() -> str:
    """Twelve digits that change with any rule by which answers are read: numbers of two versions are not compared."""
    folder = Path(next(iter(rewards.answers.__path__)))
    files = sorted(path for path in folder.iterdir() if path.suffix in (".py", ".yaml"))
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()[:12]


def open_door(metric: MetricConfig) -> MetricDoor | None:
    """The door to the Python of metrics that need a model; None where none is named. Raises UnusableData where it is no
    program, or the folder of weights no folder."""
    if metric.python is None:
        return None
    try:
        return door(metric.python, metric.model_dir or "")
    except NotComputed as error:
        raise UnusableData(str(error)) from None


def from_rows(folder: Path, metric: MetricConfig | None = None) -> dict[str, Any]:
    """Compute every number of an evaluation again from its stored rows and print it; `metric`: for metrics that need a
    model. Raises UnusableData, StoreError."""
    if not folder.is_dir():
        raise UnusableData(f"--from-rows {folder}: there is no such folder")
    summary = sum_up(folder, open_door(metric or MetricConfig()))
    print_summary(summary)
    return summary
