"""`python -m tests.bench.media.series`: a CT series of 512 x 512 x 300 to 16 cached frames, cold and again.

Bars: 6 s and 700 MiB the first time, 50 ms the second.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

BARS = {"first read": 6.0, "second read": 0.05}
MEMORY_MIB = 700


def make_series(folder: Path, slices: int, side: int) -> None:
    """A series of made-up Hounsfield units, uncompressed, as a scanner exports it."""
    from tests.fakes import dicoms

    rows, columns = np.mgrid[:side, :side].astype(np.float32) / side - 0.5
    body = np.where(rows**2 + columns**2 < 0.2, 1024 + 400 * rows, 24).astype(np.uint16)
    noise = np.random.default_rng(0).integers(0, 40, (side, side), dtype=np.uint16)
    for index in range(slices):
        dicoms.write(
            folder / f"IM{index:05d}",
            body + np.roll(noise, index * 7, axis=0),
            ImagePositionPatient=[0, 0, index],
            ImageOrientationPatient=dicoms.AXIAL,
            PixelSpacing=[0.7, 0.7],
            RescaleSlope=1,
            RescaleIntercept=-1024,
            InstanceNumber=index + 1,
        )


def main() -> int:
    """Prints what was measured; exit code 1 where a bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.media.series", description=__doc__)
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--window", default="auto")
    parser.add_argument("--plane", default="native")
    asked = parser.parse_args()
    from rollouts.imaging.ask import Ask
    from rollouts.imaging.read import read

    ask = Ask("volume", window=asked.window, plane=asked.plane, max_frames=16, modality="CT")
    with tempfile.TemporaryDirectory() as place:
        make_series(Path(place) / "scan", asked.slices, asked.side)
        time.sleep(2.5)  # hashes of files that are still being written are not remembered
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        missed = False
        for name, bar in BARS.items():
            start, cpu = time.perf_counter(), time.process_time()
            media = read(Path(place) / "scan", ask, cache=Path(place) / "cache").media()
            seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
            missed |= seconds > bar
            print(f"{name}: {media.num_frames} frames in {seconds:.3f} s ({cpu:.3f} s of CPU), at most {bar:g} s")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"memory: {peak:.0f} MiB at most ({before:.0f} MiB before reading), at most {MEMORY_MIB} MiB")
    return 1 if missed or peak > MEMORY_MIB else 0


if __name__ == "__main__":
    sys.exit(main())
