"""Makes the tiny judge from nothing: `python -m examples.tiny_judge.make [--work DIR] [--out DIR]`.

Random weights, then four trainings by the project's own SFT code (`rl.sft`) on generated pairs. A finished training is
kept in the work folder under a hash of everything it depends on.

The first three trainings of the weights that are shipped knew fewer sentences and attacks than there are today
(README.md tells).
"""

from __future__ import annotations

import argparse
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from transformers import AutoTokenizer, LlamaForCausalLM

from examples.tiny_judge.architecture import share_nonce, write_untrained
from examples.tiny_judge.pairs import pairs
from examples.tiny_judge.rows import rows
from rl.config import ComputeConfig, Config, ModelConfig, SftConfig
from rl.sft import ensure_sft

MODEL = Path(__file__).parent / "model"
SEED = 1
SHIPPED = (
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "chat_template.jinja",
    "tokenizer.json",
    "tokenizer_config.json",
)


class Stage(NamedTuple):
    """One training: how many pairs, from which seed, and the highest learning rate."""

    num_pairs: int
    seed: int
    learning_rate: float


STAGES = (
    Stage(192_000, SEED, 1.5e-3),
    Stage(64_000, SEED + 1, 8e-4),
    Stage(48_000, SEED + 2, 1e-3),
    Stage(20_000, SEED + 3, 6e-4),
)


def settings(model: Path, work: Path, learning_rate: float) -> Config:
    """A training: batches of 64 rows, mixed precision (weights and optimiser stay float32)."""
    return Config(
        seed=SEED,
        model=ModelConfig(path=str(model), dtype="bfloat16"),
        sft=SftConfig(
            cache_dir=str(work / "sft"),
            learning_rate=learning_rate,
            lr_scheduler_type="cosine",
            warmup_ratio=0.03,
            batch_size=64,
            micro_batch_size=64,
        ),
        compute=ComputeConfig(num_threads=2),
    )


def make(work: Path, out: Path, stages: Sequence[Stage] = STAGES) -> Path:
    """Train every stage that is not finished already, and put the last one's model into `out`."""
    model = work / "untrained"
    if not (model / "config.json").is_file():
        write_untrained(model, SEED)
    for number, stage in enumerate(stages, start=1):
        trained = ensure_sft(settings(model, work, stage.learning_rate), list(rows(pairs(stage.num_pairs, stage.seed))))
        model = _finished(trained, work / f"stage_{number}")
    out.mkdir(parents=True, exist_ok=True)
    for name in SHIPPED:
        shutil.copyfile(model / name, out / name)
    return out


def _finished(trained: Path, folder: Path) -> Path:
    """A trained model in which the pairs of hex digits are alike again; training has moved the only one it saw."""
    tokenizer = AutoTokenizer.from_pretrained(trained)
    model = LlamaForCausalLM.from_pretrained(trained)
    share_nonce(model, tokenizer)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("runs/tiny_judge"), help="where the training is kept")
    parser.add_argument("--out", type=Path, default=MODEL, help="where the finished model goes")
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    print(make(arguments.work, arguments.out))


if __name__ == "__main__":
    main()
