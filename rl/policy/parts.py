"""Which parts of a model learn, and the proof that the others stay as they were.

A model has three parts: vision tower, projector and language model (decoder, embeddings, head). Where they lie stands
in rollouts/prompt/families.py. A mask names those that learn. The others are frozen: no gradient, no optimiser state,
and a checksum that is the same at the end as at the start.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from rl.config import LoraConfig, Train
from rl.policy.lora import Adapter
from rl.policy.ranks import full, in_dtype
from rollouts.engine.checksum import checksum
from rollouts.prompt.families import Family, UnknownFamily

Part = Literal["vision tower", "projector", "language model"]
VISION: Final = "vision tower"
PROJECTOR: Final = "projector"
LANGUAGE: Final = "language model"


class FrozenPartChanged(RuntimeError):
    """Weights that must not learn are not those that the run began with."""


class NothingLearns(ValueError):
    """The mask leaves nothing of this model that could learn."""


@dataclass(frozen=True)
class Mask:
    """What one value of `model.train` stands for."""

    # Parts whose own weights learn.
    learn: tuple[Part, ...]
    # Whether adapters beside the layers of the language model learn instead of weights.
    adapters: bool
    # What it is for; the stages are those of Fleming-VL, Sec 3.2.
    purpose: str


# The paper says what learns in stages 2 and 3 and is silent on stages 1 and 4 (pre-training, RL): "all" there.
MASKS: dict[Train, Mask] = {
    "all": Mask((VISION, PROJECTOR, LANGUAGE), False, "stage 3, instruction tuning, trains all parameters"),
    "language": Mask((LANGUAGE,), False, "no stage of the paper: what the model sees stays, what it says learns"),
    "vision_projector": Mask(
        (VISION, PROJECTOR), False, "stage 2, knowledge injection from captions, keeps the language model frozen"
    ),
    "lora": Mask((), True, "no stage of the paper: low-rank adapters learn, and the frozen base is the reference"),
}


@dataclass(frozen=True)
class PartSize:
    """One part of a model in numbers."""

    part: str
    parameters: int
    trained: int


def part_of(name: str, family: Family) -> Part:
    """The part that a parameter of this name belongs to."""
    # The projector first: it may lie inside the vision tower.
    places: tuple[tuple[Part, str], ...] = ((PROJECTOR, family.projector), (VISION, family.vision_tower))
    return next((part for part, place in places if place and name.startswith(f"{place}.")), LANGUAGE)


class Parts:
    """A model some of whose parts learn. With "all" it does nothing and costs nothing."""

    def __init__(
        self,
        model: PreTrainedModel,
        family: Family,
        train: Train = "all",
        lora: LoraConfig | None = None,
        *,
        seed: int = 0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Freeze what does not learn; with "lora", put adapters beside the decoder's layers. Must come before the
        parameters are sharded.

        Args:
            seed: of the adapters' first weights, which are the same on every rank and device.
            dtype: of the arithmetic. Frozen matrices of linear layers are held in it, because autocast would make the
                same copy at each pass: equal bits, half the memory.

        Raises:
            UnknownFamily: a parameter lies where the family's entry knows of nothing.
            NothingLearns: the model has no such part.
            NoSuchLayer: `lora.target_modules` names something that can have no adapter.
        """
        self.train = train
        self.lora = (lora or LoraConfig()) if MASKS[train].adapters else None
        self._model = model
        self._family = family
        mask = MASKS[train]
        parts = {name: part_of(name, family) for name, _ in model.named_parameters()}
        _refuse_strays(model, family, parts)
        if not mask.adapters and not set(mask.learn) & set(parts.values()):
            raise NothingLearns(
                f"model.train={train} trains {' and '.join(mask.learn)}, but a model of the family {family.model_type}"
                " reads text only and has neither; use model.train=all or lora"
            )
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(parts[name] in mask.learn)
        self.adapter: Adapter | None = None
        if self.lora is not None:
            self.adapter = Adapter(model, family.decoder, self.lora, seed)
        elif LANGUAGE not in mask.learn:
            # So that the backward pass runs through the decoder of every rank, one that saw no image included.
            model.get_input_embeddings().register_forward_hook(_let_gradients_pass)
        if dtype != torch.float32:
            hold_frozen_matrices(model, dtype)
        self._frozen = ""

    def frozen_checksum(self) -> str:
        """Of the frozen weights, whole and by name, whatever the number of ranks; "" where all learn. Every rank must
        call it."""
        sums = [
            checksum({name: full(parameter.detach())})
            for name, parameter in sorted(self._model.named_parameters())
            if not parameter.requires_grad
        ]
        return hashlib.sha256("\n".join(sums).encode()).hexdigest() if sums else ""

    def remember_frozen(self) -> None:
        """Take the checksum that `check_frozen` compares with."""
        self._frozen = self.frozen_checksum()

    def check_frozen(self) -> None:
        """Every rank must call it.

        Raises:
            FrozenPartChanged: the frozen weights are not those of `remember_frozen`.
        """
        if (now := self.frozen_checksum()) != self._frozen:
            raise FrozenPartChanged(
                f"model.train={self.train} freezes weights that changed while it trained: their checksum was"
                f" {self._frozen[:16]} and is {now[:16]}. Nothing is saved; this is a fault of the program, please"
                " report it with the run's config.yaml"
            )

    def switched_off(self) -> AbstractContextManager[None]:
        """The base model alone, for as long as the context lasts.

        Raises:
            ValueError: the mask has no adapters.
        """
        if self.adapter is None:
            raise ValueError(f"model.train={self.train} has no adapters to switch off, so its base is gone; use lora")
        return self.adapter.switched_off()

    def merged(self, state: Mapping[str, Tensor], dtype: torch.dtype) -> Iterator[tuple[str, Tensor]]:
        """Names and whole tensors of the `state_dict` of this model as the base model would have them, adapters added
        to copies of the weights. Every rank must exhaust it. What is nobody's sum is gathered in `dtype`, so that no
        more than that travels."""
        if self.adapter is not None:
            return self.adapter.merged(state, dtype)
        return ((name, full(in_dtype(tensor, dtype))) for name, tensor in state.items())

    def save_adapter(self, folder: str | Path) -> None:
        """The adapter in PEFT's format, where there is one; every rank must call it, the first writes."""
        if self.adapter is not None:
            self.adapter.save(folder)

    def identity(self) -> dict[str, Any]:
        """What a checkpoint must say of the mask, as JSON: a state of another one does not fit."""
        lora = asdict(self.lora) if self.lora is not None else None
        return {"train": self.train, "lora": lora, "frozen": self._frozen}

    def check_identity(self, stored: Mapping[str, Any]) -> None:
        """Compare with what `identity` said when a state was saved; a state that says nothing is of model.train=all.

        Raises:
            ValueError: it is of another mask, another adapter or another base.
        """
        theirs, ours = _in_words(stored), _in_words(self.identity())
        if theirs != ours:
            raise ValueError(
                f"the state was saved with {theirs} and this run has {ours}; resume with the settings it was saved"
                " with, or begin a new run from its exported model"
            )
        if stored.get("frozen", "") != self._frozen:
            raise ValueError(
                f"the frozen weights are not those that the state was saved beside (checksum"
                f" {stored.get('frozen', '')[:16]}, here {self._frozen[:16]}); give the model that the run began with"
            )

    def sizes(self) -> list[PartSize]:
        """Parameters of each part and how many of them learn; adapters are a part of their own."""
        totals: dict[str, list[int]] = {}
        for name, parameter in self._model.named_parameters():
            part = "adapters" if self.adapter is not None and parameter.requires_grad else part_of(name, self._family)
            count = totals.setdefault(part, [0, 0])
            count[0] += parameter.numel()
            count[1] += parameter.numel() if parameter.requires_grad else 0
        return [PartSize(part, *totals[part]) for part in (VISION, PROJECTOR, LANGUAGE, "adapters") if part in totals]


