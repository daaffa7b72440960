"""Where voxels lie in the patient, and the planes they are shown along: DICOM's axes, by turning only.

Axes are named by where they point: L patient's left, R right, P back, A front, S head, I feet. A medium's axes are
three letters: where its columns, its rows and its frames run to. Axial frames are LPS (columns to the left, rows to the
back, frames to the head), coronal LIP, sagittal PIL: the image's right is the patient's left in axial and coronal
frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING, NamedTuple

from rollouts.records import BadSample

if TYPE_CHECKING:
    import numpy as np

PLANES = {"axial": "LPS", "coronal": "LIP", "sagittal": "PIL"}
# An axis that points this way is the number so many of LPS, with this sign.
_LETTERS = {"L": (0, 1), "R": (0, -1), "P": (1, 1), "A": (1, -1), "S": (2, 1), "I": (2, -1)}
# Beyond this many degrees from the nearest axes the angle is noted.
_OBLIQUE_FROM = 1.0


def plane_of(axes: str) -> str:
    """axial, coronal or sagittal, by where the frames of "LPS"-like axes run to; "" where nothing is known."""
    frames_to = axes[2:3]
    return {"S": "axial", "I": "axial", "P": "coronal", "A": "coronal", "L": "sagittal", "R": "sagittal"}.get(
        frames_to, ""
    )


Vector = tuple[float, float, float]


class Places(NamedTuple):
    """Where the pixels of a medium's frames lie in the patient, LPS mm: what a mask's pixels are compared with."""

    # The middle of each frame's first pixel, as the frame is shown.
    origins: tuple[Vector, ...]
    # From a pixel to the next column, and to the next row.
    to_column: Vector
    to_row: Vector


@dataclass(frozen=True)
class Arrangement:
    """How an array [i, j, k] is turned to [frame, row, column] of a plane."""

    # Axis of the array that becomes frames, rows, columns; and whether it runs the other way.
    order: tuple[int, int, int]
    flipped: tuple[bool, bool, bool]
    # Columns, rows, frames: "LPS".
    axes: str
    # Millimetres between frames, rows, columns.
    spacing: tuple[float, float, float]
    # Place of each frame along its axis (L, P or S), in mm, measured at the middle of the frame; rises.
    positions: tuple[float, ...]
    # Degrees between the array's axes and the nearest of the patient's.
    oblique: float

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know of it."""
        return (f"oblique by {self.oblique:.1f} degrees",) if self.oblique > _OBLIQUE_FROM else ()

    def turn(self, array: np.ndarray) -> np.ndarray:
        """[i, j, k, ..] as a view [frame, row, column, ..]."""
        import numpy

        rest = range(3, array.ndim)
        turned = numpy.transpose(array, (*self.order, *rest))
        return turned[tuple(slice(None, None, -1) if flip else slice(None) for flip in self.flipped)]

    def source_frame(self, frame: int, count: int) -> int:
        """Index along the array's own axis of a frame; `count` is that axis' length."""
        return count - 1 - frame if self.flipped[0] else frame


def places_of(affine: np.ndarray, shape: tuple[int, int, int], arrangement: Arrangement) -> Places:
    """Places of an array's frames after it is turned. `affine` and `shape` as in `arrange`."""
    import numpy

    matrix = numpy.asarray(affine, dtype=numpy.float64)
    first = numpy.zeros(3)
    steps = []
    for axis, flip in zip(arrangement.order, arrangement.flipped, strict=True):
        first[axis] = shape[axis] - 1 if flip else 0
        steps.append(matrix[:3, axis] * (-1 if flip else 1))
    origin = matrix[:3, :3] @ first + matrix[:3, 3]
    frames = range(shape[arrangement.order[0]])
    return Places(tuple(vector(origin + frame * steps[0]) for frame in frames), vector(steps[2]), vector(steps[1]))


def vector(values: np.ndarray) -> Vector:
    """Three numbers of an array as plain ones."""
    x, y, z = (float(value) for value in values)
    return x, y, z


def arrange(affine: np.ndarray, shape: tuple[int, int, int], plane: str, frame_axis: int) -> Arrangement:
    """How an array is turned to a plane.

    Args:
        affine: [4, 4], from indices (i, j, k, 1) to LPS millimetres (NIfTI's is RAS: negate its first two rows).
        shape: of the array's first three axes.
        plane: axial, coronal, sagittal; native keeps `frame_axis` as the axis of the frames.
        frame_axis: the array's axis along which slices were acquired, 0..2.

    Raises:
        BadSample: the affine is not finite or flattens the volume.
    """
    import numpy

    matrix = numpy.asarray(affine, dtype=numpy.float64)[:3, :3]
    lengths = numpy.linalg.norm(matrix, axis=0)
    if not numpy.isfinite(affine).all() or (lengths < 1e-9).any():
        raise BadSample("its geometry is damaged: an axis has no length or no finite direction")
    cosines = matrix / lengths
    if abs(numpy.linalg.det(cosines)) < 1e-3:
        raise BadSample("its geometry is damaged: two axes point the same way")
    nearest = _nearest_axes(cosines)
    if plane == "native":
        plane = {2: "axial", 1: "coronal", 0: "sagittal"}[nearest[frame_axis]]
    columns, rows, frames = (_LETTERS[letter] for letter in PLANES[plane])
    wanted = (frames, rows, columns)
    order = tuple(nearest.index(axis) for axis, _ in wanted)
    flipped = tuple(cosines[axis, source] * sign < 0 for (axis, sign), source in zip(wanted, order, strict=True))
    angles = [numpy.degrees(numpy.arccos(min(1.0, abs(cosines[nearest[i], i])))) for i in range(3)]
    middle = (numpy.asarray(shape, dtype=numpy.float64) - 1) / 2
    places = []
    for index in range(shape[order[0]]):
        point = middle.copy()
        point[order[0]] = index
        places.append(float((matrix @ point + numpy.asarray(affine)[:3, 3])[frames[0]]))
    if flipped[0]:
        places.reverse()
    return Arrangement(
        order=order,  # type: ignore[arg-type]
        flipped=tuple(bool(flip) for flip in flipped),  # type: ignore[arg-type]
        axes=PLANES[plane],
        spacing=tuple(float(lengths[axis]) for axis in order),  # type: ignore[arg-type]
        positions=tuple(places),
        oblique=float(max(angles)),
    )


def _nearest_axes(cosines: np.ndarray) -> tuple[int, int, int]:
    """For each axis of an array the axis of the patient (0 L, 1 P, 2 S) it lies nearest to; each is taken once, so that
    the sum of the cosines is the largest."""
    return max(permutations((0, 1, 2)), key=lambda taken: sum(abs(cosines[taken[i], i]) for i in range(3)))  # type: ignore[return-value]
