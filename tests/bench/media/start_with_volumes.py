"""`python -m tests.bench.media.start_with_volumes --rows 60000`: what a start with volumes in the cache takes.

Each row names a volume file of its own that was read before: made-up entries of the cache, 16 frames each, linked to
one picture, and the records of an earlier start. Printed are the seconds until the rows are samples, and the most
memory of the process that holds them. With `--frames-only` the records are not there: each row goes through a process
that finds its frames.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import nibabel
import numpy as np

from rl.config import MediaConfig
from rl.data.jsonl import rows as jsonl
from rl.data.media import remembered
from rl.data.media.reader import MediaReader
from rl.data.media.remembered import Task
from rollouts.prompt.messages import num_frames
from rollouts.records import Media

SLICES, FRAMES = 40, 16


def main(argv: Sequence[str] | None = None) -> int:
    """The command; 1 where the start takes more than 2 GiB."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--frames-only", action="store_true")
    asked = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="rounds-bench-") as folder:
        root = Path(folder)
        settings = MediaConfig(cache_dir=str(root / "cache"), max_frames=FRAMES, workers=asked.workers)
        _write(root, asked.rows, settings)
        if asked.frames_only:
            shutil.rmtree(root / "cache" / "read")
        started, busy = time.monotonic(), time.process_time()
        lines, bad_rows = jsonl.read_lines(root / "rows.jsonl", MediaReader(root, settings))
        seconds, busy = time.monotonic() - started, time.process_time() - busy
        frames = sum(num_frames(line.sample) for line in lines)
        mebibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{len(lines):,} rows with {frames:,} frames, {len(bad_rows)} bad: {seconds:.1f} s"
            f" ({busy:.1f} s of this process), {mebibytes:.0f} MiB"
        )
    return int(mebibytes > 2048 or len(lines) != asked.rows)


def _write(root: Path, num_rows: int, settings: MediaConfig) -> None:
    """A volume, read once; then as many files, entries of the cache and records that look like it."""
    voxels = np.arange(8 * 8 * SLICES, dtype=np.int16).reshape(8, 8, SLICES)
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), root / "v0.nii")
    os.utime(root / "v0.nii", (1e9, 1e9))  # what changed a moment ago is not remembered
    whole = (root / "v0.nii").read_bytes()
    first = {"question": "Q?", "answer": "a", "volume": "v0.nii"}
    (root / "rows.jsonl").write_text(json.dumps(first))
    reader = MediaReader(root, settings)
    ((_, sample, _, _),), _ = jsonl.read_lines(root / "rows.jsonl", reader)
    (task,) = reader.tasks(first)
    for number in range(1, num_rows):
        _look_like(root, number, whole[:-8] + number.to_bytes(8, "little"), sample.media[0], task)
    rows = (json.dumps({**first, "question": f"Q{number}?", "volume": f"v{number}.nii"}) for number in range(num_rows))
    (root / "rows.jsonl").write_text("\n".join(rows))


def _look_like(root: Path, number: int, data: bytes, media: Media, task: Task) -> None:
    """A file, the entry of the cache that its frames stand in, and the record of it."""
    file = root / f"v{number}.nii"
    file.write_bytes(data)
    os.utime(file, (1e9, 1e9))
    entry = Path(media.frame_files[0]).parent  # type: ignore[index]
    own = entry.with_name(f"{_sha256(data)}-{entry.name.partition('-')[2]}")
    own.mkdir()
    for picture in media.frame_files or ():
        os.link(picture, own / Path(picture).name)
    record = json.loads((entry / "read.json").read_text())
    record["provenance"]["source_sha256"] = _sha256(data)
    (own / "read.json").write_text(json.dumps(record))
    names = tuple(str(own / Path(picture).name) for picture in media.frame_files or ())
    kept = dataclasses.replace(media, frame_files=names, source_sha256=_sha256(data))
    remembered.keep({**task, "path": str(file.absolute()), "name": file.name}, kept)


def _sha256(data: bytes) -> str:
    import hashlib

    return hashlib.sha256(data).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
