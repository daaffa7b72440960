"""Values become greys: windows in Hounsfield units, percentiles of a whole medium, the tables of a file, polarity.

A medium has one scale for all its frames, so that a value is the same grey in each of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rollouts.records import BadSample

if TYPE_CHECKING:
    import numpy as np

# Centre and width in Hounsfield units.
PRESETS: dict[str, tuple[float, float]] = {
    "lung": (-600, 1500),
    "mediastinum": (50, 350),
    "soft": (40, 400),
    "liver": (60, 160),
    "brain": (40, 80),
    "subdural": (75, 215),
    "bone": (400, 1800),
    "wide": (0, 2048),
}
MODES = ("auto", "dicom", "rgb3")
# Lowest and highest value of the red, green and blue channel of `rgb3` (MedGemma's recipe for CT).
RGB3 = ((-1024.0, 1024.0), (-135.0, 215.0), (0.0, 80.0))
# Shares of the valid values that `auto` leaves below black and above white, in %.
OUTLIERS = (0.5, 99.5)
# Air is -1000, fat -100: data whose smallest value lies below this are in Hounsfield units, if they are of a CT.
_HOUNSFIELD_BELOW = -200.0

WindowFunction = Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"]


@dataclass(frozen=True)
class Window:
    """A VOI window of DICOM (PS3.3, C.11.2.1.2 and .3)."""

    centre: float
    width: float
    function: WindowFunction = "LINEAR"

    @property
    def bounds(self) -> tuple[float, float]:
        """The value that is black and the one that is white (for SIGMOID: 12 % and 88 % grey)."""
        if self.function == "LINEAR":
            low = self.centre - 0.5 - (self.width - 1) / 2
            return low, low + self.width - 1
        return self.centre - self.width / 2, self.centre + self.width / 2

    def share(self, values: np.ndarray) -> np.ndarray:
        """Each value's share of white, 0..1, float32; NaN stays NaN."""
        import numpy

        if self.function == "SIGMOID":
            power = numpy.clip(-4.0 * (values - self.centre) / self.width, -80, 80)
            return (1.0 / (1.0 + numpy.exp(power))).astype(numpy.float32)
        low, high = self.bounds
        if high <= low:  # a width of 1: a threshold
            return numpy.where(numpy.isnan(values), numpy.nan, values > low).astype(numpy.float32)
        return numpy.clip((values - low) / (high - low), 0, 1).astype(numpy.float32)


@dataclass(frozen=True)
class Table:
    """A VOI LUT of DICOM (PS3.3, C.11.2.1.1): values from `first` on, one entry each, of `bits` bits."""

    first: float
    entries: tuple[int, ...]
    bits: int

    @property
    def bounds(self) -> tuple[float, float]:
        """The values that the first and the last entry stand for."""
        return self.first, self.first + len(self.entries) - 1

    def share(self, values: np.ndarray) -> np.ndarray:
        """Each value's share of white, 0..1, float32; NaN stays NaN."""
        return self.look_up(values) / (2**self.bits - 1)

    def look_up(self, values: np.ndarray) -> np.ndarray:
        """Each value's entry, float32; beyond the table its first or last; NaN stays NaN."""
        import numpy

        table = numpy.asarray(self.entries, dtype=numpy.float32)
        shifted = values.astype(numpy.float64) - self.first
        place = numpy.clip(numpy.rint(numpy.nan_to_num(shifted)), 0, len(table) - 1).astype(numpy.int64)
        return numpy.where(numpy.isnan(shifted), numpy.nan, table[place]).astype(numpy.float32)


