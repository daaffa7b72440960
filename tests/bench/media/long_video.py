"""An hour of video at 25 frames a second becomes 16 frames in at most three minutes.

python -m tests.bench.media.long_video [--minutes 60] [--kept PATH]

The film is written first, which takes longer than reading it; `--kept` keeps it for the next time. Some of the frames
found by seeking are compared with those of decoding the film in order up to them.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from rollouts.imaging.ask import Ask
from rollouts.imaging.read import read

MINUTES = 3.0


def written(path: Path, minutes: float) -> Path:
    """A film of 320 x 240 pixels that moves, with a key frame every ten seconds."""
    shade = np.random.default_rng(0).integers(0, 64, (240, 320, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast", "crf": "35"})
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = 320, 240, "yuv420p", 250
        frames = [
            av.VideoFrame.from_ndarray(np.roll(shade + index * 3, index, axis=1), format="rgb24").reformat(
                format="yuv420p"
            )
            for index in range(50)
        ]
        for index in range(round(minutes * 60 * 25)):
            frame = frames[index % 50]
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def in_order(path: Path, index: int) -> np.ndarray:
    """One frame, by decoding all before it."""
    with av.open(str(path)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number == index:
                return frame.to_ndarray(format="rgb24").astype(int)
    raise ValueError(f"there is no frame {index}")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--kept", type=Path, help="where the film is kept; it is written where there is none")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = given.kept or Path(folder) / "film.mp4"
        if not path.is_file():
            written(path, given.minutes)
        begun = time.monotonic()
        frames = read(path, Ask("video", max_frames=16))
        images = [np.asarray(image).astype(int) for image in frames.images()]
        seconds = time.monotonic() - begun
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{frames.provenance.source_frames} frames: 16 shown after {seconds:.1f} s, memory {memory:.0f} MiB")
        apart = max(float(np.abs(images[place] - in_order(path, frames.indices[place])).mean()) for place in (0, 1))
        print(f"beside frames decoded in order: {apart:.2f} of 255 apart on average")
    sys.exit(seconds > MINUTES * 60 or apart > 2)


if __name__ == "__main__":
    main()
