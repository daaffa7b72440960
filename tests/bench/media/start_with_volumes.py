"""`python -m tests.bench.media.start_with_volumes --rows 60000`: what a start with volumes in the cache takes.

Each row names a volume file of its own that was read before: made-up entries of the cache, 16 frames each, linked to
one picture. Printed are the seconds until the rows are samples, of a start that finds the frames and of the one after
it, which finds what the first wrote down; and the most memory of the process that holds them.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import nibabel
import numpy as np

from rl.config import MediaConfig
from rl.data.jsonl import rows as jsonl
from rl.data.media.reader import MediaReader
from rollouts.prompt.messages import num_frames

SLICES, FRAMES = 40, 16


def main(argv: Sequence[str] | None = None) -> int:
    """The command; 1 where the start takes more than 2 GiB."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="rounds-bench-") as folder:
        root = Path(folder)
        settings = MediaConfig(cache_dir=str(root / "cache"), max_frames=FRAMES, workers=asked.workers)
        _write(root, asked.rows, settings)
        for which in ("first", "second"):
            started, busy = time.monotonic(), time.process_time()
            lines, bad_rows = jsonl.read_lines(root / "rows.jsonl", MediaReader(root, settings))
            seconds, busy = time.monotonic() - started, time.process_time() - busy
            frames = sum(num_frames(line.sample) for line in lines)
            mebibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(
                f"{which} start: {len(lines):,} rows with {frames:,} frames, {len(bad_rows)} bad: {seconds:.1f} s"
                f" ({busy:.1f} s of this process), {mebibytes:.0f} MiB",
                flush=True,
            )
    return int(mebibytes > 2048 or len(lines) != asked.rows)


def _write(root: Path, num_rows: int, settings: MediaConfig) -> None:
    """A volume, read once; then as many files and entries of the cache that look like it."""
    voxels = np.arange(8 * 8 * SLICES, dtype=np.int16).reshape(8, 8, SLICES)
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), root / "v0.nii")
    whole = (root / "v0.nii").read_bytes()
    (root / "rows.jsonl").write_text(json.dumps({"question": "Q?", "answer": "a", "volume": "v0.nii"}))
    jsonl.read_lines(root / "rows.jsonl", MediaReader(root, settings))
    (first,) = (root / "cache" / "frames").iterdir()
    asked = first.name.partition("-")[2]
    record = json.loads((first / "read.json").read_text())
    pictures = list(first.glob("*.png"))
    rows = []
    for number in range(num_rows):
        rows.append(json.dumps({"question": f"Q{number}?", "answer": "a", "volume": f"v{number}.nii"}))
        if number == 0:
            continue
        name = f"v{number}.nii"
        (root / name).write_bytes(whole[:-8] + number.to_bytes(8, "little"))
        os.utime(root / name, (1e9, 1e9))  # what changed a moment ago is not remembered
        source = _sha256((root / name).read_bytes())
        entry = root / "cache" / "frames" / f"{source}-{asked}"
        entry.mkdir()
        for picture in pictures:
            os.link(picture, entry / picture.name)
        record["provenance"]["source_sha256"] = source
        (entry / "read.json").write_text(json.dumps(record))
    (root / "rows.jsonl").write_text("\n".join(rows))


def _sha256(data: bytes) -> str:
    import hashlib

    return hashlib.sha256(data).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
