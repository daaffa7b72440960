"""How large images become, by the configuration: one reading of it for every side."""

from __future__ import annotations

from rl.config import ModelConfig
from rollouts.prompt.families import ImageSettings


def images_of(model: ModelConfig) -> ImageSettings:
    """What the processor of this model is told, in trainer and engine alike."""
    return ImageSettings(model.max_tiles, model.max_pixels)
