"""Whether a video file ends where its own boxes say, read from a few bytes of it. Pure but for the file."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

# Boxes at the top of an MP4 that are looked at; a fragmented one has two for each second or so.
_MOST_BOXES = 1_000_000
_MATROSKA, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


def ends_early(path: Path) -> bool:
    """Whether a box of the file goes on behind the file's end: the file is cut. Raises OSError."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        if head.startswith(_MATROSKA):
            return _segment_end(file) > size
        if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"):
            return _boxes_end(file, size) > size
    return False


def lacks_its_end(path: Path) -> bool:
    """`ends_early`, for AVI too, whose length is less to be believed: for a file of which nothing can be read. Raises
    OSError."""
    with path.open("rb") as file:
        head = file.read(12)
    is_avi = head[:4] == b"RIFF" and head[8:] == b"AVI "
    return int.from_bytes(head[4:8], "little") + 8 > path.stat().st_size if is_avi else ends_early(path)


def _boxes_end(file: BinaryIO, size: int) -> int:
    """Where the last box at the top of an MP4 ends; rubbish behind whole boxes is none."""
    place = 0
    for _ in range(_MOST_BOXES):
        if place >= size:
            break
        file.seek(place)
        head = file.read(16)
        length, name = int.from_bytes(head[:4], "big"), head[4:8]
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if len(head) < 8 or length == 0 or length < 8 or not all(32 <= byte < 127 or byte == 0xA9 for byte in name):
            break
        place += length
    return place


def _segment_end(file: BinaryIO) -> int:
    """Where the segment of a Matroska file ends, behind its EBML header; 0 where it does not say (a live recording)."""
    file.seek(len(_MATROSKA))
    length = _number(file)
    if length is None or length > 4096:
        return 0
    file.seek(length, 1)
    if file.read(4) != _SEGMENT:
        return 0
    length = _number(file)
    return 0 if length is None else file.tell() + length


def _number(file: BinaryIO) -> int | None:
    """An EBML length at the file's place; None where it is unknown or damaged."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    more = 8 - first[0].bit_length()
    value = int.from_bytes(bytes([first[0] & ((1 << (7 - more)) - 1)]) + file.read(more), "big")
    return None if value == (1 << 7 * (more + 1)) - 1 else value
