"""The ranks of the policy: how many, which one, and tensors that lie over them."""

from __future__ import annotations

import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor


def world_size() -> int:
    """Ranks of the policy's process group; 1 without torch.distributed."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """This rank; 0 without torch.distributed."""
    return dist.get_rank() if dist.is_initialized() else 0


def full(tensor: Tensor) -> Tensor:
    """The whole of a tensor that may be sharded; every rank must call it (a collective), every rank gets it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def reduce(values: Tensor, operation: str = "sum") -> Tensor:
    """Sum or maximum of a small tensor over all ranks; the tensor itself for one."""
    if world_size() > 1:
        dist.all_reduce(values, op=dist.ReduceOp.MAX if operation == "max" else dist.ReduceOp.SUM)
    return values


def laid_out_like(whole: Tensor, parameter: Tensor) -> Tensor:
    """A whole tensor laid out over the ranks as the parameter is."""
    if isinstance(parameter, DTensor):
        return distribute_tensor(whole.to(parameter.device), parameter.device_mesh, parameter.placements)
    return whole.to(parameter.device)
