"""Small data sets and recipes on disk, and the command over them, for tests of curation."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from rl.curate.__main__ import main


def picture(path: Path, seed: int, size: int = 72) -> Path:
    """A picture that looks like no other: a few grey boxes on noise-free ground."""
    rng = random.Random(seed)
    image = Image.new("RGB", (size, size), (rng.randrange(40, 90),) * 3)
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        x, y = rng.randrange(size - 12), rng.randrange(size - 12)
        w, h = rng.randrange(6, size // 2), rng.randrange(6, size // 2)
        draw.rectangle((x, y, x + w, y + h), fill=(rng.randrange(256),) * 3)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path


def table(folder: Path, rows: Sequence[Mapping[str, Any]], name: str = "rows.jsonl") -> Path:
    """Rows as JSON lines; each picture they name is drawn unless it is there."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, row in enumerate(rows):
        if "image" in row and not (folder / row["image"]).exists():
            picture(folder / row["image"], number)
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def recipe(folder: Path, text: str) -> Path:
    """A recipe file in the folder."""
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def curated(path: Path, out: str = "data.jsonl") -> list[dict[str, Any]]:
    """The rows that the command writes beside the recipe; it must succeed."""
    target = path.parent / out
    assert main([str(path), "--out", str(target)]) == 0
    return read(target)


def read(path: Path) -> list[dict[str, Any]]:
    """Objects of a file of JSON lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def reasons(path: Path) -> dict[str, int]:
    """How often each reason stands in the dropped.jsonl beside a file."""
    counts: dict[str, int] = {}
    for drop in read(path.with_name("dropped.jsonl")):
        counts[drop["reason"]] = counts.get(drop["reason"], 0) + 1
    return counts
