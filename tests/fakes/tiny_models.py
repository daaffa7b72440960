"""Random models of 0.2 to 0.4M parameters, from their config classes, one of each known family: InternVL and
Qwen2.5-VL, and the text-only Llama and Qwen2.

All share one byte tokenizer (every byte is a token, any text round-trips) and a chat template that asks for think and
answer tags. `head_dim` is 32, the least vLLM's CPU attention takes. Same seed, same weights.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
import transformers
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

IMAGE_SIZE = 56
SYSTEM = "Think first. Reply as <think>...</think> then <answer>...</answer>."
TEMPLATE = (
    "{%- set ns = namespace(first=true) -%}"
    "{{ '<|im_start|>system\\n" + SYSTEM + "<|im_end|>\\n' }}"
    "{%- for message in messages -%}{{ '<|im_start|>' + message['role'] + '\\n' }}"
    "{%- if message['content'] is string -%}{{ message['content'] }}{%- else -%}"
    "{%- for part in message['content'] -%}"
    "{%- if part['type'] == 'image' -%}{{ 'IMAGE\\n' }}{%- else -%}{{ part['text'] }}{%- endif -%}"
    "{%- endfor -%}{%- endif -%}{{ '<|im_end|>\\n' }}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}"
)
INTERNVL_TOKENS = {
    "start_image_token": "<img>",
    "end_image_token": "</img>",
    "context_image_token": "<IMG_CONTEXT>",
    "video_token": "<video>",
}
QWEN_TOKENS = {
    "vision_bos_token": "<|vision_start|>",
    "vision_eos_token": "<|vision_end|>",
    "image_token": "<|image_pad|>",
    "video_token": "<|video_pad|>",
}


def make_internvl(path: Path, seed: int = 0, layers: int = 2, hidden: int = 64) -> Path:
    """Write a random InternVL with its processor into `path`; one image is 56 x 56 pixels, one tile, 4 tokens."""
    tokenizer = _tokenizer(INTERNVL_TOKENS)
    torch.manual_seed(seed)
    config = transformers.InternVLConfig(
        vision_config=transformers.InternVLVisionConfig(
            hidden_size=hidden,
            intermediate_size=2 * hidden,
            num_hidden_layers=layers,
            num_attention_heads=hidden // 32,
            image_size=[IMAGE_SIZE, IMAGE_SIZE],
            patch_size=[14, 14],
            initializer_range=0.1,
        ),
        text_config=_text_config(tokenizer, layers, hidden),
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=4,
        tie_word_embeddings=True,
    )
    model = transformers.InternVLForConditionalGeneration(config).eval()
    image_size = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    processor = transformers.InternVLProcessor(
        image_processor=transformers.GotOcr2ImageProcessor(
            size=image_size, crop_to_patches=False, min_patches=1, max_patches=1
        ),
        tokenizer=tokenizer,
        video_processor=transformers.InternVLVideoProcessor(size=image_size),
        image_seq_length=4,
        chat_template=TEMPLATE.replace("IMAGE", "<IMG_CONTEXT>"),
    )
    return _save(path, model, processor)


def make_qwen25vl(path: Path, seed: int = 0, layers: int = 2, hidden: int = 64) -> Path:
    """Write a random Qwen2.5-VL with its processor into `path`; a square image becomes 56 x 56 pixels, 4 tokens."""
    tokenizer = _tokenizer(QWEN_TOKENS)
    torch.manual_seed(seed)
    ids = {
        "image_token_id": "<|image_pad|>",
        "video_token_id": "<|video_pad|>",
        "vision_start_token_id": "<|vision_start|>",
        "vision_end_token_id": "<|vision_end|>",
    }
    text_config = _text_config(tokenizer, layers, hidden).to_dict()
    text_config["rope_parameters"] = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 6, 6]}
    text_config["model_type"] = "qwen2_5_vl_text"
    config = transformers.Qwen2_5_VLConfig(
        vision_config={
            "depth": layers,
            "hidden_size": hidden,
            "intermediate_size": 2 * hidden,
            "num_heads": hidden // 32,
            "out_hidden_size": hidden,
            "window_size": IMAGE_SIZE,
            "fullatt_block_indexes": [layers - 1],
            "initializer_range": 0.1,
        },
        text_config=text_config,
        tie_word_embeddings=True,
        **{name: tokenizer.convert_tokens_to_ids(token) for name, token in ids.items()},
    )
    model = transformers.Qwen2_5_VLForConditionalGeneration(config).eval()
    pixels = IMAGE_SIZE * IMAGE_SIZE
    processor = transformers.Qwen2_5_VLProcessor(
        image_processor=transformers.Qwen2VLImageProcessor(min_pixels=pixels, max_pixels=pixels),
        tokenizer=tokenizer,
        video_processor=transformers.Qwen2VLVideoProcessor(),
        chat_template=TEMPLATE.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>"),
    )
    return _save(path, model, processor)


def make_llama(path: Path, seed: int = 0, layers: int = 2, hidden: int = 64) -> Path:
    """Write a random Llama with its tokenizer into `path`: it reads text only, and its head is its own."""
    tokenizer = _tokenizer({})
    torch.manual_seed(seed)
    settings = _text_config(tokenizer, layers, hidden).to_dict()
    names = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    names += ("num_key_value_heads", "max_position_embeddings", "eos_token_id", "pad_token_id", "initializer_range")
    config = transformers.LlamaConfig(
        **{name: settings[name] for name in names}, bos_token_id=None, tie_word_embeddings=False
    )
    return _save_text(path, transformers.LlamaForCausalLM(config).eval(), tokenizer)


def make_qwen2(path: Path, seed: int = 0, layers: int = 2, hidden: int = 64) -> Path:
    """Write a random Qwen2 with its tokenizer into `path`: it reads text only, and its head is tied."""
    tokenizer = _tokenizer({})
    torch.manual_seed(seed)
    model = transformers.Qwen2ForCausalLM(_text_config(tokenizer, layers, hidden)).eval()
    return _save_text(path, model, tokenizer)


def _text_config(tokenizer: PreTrainedTokenizerFast, layers: int, hidden: int) -> transformers.Qwen2Config:
    return transformers.Qwen2Config(
        vocab_size=-(-len(tokenizer) // 64) * 64,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 32,
        num_key_value_heads=hidden // 32,
        max_position_embeddings=1024,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=True,
        # Wide enough that two different images change the next-token distribution by more than rounding.
        initializer_range=0.1,
    )


def _tokenizer(media_tokens: dict[str, str]) -> PreTrainedTokenizerFast:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    raw = Tokenizer(models.BPE(vocab={letter: index for index, letter in enumerate(alphabet)}, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    raw.decoder = decoders.ByteLevel()
    control = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *media_tokens.values()]
    raw.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in control])
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, eos_token="<|im_end|>", pad_token="<|endoftext|>", extra_special_tokens=media_tokens
    )


def _save_text(path: Path, model: transformers.PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> Path:
    tokenizer.chat_template = TEMPLATE.replace("IMAGE", "")
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def _save(path: Path, model: transformers.PreTrainedModel, processor: transformers.ProcessorMixin) -> Path:
    model.generation_config.eos_token_id = processor.tokenizer.eos_token_id
    model.generation_config.pad_token_id = processor.tokenizer.pad_token_id
    model.save_pretrained(path)
    processor.save_pretrained(path)
    return path


# `model_type` -> what makes a tiny model of that family.
MAKERS: dict[str, Callable[[Path], Path]] = {
    "internvl": make_internvl,
    "qwen2_5_vl": make_qwen25vl,
    "llama": make_llama,
    "qwen2": make_qwen2,
}
SEEING = ("internvl", "qwen2_5_vl")
TEXT_ONLY = ("llama", "qwen2")


def replace_template(folder: Path, old: str, new: str) -> Path:
    """Put another text into the chat template of a folder; the old one must stand there."""
    path = folder / "chat_template.jinja"
    template = path.read_text(encoding="utf-8")
    assert old in template, f"{old!r} is not in the template"
    path.write_text(template.replace(old, new), encoding="utf-8")
    return folder


def open_think(folder: Path) -> Path:
    """Make the template of a folder write `<think>` and a new line where the model begins, as reasoning models do."""
    return replace_template(
        folder,
        "{{ '<|im_start|>assistant\\n' }}{%- endif -%}",
        "{{ '<|im_start|>assistant\\n<think>\\n' }}{%- endif -%}",
    )
