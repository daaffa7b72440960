"""Several models on the same benchmarks, such as checkpoints of one run: each in a process and a folder of its own, and
all of them as a curve."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rl.config import Config, door
from rl.data.sets import UnusableData
from rl.evaluate.suite.judging import num_failed
from rl.evaluate.suite.numbers.summary import KIND
from rl.evaluate.suite.table import print_curve
from rl.run.folder import CONFIG, SUMMARY
from rollouts.store.disk import write_atomically

# Where an evaluation goes whose out_dir is not given.
DEFAULT_FOLDER = "runs/evaluate"
CURVE = "curve.json"


class ModelFailed(UnusableData):
    """The evaluation of one of several models did not end well; its own messages stand above."""

    def __init__(self, model: str, code: int) -> None:
        super().__init__(f"the evaluation of {model} ended with exit code {code}; see above. The same command goes on")
        self.exit_code = code


def with_folder(config: Config) -> Config:
    """An evaluation without an `out_dir` of its own goes to runs/evaluate/MODEL."""
    if config.out_dir != Config().out_dir:
        return config
    return dataclasses.replace(config, out_dir=f"{DEFAULT_FOLDER}/{label_of(config.model.path)}")


def label_of(path: str) -> str:
    """A short name of a model: the last part of its path that says something."""
    parts = [part for part in Path(path).parts if part not in ("/", ".", "..", "model")]
    return re.sub(r"[^\w.-]", "_", parts[-1]) if parts else "model"


def evaluate_models(models: Sequence[str], arguments: Sequence[str], config: Config) -> dict[str, Any]:
    """Several models, such as checkpoints of one run, each in a process and a folder of its own; then all of them as a
    curve, in curve.json.

    Raises:
        UnusableData: two models of one name, a folder that holds an evaluation of another model or with other settings,
            or one of the evaluations failed (ModelFailed).
    """
    top = Path(config.out_dir if config.out_dir != Config().out_dir else f"{DEFAULT_FOLDER}/curve")
    labels = [label_of(model) for model in models]
    if len(set(labels)) < len(labels):
        labels = [re.sub(r"[^\w.-]", "_", model.strip("/")) for model in models]
    if len(set(labels)) < len(labels):
        raise UnusableData(f"models={list(models)}: two of them are the same")
    kept = [one for one in arguments if not one.startswith(("out_dir=", "model.path="))]
    for model in models:  # before the first of them is asked for hours
        try:
            door.compose([*kept, f"model.path={model}"])
        except door.ConfigError as error:
            raise UnusableData(f"models={list(models)}: {model} cannot be asked: {error}") from None
    for model, label in zip(models, labels, strict=True):
        if (top / label / SUMMARY).is_file():  # an interrupted curve goes on
            _refuse_other(top / label, model, config)
            if not num_failed(top / label):
                continue
        mine = [f"model.path={model}", f"out_dir={top / label}"]
        mine += ["resume=true"] if (top / label).is_dir() and "resume=true" not in kept else []
        done = subprocess.run([sys.executable, "-m", "rl.evaluate", *kept, *mine])
        if done.returncode:
            raise ModelFailed(model, done.returncode)
    record = curve(top, labels)
    subprocess.run([sys.executable, "-m", "rl.report", str(top)])
    return record


def _refuse_other(folder: Path, model: str, config: Config) -> None:
    """Raise UnusableData where the evaluation of a folder is not the one that is asked for now."""
    try:
        before = door.load(folder / CONFIG)
    except (OSError, door.ConfigError) as error:
        raise UnusableData(f"{folder} holds an evaluation, but {CONFIG} cannot be read: {error}") from None
    model_then = dataclasses.replace(config.model, path=before.model.path)
    now = dataclasses.replace(
        config, out_dir=before.out_dir, resume=before.resume, compute=before.compute, model=model_then
    )
    others = [one.name for one in dataclasses.fields(now) if getattr(now, one.name) != getattr(before, one.name)]
    paths = [Path(one) for one in (model, before.model.path)]
    if all(path.exists() for path in paths) and paths[0].resolve() != paths[1].resolve():
        others.append(f"model.path ({paths[1]} there)")
    if others:
        raise UnusableData(
            f"{folder} holds an evaluation with other settings of {', '.join(others)}; give another out_dir, or delete"
            " that folder"
        )


def curve(top: Path, labels: Sequence[str]) -> dict[str, Any]:
    """The headline of every benchmark over models in their order, written to curve.json and printed."""
    points = []
    for label in labels:
        summary = json.loads((top / label / SUMMARY).read_text(encoding="utf-8"))
        scores = {one["name"]: score for one in summary["benchmarks"] if (score := headline_of(one)) is not None}
        points.append({"label": label, "model": summary.get("model"), "folder": label, "scores": scores})
    record = {"kind": f"{KIND}-curve", "points": points}
    write_atomically(top / CURVE, (json.dumps(record, indent=1, ensure_ascii=False) + "\n").encode())
    print_curve(record)
    return record


def headline_of(one: dict[str, Any]) -> dict[str, Any] | None:
    """The estimate of a benchmark's headline."""
    score: dict[str, Any] | None = one["clean"] if one["clean"] is not None else (one.get("reports") or {}).get("score")
    return score
