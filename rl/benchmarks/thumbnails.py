"""A small grey picture of a sample's first image, by which studies that look alike are found without any model."""

from __future__ import annotations

from PIL import Image

from rollouts.media import frames
from rollouts.records import Sample

# Pixels of a side: enough to tell a frontal chest from a lateral one, too few to show a nodule.
SIDE = 16


def thumbnail(sample: Sample) -> tuple[float, ...]:
    """SIDE x SIDE grey values of the first frame of the first image, 0 to 1, row by row. Raises BadSample."""
    small = frames(sample.media[0])[0].convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    return tuple(value / 255 for value in small.tobytes())
