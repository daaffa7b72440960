"""What compressed pixel data (JPEG, JPEG-LS, JPEG 2000) say of themselves where a DICOM header says otherwise. Pure."""

from __future__ import annotations

from typing import NamedTuple

_JPEG, _J2K = b"\xff\xd8", b"\xff\x4f\xff\x51"
# Markers that begin a picture: SOF0 to SOF15 without the three that are tables, and JPEG-LS.
_FRAMES = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})
# Markers that have no length behind them.
_BARE = frozenset({0x01, *range(0xD0, 0xD9)})


class Coded(NamedTuple):
    """The head of a compressed picture."""

    rows: int
    columns: int
    # Values a pixel.
    channels: int
    # JPEG: whether colour is stored coarser than brightness, so that it cannot be RGB.
    subsampled: bool = False
    # JPEG: whether a marker (JFIF, Adobe) tells its colours.
    tells_colour: bool = False
    # JPEG 2000: whether its own colour transform is on, so that it decodes to RGB.
    transformed: bool = False


def coded(data: bytes) -> Coded | None:
    """What one compressed frame says of itself; None where it is of another kind or damaged."""
    if data.startswith(_JPEG):
        return _jpeg(data)
    start = data.find(_J2K, 0, 4096)  # behind the boxes of a JP2, which some writers leave in
    return None if start < 0 else _j2k(data[start:])


def fault_of(frame: Coded, rows: int, columns: int, channels: int) -> str:
    """How a compressed frame contradicts its header; "" = it does not."""
    # A JPEG may leave its height to a marker at its end.
    if frame.rows and (frame.rows, frame.columns) != (rows, columns):
        return f"its compressed picture decodes to {frame.columns} x {frame.rows}, the header says {columns} x {rows}"
    if frame.channels != channels:
        return f"its compressed picture has {frame.channels} values a pixel, the header says {channels}"
    return ""


def colours_of(frame: Coded, photometric: str) -> str:
    """The PhotometricInterpretation that the compressed frame proves where the header's cannot be; "" = none."""
    if photometric == "RGB" and frame.subsampled and not frame.tells_colour:
        return "YBR_FULL_422"
    if photometric in ("YBR_FULL", "YBR_FULL_422") and frame.transformed:
        return "YBR_RCT"
    return ""


def _jpeg(data: bytes) -> Coded | None:
    place, tells = 2, False
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xFF or marker in _BARE:
            place += 1 if marker == 0xFF else 2
            continue
        body = data[place + 4 : place + 2 + int.from_bytes(data[place + 2 : place + 4], "big")]
        if marker in _FRAMES:
            return _jpeg_frame(body, tells)
        tells = tells or (marker == 0xE0 and body.startswith(b"JFIF")) or (marker == 0xEE and body.startswith(b"Adobe"))
        place += 4 + len(body)
    return None


def _jpeg_frame(body: bytes, tells: bool) -> Coded | None:
    """Bits, rows, columns, channels; then number, sampling and table of each channel."""
    if len(body) < 6 or len(body) < 6 + 3 * body[5]:
        return None
    samplings = {body[6 + 3 * index + 1] for index in range(body[5])}
    rows, columns = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
    return Coded(rows, columns, body[5], subsampled=len(samplings) > 1, tells_colour=tells)


def _j2k(data: bytes) -> Coded | None:
    """SIZ comes first: length, profile, then the grid's width, height and offsets, tiles, channels; COD behind it."""
    size = int.from_bytes(data[4:6], "big")
    if len(data) < 42 or size < 41:
        return None
    right, bottom, left, top = (int.from_bytes(data[at : at + 4], "big") for at in range(8, 24, 4))
    channels = int.from_bytes(data[40:42], "big")
    place, transformed = 4 + size, False
    while place + 4 <= len(data) and data[place] == 0xFF and data[place + 1] not in (0x90, 0x93):
        if data[place + 1] == 0x52 and place + 9 <= len(data):
            transformed = data[place + 8] == 1
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return Coded(bottom - top, right - left, channels, transformed=transformed)
