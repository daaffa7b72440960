"""Where a processor meets a model: a sample becomes token ids and one opaque dict of media tensors.

This is the only file that may name a vision tensor. Everything between `encode` and a model's forward carries the dict
unopened, and everything between `encode` and the engine carries `engine_media` unopened.
Legend: P prompt tokens with image tokens multiplied.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jinja2 import TemplateError
from PIL import Image
from torch import Tensor, nn
from transformers import AutoProcessor, AutoTokenizer, PretrainedConfig, PreTrainedTokenizerBase, ProcessorMixin

from rollouts.media import blank as blank_media
from rollouts.media import frames
from rollouts.prompt.families import ONE_TILE, BadImageSettings, Family, ImageSettings, family_of, images_fault
from rollouts.prompt.hub import refuse_out_of_reach
from rollouts.prompt.messages import BadTemplate, Message, question_text, render_prompt
from rollouts.prompt.prefill import prefill_of
from rollouts.records import BadSample, Sample

# Tensors of a processor that run along the tokens, not along the images; positions are worked out from them beforehand.
TOKEN_ALIGNED = ("mm_token_type_ids", "token_type_ids")
# Attributes under which processors and tokenizers name the ids of such tokens themselves.
MEDIA_TOKEN_ATTRIBUTES = (
    "image_token_id",
    "video_token_id",
    "image_token_ids",
    "start_image_token_id",
    "end_image_token_id",
)
# Characters of a library's own words that an error repeats.
_MOST_SHOWN = 400
# A word that no template changes: what stands behind it is the template's.
_PROBE = "PROBE"
# Media as an engine takes it: kind ("image") -> the items in the order of their placeholders.
EngineMedia = Mapping[str, Sequence[Image.Image]]


@dataclass(frozen=True)
class EncodedPrompt:
    """One prompt, ready for both forward passes: the engine's (text and frames) and the trainer's (ids and media
    tensors)."""

    prompt_id: str
    # After the chat template, one placeholder an image: what vLLM takes beside `engine_media`.
    text: str
    # [P], with every placeholder multiplied to the number of features: what the model's forward takes beside `media`.
    token_ids: tuple[int, ...]
    # Tensors by the processor's names; empty for a text prompt. Opaque outside this file.
    media: dict[str, Tensor]
    # RGB frames by kind, for the engine only; empty for a text prompt. Opaque outside this file and the engine's.
    engine_media: EngineMedia = dataclasses.field(default_factory=dict)
    # Hash of token ids and media bytes. Rows with the same one share a prompt, and the trainer computes it once for all
    # of them.
    fingerprint: str = ""
    # The documents that share this sequence, one behind the other; each sees itself alone. Empty: it is one text.
    documents: tuple[EncodedPrompt, ...] = ()

    @property
    def parts(self) -> tuple[EncodedPrompt, ...]:
        """The documents, or the one text that it is; the media are theirs."""
        return self.documents or (self,)

    @property
    def prefill(self) -> str:
        """What the chat template has written of the answer already; see rollouts/prompt/prefill.py."""
        return prefill_of(self.text)

    @property
    def num_pixels(self) -> int:
        """Pixels of all frames the engine is handed."""
        return sum(frame.width * frame.height for items in self.engine_media.values() for frame in items)

    def for_trainer(self) -> EncodedPrompt:
        """The same prompt without the frames, which only the engine needs."""
        return dataclasses.replace(self, engine_media={})


class Processor:
    """A model folder's processor, or its tokenizer where the model reads text only, with what is known of its
    family."""

    def __init__(
        self,
        family: Family,
        source: ProcessorMixin | PreTrainedTokenizerBase,
        images: ImageSettings = ONE_TILE,
    ) -> None:
        self.family = family
        self.images = images
        # As transformers and TRL know it.
        self.source = source
        self.tokenizer: PreTrainedTokenizerBase = getattr(source, "tokenizer", source)

    @property
    def chat_template(self) -> str:
        """The template's source."""
        return str(self.source.chat_template)

    def render(self, messages: Sequence[Message], *, add_generation_prompt: bool = False) -> str:
        """The conversation as text. Raises jinja2.TemplateError where the template refuses it."""
        turns = list(messages) if self.family.reads_images else [_as_text(message) for message in messages]
        return str(self.source.apply_chat_template(turns, add_generation_prompt=add_generation_prompt, tokenize=False))

    @cached_property
    def turn_end(self) -> int:
        """Id of the token with which the chat template ends a turn of the assistant: what a response must end with. It
        may be another one than the tokenizer's own end (Gemma's `<end_of_turn>`, Llama 3's `<|eot_id|>`); that one
        only where the template ends a turn with no token of its own.

        Raises:
            BadTemplate: the template refuses a turn of the assistant.
        """
        turns: list[Message] = [
            {"role": role, "content": [{"type": "text", "text": _PROBE}]} for role in ("user", "assistant")
        ]
        try:
            behind = self.render(turns).rpartition(_PROBE)[2].lstrip()
        except TemplateError as error:
            raise BadTemplate(f"the chat template refuses a turn of the assistant: {error}") from error
        ids = self.tokenizer(behind, add_special_tokens=False)["input_ids"] if behind else []
        known = {*self.tokenizer.all_special_ids, *self.tokenizer.added_tokens_decoder}
        return int(ids[0]) if ids and ids[0] in known else int(self.tokenizer.eos_token_id)

    def tensors(self, text: str, images: Sequence[Image.Image]) -> tuple[tuple[int, ...], dict[str, Tensor]]:
        """Token ids [P] of a rendered prompt, and its media tensors by the processor's names."""
        if not self.family.reads_images:
            # The template has written the token a text begins with, where the model has one.
            return tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"]), {}
        output = dict(self.source(text=[text], images=list(images) or None, return_tensors="pt"))
        token_ids = tuple(output.pop("input_ids")[0].tolist())
        output.pop("attention_mask", None)
        return token_ids, output

    def for_engine(self) -> dict[str, object]:
        """What vLLM's reading of the same folder must be told so that it makes the same tokens of an image, in the
        words of the family's image processor."""
        if not self.family.reads_images:
            return {}
        image_processor = self.source.image_processor
        if self.family.cuts_tiles:
            return {"min_patches": image_processor.min_patches, "max_patches": image_processor.max_patches}
        return {"size": _edges(image_processor)} if self.images.max_pixels is not None else {}

    def save_pretrained(self, path: str | Path) -> None:
        """Write it in Hugging Face format."""
        self.source.save_pretrained(path)


