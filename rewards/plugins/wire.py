"""What passes between the scorer and a child process: frames of JSON with binary attachments over a socket. Nothing is
ever unpickled.

A frame is two 32-bit lengths, a JSON envelope and the attachments end to end. Either side may be hostile: lengths are
capped, NaN is no JSON, and a record is built only from values of the types its fields are annotated with.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import socket
import struct
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rollouts.annotations import Fault, Misfit
from rollouts.annotations import read as read_plain

_HEAD = struct.Struct(">II")
# Bytes of JSON and of attachments in one frame. Images and volumes travel as attachments.
MAX_JSON = 8 << 20
MAX_ATTACHED = 1 << 30


class WireError(ValueError):
    """A frame or a value that may not travel."""


class Frame(NamedTuple):
    """One message and the bytes that its values refer to by place."""

    body: dict[str, Any]
    attached: tuple[bytes, ...] = ()


def encode(body: Mapping[str, Any]) -> bytes:
    """Return a message as bytes. Records become objects, bytes attachments. Raises WireError for what JSON cannot hold
    and for what is too large."""
    attached: list[bytes] = []
    try:
        packed = _pack(body, attached)
        text = json.dumps({"sizes": [len(part) for part in attached], "body": packed}, allow_nan=False).encode("ascii")
    except (TypeError, ValueError, RecursionError) as error:
        raise WireError(f"not JSON: {error}") from None
    if len(text) > MAX_JSON or sum(map(len, attached)) > MAX_ATTACHED:
        raise WireError(f"{len(text):,} bytes of JSON, at most {MAX_JSON:,} may travel")
    return b"".join((_HEAD.pack(len(text), sum(map(len, attached))), text, *attached))


def _pack(value: Any, attached: list[bytes]) -> Any:
    if isinstance(value, bytes):
        attached.append(value)
        return {"attached": len(attached) - 1}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _pack(getattr(value, f.name), attached) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _pack(item, attached) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_pack(item, attached) for item in value]
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):  # a scalar of NumPy or torch
        return value.item()
    return value


def _decode(text: bytes, rest: bytes) -> Frame:
    def refuse(constant: str) -> None:
        raise WireError(f"{constant} is no JSON")

    try:
        envelope = json.loads(text, parse_constant=refuse)
        sizes, body = envelope["sizes"], envelope["body"]
        ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
        if not isinstance(body, dict) or (ends[-1] if ends else 0) != len(rest) or any(size < 0 for size in sizes):
            raise WireError("the envelope does not fit its attachments")
        return Frame(body, tuple(rest[end - size : end] for end, size in zip(ends, sizes, strict=True)))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise WireError(f"no message: {error}") from None


def _lengths(head: bytes) -> tuple[int, int]:
    num_json, num_attached = _HEAD.unpack(head)
    if num_json > MAX_JSON or num_attached > MAX_ATTACHED:
        raise WireError(f"a frame of {num_json:,} + {num_attached:,} bytes is announced")
    return num_json, num_attached


def receive(connection: socket.socket) -> Frame | None:
    """Return the next frame; None where the other side has closed. Raises WireError, and TimeoutError where the socket
    has a timeout."""
    head = _exactly(connection, _HEAD.size)
    if head is None:
        return None
    num_json, num_attached = _lengths(head)
    text, rest = _exactly(connection, num_json), _exactly(connection, num_attached)
    return None if text is None or rest is None else _decode(text, rest)


def _exactly(connection: socket.socket, count: int) -> bytes | None:
    parts, missing = [], count
    while missing:
        part = connection.recv(min(missing, 1 << 20))
        if not part:
            return None
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


async def read(reader: asyncio.StreamReader) -> Frame | None:
    """Return the next frame of a stream; None where the other side has closed. Raises WireError."""
    try:
        num_json, num_attached = _lengths(await reader.readexactly(_HEAD.size))
        return _decode(await reader.readexactly(num_json), await reader.readexactly(num_attached))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


def build(annotation: Any, value: Any, attached: Sequence[bytes] = ()) -> Any:
    """Return a value of the annotated type from what stood in a frame with these attachments. Raises WireError for
    another type, and for what the record itself refuses."""

    def attachment(place: Any) -> bytes:
        number = place.get("attached") if isinstance(place, dict) else None
        if type(number) is not int or not 0 <= number < len(attached):
            raise Misfit([Fault((), place, f"the place of one of {len(attached)} attachments")])
        return attached[number]

    try:
        return read_plain(annotation, value, {bytes: attachment})
    except Misfit as error:
        raise WireError(str(error)) from None
