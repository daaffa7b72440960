"""Weights on a line: what is sent arrives bit by bit, in buckets of bounded size, and two ends that speak of different
things are found out."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from rollouts.engine import line as lines
from rollouts.engine.checksum import checksum
from rollouts.engine.line import Entry, Line, LineBroken, buckets, serve, spans_of

CPU = torch.device("cpu")


def weights_of_all_kinds() -> dict[str, Tensor]:
    """Odd lengths, several dtypes, a scalar, one that is not contiguous."""
    torch.manual_seed(0)
    return {
        "matrix": torch.randn(7, 5),
        "half": torch.randn(3, 3).to(torch.bfloat16),
        "counter": torch.tensor(12),
        "turned": torch.randn(4, 6).T,
        "bytes": torch.arange(5, dtype=torch.uint8),
        "large": torch.randn(64, 64),
    }


@pytest.fixture(scope="module")
def ends() -> Iterator[list[Line]]:
    """The sender and two others, in threads of one process."""
    store, address = serve("127.0.0.1", 3, 20.0)
    with ThreadPoolExecutor(3) as threads:
        joined = [threads.submit(Line, address, end, CPU, 20.0, store if end == 0 else None) for end in range(3)]
        yield [one.result() for one in joined]


def test_what_is_sent_arrives_at_every_end(ends: list[Line], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "BUCKET_BYTES", 200)
    sent = weights_of_all_kinds()
    with ThreadPoolExecutor(2) as threads:
        heard = [end.hear(4) for end in ends[1:]]
        taken = [threads.submit(dict, one) for one in heard]
        said = ends[0].send(4, sent.items())
        arrived = [one.result() for one in taken]
    for weights, arriving in zip(arrived, heard, strict=True):
        assert list(weights) == list(sent)
        for name, tensor in sent.items():
            assert weights[name].dtype == tensor.dtype and torch.equal(weights[name], tensor), name
        assert arriving.checksum == arriving.sent_checksum == said == checksum(sent)
        assert arriving.shapes == {name: tuple(tensor.shape) for name, tensor in sent.items()}


def test_an_end_that_stops_in_the_middle_hears_the_rest_and_stays_on_the_line(ends: list[Line]) -> None:
    sent = weights_of_all_kinds()
    with ThreadPoolExecutor(3) as threads:
        for version in (5, 6):
            sending = threads.submit(ends[0].send, version, sent.items())
            other = threads.submit(dict, ends[2].hear(version))
            arriving = ends[1].hear(version)
            next(iter(arriving))
            arriving.drain()
            assert sending.result() == arriving.checksum
            other.result()


def test_another_version_than_was_expected_is_a_fault(ends: list[Line]) -> None:
    with ThreadPoolExecutor(2) as threads:
        sending = threads.submit(ends[0].send, 8, [])
        other = threads.submit(dict, ends[2].hear(8))
        with pytest.raises(LineBroken, match="version 8 comes where version 7 was expected"):
            dict(ends[1].hear(7))
        sending.result()
        other.result()


def test_buckets_are_as_full_as_they_may_be_and_a_large_tensor_comes_alone() -> None:
    sizes = {"a": 40, "b": 50, "c": 20, "d": 300, "e": 100}
    weights = [(name, torch.zeros(size, dtype=torch.uint8)) for name, size in sizes.items()]
    assert [[name for name, _ in bucket] for bucket in buckets(weights, 100)] == [["a", "b"], ["c"], ["d"], ["e"]]


def test_tensors_of_a_bucket_begin_where_any_dtype_may() -> None:
    # 3 bytes, then the next multiple of 16; 5 x 4 bytes = 16..36, then 48.
    told = [Entry("a", "uint8", (3,)), Entry("b", "float32", (5,)), Entry("c", "bfloat16", (2, 2))]
    assert spans_of(told) == ([(0, 3), (16, 36), (48, 56)], 56)
