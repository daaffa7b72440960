"""DICOM segmentations: which pixels each segment marks, and where in the patient (PS3.3, C.8.20)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rollouts.imaging.ask import Ask
from rollouts.imaging.dicom import files
from rollouts.imaging.dicom.grids import grid_of, places_of
from rollouts.imaging.dicom.headers import Slice
from rollouts.imaging.dicom.series import Stack, place_of
from rollouts.imaging.geometry import Places
from rollouts.records import BadSample

if TYPE_CHECKING:
    import numpy as np

# Frames nearer than this, in mm, lie at one place.
_SAME_PLACE = 0.01


@dataclass(frozen=True)
class Segments:
    """What a segmentation marks, turned to the plane of its frames; frames that mark nothing need not be there."""

    # bool [frames, rows, columns].
    marked: np.ndarray
    axes: str
    places: Places
    # Numbers of the segments that occur.
    there: tuple[int, ...]


def read_segments(paths: Sequence[Path], label: int | None) -> Segments:
    """The frames of a segmentation with one segment, or with all of them (None) together. Raises BadSample."""
    import numpy

    if len(paths) > 1:
        raise BadSample(f"{len(paths)} DICOM files; a segmentation is one")
    frames = files.segmentation(paths[0])
    by_place: dict[float, tuple[Slice, np.ndarray]] = {}
    for item, number, pixels in frames:
        if item.position is None or item.orientation is None or item.spacing is None:
            raise BadSample("its frames have no place in the patient")
        marks = _marks(pixels, number, label)
        where = place_of(item)
        same = next((place for place in by_place if abs(place - where) < _SAME_PLACE), None)
        if same is None:
            by_place[where] = (item, marks)
        else:
            by_place[same] = (by_place[same][0], by_place[same][1] | marks)
    there = {number for _, number, _ in frames if number is not None}
    for _, number, pixels in frames:
        if number is None:
            there |= {int(value) for value in numpy.unique(pixels) if value}
    rising = sorted(by_place)
    stack = Stack(tuple(by_place[place][0] for place in rising), tuple(rising))
    grid = grid_of(stack, Ask("volume"))
    places = None if grid is None else places_of(stack, grid)
    if grid is None or places is None:
        raise BadSample("its frames have no place in the patient")
    turned = [grid.turn(by_place[rising[grid.slice_of(frame)]][1]) for frame in range(grid.count)]
    return Segments(numpy.stack(turned), grid.arrangement.axes, places, tuple(sorted(there)))


def _marks(pixels: np.ndarray, number: int | None, label: int | None) -> np.ndarray:
    """Pixels of one frame that carry the label. `number`: the segment the frame is of; None = its values are labels."""
    import numpy

    if number is not None:
        return pixels if label in (None, number) else numpy.zeros(pixels.shape, bool)
    marks: np.ndarray = pixels != 0 if label is None else pixels == label
    return marks
