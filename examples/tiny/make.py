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
from rl.data.sets import SftRow

# What a finished model folder needs; the log of its training stays in the work folder.
SHIPPED = (
    *("config.json", "generation_config.json", "model.safetensors", "chat_template.jinja"),
    *("processor_config.json", "tokenizer.json", "tokenizer_config.json"),
)
# Held-out questions that are asked after each stage.
NUM_CHECKED = 320


def reading(count: int) -> list[SftRow]:
    """Written reports."""
    return list(reading_rows(count, SEED))


def looking(count: int) -> list[SftRow]:
    """Images, and 4,800 written reports among them, so that reading is not forgotten."""
    num_reports = 75 * BATCH_SIZE
    return [*seeing_rows(count - num_reports, SEED), *reading_rows(num_reports, SEED + 100)]


def looking_more(count: int) -> list[SftRow]:
    """Images that were not seen before, and a written report for every fifteen."""
    num_reports = count // 16
    return [*seeing_rows(count - num_reports, SEED + 1), *reading_rows(num_reports, SEED + 101)]


STAGES = (
    Stage("reading", 300, reading, 1.5e-3, "constant"),
    Stage("looking", 575, looking, 1e-3),
    Stage("looking_more", 800, looking_more, 1e-3, batch_size=32),
)


def check(model: Path) -> str:
    """How many questions about images, and how many about written reports, the model answers right."""
    images = samples("measure", NUM_CHECKED, 0)
    reports = [row.sample for row in reading_rows(NUM_CHECKED, SEED + 200)]
    return "; ".join(
        f"{name}: {summary(table(questions, completions(model, questions)))}"
        for name, questions in (("images", images), ("reports", reports))
    )


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