@dataclass(frozen=True)
class Scale:
    """How one medium's values are shown: one window or table for grey, three for red, green and blue."""

    channels: tuple[Window | Table, ...]
    # "soft", "auto", "dicom", "rgb3", or "row" where the row gives centre and width.
    name: str
    # MONOCHROME1: the lowest value is white. Applied last.
    inverted: bool = False
    notes: tuple[str, ...] = ()

    def show(self, values: np.ndarray) -> np.ndarray:
        """float32 [rows, columns] as uint8 [rows, columns, 3]. What has no value (NaN) is black."""
        import numpy

        missing = numpy.isnan(values)
        shown = []
        for channel in self.channels:
            share = channel.share(values)
            share = 1 - share if self.inverted else share
            shown.append(numpy.rint(numpy.where(missing, 0, share) * 255).astype(numpy.uint8))
        return numpy.stack(shown * (3 // len(shown)), axis=-1)


@dataclass(frozen=True)
class Greys:
    """What a reader knows of its values: enough to choose a scale."""

    # float32 [any]: values of the whole medium on a fixed grid, what has no value left out (`sampled`). Called once,
    # and only where the window depends on it.
    sample: Callable[[], np.ndarray]
    # True, False, or None = the file does not say: then CT below -200 is.
    in_hounsfield: bool | None = None
    modality: str = ""
    # The file's own window or table; None = it has none, and `why_none` says why in a note.
    own: Window | Table | None = None
    own_notes: tuple[str, ...] = ()
    inverted: bool = False


def choose(window: str | tuple[float, float], greys: Greys) -> Scale:
    """The one scale of a medium.

    Raises:
        BadSample: Hounsfield units are needed and the values are none, or no value is valid.
    """
    scale = _choose(window, greys)
    return dataclasses.replace(scale, inverted=greys.inverted)


def _choose(window: str | tuple[float, float], greys: Greys) -> Scale:
    if not isinstance(window, str):
        return Scale((Window(*window),), "row")
    if window == "auto":
        return _automatic(greys.sample())
    if window == "dicom":
        if greys.own is not None:
            return Scale((greys.own,), "dicom", notes=greys.own_notes)
        automatic = _automatic(greys.sample())
        why = greys.own_notes or ("the file has no window",)
        return dataclasses.replace(automatic, notes=(*why, "shown by the automatic scale", *automatic.notes))
    _refuse_no_hounsfield(window, greys)
    if window == "rgb3":
        three = tuple(Window((low + high) / 2, high - low, "LINEAR_EXACT") for low, high in RGB3)
        return Scale(three, "rgb3")
    return Scale((Window(*PRESETS[window]),), window)


def _refuse_no_hounsfield(window: str, greys: Greys) -> None:
    if greys.in_hounsfield:
        return
    if greys.in_hounsfield is None and greys.modality in ("CT", ""):
        least = float(greys.sample().min(initial=float("inf")))
        if least < _HOUNSFIELD_BELOW:
            return
        reason = f"the smallest value is {least:g}"
    else:
        reason = f"these are values of {greys.modality or 'something else'}"
    raise BadSample(f"window {window} needs Hounsfield units, {reason}; use window=auto")


def _automatic(sample: np.ndarray) -> Scale:
    import numpy

    if not sample.size:
        raise BadSample("holds no valid value: nothing can be shown")
    low, high = (float(value) for value in numpy.percentile(sample, OUTLIERS))
    notes: tuple[str, ...] = ()
    if low == high:
        low, high = float(sample.min()), float(sample.max())
        notes = ("all but a few values are one: shown from the smallest to the largest",)
    if low == high:
        notes = ("all values are one",)
        low, high = low - 0.5, high + 0.5
    return Scale((Window((low + high) / 2, high - low, "LINEAR_EXACT"),), "auto", notes=notes)


def steps(shape: tuple[int, int, int], limit: int = 2_000_000, max_frames: int = 48) -> tuple[int, int, int]:
    """The grid of a medium [frames, rows, columns] on which `auto` measures: every so many frames, rows and columns,
    all where there are few, at most `limit` values in at most `max_frames` frames."""
    frames, rows, columns = shape
    frame_step = max(1, -(-frames // max_frames))
    step = 1
    while -(-frames // frame_step) * -(-rows // step) * -(-columns // step) > limit:
        step += 1
    return frame_step, step, step


def sampled(values: np.ndarray, step: int = 1) -> np.ndarray:
    """The finite values of one frame, float32 [any], on every `step`th row and column."""
    import numpy

    some = values[::step, ::step]
    return some[numpy.isfinite(some)].astype(numpy.float32, copy=False)
