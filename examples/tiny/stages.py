"""Trains a model in stages by the project's own SFT code, and says how far it is and how good each stage's model is.

Both embedded models are made with it. A finished stage is kept under a hash of all it depends on (`rl.sft`), so a
recipe that was interrupted, or called again, trains only what is missing; a stage that was interrupted goes on after
its last checkpoint.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rl.config import ComputeConfig, Config, ModelConfig, SftConfig
from rl.data.sets import SftRow
from rl.run.progress import Display, duration
from rl.sft.cache import ensure_sft
from rl.sft.ranks import in_this_process

BATCH_SIZE = 64
SEED = 1


@dataclass(frozen=True)
class Stage:
    """One training: its rows, and how it differs from the SFT of a run."""

    name: str
    num_updates: int
    # Makes so many rows, images and all, when the stage begins.
    rows: Callable[[int], list[SftRow]]
    # Highest learning rate of AdamW.
    learning_rate: float
    scheduler: Literal["cosine", "constant"] = "cosine"
    # Rows an update.
    batch_size: int = BATCH_SIZE

    def config(self, model: Path, work: Path, threads: int) -> Config:
        """The settings of `rl.sft`: mixed precision (bfloat16 arithmetic, weights and optimiser float32)."""
        return Config(
            seed=SEED,
            model=ModelConfig(path=str(model), dtype="bfloat16"),
            sft=SftConfig(
                cache_dir=str(work / self.name),
                learning_rate=self.learning_rate,
                lr_scheduler_type=self.scheduler,
                batch_size=self.batch_size,
            ),
            compute=ComputeConfig(num_threads=threads),
        )


def train_stages(
    stages: Sequence[Stage],
    untrained: Path,
    work: Path,
    *,
    threads: int,
    check: Callable[[Path], str],
    finish: Callable[[Path, Path], Path] = lambda trained, _: trained,
) -> Path:
    """Train the stages one on the other, from the model in `untrained`, and return the folder of the last one's model.

    `finish(trained, folder)` may change a stage's model, and writes what it changed to `folder`. `check(model)` says in
    a line how good a stage's model is. What a stage took is a line of `made.jsonl` in `work`. The weights depend on the
    number of threads, which decides how sums are split.
    """
    model = untrained
    with Display(sys.stderr) as display:
        for number, stage in enumerate(stages, start=1):
            left = sum(one.num_updates for one in stages[number - 1 :])
            name = f"stage {number} of {len(stages)}, {stage.name}"
            display.say(f"{name}: {stage.num_updates} updates ({left} to the end of the recipe)")
            started = time.monotonic()
            trained = ensure_sft(
                stage.config(model, work, threads),
                stage.rows(stage.num_updates * stage.batch_size),
                display,
                start=in_this_process,
            )
            seconds = time.monotonic() - started
            model = finish(trained, work / f"{stage.name}_finished")
            quality = check(model)
            display.say(f"{name}: {quality} [{duration(seconds)}]")
            _note(
                work,
                stage=stage.name,
                updates=stage.num_updates,
                threads=threads,
                seconds=round(seconds, 1),
                model=quality,
            )
    return model


def _note(work: Path, **line: str | int | float) -> None:
    line["load"] = round(os.getloadavg()[0], 2)
    with (work / "made.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def copy_model(model: Path, out: Path, names: Sequence[str]) -> Path:
    """Copy the named files of a model's folder to `out`: what loads it, without the record of its training."""
    out.mkdir(parents=True, exist_ok=True)
    for name in names:
        shutil.copyfile(model / name, out / name)
    return out