def _in_words(identity: Mapping[str, Any]) -> str:
    lora = identity.get("lora") or {}
    settings = (f"model.lora.{name}={_plain(value)}" for name, value in lora.items())
    return ", ".join([f"model.train={identity.get('train', 'all')}", *settings])


def _plain(value: Any) -> str:
    """A setting as it is written on the command line; a list that came back from JSON is a tuple here."""
    return f"[{','.join(value)}]" if isinstance(value, (list, tuple)) else str(value)


def _refuse_strays(model: PreTrainedModel, family: Family, parts: Mapping[str, Part]) -> None:
    """Raise UnknownFamily where a parameter counts as the language model and lies in neither decoder nor head."""
    head = next((name for name, module in model.named_modules() if module is model.get_output_embeddings()), "")
    homes = (f"{family.decoder}.", *((f"{head}.",) if head else ()))
    strays = [name for name, part in parts.items() if part == LANGUAGE and not name.startswith(homes)]
    if strays:
        raise UnknownFamily(
            f"{len(strays)} parameters of this model lie in no part that the family {family.model_type} has, such as"
            f" {strays[0]}; correct vision_tower and projector of its entry in rollouts/prompt/families.py"
        )


def _let_gradients_pass(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
    if torch.is_grad_enabled():
        output.requires_grad_(True)


def hold_frozen_matrices(model: nn.Module, dtype: torch.dtype) -> None:
    """Matrices of frozen linear layers in the dtype of the arithmetic; norms, biases and embeddings stay as they are,
    because autocast computes with those in fp32."""
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    others = {
        id(parameter)
        for module in model.modules()
        if not isinstance(module, nn.Linear)
        for parameter in module.parameters(recurse=False)
    }
    for module in linear:
        weight = module.weight
        if not weight.requires_grad and id(weight) not in others:  # a head tied to the embedding is the embedding
            weight.data = weight.data.to(dtype)
