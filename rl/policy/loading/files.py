"""The files of a model's weights, read row by row under the names that its parameters have.

A model of 8 B parameters takes 30 GiB in float32, so eight ranks of one machine that each load it whole, to keep an
eighth of it, take 240. Here a rank reads the rows that it holds, one tensor after the other, and what it does not hold
is never in its memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor
from transformers import PreTrainedModel
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME, cached_file
from transformers.utils.hub import get_checkpoint_shard_files

# An adapter beside a model, which transformers would put into it.
ADAPTER_CONFIG = "adapter_config.json"


class WholeOnly(ValueError):
    """Only transformers can read these files, and it reads them whole; the message says why."""


class WrongWeights(ValueError):
    """The files do not hold the weights of the model that their config.json describes."""


@dataclass(frozen=True)
class Place:
    """Where a parameter's numbers lie."""

    file: str
    name: str
    shape: tuple[int, ...]


class Weights:
    """The weights of a model on disk, by the names of its parameters."""

    def __init__(self, path: str, places: Mapping[str, Place]) -> None:
        self.path = path
        self.places = places

    def copy_rows(self, name: str, start: int, into: Tensor) -> None:
        """Rows of a parameter from `start` on, cast to the dtype of `into` and brought to its device. The file is open
        for this one tensor only, so that its pages leave the process's memory again."""
        place = self.places[name]
        with safe_open(place.file, "pt") as opened:
            stored = opened.get_slice(place.name)
            into.copy_(stored[start : start + len(into)] if into.dim() else opened.get_tensor(place.name))


def weights_of(path: str | Path, model: PreTrainedModel) -> Weights:
    """The weights for a model that has none yet.

    Raises:
        WholeOnly: they are no safetensors, are quantised, are converted on the way (not only renamed), have an adapter
            beside them, or hold two different tensors for what the configuration calls one.
        WrongWeights: a parameter is missing, or has another shape.
    """
    files = _files(str(path))
    if getattr(model.config, "quantization_config", None) is not None:
        raise WholeOnly("its weights are quantised")
    conversions = get_model_conversion_mapping(model)
    if any(isinstance(one, WeightConverter) for one in conversions):
        raise WholeOnly("transformers converts its weights while it loads them")
    renamings = [one for one in conversions if isinstance(one, WeightRenaming)]
    known = model.state_dict()
    places: dict[str, Place] = {}
    for file in files:
        with safe_open(file, "pt") as opened:
            for key in opened.keys():  # noqa: SIM118 - it is no mapping
                name = _name_of(key, renamings, model.base_model_prefix, known)
                if name in known:
                    places[name] = Place(file, key, tuple(opened.get_slice(key).get_shape()))
    weights = Weights(str(path), places)
    _check(weights, model, known)
    return weights


def _files(path: str) -> list[str]:
    """The safetensors files of a folder or Hub id. Raises WholeOnly where there are none."""
    quiet = {"_raise_exceptions_for_missing_entries": False, "_raise_exceptions_for_connection_errors": False}
    if cached_file(path, ADAPTER_CONFIG, **quiet):
        raise WholeOnly(f"there is an {ADAPTER_CONFIG} beside its weights")
    if single := cached_file(path, SAFE_WEIGHTS_NAME, **quiet):
        return [single]
    if index := cached_file(path, SAFE_WEIGHTS_INDEX_NAME, **quiet):
        return list(get_checkpoint_shard_files(path, index)[0])
    raise WholeOnly("it has no safetensors files")


def _name_of(key: str, renamings: list[WeightRenaming], prefix: str, known: Mapping[str, Tensor]) -> str:
    """A stored name as the model has it, by the rules of transformers' own loading."""
    name, _ = rename_source_key(key, renamings, [], prefix, known)
    if name not in known and key in known:
        name, _ = rename_source_key(key, [], [], prefix, known)
    return name


def _check(weights: Weights, model: PreTrainedModel, known: Mapping[str, Tensor]) -> None:
    places, tied = weights.places, dict(model.all_tied_weights_keys)
    for target, source in tied.items():
        if target in places and source in places and not _equal(places[target], places[source]):
            raise WholeOnly(f"it holds two different tensors for {source} and {target}, which are tied")
    together = [*tied.items(), *((source, target) for target, source in tied.items())]
    elsewhere = {name for name, other in together if other in places}
    if missing := [name for name in known if name not in places and name not in elsewhere]:
        raise WrongWeights(
            f"{weights.path} lacks {len(missing)} of the {len(known)} tensors of its model, such as {missing[0]};"
            " expected the weights of the model that its config.json describes"
        )
    for name, place in places.items():
        if place.shape != tuple(known[name].shape):
            raise WrongWeights(
                f"{weights.path}: {name} has the shape {place.shape} in {Path(place.file).name}, expected"
                f" {tuple(known[name].shape)} by its config.json"
            )


def _equal(one: Place, other: Place) -> bool:
    with safe_open(one.file, "pt") as left, safe_open(other.file, "pt") as right:
        return one.shape == other.shape and torch.equal(left.get_tensor(one.name), right.get_tensor(other.name))
