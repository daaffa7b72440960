"""Stored pixels become real values: bits, padding, tables, slope and intercept. Pure numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollouts.imaging.dicom.headers import Slice

if TYPE_CHECKING:
    import numpy as np


def values_of(item: Slice, stored: np.ndarray) -> np.ndarray:
    """float32 [rows, columns] of one frame: Hounsfield units, activity, ..; NaN where there is no value (padding)."""
    import numpy

    head = item.head
    stored = _in_bits(item, stored)
    missing = None
    if head.padding is not None:
        missing = (stored >= head.padding[0]) & (stored <= head.padding[1])
    if head.modality_table is not None:
        values = head.modality_table.look_up(stored)
    else:
        with numpy.errstate(over="ignore", invalid="ignore"):
            values = stored.astype(numpy.float32)
            if item.slope != 1.0:
                values *= numpy.float32(item.slope)
            if item.intercept != 0.0:
                values += numpy.float32(item.intercept)
    if missing is not None and missing.any():
        values[missing] = numpy.nan
    values[~numpy.isfinite(values)] = numpy.nan
    return values


def _in_bits(item: Slice, stored: np.ndarray) -> np.ndarray:
    """Without what stands in bits that are not the pixel's: an overlay above them, or, in old files, bits below."""
    head = item.head
    if stored.dtype.kind not in "iu" or head.bits_stored >= head.bits_allocated:
        return stored
    below = head.high_bit + 1 - head.bits_stored
    if 0 < below <= head.bits_allocated - head.bits_stored:
        stored = stored >> below
    if head.overlay_in_pixels and stored.dtype.kind == "u":
        return stored & ((1 << head.bits_stored) - 1)
    return stored
