"""What passes between the scorer and a child process: frames that no bytes can break, records that come back whole or
not at all."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards import Outcome, Sample
from rewards.plugins.wire import WireError, build, encode, receive
from rollouts.records import Media


@given(st.binary(max_size=64))
def test_no_bytes_from_a_child_can_raise_anything_else(rubbish: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(rubbish)
        theirs.close()
        try:
            frame = receive(ours)
        except WireError:
            frame = None
    assert frame is None or isinstance(frame.body, dict)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
outcome_fields = st.dictionaries(
    st.sampled_from(["value", "status", "reason", "parts", "evidence", "cost", "seconds", "x"]), json_values
)


@given(json_values | outcome_fields)
def test_only_a_whole_outcome_is_read_as_one(value: object) -> None:
    try:
        found = build(Outcome, value)
    except WireError:
        return
    assert isinstance(found, Outcome)
    assert (found.status == "ok") == (found.value is not None)


def test_a_record_with_bytes_comes_back_as_it_was() -> None:
    sample = Sample(
        "q",
        "?",
        "multi",
        "a",
        ("a", "b", "c"),
        ("A", "C"),
        media=(Media("volume", frames=(b"\x00\xff", b"")),),
        tags={"k": "v"},
    )
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(encode({"sample": sample, "other": b"abc"}))
        frame = receive(theirs)
    assert frame is not None
    assert build(Sample, frame.body["sample"], frame.attached) == sample
    with pytest.raises(WireError, match="not JSON"):
        encode({"value": float("nan")})
