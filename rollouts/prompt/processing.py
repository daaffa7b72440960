"""Where a processor meets a model: a sample becomes token ids and one opaque dict of media tensors.

This is the only file that may name a vision tensor. Everything between `encode` and a model's forward carries the dict
unopened.
Legend: P prompt tokens with image tokens multiplied.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import AutoProcessor, AutoTokenizer

from rollouts.media import blank as blank_media
from rollouts.media import frames
from rollouts.prompt.messages import question_text, render_prompt
from rollouts.records import BadSample, Sample

# Tensors of a processor that run along the tokens, not along the images; positions are worked out from them beforehand.
TOKEN_ALIGNED = ("mm_token_type_ids", "token_type_ids")
# Tokens that stand for media, or open and close them, in the families of models this project feeds. A model that could
# say one of them would break its own next forward pass ("Image features and image tokens do not match", verl #7038).
MEDIA_TOKENS = (
    *("<img>", "</img>", "<IMG_CONTEXT>", "<image>", "<video>"),
    *("<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"),
)
MEDIA_TOKEN_ATTRIBUTES = (
    "image_token_id",
    "video_token_id",
    "image_token_ids",
    "start_image_token_id",
    "end_image_token_id",
)


@dataclass(frozen=True)
class EncodedPrompt:
    """One prompt, ready for both forward passes: the engine's (text and images) and the trainer's (ids and media
    tensors)."""

    prompt_id: str
    # After the chat template, one placeholder an image: what vLLM takes beside `images`.
    text: str
    # With every placeholder multiplied to the number of features: what the model's own forward takes beside `media`.
    token_ids: tuple[int, ...]
    # Tensors by the processor's names; empty for a text prompt. Opaque outside this file.
    media: dict[str, Any]
    # RGB frames in order, for the engine only; see `without_images`.
    images: tuple[Image.Image, ...] = ()
    # Hash of token ids and media bytes. Rows with the same one share a prompt, and the trainer computes it once for all
    # of them.
    fingerprint: str = ""

    def without_images(self) -> EncodedPrompt:
        """The same prompt without the frames the engine needs, for the way to the trainer."""
        return dataclasses.replace(self, images=())


class TextProcessor:
    """A tokenizer in the place of a processor: what a model that reads text only is asked with."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.chat_template = tokenizer.chat_template

    def __call__(self, text: list[str], images: Sequence[Image.Image] | None = None, return_tensors: str = "pt") -> Any:
        if images:
            raise BadSample(f"the sample has {len(images)} images, and this model reads text only")
        return self.tokenizer(text, return_tensors=return_tensors)

    def apply_chat_template(self, conversation: Any, **kwargs: Any) -> Any:
        """As the tokenizer does it."""
        return self.tokenizer.apply_chat_template(conversation, **kwargs)

    def save_pretrained(self, path: str | Path) -> None:
        """Write the tokenizer."""
        self.tokenizer.save_pretrained(path)


def load_processor(path: str | Path, *, text_only: bool = False) -> Any:
    """The processor of a model folder; one tile an image (Fleming-VL, Table 2), whatever the folder was saved with.

    `text_only`: the model reads no images, so its folder holds a tokenizer and no more.

    Raises:
        FileNotFoundError: there is no such folder, or it holds no processor.
    """
    if Path(path).is_absolute() and not Path(path).is_dir():
        raise FileNotFoundError(f"no model folder at {path}; expected a folder in Hugging Face format, see model.path")
    if text_only:
        return TextProcessor(AutoTokenizer.from_pretrained(str(path)))
    processor = AutoProcessor.from_pretrained(str(path))
    image_processor = getattr(processor, "image_processor", None)
    if image_processor is None:
        raise FileNotFoundError(
            f"{path} holds a tokenizer but no image processor; save the model's whole processor there"
        )
    if hasattr(image_processor, "max_patches"):
        image_processor.min_patches = image_processor.max_patches = 1
    return processor


def encode(processor: Any, sample: Sample, *, blank: bool = False) -> EncodedPrompt:
    """A sample as the model is asked it; `blank` greys every image out and keeps its size.

    Raises:
        BadSample: an image does not open, or the question itself contains a token that stands for media.
    """
    named = [token for token in _media_tokens(processor) if token in question_text(sample)]
    if named:
        raise BadSample(
            f"sample {sample.id!r}: the question contains {named}, which this model takes for media; remove it from the"
            " text"
        )
    media = [blank_media(medium) for medium in sample.media] if blank else list(sample.media)
    images = tuple(frame for medium in media for frame in frames(medium))
    text = render_prompt(sample, processor)
    output = dict(processor(text=[text], images=list(images) or None, return_tensors="pt"))
    token_ids = tuple(output.pop("input_ids")[0].tolist())
    output.pop("attention_mask", None)
    return EncodedPrompt(sample.id, text, token_ids, output, images, _fingerprint(token_ids, output))


def _fingerprint(token_ids: Sequence[int], media: Mapping[str, torch.Tensor]) -> str:
    digest = hashlib.sha256(str(tuple(token_ids)).encode())
    for name in sorted(media):
        digest.update(f"{name}{tuple(media[name].shape)}".encode())
        digest.update(media[name].contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def collate_media(media: Sequence[Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """The media of several prompts joined along dim 0, in the order of the prompts; token-aligned tensors are left out.

    Text-only prompts may stand between the others.
    """
    names = sorted({name for one in media for name in one if name not in TOKEN_ALIGNED})
    return {name: torch.cat([one[name] for one in media if name in one]) for name in names}


def prompt_positions(model: Any, prompt: EncodedPrompt) -> torch.Tensor:
    """Positions of the prompt's tokens as the model wants them: [P], or [3, P] (time, height, width) for M-RoPE models.

    The first completion token stands at the largest position plus one in either case.
    """
    inner = getattr(model, "base_model", model)
    if not hasattr(inner, "get_rope_index") or not prompt.media:
        return torch.arange(len(prompt.token_ids))
    ids = torch.tensor([prompt.token_ids])
    positions, _ = inner.get_rope_index(input_ids=ids, attention_mask=torch.ones_like(ids), **prompt.media)
    return positions[:, 0]


def media_token_ids(processor: Any) -> tuple[int, ...]:
    """Sorted ids of every token that stands for, opens or closes an image or a video: banned in sampling and in the
    trainer alike."""
    tokenizer = getattr(processor, "tokenizer", processor)
    found = set(_media_tokens(processor).values())
    for owner in (processor, tokenizer):
        for name in MEDIA_TOKEN_ATTRIBUTES:
            value = getattr(owner, name, None)
            found.update(value if isinstance(value, list) else [value] if isinstance(value, int) else [])
    return tuple(sorted(found))


def _media_tokens(processor: Any) -> dict[str, int]:
    added = getattr(processor, "tokenizer", processor).get_added_vocab()
    return {token: added[token] for token in MEDIA_TOKENS if token in added}
