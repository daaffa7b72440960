"""Serves the images of a run to a browser: PNG only, by hash only, every chunk checked, with a cap on pixels."""

from __future__ import annotations

import io
import struct
import zlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Lock

from rollouts.imaging.pictures import MAX_PIXELS, picture
from rollouts.page.media.outlines import BadImage, outline_png
from rollouts.records import BadSample
from rollouts.store.folder import inside, read_at_most
from rollouts.store.layout import media_path

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# A 50-megapixel picture of noise as 8-bit RGB PNG; what the store writes is far below.
MAX_FILE_BYTES = 160_000_000
# What makes up a still picture. Everything else (text, colour profiles, animation, private chunks) is left out of what
# is sent.
_KEPT = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_THUMBNAIL_PIXELS = 112
_MAX_THUMBNAILS = 2048


def check_png(data: bytes) -> bytes:
    """The PNG file with nothing but its picture. Checks lengths, CRCs, order and size, and decodes no pixel.

    Raises:
        BadImage: not a PNG, cut off, damaged, or more than MAX_PIXELS pixels.
    """
    if not data.startswith(_SIGNATURE):
        raise BadImage("it is no PNG")
    kept = [_SIGNATURE]
    names: list[bytes] = []
    for name, chunk in _chunks(data):
        if not names and name != b"IHDR":
            raise BadImage("its first chunk is not IHDR")
        if name == b"IHDR":
            _check_header(chunk[8:-4], bool(names))
        names.append(name)
        if name in _KEPT:
            kept.append(chunk)
        elif name[:1].isupper():
            raise BadImage(f"it holds the critical chunk {name!r}, which no still picture has")
    if not names or names[-1] != b"IEND" or b"IDAT" not in names:
        raise BadImage("it is cut off")
    return b"".join(kept)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and whole bytes of each chunk up to IEND; what follows it is not part of the picture."""
    at = len(_SIGNATURE)
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        chunk = data[at : at + 12 + length]
        if len(chunk) < 12 + length:
            raise BadImage("it is cut off")
        if zlib.crc32(chunk[4:-4]) != struct.unpack(">I", chunk[-4:])[0]:
            raise BadImage(f"its chunk {chunk[4:8]!r} is damaged")
        yield chunk[4:8], chunk
        if chunk[4:8] == b"IEND":
            return
        at += 12 + length


def _check_header(body: bytes, is_second: bool) -> None:
    if is_second or len(body) != 13:
        raise BadImage("its header is not one IHDR of 13 bytes")
    width, height = struct.unpack_from(">II", body)
    if not 0 < width * height <= MAX_PIXELS:
        raise BadImage(f"it has {width:,} x {height:,} pixels, at most {MAX_PIXELS:,} are shown")


class Images:
    """The images of one or two runs, by hash. The second run's folder is asked where the first has no such file: a
    replay keeps none."""

    def __init__(self, runs: Sequence[Path]) -> None:
        self._runs = runs
        self._thumbnails: OrderedDict[str, bytes] = OrderedDict()
        self._lock = Lock()

    def problem(self, sha256: str) -> str | None:
        """Why an image cannot be shown, as far as its folder tells; None = its file is there."""
        try:
            self._find(sha256)
        except (OSError, ValueError) as error:
            return _in_words(error)
        return None

    def png(self, sha256: str) -> bytes:
        """The checked PNG with this hash. Raises BadImage, Refused, StoreError (no hash) or FileNotFoundError."""
        return check_png(read_at_most(self._find(sha256), MAX_FILE_BYTES))

    def thumbnail(self, sha256: str) -> bytes:
        """The same, at most 112 pixels a side, from a cache of the last 2,048. Raises like `png`."""
        with self._lock:
            if thumbnail := self._thumbnails.get(sha256):
                self._thumbnails.move_to_end(sha256)
                return thumbnail
        small = _shrunk(self.png(sha256))
        with self._lock:
            self._thumbnails[sha256] = small
            while len(self._thumbnails) > _MAX_THUMBNAILS:
                self._thumbnails.popitem(last=False)
        return small

    def outline(self, sha256: str) -> bytes:
        """The edge of the mask with this hash, transparent beside it. Raises like `png`."""
        return outline_png(self.png(sha256))

    def _find(self, sha256: str) -> Path:
        missing: Exception = FileNotFoundError(f"image {sha256} is not in the folder media")
        for run_dir in self._runs:
            try:
                return inside(run_dir, "media", media_path(run_dir, sha256).name)
            except FileNotFoundError:
                continue
        raise missing


def _shrunk(png: bytes) -> bytes:
    try:
        small = picture(png, formats=("PNG",))
    except BadSample as error:
        raise BadImage(f"it {error}") from error
    small.thumbnail((_THUMBNAIL_PIXELS, _THUMBNAIL_PIXELS))
    buffer = io.BytesIO()
    small.save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def _in_words(error: Exception) -> str:
    return "the file is missing" if isinstance(error, FileNotFoundError) else str(error)
