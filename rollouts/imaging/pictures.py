"""A picture file becomes upright 8-bit RGB, the same for policy, engine, judge, store, page, report and export.

- More than 8 bits, or floats: one linear window of the whole picture (DICOM PS3.3, C.11.2.1.2), see `greys.scale_of`.
- Turned by EXIF: shown upright, as browsers and vLLM's loader do; boxes belong to the upright picture.
- Transparent: on white, so that a black drawing on clear ground is seen.
- Several frames or pages: refused as one picture; `video` or `volume` takes all of them, `page` one.
- Plain 8-bit files: the pixels that Pillow reads, unchanged.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from PIL import Image

from rollouts.imaging.flat import chunks
from rollouts.imaging.flat.chunks import PNG
from rollouts.imaging.greys import Extremes, Scale, extremes_of, greys_of, join, scale_of
from rollouts.records import BadSample

if TYPE_CHECKING:
    import numpy as np

# Larger than any radiograph (a 43 x 35 cm film at 10 pixels/mm is 15 megapixels), small enough that a decompression
# bomb fits in memory.
MAX_PIXELS = 50_000_000
# Formats that are read, by Pillow's names. Others run programs (EPS) or are no pictures of patients.
FORMATS = ("PNG", "JPEG", "TIFF", "GIF", "WEBP", "AVIF", "BMP", "JPEG2000", "PPM")
# Frames of an animation, and pixels in all of them: each is decoded to reach those behind it.
MAX_FRAMES = 20_000
MAX_ANIMATED = 4_000_000_000
# What transparent pixels are shown on.
GROUND = (255, 255, 255, 255)
_ORIENTATION, _SUBFILE, _PHOTOMETRIC, _BITS, _SAMPLE_FORMAT = 0x0112, 254, 262, 258, 339
# How EXIF may stand in a PNG: its own chunk, XMP, and as ImageMagick wrote it before there was one.
_EXIF_IN_PNG = (b"eXIf", b"XML:com.adobe.xmp", b"Raw profile type")
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Stored(NamedTuple):
    """A picture before it is shown."""

    # Pillow's names: "P", "RGBA", ..; "PNG", ..
    mode: str
    format: str
    # [rows, columns] or [rows, columns, channels].
    values: np.ndarray


def picture(data: bytes, *, formats: tuple[str, ...] | None = None) -> Image.Image:
    """The one picture of a file, upright RGB. `formats`: Pillow's names of those that are read; None = `FORMATS`.

    Raises BadSample with what is wrong, without the file's name: damaged, too large, several frames, nothing to see.
    """
    with _opened(data, formats) as image:
        _refuse_damage(data)
        _refuse_frames(image, data)
        return _rgb(image, data, None)


def fault(data: bytes) -> str | None:
    """Why `picture` would refuse these bytes, or None. A plain JPEG is decoded at an eighth of its size, which reads
    the whole file all the same."""
    try:
        with _opened(data, None) as image:
            _refuse_damage(data)
            _refuse_frames(image, data)
            if image.format in ("JPEG", "MPO"):
                image.draft("RGB", (max(1, image.width // 8), max(1, image.height // 8)))
                image.load()
            else:
                _rgb(image, data, None)
    except BadSample as error:
        return str(error)
    return None


def size(data: bytes) -> tuple[int, int]:
    """Width and height of the upright picture, read from the head of the file. Raises BadSample."""
    with _opened(data, None) as image:
        # A TIFF says its upright size by itself.
        turned = image.format != "TIFF" and _orientation(image, data) >= 5
        return (image.height, image.width) if turned else (image.width, image.height)


def sizes(data: bytes, frames: Sequence[int]) -> set[tuple[int, int]]:
    """Widths and heights of these frames, upright. Raises BadSample."""
    with _opened(data, None) as image:
        if image.format != "TIFF":  # whose pages alone have sizes of their own
            return {size(data)}
        there = _frames(image)
        return {_seek(image, there[index]).size for index in frames}


def num_frames(data: bytes) -> int:
    """Frames or pages of a file that is whole, 1 for an ordinary picture. Raises BadSample."""
    with _opened(data, None) as image:
        _refuse_damage(data)
        count = len(_frames(image))
        if count > MAX_FRAMES or count * image.width * image.height > MAX_ANIMATED:
            raise BadSample(
                f"has {count:,} frames of {image.width} x {image.height}, at most {MAX_FRAMES:,} frames and"
                f" {MAX_ANIMATED:,} pixels are read: make it a video"
            )
        return count


def frame(data: bytes, index: int, scale: Scale | None = None) -> Image.Image:
    """One frame of a file, upright RGB; `scale` is that of the whole volume, None = the frame's own. Raises
    BadSample."""
    return next(several(data, (index,), scale))


def several(data: bytes, indices: Sequence[int], scale: Scale | None = None) -> Iterator[Image.Image]:
    """Frames of a file, whose indices rise, in one pass: the frames of an animation are built on those before them.
    Raises BadSample."""
    with _opened(data, None) as image:
        there = _frames(image)
        for index in indices:
            yield _rgb(_seek(image, there[index]), data, scale)


def extremes(data: bytes, frames: Sequence[int] | None = None) -> Extremes | None:
    """Over these frames of a file, None = all; None where they hold 8 bits, which need no scale. Raises BadSample."""
    with _opened(data, None) as image:
        there = _frames(image)
        chosen = there if frames is None else [there[index] for index in frames]
        if image.format != "TIFF" and not _is_deep(image):
            return None
        deep = [_is_deep(_seek(image, index)) for index in chosen]
        if len(set(deep)) > 1:
            raise BadSample("some of its pages have 8 bits and some more: there is no one scale for them")
        return join(extremes_of(_values(_seek(image, index))) for index in chosen) if all(deep) else None


def values(data: bytes, index: int) -> np.ndarray:
    """One frame's values as they are stored, upright, float32 [height, width], NaN where there is no number; a TIFF
    whose zero is white is turned over. Raises BadSample, also for colour and 8 bits."""
    import numpy

    with _opened(data, None) as image:
        if not _is_deep(image):
            raise BadSample("has 8 bits a channel: it has no values for a window")
        pixels = _values(_seek(image, _frames(image)[index])).astype(numpy.float32)
        pixels[~numpy.isfinite(pixels)] = numpy.nan
        tags: Any = getattr(image, "tag_v2", {})
        pixels = numpy.nanmax(pixels) + numpy.nanmin(pixels) - pixels if tags.get(_PHOTOMETRIC) == 0 else pixels
        turn = _UPRIGHT.get(_orientation(image, data))
        return pixels if turn is None else numpy.asarray(Image.fromarray(pixels).transpose(turn))


def stored(data: bytes, index: int) -> Stored:
    """One frame's numbers as they are stored, upright; for a palette its indices. Raises BadSample."""
    import numpy

    with _opened(data, None) as image:
        _refuse_damage(data)
        frame = _seek(image, _frames(image)[index])
        mode, turn = frame.mode, _UPRIGHT.get(_orientation(frame, data))
        frame = frame if turn is None else frame.transpose(turn)
        return Stored(mode, str(image.format), numpy.asarray(frame))


