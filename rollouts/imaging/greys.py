"""Values deeper than 8 bits become greys: one linear window for a picture, or for all frames of a volume together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from rollouts.records import BadSample

if TYPE_CHECKING:
    import numpy as np

# Values below this share of the picture lie outside the inner window at either end, in %.
_OUTLIERS = 0.5
# Outliers count as such where they would leave the other 99 % of the pixels less than this share of the greys.
_SQUEEZED = 1 / 16
# The largest sample that percentiles are taken of: exact for most pictures, and deterministic.
_SAMPLED_VALUES = 1 << 21


class Extremes(NamedTuple):
    """The finite values of a picture deeper than 8 bits, or of all frames of a volume together."""

    low: float
    high: float
    # The 0.5 and 99.5 percentiles.
    inner_low: float
    inner_high: float
    whole_numbers: bool

    def joined(self, other: Extremes) -> Extremes:
        """Of both pictures together, so that one scale holds for all frames of a volume."""
        return Extremes(
            min(self.low, other.low),
            max(self.high, other.high),
            min(self.inner_low, other.inner_low),
            max(self.inner_high, other.inner_high),
            self.whole_numbers and other.whole_numbers,
        )


class Scale(NamedTuple):
    """Values that are shown black and white; between them grey rises evenly, beyond them nothing changes."""

    black: float
    white: float


def extremes_of(values: np.ndarray) -> Extremes:
    """Of a picture's values [height, width]. Raises BadSample where none of them is finite."""
    import numpy

    flat = values.reshape(-1)
    whole_numbers = flat.dtype.kind in "iu"
    if not whole_numbers:
        flat = flat[numpy.isfinite(flat)]
    if not flat.size:
        raise BadSample("holds no finite number")
    sampled = flat[:: -(-flat.size // _SAMPLED_VALUES)]
    inner = numpy.percentile(sampled, (_OUTLIERS, 100 - _OUTLIERS))
    return Extremes(float(flat.min()), float(flat.max()), float(inner[0]), float(inner[1]), whole_numbers)


def join(extremes: Iterable[Extremes | None]) -> Extremes | None:
    """Extremes of several pictures as one; None where none of them is deeper than 8 bits."""
    joined: Extremes | None = None
    for one in extremes:
        joined = one if joined is None or one is None else joined.joined(one)
    return joined


def scale_of(extremes: Extremes) -> Scale:
    """The window that makes a picture deeper than 8 bits readable; grey never falls where the value rises.

    Whole numbers of 0..255 are shown as they are, and so are floats whose largest lies in the upper half of 0..1 or of
    0..255. Otherwise the smallest value is black and the largest white, as a VOI window over all values (DICOM PS3.3,
    C.11.2.1.2): 12-bit data in 16 bits, a 10-bit film and signed Hounsfield units all get 256 greys. A few outliers (a
    burned-in mark, a dead pixel) that would leave the others fewer than 16 greys are clipped: then the 0.5 and 99.5
    percentiles are black and white.
    """
    low, high = extremes.low, extremes.high
    if low >= 0 and extremes.whole_numbers and high <= 255:
        return Scale(0, 255)
    for limit in (1.0, 255.0):
        if low >= 0 and not extremes.whole_numbers and limit / 2 <= high <= limit:
            return Scale(0, limit)
    if low == high:
        return Scale(0, 65535) if 0 <= low <= 65535 else Scale(low - 1, low + 1)
    if 0 < extremes.inner_high - extremes.inner_low < (high - low) * _SQUEEZED:
        return Scale(extremes.inner_low, extremes.inner_high)
    return Scale(low, high)


def greys_of(values: np.ndarray, scale: Scale) -> np.ndarray:
    """Each value as its grey, 0..255; what is not finite is black."""
    import numpy

    share = (values.astype(numpy.float64) - scale.black) / (scale.white - scale.black)
    share = numpy.clip(numpy.nan_to_num(share, nan=0.0, posinf=0.0, neginf=0.0), 0, 1)
    return numpy.rint(share * 255).astype(numpy.uint8)
