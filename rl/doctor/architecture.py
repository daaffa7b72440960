"""How large a model is, known from its configuration alone: no weights, no network, no download.

The sizes of the models in `conf/model` are shipped (`published.json`, with the source of each); any other folder or Hub
id brings its config.json. Parameters are counted on meta tensors, which have a shape and no memory.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    PreTrainedConfig,
    PreTrainedModel,
)

from rl.policy.parts import LANGUAGE, PROJECTOR, VISION, part_of
from rollouts.prompt.families import Family, family_of
from rollouts.prompt.hub import refuse_out_of_reach

PUBLISHED = Path(__file__).with_name("published.json")


@dataclass(frozen=True)
class Stack:
    """The layers of a decoder or of a vision tower, all alike."""

    num_layers: int
    # Parameters of one layer, and those of its matrices.
    layer_parameters: int
    layer_matrices: int
    hidden_size: int
    intermediate_size: int
    # Width of the queries, and that of the keys (the values have the same).
    query_size: int
    key_size: int
    num_heads: int


@dataclass(frozen=True)
class Size:
    """Parameters of a part, and those among them that lie in matrices; the others are norms and biases."""

    parameters: int = 0
    matrices: int = 0

    def __add__(self, other: Size) -> Size:
        return Size(self.parameters + other.parameters, self.matrices + other.matrices)


@dataclass(frozen=True)
class Architecture:
    """What memory depends on."""

    name: str
    family: Family
    decoder: Stack
    # None = it reads text only.
    vision: Stack | None
    vocab_size: int
    # Of the embedding and of the head; a tied head is the embedding, and 0 here.
    embedding: int
    head: int
    language_model: Size
    vision_tower: Size
    projector: Size
    # Places that the vision tower computes, for each token of the prompt that they become.
    places_per_token: float

    @property
    def total(self) -> Size:
        """The whole model."""
        return self.language_model + self.vision_tower + self.projector


@cache
def published() -> dict[str, dict[str, Any]]:
    """Sizes of known models by their Hub id: `config` as transformers takes it, `parameters` as published, `source`."""
    return dict(json.loads(PUBLISHED.read_text(encoding="utf-8")))


def settings_of(path: str) -> dict[str, Any]:
    """The config.json of a folder, or of a Hub id whose sizes are shipped or can be had.

    Raises:
        OSError: there is no such folder or Hub id. HubOutOfReach: or the Hub does not answer.
    """
    if not (Path(path) / "config.json").is_file() and path in published():
        return dict(published()[path]["config"])
    refuse_out_of_reach(path)
    settings, _ = PreTrainedConfig.get_config_dict(path)
    return dict(settings)


@cache
def architecture_of(path: str) -> Architecture:
    """The sizes of the model at a folder or Hub id.

    Raises:
        OSError, UnknownFamily: see `outline_of`.
    """
    family, model = outline_of(path)
    return measure(path, family, model, model.config)


def outline_of(path: str) -> tuple[Family, PreTrainedModel]:
    """The model at a folder or Hub id without its weights: modules, names and shapes on the meta device.

    Raises:
        OSError: see `settings_of`.
        UnknownFamily: nothing is known of its family.
    """
    settings = settings_of(path)
    family = family_of(str(settings.get("model_type", "")), path)
    kind = AutoModelForImageTextToText if family.reads_images else AutoModelForCausalLM
    with torch.device("meta"):
        return family, kind.from_config(AutoConfig.for_model(**settings))


def measure(name: str, family: Family, model: nn.Module, config: PreTrainedConfig) -> Architecture:
    """The sizes of a model whose tensors may be meta tensors."""
    sizes = {LANGUAGE: Size(), VISION: Size(), PROJECTOR: Size()}
    for place, parameter in model.named_parameters():
        count = parameter.numel()
        sizes[part_of(place, family)] += Size(count, count if parameter.dim() > 1 else 0)
    text, vision = config.get_text_config(), getattr(config, "vision_config", None)
    embedding = model.get_input_embeddings().weight
    head = model.get_output_embeddings().weight
    return Architecture(
        name=name,
        family=family,
        decoder=_decoder(model.get_submodule(f"{family.decoder}.layers"), text),
        vision=_tower(model.get_submodule(family.vision_layers), vision) if family.reads_images else None,
        vocab_size=text.vocab_size,
        embedding=embedding.numel(),
        head=0 if head is embedding else head.numel(),
        language_model=sizes[LANGUAGE],
        vision_tower=sizes[VISION],
        projector=sizes[PROJECTOR],
        places_per_token=_places_per_token(config) if family.reads_images else 0.0,
    )


def _of_layer(layers: nn.Module) -> Size:
    first = next(layers.children())
    return sum(
        (Size(one.numel(), one.numel() if one.dim() > 1 else 0) for one in first.parameters()),
        Size(),
    )


def _decoder(layers: nn.Module, text: PreTrainedConfig) -> Stack:
    size = _of_layer(layers)
    head_size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    return Stack(
        len(list(layers.children())),
        size.parameters,
        size.matrices,
        text.hidden_size,
        text.intermediate_size,
        head_size * text.num_attention_heads,
        head_size * text.num_key_value_heads,
        text.num_attention_heads,
    )


def _tower(layers: nn.Module, vision: PreTrainedConfig) -> Stack:
    size = _of_layer(layers)
    heads = getattr(vision, "num_attention_heads", None) or vision.num_heads
    width, inner = vision.hidden_size, vision.intermediate_size
    num_layers = len(list(layers.children()))
    return Stack(num_layers, size.parameters, size.matrices, width, inner, width, width, heads)


def _places_per_token(config: PreTrainedConfig) -> float:
    """InternVL computes 1,024 patches and one class place for 256 tokens, Qwen2.5-VL four patches for one."""
    vision = config.vision_config
    if hasattr(vision, "spatial_merge_size"):
        return float(vision.spatial_merge_size**2)
    patches = (vision.image_size[0] // vision.patch_size[0]) * (vision.image_size[1] // vision.patch_size[1])
    return (patches + 1) / config.image_seq_length