def durations(data: bytes) -> list[float] | None:
    """Seconds that each frame of an animation is shown; None for a file that names no times. Raises BadSample."""
    with _opened(data, None) as image:
        if image.format not in ("GIF", "PNG", "WEBP", "AVIF"):
            return None
        seconds = []
        for index in _frames(image):
            _seek(image, index).load()  # WebP and AVIF tell it only then
            seconds.append(float(image.info.get("duration", 0)) / 1000)
        return seconds


def notes(data: bytes) -> tuple[str, ...]:
    """What a reader should know of how the file is shown, in words. Raises BadSample."""
    lines = []
    with _opened(data, None) as image:
        if image.format != "TIFF" and _orientation(image, data) in _UPRIGHT:
            lines.append("turned upright as its EXIF says")
        if _is_deep_colour(image, data):
            lines.append("16-bit colour: its upper 8 bits")
        if not _is_deep(image) and _may_be_clear(image) and not _is_opaque(image):
            lines.append("transparent parts shown on white")
    return tuple(lines)


def format_of(data: bytes) -> str:
    """Pillow's name of the format: "PNG". Raises BadSample."""
    with _opened(data, None) as image:
        return str(image.format)


def to_png(image: Image.Image) -> bytes:
    """One frame as PNG bytes; the same pixels always give the same bytes."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def is_plain_png(data: bytes) -> bool:
    """Whether the file is a PNG that every viewer shows with the pixels of `picture`: 8 bits, upright, opaque, one
    frame. Such a file is stored and sent as it is. Raises BadSample for one that does not open."""
    if not data.startswith(PNG):
        return False
    with _opened(data, None) as image:
        plain = not _is_deep(image) and not _is_deep_colour(image, data) and len(_frames(image)) == 1
        return plain and _orientation(image, data) == 1 and (not _may_be_clear(image) or _is_opaque(image))


@contextmanager
def _opened(data: bytes, formats: tuple[str, ...] | None) -> Iterator[Image.Image]:
    """The file's picture, not yet decoded; whatever goes wrong with it inside the block becomes a BadSample."""
    if not data:
        raise BadSample("is an empty file")
    if data.startswith(chunks.TIFF):  # before Pillow, which warns of what is cut and goes on
        _refuse_damage(data)
    try:
        with Image.open(io.BytesIO(data), formats=formats or FORMATS) as image:
            _refuse_size(image)
            _refuse_signed_bytes(image)
            yield image
    except BadSample:
        raise
    except Exception as error:  # a boundary: Pillow's readers raise a dozen kinds on damaged files
        text = re.sub(r" ?<_io\.BytesIO object at 0x[0-9a-f]+>", "", str(error)) or type(error).__name__
        if data.startswith(chunks.TIFF) and (stored := chunks.tiff_values(data)):
            text = f"a TIFF of {stored}; save it with 8 or 16 bits, or one channel of 32-bit floats ({text})"
        raise BadSample(f"does not open: {text}") from error


