"""What the doctor says of the parts of the model that learn, counted without loading one, and of the files of its
weights, of which it reads names and shapes."""

from __future__ import annotations

from rl.config import Config
from rl.doctor.architecture import outline_of
from rl.doctor.data import Finding
from rl.doctor.model import MODEL_FIX, start_of
from rl.policy.loading.files import WholeOnly, WrongWeights, weights_of
from rl.policy.lora import NoSuchLayer
from rl.policy.parts import MASKS, NothingLearns, Parts

LEARN_FIX = "correct model.train or model.lora"


def check_parts(config: Config) -> list[Finding]:
    """The mask and what it is for, then each part with its parameters; a cross where the model has no such part, or
    `model.lora.target_modules` names something that can have no adapter.

    Raises:
        OSError: its configuration cannot be had.
        UnknownFamily: nothing is known of its family.
    """
    family, model = outline_of(str(start_of(config)))
    settings = config.model
    try:
        parts = Parts(model, family, settings.train, settings.lora)
    except (NoSuchLayer, NothingLearns) as error:
        return [Finding(False, str(error), LEARN_FIX)]
    lines = [f"model.train={settings.train}: {MASKS[settings.train].purpose}"]
    for size in parts.sizes():
        where = f" beside {parts.adapter.num_layers} linear layers" if parts.adapter and size.part == "adapters" else ""
        lines.append(f"{size.part}: {size.parameters:,} parameters{where}, {'trained' if size.trained else 'frozen'}")
    return [Finding(True, line) for line in lines]


def check_weights(config: Config) -> list[Finding]:
    """Whether a folder holds the weights that its config.json describes, by their names and shapes. Nothing is said of
    a Hub id, whose files are not here yet."""
    folder = start_of(config)
    if not folder.is_dir():
        return []
    if not any(file.suffix in (".safetensors", ".bin") for file in folder.iterdir()):
        return [Finding(False, f"{folder} holds no weights, expected *.safetensors", MODEL_FIX)]
    try:
        weights = weights_of(folder, outline_of(str(folder))[1])
    except WrongWeights as error:
        return [Finding(False, str(error), MODEL_FIX)]
    except WholeOnly as reason:
        return [Finding(True, f"weights: every rank loads the whole model before it keeps its part, because {reason}")]
    files = {place.file for place in weights.places.values()}
    return [Finding(True, f"weights: {len(weights.places)} tensors in {len(files)} safetensors files, read by part")]


def learning_parts(config: Config) -> tuple[dict[str, int], dict[str, int]]:
    """Parameters by part: those that learn, and those that are frozen.

    Raises:
        ValueError: see `check_parts`.
    """
    family, model = outline_of(str(start_of(config)))
    parts = Parts(model, family, config.model.train, config.model.lora)
    sizes = parts.sizes()
    learns = {one.part: one.trained for one in sizes if one.trained}
    frozen = {one.part: one.parameters - one.trained for one in sizes if one.parameters > one.trained}
    return learns, frozen
