"""The ranks of the policy: how many, which one, and tensors that lie over them."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor

T = TypeVar("T")


def world_size() -> int:
    """Ranks of the policy's process group; 1 without torch.distributed."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """This rank; 0 without torch.distributed."""
    return dist.get_rank() if dist.is_initialized() else 0


def full(tensor: Tensor) -> Tensor:
    """The whole of a tensor that may be sharded; every rank must call it (a collective), every rank gets it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def in_dtype(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """Numbers in another dtype; counters and the like stay what they are."""
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def reduce(values: Tensor, operation: str = "sum") -> Tensor:
    """Sum or maximum of a small tensor over all ranks; the tensor itself for one."""
    if world_size() > 1:
        dist.all_reduce(values, op=dist.ReduceOp.MAX if operation == "max" else dist.ReduceOp.SUM)
    return values


class Piece(NamedTuple):
    """What one rank holds of a tensor: its rows from `start` on."""

    rows: Tensor
    start: int
    # Of the whole.
    shape: tuple[int, ...]
    # Whether it is for this rank to write them down: of several copies the first one does.
    mine: bool


def piece_of(value: Tensor, parameter: Tensor | None = None) -> Piece:
    """This rank's piece of a tensor; no communication.

    Args:
        value: whole, or sharded, or this rank's rows of something that lies over the ranks as `parameter` does. Its
            memory is that of the piece.
    """
    layout = value if isinstance(value, DTensor) else parameter
    if not isinstance(layout, DTensor) or value.dim() == 0:
        return Piece(value, 0, tuple(value.shape), rank() == 0)
    index, count, is_first_copy = shard_of(layout)
    rows = value.to_local() if isinstance(value, DTensor) else value
    # As torch.chunk cuts, which FSDP2 follows: the last ranks may have fewer rows, or none.
    each = -(-layout.shape[0] // count)
    return Piece(rows, min(layout.shape[0], each * index), tuple(layout.shape), is_first_copy and len(rows) > 0)


def shard_of(parameter: Tensor) -> tuple[int, int, bool]:
    """Which of how many shards of a parameter this rank holds, and whether those of the first copy."""
    index, count, is_first_copy = 0, 1, True
    if isinstance(parameter, DTensor):
        for dimension, placement in enumerate(parameter.placements):
            place, size = parameter.device_mesh.get_local_rank(dimension), parameter.device_mesh.size(dimension)
            if placement.is_shard(0):
                index, count = place, size
            else:
                assert placement.is_replicate(), f"FSDP2 lays out no parameter as {placement}"
                is_first_copy = is_first_copy and place == 0
    return index, count, is_first_copy


def sharded_as(rows: Tensor, parameter: Tensor) -> Tensor:
    """This rank's rows as a tensor that lies over the ranks as the parameter does; no communication."""
    if not isinstance(parameter, DTensor):
        return rows.to(parameter.device)
    return DTensor.from_local(
        rows.to(parameter.device), parameter.device_mesh, parameter.placements, run_check=False,
        shape=parameter.shape, stride=parameter.stride(),
    )  # fmt: skip


def exchange(mine: T) -> list[T]:
    """What every rank has to say, in the order of ranks; small things only. Every rank must call it."""
    if world_size() == 1:
        return [mine]
    answers: list[Any] = [None] * world_size()
    dist.all_gather_object(answers, mine)
    return answers
