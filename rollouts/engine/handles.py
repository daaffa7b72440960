"""Weights that stay on the GPU they are on: another process opens them by handles of CUDA's inter-process memory, and
nothing passes through the machine's memory.

Only for processes on one GPU. vLLM's own transfer (backend "ipc") does the same and then reloads layer by layer, as the
`reload_weights` called here does; between the two there is room to sum up what arrived, before a layer is touched.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.multiprocessing.reductions import rebuild_cuda_tensor, reduce_tensor

from rollouts.engine.checksum import fingerprints
from rollouts.engine.live_weights import reload_and_compare

# Where `reduce_tensor` puts the number of the device, which may be another one in the process that opens it.
_DEVICE_PLACE = 6


@dataclass(frozen=True)
class Handed:
    """All weights by their Hugging Face names, as somebody else on the same GPU can open them. They live as long as the
    tensors they were made of."""

    # Identity of the GPU; numbers of devices differ between processes.
    gpu: str
    handles: Mapping[str, tuple[Any, ...]]
    shapes: Mapping[str, tuple[int, ...]]
    # What each tensor must sum up to where it is opened.
    fingerprints: Mapping[str, str]


class Sharing(Protocol):
    """How tensors are handed over between processes."""

    @property
    def gpu(self) -> str:
        """Identity of this process's GPU."""

    def share(self, tensor: Tensor) -> tuple[Any, ...]:
        """A handle of the tensor."""

    def open(self, handle: tuple[Any, ...]) -> Tensor:
        """The tensor behind a handle; the same memory, not a copy."""


class OfCuda:
    """CUDA's own."""

    @property
    def gpu(self) -> str:
        """Its UUID."""
        return str(torch.cuda.get_device_properties(torch.cuda.current_device()).uuid)

    def share(self, tensor: Tensor) -> tuple[Any, ...]:
        """What `rebuild_cuda_tensor` takes."""
        return tuple(reduce_tensor(tensor)[1])

    def open(self, handle: tuple[Any, ...]) -> Tensor:
        """On this process's device."""
        arguments = list(handle)
        arguments[_DEVICE_PLACE] = torch.cuda.current_device()
        return rebuild_cuda_tensor(*arguments)


def hand_over(weights: Mapping[str, Tensor], sharing: Sharing) -> Handed:
    """Handles of contiguous tensors on this GPU. Whoever hands them over keeps them until they have been read."""
    return Handed(
        sharing.gpu,
        {name: sharing.share(tensor) for name, tensor in weights.items()},
        {name: tuple(tensor.shape) for name, tensor in weights.items()},
        fingerprints(weights),
    )


def open_and_compare(worker: Any, handed: Handed, sharing: Sharing | None = None) -> tuple[int, list[str]]:
    """Runs inside vLLM's worker: open the weights, see that they are the ones that were sent, and load them.

    Returns:
        What `reload_and_compare` says; (0, names) where these tensors arrived as others, and then nothing was loaded.

    Raises:
        ValueError: they lie on another GPU.
    """
    sharing = sharing or OfCuda()
    if sharing.gpu != handed.gpu:
        raise ValueError(
            f"weights on GPU {handed.gpu} cannot be opened on GPU {sharing.gpu}; policy rank and engine of one number"
            " must stand on one GPU"
        )
    weights = {name: sharing.open(handle) for name, handle in handed.handles.items()}
    arrived = fingerprints(weights)
    changed = [name for name, sent in handed.fingerprints.items() if arrived.get(name) != sent]
    return (0, changed) if changed else reload_and_compare(worker, weights)
