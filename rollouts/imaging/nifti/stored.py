"""The bytes of one volume of a NIfTI file, plain or gzip: checked against the header before they are read."""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from rollouts.records import BadSample

if TYPE_CHECKING:
    import numpy as np

GZIP = b"\x1f\x8b"
# The most a deflated byte can become (zlib's own bound, rounded up).
_MOST_INFLATED = 1_040
# One volume of more bytes is refused; 2,048 slices of 512 x 512 in 32 bits are 2 GiB.
MAX_VOLUME_BYTES = 4 << 30
# A volume of more bytes is inflated into a temporary file, not into memory.
_IN_MEMORY = 256 << 20
# Bytes beyond what the header asks for that are still read, to reach the checksum behind them.
_MOST_BEHIND = 64 << 20
_CHUNK = 1 << 20


def is_gzip(head: bytes) -> bool:
    """Whether a file's first bytes are those of gzip, whatever it is called."""
    return head.startswith(GZIP)


def first_bytes(head: bytes, count: int) -> bytes:
    """At most `count` bytes of what the file holds, from its first bytes; fewer where those are damaged gzip."""
    if not is_gzip(head):
        return head[:count]
    inflater, data = zlib.decompressobj(31), b""
    try:
        # Little by little: a fault behind these bytes is told when the file is read.
        for place in range(0, len(head), 32):
            data += inflater.decompress(head[place : place + 32])
            if len(data) >= count:
                break
    except zlib.error:
        pass
    return data[:count]


def read_head(path: Path, count: int) -> bytes:
    """The first bytes of what a file holds. Raises BadSample for damaged gzip, OSError."""
    with path.open("rb") as file:
        head = file.read(16_384)
    data = first_bytes(head, count)
    if is_gzip(head) and len(data) < count:
        raise BadSample("the file ends inside its gzip data, or these are damaged")
    return data


def size_words(num_bytes: float) -> str:
    """8,130 bytes, 12 MB, 54 TB; exact below 10 million, so that a file that lacks a few bytes says so."""
    if num_bytes < 10_000_000:
        return f"{num_bytes:,.0f} bytes"
    for unit in ("bytes", "kB", "MB", "GB", "TB", "PB"):
        if num_bytes < 1000 or unit == "PB":
            return f"{num_bytes:,.0f} {unit}"
        num_bytes /= 1000
    raise AssertionError


def refuse_size(path: Path, needed: int, volume: int) -> None:
    """Refuse a header that asks for more than the file can hold, before anything is read. Raises BadSample, OSError."""
    there = path.stat().st_size
    with path.open("rb") as file:
        most = there * _MOST_INFLATED if is_gzip(file.read(2)) else there
    if needed > most:
        size = size_words(needed)
        raise BadSample(f"its header asks for {size}, the file has {size_words(there)}: it is cut or damaged")
    if volume > MAX_VOLUME_BYTES:
        raise BadSample(f"one volume has {size_words(volume)}, at most {size_words(MAX_VOLUME_BYTES)} are read")


def volume_bytes(path: Path, start: int, length: int, needed: int) -> tuple[np.ndarray, bool]:
    """Bytes `start` .. `start + length` of what the file holds, uint8 [length]; and whether it holds more than the
    `needed` bytes. All of a gzip file is read, since its checksum stands at its end. Raises BadSample, OSError."""
    import numpy

    with path.open("rb") as file:
        if not is_gzip(file.read(2)):
            whole = numpy.memmap(path, numpy.uint8, "r")
            return whole[start : start + length], len(whole) > needed
    if length <= _IN_MEMORY:
        kept = numpy.empty(length, numpy.uint8)
        return kept, _inflate(path, start, length, needed, _into(kept))
    with tempfile.TemporaryFile() as spool:
        more = _inflate(path, start, length, needed, _onto(spool))
        spool.flush()
        return numpy.memmap(spool, numpy.uint8, "r"), more


def _into(kept: np.ndarray) -> Callable[[bytes], None]:
    import numpy

    filled = 0

    def put(piece: bytes) -> None:
        nonlocal filled
        kept[filled : filled + len(piece)] = numpy.frombuffer(piece, numpy.uint8)
        filled += len(piece)

    return put


def _onto(spool: BinaryIO) -> Callable[[bytes], None]:
    def put(piece: bytes) -> None:
        spool.write(piece)

    return put


def _inflate(path: Path, start: int, length: int, needed: int, put: Callable[[bytes], None]) -> bool:
    """Hands out the wanted part of a gzip file in order and reads on to its checksum. Whether there is more than
    `needed`."""
    place = 0
    for piece in _pieces(path):
        if place < start + length and place + len(piece) > start:
            put(piece[max(0, start - place) : start + length - place])
        place += len(piece)
        if place > needed + _MOST_BEHIND:
            raise BadSample(f"its gzip data go on beyond the {size_words(needed)} that the header asks for")
    if place < needed:
        size = size_words(needed)
        raise BadSample(f"its header asks for {size}, its gzip data hold {size_words(place)}: it is cut or damaged")
    return place > needed


def _pieces(path: Path) -> Iterator[bytes]:
    """What a gzip file holds, member after member, at most `_CHUNK` bytes at a time."""
    with path.open("rb") as file:
        waiting = file.read(_CHUNK)
        while waiting.startswith(GZIP):
            inflater = zlib.decompressobj(31)
            while not inflater.eof:
                try:
                    piece = inflater.decompress(waiting, _CHUNK)
                except zlib.error as error:
                    raise BadSample(f"its gzip data are damaged ({_reason(error)})") from error
                if piece:
                    yield piece
                waiting = inflater.unconsumed_tail or (inflater.unused_data if inflater.eof else file.read(_CHUNK))
                if not waiting and not inflater.eof:
                    raise BadSample("the file ends inside its gzip data: it is cut")
            # What follows is another member, or padding that gzip itself leaves alone.
            waiting = (waiting or file.read(_CHUNK)).lstrip(b"\0") or file.read(_CHUNK).lstrip(b"\0")


def _reason(error: zlib.error) -> str:
    return str(error).rpartition(": ")[2]
