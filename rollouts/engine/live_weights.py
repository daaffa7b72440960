"""Puts new weights into a live vLLM model and proves that the model computes with them. The functions run inside vLLM's
worker.

vLLM 0.30 packs linear weights on CPU after loading, and its reload forgets one case: a head tied to the embedding keeps
the packed copy of the old embedding, so that logits come from old weights while every parameter looks new. Here such
heads are packed again, and packed layers are compared by what they compute.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from torch import Tensor, nn

from rollouts.engine.line import Address, Line

# Larger tensors are not compared one by one; the checksum covers them on the way.
MAX_COMPARED_ELEMENTS = 1 << 24


# Of what arrives over a line, smaller tensors are kept until they have been compared: norms and biases of a large
# model, everything of a small one.
MAX_KEPT_ELEMENTS = 1 << 20
# The line that ends in a worker of vLLM.
_LINES: weakref.WeakKeyDictionary[Any, Line] = weakref.WeakKeyDictionary()


class Arrived(NamedTuple):
    """What one worker says of weights that came over its line."""

    num_compared: int
    different: list[str]
    shapes: dict[str, tuple[int, ...]]
    # Of what arrived, and of what was sent.
    checksum: str
    sent_checksum: str


@torch.no_grad()
def reload_and_compare(worker: Any, weights: Mapping[str, Tensor]) -> tuple[int, list[str]]:
    """Load `weights` (Hugging Face names) into the worker's live model; returns what `compare_with_live` says
    afterwards."""
    return compare_with_live(_reload(worker, list(weights.items())), weights)


def _reload(worker: Any, weights: Iterable[tuple[str, Tensor]]) -> nn.Module:
    worker.reload_weights(weights_iterator=weights)
    model: nn.Module = worker.model_runner.get_model()
    for module in model.modules():
        if _is_packed(module) and module.weight.numel():
            module.quant_method.process_weights_after_loading(module)
    return model


def join_line(worker: Any, address: Address, first_end: int, seconds: float) -> None:
    """Join a line as one of its ends: an engine of several GPUs has one worker each, in the order of their ranks."""
    device = next(worker.model_runner.get_model().parameters()).device
    _LINES[worker] = Line(address, first_end + worker.rank, device, seconds)


@torch.no_grad()
def hear_and_compare(worker: Any, version: int) -> Arrived:
    """Load what is sent over the worker's line as `version`, while it arrives."""
    arriving = _LINES[worker].hear(version)
    kept: dict[str, Tensor] = {}

    def as_they_come() -> Iterator[tuple[str, Tensor]]:
        for name, tensor in arriving:
            if tensor.numel() <= MAX_KEPT_ELEMENTS:
                kept[name] = tensor.clone()
            yield name, tensor

    try:
        model = _reload(worker, as_they_come())
    finally:
        arriving.drain()
    return Arrived(*compare_with_live(model, kept), arriving.shapes, arriving.checksum, arriving.sent_checksum)


def compare_with_live(model: nn.Module, weights: Mapping[str, Tensor]) -> tuple[int, list[str]]:
    """How many live parameters could be compared with what was sent, and the names of those that differ.

    Plain parameters (embeddings, norms, biases, convolutions; on CUDA also unfused linear layers) are compared bit by
    bit, packed ones by the product with a fixed vector. Fused and sharded ones have no counterpart among the names and
    are left out.
    """
    live = dict(model.named_parameters(remove_duplicate=False))
    num_compared, different = 0, []
    for name, weight in weights.items():
        live_name = _live_name(model, name, weight)
        live_weight = live.get(live_name)
        if live_weight is None or weight.numel() > MAX_COMPARED_ELEMENTS:
            continue
        module = model.get_submodule(live_name.rpartition(".")[0])
        weight = weight.to(device=live_weight.device, dtype=live_weight.dtype)
        if live_weight.shape == weight.shape:
            same = torch.equal(live_weight, weight)
        elif not live_weight.numel() and _is_packed(module):
            same = _computes_with(module, weight)
        else:
            continue
        num_compared += 1
        different += [] if same else [name]
    heads = [(name, module) for name, module in model.named_modules() if _is_packed(module) and module.weight.numel()]
    different += [name for name, module in heads if not _computes_with(module, module.weight)]
    return num_compared + len(heads), different


def _live_name(model: nn.Module, name: str, weight: Tensor) -> str:
    """vLLM's name of a Hugging Face parameter; "" where it is dropped, or becomes a part of another one."""
    mapper = getattr(model, "hf_to_vllm_mapper", None)
    live_names = [live_name for live_name, _ in mapper.apply([(name, weight)])] if mapper is not None else [name]
    whole = bool(live_names) and live_names[0].split(".")[-2:] == name.split(".")[-2:]
    return live_names[0] if whole else ""


def _is_packed(module: nn.Module) -> bool:
    """Whether vLLM computes this layer with a packed copy of its weight (CPU only)."""
    return (
        hasattr(module, "cpu_linear")
        and isinstance(getattr(module, "weight", None), Tensor)
        and module.weight.ndim <= 2
    )


def _computes_with(module: nn.Module, weight_OI: Tensor) -> bool:
    """Whether a packed layer multiplies by this weight [O out, I in], up to rounding."""
    # All of one sign: a probe that sums to nothing would not see that all weights of a row moved together.
    probe_I = torch.linspace(0.5, 1.5, weight_OI.shape[1], dtype=weight_OI.dtype, device=weight_OI.device).unsqueeze(0)
    got = module.cpu_linear(probe_I, module.weight, None)[:, : weight_OI.shape[0]]
    expected = nn.functional.linear(probe_I, weight_OI)
    allowed = 16 * torch.finfo(weight_OI.dtype).eps * nn.functional.linear(probe_I.abs(), weight_OI.abs())
    return got.shape == expected.shape and bool(((got - expected).abs() <= allowed).all())


def count_elements(shapes: Mapping[str, Sequence[int]], tied: bool) -> int:
    """Numbers in a set of weights; a head tied to the embedding is not counted, because some files hold it and some do
    not."""
    return sum(math.prod(shape) for name, shape in shapes.items() if not (tied and name.endswith("lm_head.weight")))


def checkpoint_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Shapes of the safetensors files in a model folder; empty for a Hub id, whose files vLLM finds by itself."""
    shapes: dict[str, tuple[int, ...]] = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as tensors:
            shapes |= {name: tuple(tensors.get_slice(name).get_shape()) for name in tensors.keys()}  # noqa: SIM118 - not a mapping
    return shapes
