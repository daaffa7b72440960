"""Weights that are lent by handles: opened, summed up and compared before anything is loaded. A stand-in shares tensors
inside this process, where CUDA would between two."""

from __future__ import annotations

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rollouts.engine.checksum import checksum, combined
from rollouts.engine.handles import hand_over, open_and_compare


class InProcess:
    """Handles are numbers of a list."""

    def __init__(self, gpu: str = "GPU-1") -> None:
        self.gpu = gpu
        self.lent: list[Tensor] = []

    def share(self, tensor: Tensor) -> tuple[Any, ...]:
        self.lent.append(tensor)
        return (len(self.lent) - 1,)

    def open(self, handle: tuple[Any, ...]) -> Tensor:
        return self.lent[handle[0]]


class Worker:
    """As much of vLLM's worker as loads weights."""

    def __init__(self, forgets: str = "") -> None:
        self.model = nn.Linear(3, 2)
        self.model_runner = SimpleNamespace(get_model=lambda: self.model)
        self.forgets = forgets
        self.loaded: list[str] = []

    @torch.no_grad()
    def reload_weights(self, weights_iterator: Iterable[tuple[str, Tensor]]) -> None:
        for name, tensor in weights_iterator:
            self.loaded.append(name)
            if name != self.forgets:
                self.model.get_parameter(name).copy_(tensor)


@pytest.fixture
def weights() -> dict[str, Tensor]:
    torch.manual_seed(1)
    return {"weight": torch.randn(2, 3), "bias": torch.randn(2)}


def test_what_is_lent_is_loaded_and_speaks_for_itself(weights: dict[str, Tensor]) -> None:
    sharing, worker = InProcess(), Worker()
    handed = hand_over(weights, sharing)
    assert combined(handed.fingerprints) == checksum(weights)
    assert handed.shapes == {"weight": (2, 3), "bias": (2,)}
    assert open_and_compare(worker, handed, sharing) == (2, [])
    assert torch.equal(worker.model.weight, weights["weight"])


def test_a_tensor_that_changed_on_the_way_is_named_and_nothing_is_loaded(weights: dict[str, Tensor]) -> None:
    sharing, worker = InProcess(), Worker()
    handed = hand_over(weights, sharing)
    weights["bias"].view(torch.int32)[1] ^= 1
    assert open_and_compare(worker, handed, sharing) == (0, ["bias"])
    assert worker.loaded == []


def test_a_model_that_does_not_take_a_tensor_over_is_noticed(weights: dict[str, Tensor]) -> None:
    sharing = InProcess()
    assert open_and_compare(Worker(forgets="weight"), hand_over(weights, sharing), sharing) == (2, ["weight"])


def test_handles_of_another_gpu_are_refused(weights: dict[str, Tensor]) -> None:
    handed = hand_over(weights, InProcess("GPU-1"))
    with pytest.raises(ValueError, match=r"GPU-1 cannot be opened on GPU GPU-2.*must stand on one GPU"):
        open_and_compare(Worker(), handed, InProcess("GPU-2"))
