"""Makes an embedded tiny model from nothing: `python -m examples.tiny.make [--work DIR] [--out DIR]`.

Random weights, then two trainings by the project's own SFT code (`rl.sft`): reading reports, then looking at images.
How far it is, what is left and how many held-out questions each stage answers right are printed; a call that was
interrupted goes on with the stage it was in.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from examples.tiny.architecture import write_untrained
from examples.tiny.curriculum import reading_rows, seeing_rows
from examples.tiny.measure import MODEL, completions, summary, table
from examples.tiny.stages import BATCH_SIZE, SEED, Stage, copy_model, train_stages
from rl.data.phantoms.questions import samples

# What a finished model folder needs; the log of its training stays in the work folder.
SHIPPED = (
    *("config.json", "generation_config.json", "model.safetensors", "chat_template.jinja"),
    *("processor_config.json", "tokenizer.json", "tokenizer_config.json"),
)
# Held-out questions that are asked after each stage.
NUM_CHECKED = 320

STAGES = (
    Stage("reading", 300, lambda count: list(reading_rows(count, SEED)), 1.5e-3, "constant"),
    # Some reports among the images, so that reading is not forgotten.
    Stage(
        "looking",
        575,
        lambda count: [*seeing_rows(count - 75 * BATCH_SIZE, SEED), *reading_rows(75 * BATCH_SIZE, SEED + 100)],
        1e-3,
    ),
)


def check(model: Path) -> str:
    """How many questions about images, and how many about written reports, the model answers right."""
    told = []
    for name, asked in (
        ("images", samples("measure", NUM_CHECKED, 0)),
        ("reports", [row.sample for row in reading_rows(NUM_CHECKED, SEED + 200)]),
    ):
        told.append(f"{name}: {summary(table(asked, completions(model, asked)))}")
    return "; ".join(told)


def make(work: Path, out: Path, threads: int = 1, stages: Sequence[Stage] = STAGES) -> Path:
    """Train every stage that is not finished yet and put the last one's model into `out`."""
    untrained = work / "untrained"
    if not (untrained / "config.json").is_file():
        write_untrained(untrained, SEED)
    return copy_model(train_stages(stages, untrained, work, threads=threads, check=check), out, SHIPPED)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/tiny"), help="where trainings are kept (%(default)s)")
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
