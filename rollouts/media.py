"""Opens images, volumes and videos: every medical input becomes an ordered list of RGB frames (Fleming-VL, Sec 1 and
3.3)."""

from __future__ import annotations

import dataclasses
import hashlib
import io
from pathlib import Path

from PIL import Image

from rollouts.records import BadSample, Media

# Larger than any radiograph (a 43 x 35 cm film at 10 pixels/mm is 15 megapixels), small enough that a decompression
# bomb fits in memory.
MAX_PIXELS = 50_000_000
BLANK_GREY = (128, 128, 128)


def encoded_files(media: Media) -> list[bytes]:
    """The encoded file of each frame, in order: an image's own bytes, or one PNG a slice or frame.

    Raises:
        BadSample: the file is not there or cannot be read.
    """
    if media.frames is not None:
        return list(media.frames)
    if media.data is not None:
        return [media.data]
    try:
        return [Path(str(media.path)).read_bytes()]
    except OSError as error:
        raise BadSample(f"image {media.path} cannot be read: {error.strerror}") from error


def frames(media: Media) -> list[Image.Image]:
    """The frames of one medium in order, RGB.

    Raises:
        BadSample: a file is missing, is no image, is cut off, or holds more than MAX_PIXELS pixels.
    """
    return [_decode(data, media.path or media.kind) for data in encoded_files(media)]


def _decode(data: bytes, name: str) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data))
        if image.width * image.height > MAX_PIXELS:
            raise BadSample(f"image {name} has {image.width} x {image.height} pixels, at most {MAX_PIXELS:,} are read")
        return image.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, BadSample):
            raise
        raise BadSample(f"image {name} does not open: {error}") from error


def to_png(image: Image.Image) -> bytes:
    """One frame as PNG bytes; the same pixels always give the same bytes."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def with_hash(media: Media) -> Media:
    """The same medium with its SHA-256 filled in: of the file's bytes, or of the frames' hashes in order."""
    if media.sha256:
        return media
    digests = [hashlib.sha256(data).hexdigest() for data in encoded_files(media)]
    whole = digests[0] if media.frames is None else hashlib.sha256("".join(digests).encode()).hexdigest()
    return dataclasses.replace(media, sha256=whole)


def evenly_spaced(count: int, wanted: int) -> tuple[int, ...]:
    """Indices of `wanted` of `count` slices or frames, evenly spaced and centred in their shares, in order (Fleming-VL,
    Sec 3.3).

    Raises:
        ValueError: fewer than one is wanted, or there is none.
    """
    if count < 1 or wanted < 1:
        raise ValueError(f"cannot choose {wanted} of {count} frames; both must be at least 1")
    if count <= wanted:
        return tuple(range(count))
    return tuple((2 * i + 1) * count // (2 * wanted) for i in range(wanted))


def blank(media: Media) -> Media:
    """The same medium with every pixel mid-grey and the sizes kept: what a model that does not look would see."""
    grey = tuple(to_png(Image.new("RGB", frame.size, BLANK_GREY)) for frame in frames(media))
    if media.frames is None:
        return Media(kind=media.kind, data=grey[0])
    return Media(kind=media.kind, frames=grey, frame_indices=media.frame_indices)
