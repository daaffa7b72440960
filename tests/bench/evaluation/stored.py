"""Stored evaluations of any size, and what reading them takes: `python -m tests.bench.evaluation.stored OUT`.

Two made-up models answer the same `--items` questions (ten an image, yes/no, options and open answers), stored as an
evaluation stores them. Then, in a process of its own each: every number again from the rows (`rl.evaluate
--from-rows`), and the report of the second beside the first. It prints seconds and the most memory, and fails beyond
60 s or 1 GiB for 30,000 items.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageDraw

from rl.benchmarks.card import find
from rl.benchmarks.loading import Benchmark, load
from rl.evaluate.suite import facts
from rl.evaluate.suite.folder import sum_up
from rl.evaluate.suite.preparing import facts_of
from rollouts.records import Completion, Outcome, Parsed, Rollout, Sample
from rollouts.store.writer import RunWriter

PER_IMAGE = 10
ORGANS = ("lung", "heart", "liver", "kidney")
CARD = """\
name: made_up
version: 1
title: Made-up chest images
source: {files: [made_up.jsonl], images: [images]}
forms:
  - columns: {id: id, question: question, answer: answer, options: options, image: image}
    optional: [options]
tags: {organ: organ}
answers: {yes_no: true}
strata: [answer_type, organ]
licence: made up
baselines: [chance, majority]
traps: ["Ten rows share an image."]
references:
  - {source: "A paper, Table 3", metric: accuracy, why: "it has other rows", grader: a judge, values: {Model X: 61.5}}
"""


def write_set(folder: Path, num_items: int) -> Benchmark:
    """A card with its rows and images; returns it loaded."""
    (folder / "images").mkdir(parents=True)
    (folder / "made_up.yaml").write_text(CARD, encoding="utf-8")
    with (folder / "made_up.jsonl").open("w", encoding="utf-8") as file:
        for place, row in enumerate(_rows(num_items)):
            if place % PER_IMAGE == 0:
                _draw(place).save(folder / "images" / str(row["image"]))
            file.write(json.dumps(row) + "\n")
    return load(find([str(folder / "made_up.yaml")])[0], str(folder))


def _rows(num_items: int) -> Iterator[dict[str, object]]:
    for place in range(num_items):
        organ = ORGANS[place // PER_IMAGE % len(ORGANS)]
        row: dict[str, object] = {"id": place, "image": f"{place // PER_IMAGE}.png", "organ": organ}
        if place % 3 == 0:
            yield {**row, "question": f"Is there a finding {place} in the {organ}?", "answer": ("yes", "no")[place % 2]}
        elif place % 3 == 1:
            options = ["nodule", "effusion", "fracture", f"finding {place}"]
            yield {**row, "question": f"Which is seen, {place}?", "options": options, "answer": options[place % 4]}
        else:
            yield {**row, "question": f"Where is finding {place}?", "answer": f"{ORGANS[place % 4]} {place % 7}"}


def _draw(place: int) -> Image.Image:
    image = Image.new("L", (48, 48), 20)
    chance = random.Random(place)
    x, y = chance.randrange(8, 32), chance.randrange(8, 32)
    ImageDraw.Draw(image).ellipse((x, y, x + 8, y + 8), fill=chance.randrange(120, 255))
    return image


def answer(folder: Path, benchmark: Benchmark, name: str, right: float, seed: int) -> Path:
    """Store a made-up model that is right with this chance, alike on the items of an image; returns its folder."""
    writer, chance = RunWriter(folder), random.Random(seed)
    image_luck: dict[str, float] = {}
    for sample in benchmark.samples:
        luck = image_luck.setdefault(sample.tags["cluster"], chance.gauss(0.0, 0.15))
        writer.append_group([_rollout(sample, name, chance.random() < right + luck)])
    writer.finish_step(1)
    writer.close()
    blinds, without = facts.blinds_of(benchmark, benchmark.samples, lambda said, gold: 0.0)
    facts.write(folder, facts_of(benchmark, benchmark.samples, blinds, without, 1))
    sum_up(folder, model=name, judge="the answers are made up")
    return folder


def _rollout(sample: Sample, name: str, is_right: bool) -> Rollout:
    said = sample.gold_text if is_right else "something <b>else</b> & more"
    letters = sample.gold_letters or () if is_right else ()
    yes_no = sample.gold_text if is_right and sample.answer_type == "yes_no" else None
    text = f"<think>made up</think>\n<answer>{said}</answer>"
    return Rollout(
        run=name, step=1, prompt_id=sample.id, sample_index=0, sample=sample, prompt_text=sample.question,
        completion=Completion((1, 2, 3), text, "stop", (0.0, 0.0, 0.0), 0, 0),
        parsed=Parsed("made up", said, letters, yes_no, True, "made up", "stated"),  # type: ignore[arg-type]
        outcomes={"accuracy": Outcome(float(is_right), reason="made up")}, weights={"accuracy": 1.0},
        total=float(is_right), valid=True,
    )  # fmt: skip


def watched(command: list[str]) -> float:
    """Run a command; returns the most memory of its own that it was seen with, in GiB. What the kernel counts for a
    child that ended begins with its parent's."""
    child, most = subprocess.Popen(command, stdout=subprocess.DEVNULL), 0
    while child.poll() is None:
        with contextlib.suppress(OSError, StopIteration):
            lines = Path(f"/proc/{child.pid}/status").read_text().splitlines()
            most = max(most, int(next(line for line in lines if line.startswith("VmHWM")).split()[1]))
        time.sleep(0.02)
    if child.returncode:
        sys.exit(f"{command} ended with exit code {child.returncode}")
    return most / 2**20


def main() -> None:
    """Write, then time each command in a process of its own."""
    about = __doc__.partition("\n\n")[0]
    parser = argparse.ArgumentParser(prog="python -m tests.bench.evaluation.stored", description=about)
    parser.add_argument("out", type=Path, help="folder that does not exist yet")
    parser.add_argument("--items", type=int, default=30_000)
    asked = parser.parse_args()
    benchmark = write_set(asked.out / "set", asked.items)
    first = answer(asked.out / "model_a", benchmark, "model A", 0.55, 1)
    second = answer(asked.out / "model_b", benchmark, "model B", 0.57, 2)
    print(f"{asked.items:,} items stored twice in {asked.out}")
    for command in (
        ["rl.evaluate", "--from-rows", str(second)],
        ["rl.report", str(second), "--against", str(first)],
    ):
        started = time.monotonic()
        most = watched([sys.executable, "-m", *command])
        seconds = time.monotonic() - started
        print(f"python -m {command[0]}: {seconds:.1f} s, at most {most:.2f} GiB")
        if asked.items <= 30_000 and (seconds > 60 or most > 1):
            sys.exit("beyond 60 s or 1 GiB")


if __name__ == "__main__":
    main()
