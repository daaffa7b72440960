"""A Hugging Face model seen as what learning needs of it: micro-batch in, log-probs of the completion tokens out.

What differs between families of models stands in rollouts/prompt/families.py; media stay one opaque dict. How it lies
over several ranks is said in rl/policy/sharding.py.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, PreTrainedConfig, PreTrainedModel

from rl.algo.logprobs import Measure, chunked_logprobs, entropy, nothing
from rl.policy.attention import Attention, attends_by_tree, lay_out, use_tree_attention
from rl.policy.batching import MicroBatch, onto
from rl.policy.loading.files import Weights, WholeOnly, weights_of
from rl.policy.loading.outline import Kind, fill, outline_of
from rl.policy.parts import hold_frozen_matrices
from rollouts.prompt.families import Family, UnknownFamily
from rollouts.prompt.processing import collate_media, load_family, prompt_positions

log = logging.getLogger(__name__)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class ScoringHead(nn.Module):
    """The head with what comes behind it, as one module: however many chunks there are, its weight is gathered once a
    pass."""

    def __init__(self, linear: nn.Module) -> None:
        super().__init__()
        self.linear = linear

    def forward(self, hidden_NH: Tensor, targets_N: Tensor, **settings: Any) -> tuple[Tensor, Tensor]:
        """`chunked_logprobs` with this head."""
        logprobs_N, measured_N = chunked_logprobs(hidden_NH, self.linear, targets_N, **settings)
        return logprobs_N.clone(), measured_N  # FSDP2 hooks on to the outputs, which must be no views


class TokenModel(nn.Module):
    """The model with its head, temperature and bans: forward gives log-probs [N] and entropies [N], or what else
    `measure` says, of a micro-batch's completion tokens."""

    def __init__(
        self,
        model: PreTrainedModel,
        family: Family,
        temperature: float,
        banned: tuple[int, ...],
        dtype: torch.dtype,
        attention: Attention = "auto",
        device: str | torch.device = "cpu",
    ) -> None:
        super().__init__()
        # Where it computes. Its weights may rest elsewhere: nowhere yet, or in the host's memory.
        self.device = torch.device(device)
        self.model = model
        self.family = family
        self.temperature = temperature
        self.banned = banned
        self.dtype = dtype
        self.measure: Measure = entropy
        self.attention: Attention = attention
        if attends_by_tree(attention, self.device):
            use_tree_attention(self.decoder)
        self.head = ScoringHead(model.get_output_embeddings())
        # By FSDP2: then its weights come in the dtype of the arithmetic, and a rank may not leave out a layer.
        self.is_sharded = False
        # In shards, and these in the host's memory.
        self.rests_on_host = False
        self.vocab_size = model.config.get_text_config().vocab_size
        # Never a token that stands for an image; padding is masked, so that nothing else about it matters.
        self.pad_id = next(token for token in range(self.vocab_size) if token not in banned)

    @property
    def decoder(self) -> PreTrainedModel:
        """The language model without its head; `layers` are its layers."""
        return cast(PreTrainedModel, self.model.get_submodule(self.family.decoder))

    def layers_at(self, place: str) -> nn.ModuleList:
        """The list of layers at a dotted path of the model."""
        layers = self.model.get_submodule(place)
        assert isinstance(layers, nn.ModuleList), f"{place} was looked at when the model was loaded"
        return layers

    def forward(self, batch: MicroBatch) -> tuple[Tensor, Tensor]:
        prompts = [tree.prompt for tree in batch.trees]
        media = collate_media([part.media for prompt in prompts for part in prompt.parts])
        positions = [prompt_positions(self.family, self.model, prompt) for prompt in prompts]
        batch, inputs = lay_out(batch, positions, self.dtype, self.device, self.attention, self.pad_id)
        with self._arithmetic():
            output = self.model.base_model(
                **self._inputs(batch.input_ids, seen=bool(media)),
                **inputs,
                use_cache=False,
                **{name: self._to_device(tensor) for name, tensor in media.items()},
            )
            hidden_KH = output.last_hidden_state.flatten(0, 1).index_select(0, batch.sources)
            logprobs_K, measured_K = self.head(
                hidden_KH,
                batch.targets,
                temperature=self.temperature,
                banned=self.banned,
                vocab_size=self.vocab_size,
                # A pass without gradient is made for its log-probs alone.
                measure=self.measure if torch.is_grad_enabled() else nothing,
            )
        return logprobs_K.index_select(0, batch.predictions), measured_K.index_select(0, batch.predictions)

    def _arithmetic(self) -> AbstractContextManager[object]:
        """Weights stay fp32 (a step of 1e-6 is lost in bf16); bfloat16 is the arithmetic only. FSDP2 hands out weights
        in it, and then there is nothing left to cast."""
        if self.dtype == torch.float32 or self.is_sharded:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)

    def drop_zeros(self) -> None:
        """Take away the gradients of black tiles where no rank saw an image: with one rank there are none either,
        and a gradient of 0 would let the optimiser's momentum go on."""
        for parameter in self._seeing():
            parameter.grad = None

    def _seeing(self) -> list[nn.Parameter]:
        """What learns outside the language model."""
        language = {id(p) for module in (self.decoder, self.model.get_output_embeddings()) for p in module.parameters()}
        return [p for p in self.model.parameters() if p.requires_grad and id(p) not in language]

    def _to_device(self, tensor: Tensor) -> Tensor:
        cast = self.is_sharded and tensor.is_floating_point()
        return onto(self.device, tensor.to(self.dtype if cast else tensor.dtype))[0]

    def _inputs(self, input_ids: Tensor, seen: bool) -> dict[str, Tensor]:
        """Tokens, or their embeddings where a rank that saw no image must run the vision tower all the same: the other
        ranks gather its layers and wait for its gradients. It looks at one black tile, which counts for nothing, in the
        place where an image would be looked at."""
        if seen or not (self.is_sharded and self.family.reads_images):
            return {"input_ids": input_ids}
        embeddings = self.model.get_input_embeddings()(input_ids)
        tile = {name: self._to_device(tensor) for name, tensor in black_tile(self.model.config.vision_config).items()}
        features = self.model.base_model.get_image_features(**tile, return_dict=True).pooler_output
        return {"inputs_embeds": embeddings + torch.cat([*features]).sum() * 0.0}


