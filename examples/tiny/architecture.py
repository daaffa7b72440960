"""The tiny model before training, about 2.5 million parameters in InternVL's architecture.

A vision transformer, pixel shuffle, a two-layer projector and a Qwen2.
"""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import (
    GenerationConfig,
    GotOcr2ImageProcessor,
    InternVLConfig,
    InternVLForConditionalGeneration,
    InternVLProcessor,
    InternVLVideoProcessor,
    set_seed,
)

from examples.tiny.tokenizer import CHAT_TEMPLATE, IMAGE, build_tokenizer

IMAGE_SIZE, PATCH_SIZE = 64, 8
# (64 / 8)^2 patches, a quarter of them after pixel shuffle.
ROPE_THETA = 10000.0
NUM_VISUAL_TOKENS = (IMAGE_SIZE // PATCH_SIZE) ** 2 // 4


def build_processor() -> InternVLProcessor:
    """Image, video and text processing of the tiny model; one tile an image (dynamic tiling off, Table 2)."""
    size = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    return InternVLProcessor(
        image_processor=GotOcr2ImageProcessor(size=size, crop_to_patches=False, min_patches=1, max_patches=1),
        tokenizer=build_tokenizer(),
        video_processor=InternVLVideoProcessor(size=size),
        image_seq_length=NUM_VISUAL_TOKENS,
        chat_template=CHAT_TEMPLATE,
    )


def build_model(processor: InternVLProcessor, seed: int) -> InternVLForConditionalGeneration:
    """The model with random weights from a seed, float32."""
    tokenizer = processor.tokenizer
    config = InternVLConfig(
        vision_config={
            "hidden_size": 128,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "intermediate_size": 384,
            "image_size": [IMAGE_SIZE, IMAGE_SIZE],
            "patch_size": [PATCH_SIZE, PATCH_SIZE],
            # 0.1 slows the learning of so shallow an encoder from scratch.
            "layer_scale_init_value": 1.0,
            "initializer_range": 0.04,
        },
        text_config={
            "model_type": "qwen2",
            "vocab_size": len(tokenizer),
            "hidden_size": 192,
            "intermediate_size": 448,
            "num_hidden_layers": 4,
            # 192 / 6 = 32, the smallest head that vLLM's CPU attention takes.
            "num_attention_heads": 6,
            "num_key_value_heads": 6,
            "max_position_embeddings": 1024,
            "rope_parameters": {"rope_type": "default", "rope_theta": ROPE_THETA},
            "initializer_range": 0.04,
            "tie_word_embeddings": True,
            "bos_token_id": None,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        image_token_id=tokenizer.convert_tokens_to_ids(IMAGE),
        image_seq_length=NUM_VISUAL_TOKENS,
        tie_word_embeddings=True,
    )
    set_seed(seed)
    model = InternVLForConditionalGeneration(config).to(torch.float32)
    with torch.no_grad():
        model.model.vision_tower.embeddings.position_embeddings[0, 1:] = grid_positions(128)
    for number, layer in enumerate(model.model.language_model.layers):
        mimic_trained_attention(layer.self_attn, looks_back=number < 2)
    model.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, do_sample=False
    )
    return model


def grid_positions(width: int) -> torch.Tensor:
    """Sines and cosines of row and column of each patch, [patches, width].

    From the zeros that are usual, a place takes far longer to learn.
    """
    side = IMAGE_SIZE // PATCH_SIZE
    # A quarter of the width each for sine and cosine of rows and of columns; wavelengths from 2.5 patches to 8 times
    # the image.
    frequency = 2.5 * 0.75 ** torch.arange(width // 4)
    angle = torch.arange(side)[:, None] * frequency
    one_axis = torch.cat([angle.sin(), angle.cos()], dim=1)
    rows = one_axis[:, None].expand(side, side, -1)
    columns = one_axis[None].expand(side, side, -1)
    return 0.3 * torch.cat([rows, columns], dim=-1).reshape(side * side, width)


@torch.no_grad()
def mimic_trained_attention(attention: torch.nn.Module, *, looks_back: bool) -> None:
    """Start attention where training would bring it in thousands of updates.

    After the mimetic initialisation of Trockman and Kolter (arXiv:2305.09828).
    In all heads but the last, keys equal queries and the output undoes the value, so that a token attends to its equals
    and copies them. They match in the slower half of the rotary frequencies only: the faster half turns so far over
    twenty tokens that a word would attend to itself alone and not to the same word in a list of options. The last head
    of the first layers attends to the token before: its biases b and R(-1) b score cos(f (d + 1)) at distance d for
    each rotary frequency f, which is largest at d = -1. Finding the letter in front of an option's text needs both.
    """
    size = attention.head_dim
    num_heads = attention.q_proj.weight.shape[0] // size
    matching = slice(0, (num_heads - 1) * size)
    # Dimensions i and i + size / 2 of a head turn together, at frequency theta ** (-2 i / size).
    slow = (torch.arange(size) % (size // 2) >= size // 4).repeat(num_heads - 1)[:, None]
    attention.q_proj.weight[matching].normal_(0, 0.12).mul_(slow)
    attention.k_proj.weight[matching] = attention.q_proj.weight[matching]
    attention.v_proj.weight[matching].normal_(0, 0.06)
    attention.o_proj.weight[:, matching] = attention.v_proj.weight[matching].T
    if not looks_back:
        return
    back = slice((num_heads - 1) * size, num_heads * size)
    for projection in (attention.q_proj, attention.k_proj):
        projection.weight[back] *= 0.1
    # Only the faster half of the frequencies tells neighbours apart.
    pairs = torch.arange(size // 4)
    frequency = ROPE_THETA ** (-2.0 * pairs / size)
    start = back.start
    attention.k_proj.bias[start + pairs] = 5.0
    attention.q_proj.bias[start + pairs] = 5.0 * torch.cos(frequency)
    attention.q_proj.bias[start + size // 2 + pairs] = -5.0 * torch.sin(frequency)
    # What it copies lies in the residual stream as the token itself would, so that the heads behind can copy it on and
    # the output can say it.
    attention.v_proj.weight[back].normal_(0, 0.07)
    attention.o_proj.weight[:, back] = attention.v_proj.weight[back].T


def write_untrained(path: Path, seed: int = 0) -> Path:
    """Write model and processor with random weights in Hugging Face format."""
    processor = build_processor()
    build_model(processor, seed).save_pretrained(path)
    processor.save_pretrained(path)
    return path