def _as_text(message: Message) -> Message:
    """A turn whose content is one string: templates of text models know no parts."""
    content = message["content"]
    text = content if isinstance(content, str) else "\n".join(part["text"] for part in content)
    return {**message, "content": text}


def load_processor(path: str | Path, images: ImageSettings = ONE_TILE) -> Processor:
    """The processor of a model folder or Hub id; of a model that reads text only, its tokenizer. Images become as large
    as `images` says, whatever the processor was saved with: one tile each by default (Fleming-VL, Table 2).

    Raises:
        OSError: there is no such folder, its files do not load, or it holds no image processor where the family reads
            images.
        UnknownFamily: its `model_type` is not in rollouts/prompt/families.py.
        BadTemplate: it has no chat template.
        BadImageSettings: `images` holds what the family has no setting for, or what its processor cannot keep to.
    """
    family = load_family(path)
    if fault := images_fault(family, images):
        raise BadImageSettings(fault)
    if not family.reads_images:
        processor = Processor(family, _from_files(AutoTokenizer, path))
    else:
        processor = Processor(family, _from_files(AutoProcessor, path), images)
        image_processor = getattr(processor.source, "image_processor", None)
        if image_processor is None:
            raise FileNotFoundError(
                f"{path} holds a tokenizer but no image processor; save the model's whole processor there"
            )
        _set_sizes(image_processor, family, images)
    if processor.source.chat_template is None:
        raise BadTemplate(f"{path} has no chat template; put a chat_template.jinja into the folder")
    return processor


def _from_files(kind: Any, path: str | Path) -> Any:
    try:
        return kind.from_pretrained(str(path))
    except OSError:
        raise
    except Exception as error:  # a boundary: a file cut short or a missing package raises a kind of each library's own
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:_MOST_SHOWN]
        raise OSError(f"{path}: its tokenizer or processor does not load ({reason}); save them there again") from error


def _set_sizes(image_processor: Any, family: Family, images: ImageSettings) -> None:
    if family.cuts_tiles:
        image_processor.min_patches, image_processor.max_patches = 1, images.max_tiles
        # InternVL's processor always cuts; its own arithmetic believes this attribute.
        image_processor.crop_to_patches = image_processor.crop_to_patches or images.max_tiles > 1
    if images.max_pixels is not None:
        edges = _edges(image_processor) | {"longest_edge": images.max_pixels}
        if edges["shortest_edge"] > images.max_pixels:
            raise BadImageSettings(
                f"model.max_pixels is {images.max_pixels}, but the processor makes every image at least"
                f" {edges['shortest_edge']} pixels large; expected at least that"
            )
        image_processor.size = type(image_processor.size)(**edges)


def _edges(image_processor: Any) -> dict[str, int]:
    """The least and the most pixels of an image, under the names of Qwen's processor, which are none of edges."""
    size = image_processor.size
    return {name: int(size[name]) for name in ("shortest_edge", "longest_edge")}


