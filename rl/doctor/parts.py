"""What the doctor says of the parts of the model that learn: their parameters, counted without loading one."""

from __future__ import annotations

from rl.config import Config
from rl.doctor.architecture import outline_of
from rl.doctor.data import Finding
from rl.doctor.model import start_of
from rl.policy.parts import MASKS, Parts


def check_parts(config: Config) -> list[Finding]:
    """The mask and what it is for, then each part with its parameters.

    Raises:
        OSError: its configuration cannot be had.
        ValueError: the model has no such part, or `model.lora.target_modules` names something that can have no adapter.
    """
    family, model = outline_of(str(start_of(config)))
    settings = config.model
    parts = Parts(model, family, settings.train, settings.lora)
    lines = [f"model.train={settings.train}: {MASKS[settings.train].purpose}"]
    for size in parts.sizes():
        where = f" beside {parts.adapter.num_layers} linear layers" if parts.adapter and size.part == "adapters" else ""
        lines.append(f"{size.part}: {size.parameters:,} parameters{where}, {'trained' if size.trained else 'frozen'}")
    return [Finding(True, line) for line in lines]


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