def _refuse_damage(data: bytes) -> None:
    if fault := chunks.fault_of(data):
        raise BadSample(fault)


def _refuse_size(image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise BadSample(f"has {image.width} x {image.height} pixels, at most {MAX_PIXELS:,} are read")


def _refuse_signed_bytes(image: Image.Image) -> None:
    tags: Any = getattr(image, "tag_v2", {})
    if tags.get(_SAMPLE_FORMAT, (1,))[0] == 2 and tags.get(_BITS, (8,))[0] == 8:
        raise BadSample("holds signed values of 8 bits, which would be shown wrong: save it with 16 bits")


def several_frames(data: bytes, count: int) -> str:
    """Why a file with several frames or pages is refused as one picture."""
    what = "pages" if data[:2] in (b"II", b"MM") else "frames"
    return f'has {count} {what}: give it as "volume" or "video", or take one with "page"'


def _refuse_frames(image: Image.Image, data: bytes) -> None:
    if (count := len(_frames(image))) > 1:
        raise BadSample(several_frames(data, count))


def _frames(image: Image.Image) -> list[int]:
    """Places of the file's frames. The smaller copies that a TIFF or a camera's JPEG (MPO) holds are none."""
    count = getattr(image, "n_frames", 1)
    if count == 1 or image.format == "MPO":
        return [0]
    if image.format != "TIFF":
        # An APNG may begin with a picture for viewers that know no animation; it is no frame of it.
        return list(range(1 if getattr(image, "default_image", False) else 0, count))
    tiff: Any = image
    whole = []
    for index in range(count):
        tiff.seek(index)
        whole += [] if int(tiff.tag_v2.get(_SUBFILE, 0)) & 1 else [index]
    tiff.seek(0)
    return whole or [0]


def _seek(image: Image.Image, index: int) -> Image.Image:
    image.seek(index)
    _refuse_size(image)
    return image


def _orientation(image: Image.Image, data: bytes) -> int:
    """1 = upright, up to 8; a damaged EXIF block says nothing. A PNG without such a block, which may stand behind its
    pixels, is not decoded for it."""
    if image.format == "PNG" and not any(name in data for name in _EXIF_IN_PNG):
        return 1
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # a boundary: EXIF is written by cameras and broken by tools; the picture is still one
        return 1


def _rgb(image: Image.Image, data: bytes, scale: Scale | None) -> Image.Image:
    image.load()
    if _is_deep(image):
        values = _values(image)
        shown = _greys(image, values, scale or scale_of(extremes_of(values)))
    elif _may_be_clear(image):
        shown = image.convert("RGB") if _is_opaque(image) else _on_ground(image)
    else:
        shown = image.convert("RGB")
    if _is_deep_colour(image, data):
        _refuse_dark_colour(shown)
    # Read after the pixels: a TIFF is turned while they are loaded, and then says so no longer.
    turn = _UPRIGHT.get(_orientation(image, data))
    return shown if turn is None else shown.transpose(turn)


def _is_deep(image: Image.Image) -> bool:
    """One channel of more than 8 bits, or of floats."""
    return image.mode == "F" or image.mode.startswith("I")


def _is_deep_colour(image: Image.Image, data: bytes) -> bool:
    """Colour of 16 bits a channel, of which Pillow reads the upper eight."""
    if _is_deep(image):
        return False
    if image.format == "PNG":
        return data[24] == 16  # the depth in IHDR, which Pillow does not keep
    tags: Any = getattr(image, "tag_v2", {})
    return max(tags.get(_BITS, (8,)), default=8) > 8


def _refuse_dark_colour(shown: Image.Image) -> None:
    high: int = max(band[1] for band in shown.getextrema())  # type: ignore[index]
    if 0 < high < 64:
        raise BadSample(
            f"is 16-bit colour of which only the lower {8 + high.bit_length()} bits are used, so it would be nearly"
            " black: save it with 8 bits a channel"
        )


def _values(image: Image.Image) -> np.ndarray:
    import numpy  # here, because most pictures need none

    image.load()
    pixels = numpy.asarray(image)
    tags: Any = getattr(image, "tag_v2", {})
    # Pillow knows 32 bits with a sign only.
    unsigned = image.mode == "I" and tags.get(_BITS) == (32,) and tags.get(_SAMPLE_FORMAT, (1,)) == (1,)
    return pixels.view(numpy.uint32) if unsigned else pixels


def _greys(image: Image.Image, values: np.ndarray, scale: Scale) -> Image.Image:
    """Each value as its grey, three times; a TIFF whose zero is white is turned over."""
    greys = greys_of(values, scale)
    tags: Any = getattr(image, "tag_v2", {})
    one = Image.fromarray(255 - greys if tags.get(_PHOTOMETRIC) == 0 else greys)
    return Image.merge("RGB", (one, one, one))


def _may_be_clear(image: Image.Image) -> bool:
    return image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info


def _is_opaque(image: Image.Image) -> bool:
    return image.convert("RGBA").getchannel("A").getextrema() == (255, 255)


def _on_ground(image: Image.Image) -> Image.Image:
    clear = image.convert("RGBA")
    shown = Image.alpha_composite(Image.new("RGBA", clear.size, GROUND), clear).convert("RGB")
    if all(low == high for low, high in shown.getextrema()):  # type: ignore[misc]
        raise BadSample(
            "is transparent, and one colour on the white ground it is shown on: give it a ground of its own"
        )
    return shown