def load_family(path: str | Path) -> Family:
    """The family of a model folder or Hub id.

    Raises:
        FileNotFoundError: there is no such folder, or no config.json in it.
        HubOutOfReach: it is a Hub id, and neither this machine nor the Hub has its files.
        UnknownFamily: its `model_type` is not in rollouts/prompt/families.py.
    """
    if Path(path).is_absolute() and not Path(path).is_dir():
        raise FileNotFoundError(f"no model folder at {path}; expected a folder in Hugging Face format, see model.path")
    if Path(path).is_dir() and not (Path(path) / "config.json").is_file():
        raise FileNotFoundError(f"{path} holds no config.json; expected a folder in Hugging Face format")
    refuse_out_of_reach(path)
    settings, _ = PretrainedConfig.get_config_dict(str(path))
    return family_of(str(settings.get("model_type", "")), str(path))


def media_fault(family: Family, samples: Sequence[Sample]) -> str:
    """Why samples with images cannot be asked of a model of this family; "" where nothing is wrong."""
    names = [sample.id for sample in samples if sample.media]
    if not names or family.reads_images:
        return ""
    return (
        f"{len(names)} of {len(samples)} samples hold images (the first is {names[0]!r}), and a model of the family"
        f" {family.model_type} reads text only; leave such rows out, or take a model that reads images"
    )


def encode(processor: Processor, sample: Sample, *, blank: bool = False) -> EncodedPrompt:
    """A sample as the model is asked it; `blank` greys every image out and keeps its size.

    Raises:
        BadSample: an image does not open, the model reads text only and the sample holds images, or the question itself
            contains a token that stands for media.
        BadTemplate: the chat template refuses the question.
    """
    refuse_unaskable(processor, sample)
    media = [blank_media(medium) for medium in sample.media] if blank else list(sample.media)
    images = tuple(frame for medium in media for frame in frames(medium))
    text = render_prompt(sample, processor)
    token_ids, tensors = processor.tensors(text, images)
    engine_media = {"image": images} if images else {}
    return EncodedPrompt(sample.id, text, token_ids, tensors, engine_media, fingerprint(token_ids, tensors))


def refuse_unaskable(processor: Processor, sample: Sample) -> None:
    """Raise BadSample where a model cannot be asked a sample, whatever its pictures show: it reads text only and the
    sample holds images, or the question itself contains a token that stands for media."""
    if fault := media_fault(processor.family, [sample]):
        raise BadSample(fault)
    if tokens := media_words(processor, question_text(sample)):
        raise BadSample(
            f"sample {sample.id!r}: the question contains {tokens}, which this model takes for media; remove them from"
            " the text"
        )


def media_words(processor: Processor, text: str) -> list[str]:
    """What a text holds that this model would take for media."""
    return [token for token in _media_tokens(processor) if token in text]


def fingerprint(token_ids: Sequence[int], media: Mapping[str, Tensor]) -> str:
    """Hash of token ids and of the bytes of media tensors."""
    digest = hashlib.sha256(str(tuple(token_ids)).encode())
    for name in sorted(media):
        digest.update(f"{name}{tuple(media[name].shape)}".encode())
        digest.update(media[name].contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def collate_media(media: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The media of several prompts joined along dim 0, in the order of the prompts; token-aligned tensors are left out.

    Text-only prompts may stand between the others.
    """
    names = sorted({name for one in media for name in one if name not in TOKEN_ALIGNED})
    return {name: torch.cat([one[name] for one in media if name in one]) for name in names}


def prompt_positions(family: Family, model: nn.Module, prompt: EncodedPrompt) -> Tensor:
    """Positions of the prompt's tokens as the model wants them: [P], or [3, P] (time, height, width) for M-RoPE models.

    The first completion token stands at the largest position plus one in either case. Documents that share a sequence
    each begin at 0.
    """
    if prompt.documents:
        parts = [prompt_positions(family, model, document) for document in prompt.documents]
        axes = max(part.dim() for part in parts)
        return torch.cat([part.expand(3, -1) if part.dim() < axes else part for part in parts], dim=-1)
    if family.position_axes == 1 or not prompt.media:
        return torch.arange(len(prompt.token_ids))
    ids = torch.tensor([prompt.token_ids])
    positions, _ = model.base_model.get_rope_index(input_ids=ids, attention_mask=torch.ones_like(ids), **prompt.media)
    return positions[:, 0]


def media_token_ids(processor: Processor) -> tuple[int, ...]:
    """Sorted ids of every token that stands for, opens or closes an image or a video: banned in sampling and in the
    trainer alike. Empty for a model that reads text only."""
    ids = set(_media_tokens(processor).values())
    if processor.family.reads_images:
        for owner in (processor.source, processor.tokenizer):
            for name in MEDIA_TOKEN_ATTRIBUTES:
                value = getattr(owner, name, None)
                ids.update(value if isinstance(value, list) else [value] if isinstance(value, int) else [])
    return tuple(sorted(ids))


def _media_tokens(processor: Processor) -> dict[str, int]:
    added = processor.tokenizer.get_added_vocab()
    return {token: added[token] for token in processor.family.media_tokens if token in added}
