"""`python -m tests.bench.curation`: three label sets with the frequencies they are met with, curated by the command.

It prints what a guesser who never looks scores before and after golds were capped, whether letters are even, and that a
second run writes the same bytes; the exit code is 1 where one of them does not hold. Pictures are drawn; about a minute
on a quiet machine.
"""

from __future__ import annotations

import csv
import random
import sys
import tempfile
import time
from pathlib import Path

from rl.curate.__main__ import main as curate
from tests.rl.curate.small_sets import picture

COUNT = 1500
SETS = {
    "eyes": ("fundus photograph", {
        "no diabetic retinopathy": 0.735, "mild nonproliferative retinopathy": 0.07, "proliferative retinopathy": 0.02,
        "moderate nonproliferative retinopathy": 0.15, "severe nonproliferative retinopathy": 0.025,
    }),
    "chests": ("chest radiograph", {
        "no finding": 0.54, "effusion": 0.12, "atelectasis": 0.11, "nodule": 0.06, "mass": 0.05, "pneumothorax": 0.05,
        "consolidation": 0.04, "pneumonia": 0.03,
    }),
    "skin": ("dermoscopy", {
        "nevus": 0.67, "melanoma": 0.11, "keratosis": 0.11, "basal cell carcinoma": 0.05, "hemangioma": 0.06,
    }),
}  # fmt: skip
NAMES = ("data.jsonl", "dropped.jsonl", "card.md")


def make(folder: Path) -> Path:
    """Draw the pictures and write tables and recipe; the recipe's path."""
    lines = ["recipe: natural", "sources:"]
    for name, (modality, shares) in SETS.items():
        rng = random.Random(name)
        golds = rng.choices(list(shares), list(shares.values()), k=COUNT)
        with (folder / f"{name}.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(("image", "label", "patient"))
            for number, gold in enumerate(golds):
                picture(folder / name / f"{number}.png", number + 10_000 * len(lines), 64)
                table.writerow((f"{name}/{number}.png", gold, number // 2))
        lines.append(f"  {name}: {{read: {name}.csv, modality: {modality}, rules: {{mcq: {{}}}}}}")
    path = folder / "recipe.yaml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def main() -> int:
    """The command. Returns its exit code."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        recipe = make(folder)
        kept = []
        for _ in range(2):
            began = time.perf_counter()
            code = curate([str(recipe), "--out", str(folder / "data.jsonl")])
            print(f"exit code {code}, {time.perf_counter() - began:.1f} s for {COUNT * len(SETS)} items")
            kept.append([(folder / name).read_bytes() for name in NAMES] if code == 0 else [])
        same = kept[0] == kept[1] != []
        print(f"a second run writes {'the same bytes' if same else 'OTHER BYTES'}")
        return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
