"""A line from the policy's first rank to every engine: weights go from GPU to GPU over NCCL, or over gloo where there
is no GPU, packed into buckets, and neither a file nor Ray's object store holds them on the way.

vLLM's own transfer (backend "nccl") sends packed tensors to its workers in the same manner and reloads layer by layer,
as `rollouts/engine/live_weights.py` does with what arrives here. This line sums up every tensor at both ends, needs no
vLLM where the policy is, and is the same code on a CPU, where it is tested.

A bucket is told first (names, dtypes, shapes as JSON), then its bytes follow; behind the last one comes the number that
all tensors together must sum up to.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from rollouts.engine.checksum import combined, fingerprints

# Bytes of a bucket, unless one tensor is larger: few messages, and little memory beside the weights themselves.
BUCKET_BYTES = 512 << 20
# A tensor in a bucket begins at a multiple of this.
ALIGNMENT = 16


class Address(NamedTuple):
    """Where a line begins and how many ends it has, the sender's counted."""

    host: str
    port: int
    size: int


class Entry(NamedTuple):
    """One tensor of a bucket."""

    name: str
    # Of torch, as "bfloat16".
    dtype: str
    shape: tuple[int, ...]

    @property
    def num_bytes(self) -> int:
        """Of its numbers."""
        return math.prod(self.shape) * getattr(torch, self.dtype).itemsize


class LineBroken(RuntimeError):
    """The two ends of a line do not speak of the same thing; this is a fault of the program."""


def serve(host: str, size: int, seconds: float) -> tuple[dist.TCPStore, Address]:
    """The meeting point of a line of `size` ends on this machine, which is kept for as long as it is met at."""
    store = dist.TCPStore(host, 0, size, is_master=True, timeout=timedelta(seconds=seconds), wait_for_workers=False)
    return store, Address(host, store.port, size)


class Line:
    """One end. End 0 sends, all others hear; every message goes to all."""

    def __init__(
        self, address: Address, end: int, device: torch.device, seconds: float, store: dist.Store | None = None
    ) -> None:
        """Join; all ends must do so at the same time. `store`: what `serve` gave to the sender.

        Raises:
            DistError: the others did not come within so many seconds.
        """
        patience = timedelta(seconds=seconds)
        store = store or dist.TCPStore(address.host, address.port, address.size, is_master=False, timeout=patience)
        self._group = _group(dist.PrefixStore("weights", store), end, address.size, device, patience)
        self._store, self._device = store, device

    def send(self, version: int, weights: Iterable[tuple[str, Tensor]]) -> str:
        """Send tensors, a bucket at a time; returns the number that all of them sum up to."""
        sums: dict[str, str] = {}
        for bucket in buckets(weights):
            sums |= fingerprints(dict(bucket))
            names = [Entry(name, str(one.dtype).removeprefix("torch."), tuple(one.shape)) for name, one in bucket]
            spans, num_bytes = spans_of(names)
            payload = torch.empty(num_bytes, dtype=torch.uint8, device=self._device)
            for (start, stop), (_, tensor) in zip(spans, bucket, strict=True):
                payload[start:stop] = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
            self._say({"version": version, "tensors": names})
            self._broadcast(payload)
        self._say({"version": version, "checksum": (checksum := combined(sums))})
        return checksum

    def hear(self, version: int) -> Arriving:
        """What is being sent as this version."""
        return Arriving(self, version)

    def _say(self, words: dict[str, Any]) -> None:
        data = torch.frombuffer(bytearray(json.dumps(words).encode()), dtype=torch.uint8).to(self._device)
        self._broadcast(torch.tensor([len(data)], device=self._device))
        self._broadcast(data)

    def hear_words(self) -> dict[str, Any]:
        """What the sender says next, as JSON."""
        length = torch.zeros(1, dtype=torch.int64, device=self._device)
        self._broadcast(length)
        words: dict[str, Any] = json.loads(bytes(self.hear_bytes(int(length)).tolist()))
        return words

    def hear_bytes(self, count: int) -> Tensor:
        """The next so many bytes."""
        payload = torch.empty(count, dtype=torch.uint8, device=self._device)
        self._broadcast(payload)
        return payload

    def _broadcast(self, tensor: Tensor) -> None:
        options = dist.BroadcastOptions()
        options.rootRank, options.rootTensor = 0, 0
        self._group.broadcast([tensor], options).wait()


def _group(store: dist.Store, end: int, size: int, device: torch.device, patience: timedelta) -> dist.Backend:
    """A group beside whatever groups a process is in already, as vLLM makes its own: its workers and the policy's ranks
    are in one each."""
    if device.type != "cuda":
        return dist.ProcessGroupGloo(store, end, size, patience)
    options = dist.ProcessGroupNCCL.Options()
    options._timeout = patience
    group = dist.ProcessGroupNCCL(store, end, size, options)
    group._set_sequence_number_for_group()
    return group


class Arriving:
    """The tensors of one version, in the order in which they were sent, each summed up where it arrived. Whoever stops
    in the middle calls `drain`, because the sender waits for nobody."""

    def __init__(self, line: Line, version: int) -> None:
        self.shapes: dict[str, tuple[int, ...]] = {}
        # Of what arrived, and what the sender says; known at the end.
        self.checksum, self.sent_checksum = "", ""
        self._tensors = self._hear(line, version)

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        return self._tensors

    def _hear(self, line: Line, version: int) -> Iterator[tuple[str, Tensor]]:
        sums: dict[str, str] = {}
        while True:
            words = line.hear_words()
            if words["version"] != version:
                raise LineBroken(f"version {words['version']} comes where version {version} was expected")
            if "checksum" in words:
                self.sent_checksum, self.checksum = words["checksum"], combined(sums)
                return
            names = [Entry(name, dtype, tuple(shape)) for name, dtype, shape in words["tensors"]]
            spans, num_bytes = spans_of(names)
            payload = line.hear_bytes(num_bytes)
            bucket = {
                one.name: payload[start:stop].view(getattr(torch, one.dtype)).view(one.shape)
                for one, (start, stop) in zip(names, spans, strict=True)
            }
            sums |= fingerprints(bucket)
            for one in names:
                self.shapes[one.name] = one.shape
                yield one.name, bucket[one.name]

    def drain(self) -> None:
        """Hear the rest and forget it."""
        for _ in self._tensors:
            pass


def buckets(weights: Iterable[tuple[str, Tensor]], most_bytes: int | None = None) -> Iterator[list[tuple[str, Tensor]]]:
    """Tensors in their order, as many at a time as have `most_bytes` (BUCKET_BYTES) together; one that has more comes
    alone."""
    most_bytes = most_bytes or BUCKET_BYTES
    bucket: list[tuple[str, Tensor]] = []
    num_bytes = 0
    for name, tensor in weights:
        if bucket and num_bytes + tensor.nbytes > most_bytes:
            yield bucket
            bucket, num_bytes = [], 0
        bucket.append((name, tensor))
        num_bytes += tensor.nbytes
    if bucket:
        yield bucket


def spans_of(names: Sequence[Entry]) -> tuple[list[tuple[int, int]], int]:
    """Where in its bucket each tensor lies, and the bytes of the bucket."""
    spans, end = [], 0
    for one in names:
        start = math.ceil(end / ALIGNMENT) * ALIGNMENT
        spans.append((start, end := start + one.num_bytes))
    return spans, end
