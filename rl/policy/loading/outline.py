"""A model without weights, and what fills it once it lies over the ranks."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    GenerationConfig,
    PreTrainedModel,
)

from rl.policy.loading.files import Weights
from rl.policy.ranks import piece_of

log = logging.getLogger(__name__)
# Who makes models with a head.
Kind = type[AutoModelForImageTextToText] | type[AutoModelForCausalLM]
# What PEFT puts between a layer and its weight.
BASE_LAYER = ".base_layer"


def outline_of(path: str | Path, kind: Kind, attention: str) -> PreTrainedModel:
    """The model of a folder or Hub id as `from_pretrained` makes it in float32, but for its weights, which are meta
    tensors: they have a shape and no memory."""
    config = AutoConfig.from_pretrained(str(path), dtype=torch.float32)
    with torch.device("meta"):
        model = cast(PreTrainedModel, kind.from_config(config, dtype=torch.float32, attn_implementation=attention))
    model.config.name_or_path = str(path)
    _make_buffers(model)
    try:
        model.generation_config = GenerationConfig.from_pretrained(str(path))
    except OSError:  # there is none, and the one made from the model's configuration stays
        log.debug("%s has no generation_config.json", path)
    return model.eval()


def _make_buffers(model: PreTrainedModel) -> None:
    """Buffers that no file holds, such as the frequencies of rotary positions, come from transformers' own functions
    for weights that a file lacks; weights are marked as no business of those."""
    for tensor in (*model.parameters(), *model.buffers()):
        tensor._is_hf_initialized = True
    for name, buffer in [*model.named_non_persistent_buffers()]:
        place, _, leaf = name.rpartition(".")
        model.get_submodule(place)._buffers[leaf] = torch.empty_like(buffer, device="cpu")
    model.initialize_weights()


def fill(model: nn.Module, weights: Weights, device: str | torch.device) -> None:
    """Put weights from disk into the meta tensors of a model, on `device`; of those that lie over ranks each rank reads
    its own rows. Everything else of the model is brought there as it is. No communication."""
    homes: dict[int, list[tuple[nn.Module, str, str]]] = {}
    for path, module in model.named_modules():
        for leaf, tensor in (*module._parameters.items(), *module._buffers.items()):
            if tensor is not None:
                name = f"{path}.{leaf}".lstrip(".").replace(BASE_LAYER, "")
                homes.setdefault(id(tensor), []).append((module, leaf, name))
    for places in homes.values():
        module, leaf, _ = places[0]
        tensor = cast(Tensor, module._parameters.get(leaf, module._buffers.get(leaf)))
        if tensor.device.type == "meta":
            name = next(name for _, _, name in places if name in weights.places)
            made = _filled(tensor, weights, name, device)
        elif tensor.device != torch.device(device) and not isinstance(tensor, DTensor):
            made = tensor.detach().to(device)
        else:
            continue
        learns = isinstance(tensor, nn.Parameter)
        made = nn.Parameter(made, requires_grad=tensor.requires_grad) if learns else made
        for module, leaf, _ in places:  # tied ones stay one
            (module._parameters if learns else module._buffers)[leaf] = made


@torch.no_grad()
def _filled(tensor: Tensor, weights: Weights, name: str, device: str | torch.device) -> Tensor:
    piece = piece_of(tensor.detach())
    rows = torch.empty(piece.rows.shape, dtype=tensor.dtype, device=device)
    if rows.numel():
        weights.copy_rows(name, piece.start, rows)
    if not isinstance(tensor, DTensor):
        return rows
    return DTensor.from_local(
        rows, tensor.device_mesh, tensor.placements, run_check=False, shape=tensor.shape, stride=tensor.stride()
    )
