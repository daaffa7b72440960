"""Makes an embedded tiny model from nothing: `python -m examples.tiny.make [--work DIR] [--out DIR]`.

Random weights, then two trainings by the project's own SFT code (`rl.sft`): reading reports, then looking at images.
Each finished training is kept in the work folder under a hash of everything it depends on, so an interrupted run goes
on with the training it was in.

The weights that are shipped were made by an earlier form of this recipe, with detours (README.md tells them).
"""

from __future__ import annotations

import argparse
import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from examples.tiny.architecture import write_untrained
from examples.tiny.curriculum import reading_rows, seeing_rows
from examples.tiny.measure import MODEL
from rl.config import ComputeConfig, Config, ModelConfig, SftConfig
from rl.data.sets import SftRow
from rl.sft import ensure_sft

SEED = 1
# What a finished model folder needs; the log of its training stays in the work folder.
SHIPPED = (
    *("config.json", "generation_config.json", "model.safetensors", "chat_template.jinja"),
    *("processor_config.json", "tokenizer.json", "tokenizer_config.json"),
)


@dataclass(frozen=True)
class Stage:
    """One training of the base: its rows, and how it differs from the SFT of a run."""

    name: str
    rows: Callable[[], list[SftRow]]
    learning_rate: float
    # One of `SftConfig.lr_scheduler_type`.
    scheduler: str
    num_threads: int = 2

    def config(self, model: Path, work: Path) -> Config:
        return Config(
            seed=SEED,
            # bfloat16 here means mixed precision: weights and optimiser stay float32.
            model=ModelConfig(path=str(model), dtype="bfloat16"),
            sft=SftConfig(
                cache_dir=str(work / self.name),
                learning_rate=self.learning_rate,
                lr_scheduler_type="cosine" if self.scheduler == "cosine" else "constant",
                batch_size=64,
                micro_batch_size=64,
            ),
            compute=ComputeConfig(num_threads=self.num_threads),
        )


STAGES = (
    Stage("reading", lambda: list(reading_rows(200 * 64, SEED)), 1.5e-3, "constant"),
    Stage("looking", lambda: [*seeing_rows(500 * 64, SEED), *reading_rows(75 * 64, SEED + 100)], 1e-3, "cosine"),
)


def make(work: Path, out: Path) -> Path:
    """Train every stage that is not finished yet and put the last one's model into `out`."""
    model = work / "untrained"
    if not (model / "config.json").is_file():
        write_untrained(model, SEED)
    for stage in STAGES:
        model = ensure_sft(stage.config(model, work), stage.rows())
    out.mkdir(parents=True, exist_ok=True)
    for name in SHIPPED:
        shutil.copyfile(model / name, out / name)
    return out


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("runs/tiny"), help="where trainings are kept")
    parser.add_argument("--out", type=Path, default=MODEL, help="where the finished model goes")
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    print(make(arguments.work, arguments.out))


if __name__ == "__main__":
    main()
