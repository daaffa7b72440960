"""Whether a PNG, GIF or TIFF is whole, which Pillow does not ask: checksums, and where the file ends. Pure."""

from __future__ import annotations

import zlib
from typing import Literal

PNG = b"\x89PNG\r\n\x1a\n"
GIF = (b"GIF87a", b"GIF89a")
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# Chunks that change what is seen, besides the critical ones, whose names begin with a capital.
_SEEN = (b"tRNS", b"acTL", b"fcTL", b"fdAT", b"eXIf")


def fault_of(data: bytes) -> str | None:
    """Why these bytes are a damaged PNG, GIF or TIFF; None where nothing is wrong, and for other formats."""
    if data.startswith(PNG):
        return _png_fault(data)
    if data.startswith(GIF):
        frames, whole = gif_frames(data)
        return None if whole else f"is cut: the file ends inside or before its frame {frames + 1}, without its end mark"
    return _tiff_fault(data) if data.startswith(TIFF) else None


def _png_fault(data: bytes) -> str | None:
    place = len(PNG)
    while place + 12 <= len(data):
        length, name = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8]
        end = place + 8 + length
        if end + 4 > len(data):
            break
        if name[:1].isupper() or name in _SEEN:
            checksum = int.from_bytes(data[end : end + 4], "big")
            if zlib.crc32(memoryview(data)[place + 4 : end]) != checksum:
                return "is damaged: a part of it has a wrong checksum"
        if name == b"IEND":
            return None
        place = end + 4
    return "is cut: the file ends before its end mark"


def without_words(png: bytes) -> bytes:
    """The same still picture without texts, dates, EXIF, profiles and private chunks, in which a name may stand. Of a
    whole PNG (`fault_of`)."""
    kept, place = [PNG], len(PNG)
    while place + 12 <= len(png):
        end = place + 12 + int.from_bytes(png[place : place + 4], "big")
        name = png[place + 4 : place + 8]
        if name[:1].isupper() or name == b"tRNS":
            kept.append(png[place:end])
        if name == b"IEND":
            break
        place = end
    return b"".join(kept)


def _tiff_fault(data: bytes) -> str | None:
    """Follows the chain of pages, which Pillow takes to end where it leaves the file (TIFF 6.0, section 2; BigTIFF)."""
    order: Literal["little", "big"] = "little" if data[:2] == b"II" else "big"
    offset, counter, entry = (8, 8, 20) if b"+" in data[:4] else (4, 2, 12)
    place = int.from_bytes(data[8:16] if offset == 8 else data[4:8], order)
    seen: set[int] = set()
    while place:
        if place in seen:
            return "is damaged: its pages follow each other in a circle"
        seen.add(place)
        end = place + counter + entry * int.from_bytes(data[place : place + counter], order)
        if place + counter > len(data) or end + offset > len(data):
            return f"is cut or damaged: page {len(seen)} lies behind the end of the file"
        place = int.from_bytes(data[end : end + offset], order)
    return None


def tiff_values(data: bytes) -> str:
    """How the first page of a plain TIFF stores its values, in words: "3 channels of 64-bit floats"; "" = it does not
    say."""
    order: Literal["little", "big"] = "little" if data[:2] == b"II" else "big"
    place = int.from_bytes(data[4:8], order)
    tags: dict[int, int] = {}
    for entry in range(place + 2, place + 2 + 12 * int.from_bytes(data[place : place + 2], order), 12):
        tag, count = int.from_bytes(data[entry : entry + 2], order), int.from_bytes(data[entry + 4 : entry + 8], order)
        # Numbers of 16 bits; more than two stand elsewhere.
        at = entry + 8 if count <= 2 else int.from_bytes(data[entry + 8 : entry + 12], order)
        tags[tag] = int.from_bytes(data[at : at + 2], order)
    if b"+" in data[:4] or 258 not in tags:
        return ""
    kind = {2: "signed integers", 3: "floats", 5: "complex integers", 6: "complex numbers"}.get(tags.get(339, 1))
    channels = tags.get(277, 1)
    return f"{channels} channel{'s' if channels > 1 else ''} of {tags[258]}-bit {kind or 'integers'}"


def gif_frames(data: bytes) -> tuple[int, bool]:
    """Whole frames of a GIF, and whether its end mark stands behind them."""
    if len(data) < 13:
        return 0, False
    place = 13 + _table(data[10])
    frames = 0
    while place < len(data):
        kind = data[place]
        if kind == 0x3B:
            return frames, True
        if kind == 0x21:
            place = _behind_blocks(data, place + 2)
        elif kind == 0x2C and place + 10 <= len(data):
            place = _behind_blocks(data, place + 11 + _table(data[place + 9]))
            frames += place <= len(data)
        elif kind == 0:  # padding that some writers leave
            place += 1
        else:
            return frames, False
    return frames, False


def _table(flags: int) -> int:
    """Bytes of the colour table that these flags announce."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _behind_blocks(data: bytes, place: int) -> int:
    """The place behind a chain of sub-blocks; behind the end of the data where it is cut."""
    while place < len(data):
        length = data[place]
        place += length + 1
        if length == 0:
            return place
    return len(data) + 1