def black_tile(vision: PreTrainedConfig) -> dict[str, Tensor]:
    """The smallest image that a vision tower takes, as its processor would hand it over."""
    if hasattr(vision, "spatial_merge_size"):  # patches in rows, and how many there are in time, height and width
        side = vision.spatial_merge_size
        patch = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
        return {"pixel_values": torch.zeros(side * side, patch), "image_grid_thw": torch.tensor([[1, side, side]])}
    return {"pixel_values": torch.zeros(1, vision.num_channels, *vision.image_size)}


def open_token_model(
    path: str | Path,
    *,
    temperature: float,
    banned: tuple[int, ...],
    dtype: str = "float32",
    device: str = "cpu",
    attention: Attention = "auto",
    frozen: bool = False,
) -> tuple[TokenModel, Callable[[], None]]:
    """The model of a folder, in evaluation mode for good: dropout would give the trainer another distribution than the
    engine's. `frozen`: nothing of it learns, so its matrices are held in the dtype of the arithmetic.

    Its weights are not there yet: the function that comes with it reads them, onto `device` or to where `shard` has
    laid them by then, each rank its own rows.

    Raises:
        FileNotFoundError: there is no folder at an absolute path.
        UnknownFamily: see `load_model`.
        WrongWeights: the files lack a weight, or hold one of another shape.
    """
    family = load_family(path)
    model, weights = _opened(path, family)
    if frozen:
        hold_frozen_matrices(model.requires_grad_(False), DTYPES[dtype])
    tokens = TokenModel(model.eval(), family, temperature, banned, DTYPES[dtype], attention, device)
    return tokens, lambda: fill(model, weights, "cpu" if tokens.rests_on_host else device)


def _opened(path: str | Path, family: Family) -> tuple[PreTrainedModel, Weights]:
    """The outline of a model and the weights for it; or the whole model, and nothing left to read, where its files can
    only be read at once."""
    outline = outline_of(path, _kind(family), family.attention)
    try:
        weights = weights_of(path, outline)
    except WholeOnly as reason:
        log.info("%s is loaded whole on every rank, because %s", path, reason)
        return load_model(path, family, dtype=torch.float32, attention=family.attention), Weights(str(path), {})
    return _known(outline, path, family), weights


def load_model(path: str | Path, family: Family, *, dtype: torch.dtype, attention: str) -> PreTrainedModel:
    """The model of a folder or Hub id with its head and all its weights, by transformers, checked against what is known
    of its family.

    Raises:
        UnknownFamily: it is not built as its entry says, or some of its layers see a window only, which the masks of
            trees do not know of.
    """
    kind = _kind(family)
    return _known(kind.from_pretrained(str(path), dtype=dtype, attn_implementation=attention), path, family)


def _kind(family: Family) -> Kind:
    return AutoModelForImageTextToText if family.reads_images else AutoModelForCausalLM


def _known(model: PreTrainedModel, path: str | Path, family: Family) -> PreTrainedModel:
    modules = dict(model.named_modules())
    places = [f"{family.decoder}.layers", *([family.vision_layers] if family.reads_images else [])]
    if absent := [place for place in places if not isinstance(modules.get(place), nn.ModuleList)]:
        raise UnknownFamily(
            f"{path}: a model of the family {family.model_type} has its layers at {', '.join(absent)}, and this one has"
            " none there; correct the entry in rollouts/prompt/families.py"
        )
    kinds = set(getattr(model.config.get_text_config(), "layer_types", None) or ()) - {"full_attention"}
    if kinds:
        raise UnknownFamily(
            f"{path}: layers of the kind {', '.join(sorted(kinds))} are not known for the family {family.model_type};"
            " trees of completions are tested with full attention only"
        )
    return model
