"""The edge of what is marked, and masks as picture files beside the frames they belong to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image

from rollouts.imaging.pictures import to_png

if TYPE_CHECKING:
    import numpy as np


def outline(marked: np.ndarray) -> np.ndarray:
    """Marked pixels that touch an unmarked one or the picture's edge, bool [rows, columns]."""
    from scipy import ndimage

    edge: np.ndarray = marked & ~ndimage.binary_erosion(marked)
    return edge


def mask_png(marked: np.ndarray, size: tuple[int, int]) -> bytes:
    """A mask [rows, columns] as a PNG of 0 and 255, as large as the frame it belongs to (width and height): pixels that
    were stretched or made smaller are marked where the nearest one was."""
    image = Image.fromarray(marked.astype("uint8") * 255)
    return to_png(image if image.size == size else image.resize(size, Image.Resampling.NEAREST))
