"""A stack of slices as one grid of voxels in the patient, and the planes that are cut out of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rollouts.imaging.ask import Ask
from rollouts.imaging.dicom.headers import Slice
from rollouts.imaging.dicom.series import Stack, steps_of, tilt_of
from rollouts.imaging.geometry import PLANES, Arrangement, Places, arrange, vector
from rollouts.records import BadSample

if TYPE_CHECKING:
    import numpy as np

# Slices may lie this share of a step off an even grid when other planes are cut.
_OFF_GRID = 0.1
# Values of a block of frames that is cut in one pass over the slices: 256 MB.
_BLOCK = 64 << 20
_MOST_MISSING = 4


@dataclass(frozen=True)
class Grid:
    """Voxels [slice, row, column] of a stack, and how they are turned to the plane asked for."""

    arrangement: Arrangement
    # Whether frames are the slices themselves.
    is_native: bool
    # Frames, and rows of the grid along the slices (more than slices where some are missing).
    count: int
    shape: tuple[int, int, int]
    # Place on the grid of each slice.
    rows: tuple[int, ...]
    positions: tuple[float, ...]
    notes: tuple[str, ...]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of a frame before pixels are made squares."""
        _, rows, columns = self.arrangement.order
        return self.shape[columns], self.shape[rows]

    def slice_of(self, frame: int) -> int:
        """The slice that is shown as a frame."""
        return self.arrangement.source_frame(frame, self.count)

    def turn(self, stored: np.ndarray) -> np.ndarray:
        """One slice [row, column, ..] as it is shown."""
        import numpy

        return numpy.ascontiguousarray(self.arrangement.turn(stored[None])[0])

    def cut(
        self, slices: Sequence[Slice], wanted: Sequence[int], fetch: Callable[[Sequence[Slice]], Iterator[np.ndarray]]
    ) -> Iterator[np.ndarray]:
        """Frames of another plane, in one pass over the slices for as many as fit in memory; missing slices have no
        value."""
        axis = self.arrangement.order[0]
        each = self.shape[0] * self.shape[1] * self.shape[2] // self.shape[axis]
        at_once = max(1, _BLOCK // each)
        for start in range(0, len(wanted), at_once):
            yield from self._block(slices, wanted[start : start + at_once], fetch, axis)

    def _block(
        self,
        slices: Sequence[Slice],
        wanted: Sequence[int],
        fetch: Callable[[Sequence[Slice]], Iterator[np.ndarray]],
        axis: int,
    ) -> Iterator[np.ndarray]:
        import numpy

        places = sorted(self.arrangement.source_frame(frame, self.shape[axis]) for frame in wanted)
        block: np.ndarray | None = None
        for row, values in zip(self.rows, fetch(slices), strict=True):
            part = values.take(places, axis=axis - 1)
            if block is None:
                missing = 0 if values.ndim == 3 else numpy.nan
                block = numpy.full((self.shape[0], *part.shape), missing, dtype=values.dtype)
            block[row] = part
        assert block is not None
        yield from (numpy.ascontiguousarray(frame) for frame in self.arrangement.turn(block))


def places_of(stack: Stack, grid: Grid) -> Places | None:
    """Where the frames' pixels lie; None where other planes are cut, or the spacing is unknown."""
    import numpy

    first = stack.slices[0]
    if not grid.is_native or first.spacing is None or first.orientation is None:
        return None
    axes = numpy.asarray(first.orientation, dtype=numpy.float64).reshape(2, 3)
    # Steps along the array's axes 1 and 2: from row to row, from column to column.
    steps = {1: axes[1] * first.spacing[0], 2: axes[0] * first.spacing[1]}
    shown, start = [], numpy.zeros(3)
    for axis, flip in list(zip(grid.arrangement.order, grid.arrangement.flipped, strict=True))[1:]:
        start = start + steps[axis] * (grid.shape[axis] - 1 if flip else 0)
        shown.append(steps[axis] * (-1 if flip else 1))
    places = [numpy.asarray(stack.slices[grid.slice_of(frame)].position) + start for frame in range(grid.count)]
    return Places(tuple(vector(place) for place in places), to_column=vector(shown[1]), to_row=vector(shown[0]))


def grid_of(stack: Stack, ask: Ask) -> Grid | None:
    """The grid of a stack; None where its places in the patient are unknown.

    Raises:
        BadSample: another plane is asked for, and the slices lie on no even grid.
    """
    import numpy

    first = stack.slices[0]
    if stack.places is None or first.orientation is None or first.position is None:
        return None
    axes = numpy.asarray(first.orientation, dtype=numpy.float64).reshape(2, 3)
    normal = numpy.cross(axes[0], axes[1])
    spacing, known_spacing = (first.spacing, True) if first.spacing else ((1.0, 1.0), False)
    step = stack.step
    affine = numpy.eye(4)
    affine[:3, 0] = normal * step
    affine[:3, 1] = axes[1] * spacing[0]
    affine[:3, 2] = axes[0] * spacing[1]
    affine[:3, 3] = first.position
    shape = (len(stack.slices), first.head.rows, first.head.columns)
    native = arrange(affine, shape, "native", 0)
    notes = [*native.notes] + ([] if known_spacing else ["PixelSpacing unknown: pixels are taken as squares"])
    if ask.plane == "native" or PLANES[ask.plane] == native.axes:
        places = _middles(stack, native)
        rows = tuple(range(len(stack.slices)))
        return Grid(native, True, len(rows), shape, rows, places, tuple(notes))
    if not known_spacing:
        raise BadSample(f"plane {ask.plane} needs PixelSpacing, and the file has none; use plane=native")
    rows = _rows_on_grid(stack, ask.plane)
    shape = (rows[-1] + 1, *shape[1:])
    arrangement = arrange(affine, shape, ask.plane, 0)
    if missing := shape[0] - len(rows):
        notes.append(f"{missing} missing slices are black in this plane")
    count = shape[arrangement.order[0]]
    return Grid(arrangement, False, count, shape, rows, arrangement.positions, tuple(notes))


def _middles(stack: Stack, native: Arrangement) -> tuple[float, ...]:
    """Place of each frame's middle along the patient's axis nearest to the normal, in the order shown."""
    import numpy

    axis = {"S": 2, "P": 1, "L": 0}[native.axes[2]]
    places = []
    for item in stack.slices:
        axes = numpy.asarray(item.orientation, dtype=numpy.float64).reshape(2, 3)
        spacing = item.spacing or (1.0, 1.0)
        across = axes[0] * spacing[1] * (item.head.columns - 1) / 2 + axes[1] * spacing[0] * (item.head.rows - 1) / 2
        places.append(float((numpy.asarray(item.position) + across)[axis]))
    return tuple(reversed(places) if native.flipped[0] else places)


def _rows_on_grid(stack: Stack, plane: str) -> tuple[int, ...]:
    """Where each slice lies on an even grid. Raises BadSample where they lie on none."""
    assert stack.places is not None
    if len(stack.slices) < 2:
        raise BadSample(f"plane {plane} is cut out of a stack, and this is one slice; use plane=native")
    step = stack.step
    exact = [(place - stack.places[0]) / step for place in stack.places]
    rows = [round(place) for place in exact]
    off = max(abs(place - row) for place, row in zip(exact, rows, strict=True))
    if off > _OFF_GRID or min(steps_of([float(row) for row in rows])) < 1:
        raise BadSample(f"plane {plane} needs even steps between slices, and they are uneven; use plane=native")
    if rows[-1] + 1 > _MOST_MISSING * len(rows):
        raise BadSample(f"plane {plane}: most slices are missing; use plane=native")
    if (tilt := tilt_of(stack.slices)) > max(0.5, stack.slices[0].spacing[0] if stack.slices[0].spacing else 0.5):
        raise BadSample(
            f"plane {plane}: the gantry was tilted, slices shift by {tilt:.3g} mm a step, so that the plane would be"
            " slanted; use plane=native"
        )
    return tuple(rows)
