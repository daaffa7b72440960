"""`python -m tests.bench.media.start_with_images --rows 4000`: what a start with pictures takes, and the next one.

Each row names a picture of its own: made-up grey PNG files of 512 x 512 points. Printed are CPU seconds until the rows
are samples, and until the pictures' hashes are there as SFT wants them.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from rl.config import MediaConfig
from rl.data.jsonl import rows as jsonl
from rl.data.media.reader import MediaReader
from rl.sft.cache import media_hashes

SIDE = 512


def write(root: Path, num_rows: int) -> None:
    """The rows and their pictures, as old as pictures usually are."""
    chance = np.random.RandomState(0)
    smooth = np.add.outer(np.arange(SIDE), np.arange(SIDE)) // 8
    lines = []
    for number in range(num_rows):
        points = (smooth + chance.randint(0, 8, (SIDE, SIDE)) + number).astype(np.uint8)
        Image.fromarray(points).save(root / f"{number}.png", compress_level=1)
        os.utime(root / f"{number}.png", (1e9, 1e9))
        lines.append(json.dumps({"question": f"Q{number}?", "answer": "a", "image": f"{number}.png"}))
    (root / "rows.jsonl").write_text("\n".join(lines))


def start(root: Path) -> tuple[float, float, int]:
    """CPU seconds of reading the rows and of the hashes, and how many rows there are."""
    before = time.process_time()
    settings = MediaConfig(cache_dir=str(root / "cache"))
    lines, _ = jsonl.read_lines(root / "rows.jsonl", MediaReader(root, settings))
    read = time.process_time()
    for line in lines:
        media_hashes(line.sample.media)
    return read - before, time.process_time() - read, len(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; 1 where a picture is lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=4000)
    asked = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="rounds-bench-") as folder:
        write(Path(folder), asked.rows)
        found = [start(Path(folder)) for _ in range(2)]
    for name, (seconds, hashes, num_rows) in zip(("first", "next"), found, strict=True):
        print(f"{name} start with {num_rows:,} pictures: {seconds:.2f} s, hashes for SFT {hashes:.3f} s")
    return int(any(num_rows != asked.rows for *_, num_rows in found))


if __name__ == "__main__":
    sys.exit(main())
