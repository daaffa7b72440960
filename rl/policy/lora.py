"""LoRA (Hu et al., arXiv:2106.09685) by PEFT: adapters beside the linear layers of the decoder. The one home of peft.

PEFT's layers stand in the model itself, so its class, its modules and its forward pass stay those of its family.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from rl.config import LoraConfig
from rl.policy.ranks import full, in_dtype, rank

# What PEFT calls all linear layers but the head.
ALL_LINEAR = "all-linear"
# PEFT's name of the one adapter.
_NAME = "default"


class NoSuchLayer(ValueError):
    """`model.lora.target_modules` names something that can have no adapter."""


class Adapter:
    """The adapters of one model."""

    def __init__(self, model: PreTrainedModel, decoder: str, settings: LoraConfig, seed: int) -> None:
        """Put adapters into `model` and freeze the rest. They begin as no change at all: A is drawn with `seed`, B is
        0.

        Args:
            decoder: dotted path of the module whose linear layers get adapters.

        Raises:
            NoSuchLayer: see `target_layers`.
        """
        layers = target_layers(model, decoder, settings.target_modules)
        # Here, because it takes a second that only runs with LoRA should pay.
        import peft

        config = peft.LoraConfig(
            r=settings.r,
            lora_alpha=settings.lora_alpha,
            lora_dropout=settings.lora_dropout,
            target_modules=_names(settings.target_modules, layers),
            # A vision tower may have layers of the same names.
            exclude_modules=rf"(?!{re.escape(decoder)}\.).*",
        )
        linear = [model.get_submodule(name) for name in layers]
        with torch.random.fork_rng(devices=[]), _weights_of_no_size(linear):
            torch.manual_seed(seed)
            self._peft = peft.get_peft_model(model, config)
        self._model = model
        self._scaling = settings.lora_alpha / settings.r
        self.num_layers = len(layers)

    @contextmanager
    def switched_off(self) -> Iterator[None]:
        """The model computes without its adapters for as long as the context lasts."""
        adapters = [parameter for parameter in self._model.parameters() if parameter.requires_grad]
        try:
            with self._peft.disable_adapter():
                # PEFT freezes adapters that are off. FSDP sees at its first pass what learns, and in which dtype its
                # gradients are added up, and that pass may be this one.
                _thaw(adapters)
                yield
        finally:
            _thaw(adapters)  # PEFT thaws those it finds; FSDP may hold them as other tensors by then

    def merged(self, state: Mapping[str, Tensor], dtype: torch.dtype) -> Iterator[tuple[str, Tensor]]:
        """Names and whole tensors of the base model with the adapters added to copies of its weights; the live ones
        stay apart. Every rank must exhaust it. Sums are in float32, the rest in `dtype`."""
        for name, tensor in state.items():
            layer, inside, leaf = name.partition(".base_layer.")
            if ".lora_" in name:
                continue
            if not inside:
                yield name, full(in_dtype(tensor, dtype))
            elif leaf != "weight":
                yield f"{layer}.{leaf}", full(in_dtype(tensor, dtype))
            else:
                low_AI, high_OA = (full(state[f"{layer}.lora_{side}.{_NAME}.weight"]) for side in "AB")
                yield f"{layer}.weight", full(tensor).float() + high_OA @ low_AI * self._scaling

    def save(self, folder: str | Path) -> None:
        """Write adapter_config.json and adapter_model.safetensors, which `PeftModel.from_pretrained(base, folder)`
        takes. Every rank must call it, the first writes."""
        state = {name: full(tensor).cpu() for name, tensor in self._peft.state_dict().items() if ".lora_" in name}
        if rank() == 0:
            # Not to be asked of the Hub, which PEFT would do to learn whether embeddings grew.
            self._peft.save_pretrained(str(folder), state_dict=state, save_embedding_layers=False)


@contextmanager
def _weights_of_no_size(layers: Iterable[nn.Module]) -> Iterator[None]:
    """PEFT puts an adapter where the weight of its layer lies. Where that is not read yet, one number in the shape of
    the weight stands for it, so that the adapter gets its first weights."""
    unread = [(layer, layer.weight) for layer in layers if layer.weight.is_meta]
    for layer, weight in unread:
        layer.weight = nn.Parameter(torch.empty((), dtype=weight.dtype).expand(weight.shape), requires_grad=False)
    try:
        yield
    finally:
        for layer, weight in unread:
            layer.weight = weight.requires_grad_(False)


def _thaw(parameters: Iterable[nn.Parameter]) -> None:
    for parameter in parameters:
        parameter.requires_grad_(True)


def target_layers(model: PreTrainedModel, decoder: str, targets: str | tuple[str, ...]) -> list[str]:
    """Names of the linear layers of the decoder that get adapters: all of them for "all-linear", else those of these
    names, as PEFT matches them.

    Raises:
        NoSuchLayer: a name fits no linear layer of the decoder.
    """
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    inside = [name for name in linear if name.startswith(f"{decoder}.")]
    if isinstance(targets, str):
        return inside
    for target in targets:
        if not any(_fits(name, target) for name in inside):
            raise NoSuchLayer(_why_not(target, linear, decoder, sorted({name.rpartition(".")[2] for name in inside})))
    return [name for name in inside if any(_fits(name, target) for target in targets)]


def _names(targets: str | tuple[str, ...], layers: list[str]) -> list[str]:
    """What stands in adapter_config.json: names as short as they were given."""
    return list(targets) if not isinstance(targets, str) else sorted({layer.rpartition(".")[2] for layer in layers})


def _fits(name: str, target: str) -> bool:
    return name == target or name.endswith(f".{target}")


def _why_not(target: str, linear: list[str], decoder: str, known: list[str]) -> str:
    elsewhere = [name for name in linear if _fits(name, target)]
    if elsewhere:
        fault = f"names {elsewhere[0]}, which lies outside the decoder ({decoder}) and is frozen with model.train=lora"
    else:
        fault = "names no linear layer of this model"
    return f"model.lora.target_modules: {target} {fault}; expected {ALL_LINEAR} or some of {', '.join(known)}"
