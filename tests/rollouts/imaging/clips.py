"""Small clips whose frames show their own numbers, written by the tests that read them."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

ROWS, COLUMNS = 48, 64
# Columns of the patches that show a number, least bit first.
_BITS = (6, 16, 26, 36, 46, 56)


def card(number: int, rows: int = ROWS, columns: int = COLUMNS) -> np.ndarray:
    """A picture that shows a number of 0..63 in six patches; below them red on the left, blue on the right."""
    shown = np.full((ROWS, COLUMNS, 3), 40, np.uint8)
    for bit, column in enumerate(_BITS):
        shown[8:17, column - 4 : column + 4] = 220 if number >> bit & 1 else 20
    shown[26:42, 4:28], shown[26:42, 36:60] = (220, 30, 30), (30, 30, 220)
    return np.kron(shown, np.ones((rows // ROWS, columns // COLUMNS, 1), np.uint8))


def number_of(picture: Any) -> int:
    """The number that a picture shows."""
    shown = np.asarray(picture).astype(int).mean(axis=-1)
    scale = shown.shape[0] // ROWS
    return sum(int(shown[12 * scale, column * scale] > 120) << bit for bit, column in enumerate(_BITS))


def write(
    path: Path,
    count: int = 12,
    codec: str = "libx264",
    *,
    times: Sequence[float] | None = None,
    rate: int = 10,
    size: tuple[int, int] = (ROWS, COLUMNS),
    pixels: str = "yuv420p",
    aspect: Fraction | None = None,
    rotation: int | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """A clip of `count` cards, 0 first, at `rate` frames a second, or at `times` in seconds."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width = size
        stream.pix_fmt = pixels
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        if rotation is not None:
            stream.set_display_rotation(rotation)
        base = Fraction(1, 1000) if times is not None else Fraction(1, rate)
        stream.codec_context.time_base = base
        for index in range(count):
            frame = av.VideoFrame.from_ndarray(card(index, *size), format="rgb24").reformat(format=pixels)
            frame.pts, frame.time_base = (index if times is None else round(times[index] * 1000)), base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
