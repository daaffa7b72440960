"""Makes the tiny judge from nothing: `python -m examples.tiny_judge.make [--work DIR] [--out DIR]`.

Random weights, then trainings by the project's own SFT code (`rl.sft`) on generated pairs (`rows.TRAININGS`). How far
it is, what is left and how many held-out pairs are judged right after each training are printed; a call that was
interrupted goes on with the training it was in.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from transformers import AutoTokenizer, LlamaForCausalLM

from examples.tiny.stages import BATCH_SIZE, SEED, Stage, copy_model, train_stages
from examples.tiny_judge.architecture import share_nonce, write_untrained
from examples.tiny_judge.measure import MODEL, Reader, held_out, summary, table
from examples.tiny_judge.pairs import pairs
from examples.tiny_judge.rows import TRAININGS, Training, rows
from rl.data.sets import SftRow

SHIPPED = (
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "chat_template.jinja",
    "tokenizer.json",
    "tokenizer_config.json",
)
# Held-out pairs that are judged after each training.
NUM_CHECKED = 1500


def stage(number: int, training: Training) -> Stage:
    """A training as a stage; pairs that fill no whole batch are left out."""
    return Stage(
        f"pairs_{number}", training.num_pairs // BATCH_SIZE, partial(_rows, seed=training.seed), training.learning_rate
    )


def _rows(count: int, seed: int) -> list[SftRow]:
    return list(rows(pairs(count, seed)))


def make(work: Path, out: Path, threads: int = 1, trainings: Sequence[Training] = TRAININGS) -> Path:
    """Do every training that is not finished already, and put the last one's model into `out`."""
    untrained = work / "untrained"
    if not (untrained / "config.json").is_file():
        write_untrained(untrained, SEED)
    items = held_out(NUM_CHECKED)

    def check(model: Path) -> str:
        return summary(table(items, Reader(model).decisions(items)))

    stages = [stage(number, training) for number, training in enumerate(trainings, start=1)]
    return copy_model(train_stages(stages, untrained, work, threads=threads, check=check, finish=finish), out, SHIPPED)


def finish(trained: Path, folder: Path) -> Path:
    """A trained model in which the pairs of hex digits are alike again; training has moved the only one it saw."""
    tokenizer = AutoTokenizer.from_pretrained(trained)
    model = LlamaForCausalLM.from_pretrained(trained)
    share_nonce(model, tokenizer)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--work", type=Path, default=Path("runs/tiny_judge"), help="where trainings are kept (%(default)s)"
    )
    parser.add_argument(
        "--out", type=Path, default=MODEL, help="where the finished model goes (the shipped model's folder)"
    )
    parser.add_argument(
        "--threads", type=int, default=1, help="of PyTorch; another number makes other weights (%(default)s)"
    )
    arguments = parser.parse_args(argv)
    print(make(arguments.work, arguments.out, arguments.threads))


if __name__ == "__main__":
    main()
