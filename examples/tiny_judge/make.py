"""Makes the tiny judge from nothing: `python -m examples.tiny_judge.make [--work DIR] [--out DIR]`.

Random weights, then one training by the project's own SFT code (`rl.sft`) on generated pairs. A finished training is kept in the work folder under a
hash of everything it depends on.
"""

from __future__ import annotations

import argparse
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

from transformers import AutoTokenizer, LlamaForCausalLM

from examples.tiny_judge.architecture import share_nonce, write_untrained
from examples.tiny_judge.pairs import pairs
from examples.tiny_judge.rows import rows
from rl.config import ComputeConfig, Config, ModelConfig, SftConfig
from rl.sft import ensure_sft

MODEL = Path(__file__).parent / "model"
SEED = 1
NUM_PAIRS = 192_000
SHIPPED = (
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "chat_template.jinja",
    "tokenizer.json",
    "tokenizer_config.json",
)


def settings(model: Path, work: Path) -> Config:
    """The training: batches of 64 rows, mixed precision (weights and optimiser stay float32)."""
    return Config(
        seed=SEED,
        model=ModelConfig(path=str(model), dtype="bfloat16"),
        sft=SftConfig(
            cache_dir=str(work / "sft"),
            learning_rate=1.5e-3,
            lr_scheduler_type="cosine",
            warmup_ratio=0.03,
            batch_size=64,
            micro_batch_size=64,
        ),
        compute=ComputeConfig(num_threads=2),
    )


def make(work: Path, out: Path, num_pairs: int = NUM_PAIRS) -> Path:
    """Train, unless the same training is finished already, and put the model into `out`."""
    untrained = work / "untrained"
    if not (untrained / "config.json").is_file():
        write_untrained(untrained, SEED)
    trained = ensure_sft(settings(untrained, work), list(rows(pairs(num_pairs, SEED))))
    tokenizer = AutoTokenizer.from_pretrained(trained)
    model = LlamaForCausalLM.from_pretrained(trained)
    share_nonce(model, tokenizer)
    finished = work / "finished"
    model.save_pretrained(finished)
    tokenizer.save_pretrained(finished)
    out.mkdir(parents=True, exist_ok=True)
    for name in SHIPPED:
        shutil.copyfile(finished / name, out / name)
    return out


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("runs/tiny_judge"), help="where the training is kept")
    parser.add_argument("--out", type=Path, default=MODEL, help="where the finished model goes")
    parser.add_argument("--pairs", type=int, default=NUM_PAIRS, help="pairs to train on")
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    print(make(arguments.work, arguments.out, arguments.pairs))


if __name__ == "__main__":
    main()
