"""The edge of a mask as a picture that lies over its frame."""

from __future__ import annotations

import io

from PIL import Image, ImageChops, ImageFilter

from rollouts.imaging.pictures import picture
from rollouts.records import BadSample
from rollouts.store.folder import Refused

# Readable on black, white and grey.
_COLOUR = (255, 196, 0)
# As wide as a pixel at this size, wider on larger frames.
_ONE_PIXEL_SIDE = 512


class BadImage(Refused):
    """The file is no PNG that is safe to show; the message says why."""


def outline_png(mask: bytes) -> bytes:
    """A transparent PNG as large as the mask with its edge in one colour: marked pixels that touch an unmarked one.
    Raises BadImage where the mask is no PNG that opens."""
    try:
        marked = picture(mask, formats=("PNG",)).convert("L").point(lambda value: 255 if value else 0)
    except BadSample as error:
        raise BadImage(f"it {error}") from error
    width = 2 * (max(marked.size) // _ONE_PIXEL_SIDE) + 3
    edge = ImageChops.subtract(marked, marked.filter(ImageFilter.MinFilter(width)))
    lined = Image.new("RGBA", marked.size, (*_COLOUR, 0))
    lined.putalpha(edge)
    buffer = io.BytesIO()
    lined.save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()
