"""How a stored video frame is turned and stretched to what a player shows. Pure."""

from __future__ import annotations

import math
import struct
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np

# A display matrix: nine numbers of 32 bits in the byte order of the machine.
_MATRIX_BYTES = 36
# Beyond so many degrees from a quarter turn, a matrix says something that turning cannot do.
_STRAIGHT_WITHIN = 1.0
# Pixels longer than this many times their width are no pixels of a camera.
MOST_ASPECT = 8


class Turn(NamedTuple):
    """Rows and columns change places first, then rows, then columns run the other way."""

    transposed: bool = False
    flip_rows: bool = False
    flip_columns: bool = False
    # Degrees that no quarter turn gives; left as they are.
    rest: float = 0.0

    def turn(self, frame: np.ndarray) -> np.ndarray:
        """[rows, columns, 3] upright, contiguous."""
        import numpy

        turned = frame.transpose(1, 0, 2) if self.transposed else frame
        turned = turned[::-1] if self.flip_rows else turned
        return numpy.ascontiguousarray(turned[:, ::-1] if self.flip_columns else turned)

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of the upright frame."""
        return (height, width) if self.transposed else (width, height)


def turn_of(matrix: bytes) -> Turn:
    """The turn that a display matrix (a b u / c d v / x y w: x' = a x + c y, y' = b x + d y, rows downwards) asks for;
    what is damaged asks for none."""
    if len(matrix) < _MATRIX_BYTES:
        return Turn()
    a, b, _, c, d, *_ = struct.unpack("=9i", matrix[:_MATRIX_BYTES])
    if a * d - b * c == 0:
        return Turn()
    transposed = abs(b) > abs(a)
    along, across = (b, a) if transposed else (a, b)
    rest = math.degrees(math.atan2(abs(across), abs(along)))
    rest = rest if rest > _STRAIGHT_WITHIN else 0.0
    if transposed:
        return Turn(True, flip_rows=b < 0, flip_columns=c < 0, rest=rest)
    return Turn(False, flip_rows=d < 0, flip_columns=a < 0, rest=rest)


def squared(width: int, height: int, aspect: Fraction | None) -> tuple[int, int]:
    """Width and height of a stored frame with square pixels: the short side is stretched, nothing is lost. `aspect`:
    width over height of a pixel; None or nonsense = squares."""
    if aspect is None or not 0 < aspect or not Fraction(1, MOST_ASPECT) <= aspect <= MOST_ASPECT or aspect == 1:
        return width, height
    return (round(width * aspect), height) if aspect > 1 else (width, round(height / aspect))
