"""What has to be known of a family of models before it can be asked and trained, by the `model_type` of its config.

Data only, and the one place of it: whoever needs a fact about a family reads it here. Each entry is tested by a tiny
random model (tests/fakes/tiny_models.py): log-probs of the engine and of the policy agree, packed trees equal single
rows. A family that is not listed is refused, because a wrong guess trains without an error and on wrong numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


class UnknownFamily(ValueError):
    """No entry for this `model_type`, or a model that is not built as its entry says."""


class BadImageSettings(ValueError):
    """A size of images that the model's processor has no setting for, or cannot keep to."""


@dataclass(frozen=True)
class ImageSettings:
    """How large images become on their way to the model. Trainer and engine must be given the same."""

    # Tiles of one image at most, for families that cut images into tiles; a second one brings a thumbnail along.
    max_tiles: int = 1
    # Pixels of one image at most, for families that take images of any size: larger ones are made smaller. None = what
    # the processor was saved with.
    max_pixels: int | None = None


# What the paper does in RL (Fleming-VL, Table 2).
ONE_TILE = ImageSettings()


@dataclass(frozen=True)
class Family:
    """One kind of model as transformers builds it. Module names are dotted paths from the model with its head."""

    # `model_type` in config.json.
    model_type: str
    # The decoder; its `layers` are the list of decoder layers.
    decoder: str
    # The list of layers of the vision tower; "" = the model reads text only.
    vision_layers: str = ""
    # The vision tower, and the projector from its width to the decoder's, which may lie inside it. What lies in neither
    # is the language model: decoder, embeddings, head.
    vision_tower: str = ""
    projector: str = ""
    # Texts of the tokens that stand for media, or open and close them, as far as a vocabulary holds them. A model that
    # could say one of them would break its own next forward pass (verl #7038), so they are banned from sampling.
    media_tokens: tuple[str, ...] = ()
    # What stands for one image in a text that goes to the processor without a chat template.
    image_text: str = ""
    # Whether the image processor cuts an image into tiles unless min_patches and max_patches say otherwise.
    cuts_tiles: bool = False
    # Whether the image processor takes images of any size, up to a number of pixels.
    bounds_pixels: bool = False
    # Directions in which positions are counted: 1, or 3 (time, height, width: M-RoPE).
    position_axes: Literal[1, 3] = 1
    # Code of transformers for attention that takes an additive 4-D mask, which trees of completions need.
    attention: Literal["sdpa", "eager"] = "sdpa"

    @property
    def reads_images(self) -> bool:
        """Whether it has a vision tower."""
        return bool(self.vision_layers)


_VISION = ("<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>")

FAMILIES = {
    family.model_type: family
    for family in (
        Family(
            "internvl",
            decoder="model.language_model",
            vision_layers="model.vision_tower.encoder.layer",
            vision_tower="model.vision_tower",
            projector="model.multi_modal_projector",
            # Its language models come from Qwen2.5, whose vocabulary brings the second row along.
            media_tokens=("<img>", "</img>", "<IMG_CONTEXT>", "<image>", "<video>", *_VISION),
            image_text="<IMG_CONTEXT>",
            cuts_tiles=True,
        ),
        Family(
            "qwen2_5_vl",
            decoder="model.language_model",
            vision_layers="model.visual.blocks",
            vision_tower="model.visual",
            projector="model.visual.merger",
            media_tokens=_VISION,
            image_text="<|vision_start|><|image_pad|><|vision_end|>",
            bounds_pixels=True,
            position_axes=3,
        ),
        Family("llama", decoder="model"),
        Family("qwen2", decoder="model"),
    )
}


def images_fault(family: Family, images: ImageSettings) -> str:
    """Why a family has nothing to do with such settings; "" where it has."""
    if images.max_pixels is not None and not family.bounds_pixels:
        other = "its images are cut into tiles: use model.max_tiles" if family.cuts_tiles else "it has no such setting"
        return f"model.max_pixels={images.max_pixels} does nothing for the family {family.model_type}; {other}"
    if images.max_tiles != 1 and not family.cuts_tiles:
        other = "its images have any size: use model.max_pixels" if family.bounds_pixels else "it has no such setting"
        return f"model.max_tiles={images.max_tiles} does nothing for the family {family.model_type}; {other}"
    return ""


def family_of(model_type: str, path: str) -> Family:
    """The entry of `model_type`; `path` names the model in the error.

    Raises:
        UnknownFamily: there is none; the text says which there are and what would have to be added.
    """
    if model_type in FAMILIES:
        return FAMILIES[model_type]
    raise UnknownFamily(
        f"model.path={path} is of the family {model_type!r}; known are {', '.join(FAMILIES)}. Take one of these, or add"
        " the family: an entry in rollouts/prompt/families.py (decoder, vision tower and"
        " its layers, projector, media tokens, positions), a tiny"
        " model of it in tests/fakes/tiny_models.py, and its name in the tests of engine and policy"
    )
