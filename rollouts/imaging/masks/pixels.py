"""Which pixels of a picture file are marked, however the mask was written: values, palette, alpha or colour."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rollouts.imaging import pictures
from rollouts.records import BadSample

if TYPE_CHECKING:
    import numpy as np

# Values up to here are numbers of labels; larger ones are greys of which the brighter half is marked.
MOST_LABELS = 32
# A grey mask with at most so many values, and more than two, has several labels written as greys.
_FEW = 16
# More values than any list of organs: it is the picture itself.
MOST_VALUES = 512


class Marked(NamedTuple):
    """What a file marks."""

    # bool [rows, columns], or [frames, rows, columns].
    pixels: np.ndarray
    notes: tuple[str, ...] = ()


def marked_pixels(data: bytes, page: int, label: int | None) -> Marked:
    """Pixels of one page of a picture file that carry `label`; None = all that are marked, bool [rows, columns]."""
    stored = pictures.stored(data, page)
    values = stored.values
    if stored.mode == "P" or values.ndim == 2:
        lossy = stored.format in ("JPEG", "MPO")
        return _lossy(values, label) if lossy else marked_values(values, label, indices=stored.mode == "P")
    if label is not None:
        raise BadSample(f"label {label} is the number of a value, and this mask is coloured; leave it out")
    if stored.mode in ("LA", "RGBA", "PA", "La", "RGBa"):
        colour, alpha = values[..., :-1], values[..., -1]
        if (colour == colour[:1, :1]).all():
            return Marked(alpha > alpha.max() / 2 if alpha.max() else alpha > 0)
        seen = alpha > 127
        return Marked(seen & _bright(colour * seen[..., None]))
    return Marked(values.max(axis=-1) > 127 if stored.format in ("JPEG", "MPO") else _bright(values))


def _lossy(values: np.ndarray, label: int | None) -> Marked:
    if label is not None:
        raise BadSample(f"label {label} cannot be told in a JPEG, whose values are not exact; save the mask as PNG")
    return Marked(values > 127)


def _bright(colour: np.ndarray) -> np.ndarray:
    """Where any channel is brighter than half of the brightest."""
    brightest = colour.max(axis=-1)
    mask: np.ndarray = brightest > brightest.max() / 2 if brightest.max() else brightest > 0
    return mask


def marked_values(values: np.ndarray, label: int | None, *, indices: bool = False) -> Marked:
    """Where numbers mark something. `indices`: they are numbers of a palette, whatever their colours are.

    Whole numbers up to 32 are labels, of which 0 is the outside; larger ones are greys; fractions of 0..1 are
    probabilities. Raises BadSample for what can be none of these, and for several labels written as greys.
    """
    import numpy

    finite = numpy.isfinite(values) if values.dtype.kind == "f" else None
    numbers = values if finite is None else numpy.where(finite, values, 0)
    there = numpy.unique(numbers)
    if there[0] < 0:
        raise BadSample(f"holds values down to {there[0]:g}: not a mask")
    whole = bool((there == numpy.rint(there)).all())
    if label is not None:
        if not whole:
            raise BadSample(f"label {label} is asked for, and the mask holds fractions")
        absent = label not in there
        holds = ", ".join(f"{value:g}" for value in there[:8] if value) or "none"
        return Marked(numbers == label, (f"label {label} does not occur; there are {holds}",) if absent else ())
    if not whole:
        if there[-1] > 1:
            raise BadSample(f"holds fractions up to {there[-1]:g}: not a mask")
        return Marked(numbers > 0.5, ("probabilities: marked from one half on",))
    if len(there) > MOST_VALUES:
        raise BadSample(f"holds {len(there)} different values: not a mask, but perhaps the image itself")
    if indices or there[-1] <= MOST_LABELS or len(there) <= 2:
        return Marked(numbers != 0)
    if len(there) <= _FEW:
        holds = ", ".join(f"{value:g}" for value in there)
        raise BadSample(f'holds the values {holds}; choose one with "label"')
    return Marked(numbers > there[-1] / 2, ("greys: marked from one half on",))
