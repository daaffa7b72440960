"""Who sees whom in a micro-batch of trees, where each token stands, and the attention that reads it.

There are two forms of the same mask. The dense one, [T, 1, L, L], fits every device and lets scaled dot product
attention compute all L x L pairs, of which a tree of eight completions needs a sixth to a tenth. FlexAttention's block
mask skips blocks of 128 x 128 that nobody looks into, but has no backward pass on a CPU and takes a compilation, so
that short micro-batches are quicker without it.

Legend: T trees of a micro-batch, L their padded length.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from rl.policy.batching import PADDING, PROMPT, MicroBatch

Attention = Literal["auto", "dense", "flex"]
# Tokens of a tree from which block masks pay on CUDA; below, the dense mask is a few megabytes and no block is empty.
FLEX_TOKENS = 1024
# Queries and keys of a block: FlexAttention's own default. Trees are padded to a multiple of it, so that few lengths
# occur.
BLOCK = 128
# The name under which transformers finds `attend`.
TREE_ATTENTION = "rounds_trees"


def may_use_flex(kind: Attention, device: torch.device) -> bool:
    """Whether any micro-batch on this device may get a block mask."""
    return kind == "flex" or (kind == "auto" and device.type == "cuda")


def uses_flex(kind: Attention, device: torch.device, num_tokens: int) -> bool:
    """Whether trees of so many tokens, padding included, get a block mask. "flex" and "dense" say so for all lengths;
    "auto" takes blocks on CUDA from FLEX_TOKENS on."""
    return may_use_flex(kind, device) and (kind == "flex" or num_tokens >= FLEX_TOKENS)


def make_mask(
    batch: MicroBatch, dtype: torch.dtype, device: torch.device, kind: Attention = "auto", pad_id: int = 0
) -> tuple[MicroBatch, Tensor | BlockMask]:
    """The mask of a micro-batch, made on the device it is used on, and the micro-batch that it fits: padded to whole
    blocks where the mask has blocks, as it was elsewhere. Both forms are made of the same `segments`."""
    if not uses_flex(kind, device, batch.input_ids.shape[1]):
        return batch, attention_mask(batch, dtype, device)
    padded = pad_to_multiple(batch, BLOCK, pad_id)
    return padded, block_mask(padded, device)


def attention_mask(batch: MicroBatch, dtype: torch.dtype, device: torch.device | None = None) -> Tensor:
    """Additive mask [T, 1, L, L]: 0 where a token may look (earlier, and in the prompt or in its own segment), the
    least number elsewhere.

    A padding token sees itself, so that no row of the softmax is empty.
    """
    segments = batch.segments.to(device or "cpu")
    places = torch.arange(segments.shape[1], device=segments.device)
    visible = _visible(segments.unsqueeze(2), segments.unsqueeze(1), places.unsqueeze(1), places)
    mask = torch.zeros(visible.shape, dtype=dtype, device=segments.device)
    return mask.masked_fill_(~visible, torch.finfo(dtype).min).unsqueeze(1)


def block_mask(batch: MicroBatch, device: torch.device) -> BlockMask:
    """The same as blocks [T, 1, L, L]; L must be a multiple of BLOCK (`pad_to_multiple`)."""
    segments = batch.segments.to(device)
    num_trees, length = segments.shape
    if length % BLOCK:
        raise ValueError(f"trees of {length} tokens, expected a multiple of {BLOCK}; pad them with pad_to_multiple")

    def sees(tree: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return _visible(segments[tree, query], segments[tree, key], query, key)

    return create_block_mask(sees, num_trees, None, length, length, device=device, BLOCK_SIZE=BLOCK)


def _visible(query_segments: Tensor, key_segments: Tensor, queries: Tensor, keys: Tensor) -> Tensor:
    """Whether a token at place `queries` sees the one at `keys`; whatever the shapes broadcast to."""
    related = (key_segments == PROMPT) | (key_segments == query_segments)
    return (keys == queries) | ((keys < queries) & related & (key_segments != PADDING))


def pad_to_multiple(batch: MicroBatch, multiple: int, pad_id: int) -> MicroBatch:
    """The micro-batch with padding behind its trees, up to the next multiple of so many tokens. No number of a
    completion depends on it."""
    num_trees, length = batch.input_ids.shape
    more = -length % multiple
    if not more:
        return batch

    def behind(values: Tensor, filler: int) -> Tensor:
        return torch.cat([values, values.new_full((num_trees, more), filler)], dim=1)

    return dataclasses.replace(
        batch,
        input_ids=behind(batch.input_ids, pad_id),
        segments=behind(batch.segments, PADDING),
        offsets=behind(batch.offsets, 0),
        sources=batch.sources + batch.sources // length * more,
    )


def use_tree_attention(decoder: PreTrainedModel) -> None:
    """Make a decoder attend by the form of the mask it is given; a vision tower beside it keeps its own attention."""
    AttentionInterface.register(TREE_ATTENTION, attend)
    decoder.set_attn_implementation(TREE_ATTENTION)


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | BlockMask | None,
    scaling: float | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attention as transformers calls it, [T, heads, L, width] to [T, L, heads, width]: FlexAttention where the mask
    has blocks, else the scaled dot product attention of transformers."""
    if not isinstance(attention_mask, BlockMask):
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **others)
    # Under autocast rotary embeddings leave queries and keys in fp32; autocast knows scaled dot products, not this one.
    query, key = query.to(value.dtype), key.to(value.dtype)
    output = _flex(query.device.type)(query, key, value, block_mask=attention_mask, scale=scaling, enable_gqa=True)
    return output.transpose(1, 2).contiguous(), None


@cache
def _flex(device: str) -> Callable[..., Tensor]:
    return compile_flex() if device == "cuda" else flex_attention


def compile_flex(backend: str | Callable[..., Any] = "inductor") -> Callable[..., Tensor]:
    """FlexAttention, compiled for all lengths: a compilation takes 15 s on a GPU, and without `dynamic` lengths are
    baked in. At most four are made: the first, and one each for the first other length, the first other number of
    trees, and a single tree (tests/rl/policy/test_attention.py)."""
    return torch.compile(flex_attention, dynamic=True, backend=backend)


def position_ids(batch: MicroBatch, prompt_positions: Sequence[Tensor]) -> Tensor:
    """Positions [T, L], or [3, T, L] when the model counts in three directions, from the positions [P] or [3, P] of
    each tree's prompt."""
    three = any(positions.dim() == 2 for positions in prompt_positions)
    columns = []
    for tree, offsets in enumerate(batch.offsets):
        positions = prompt_positions[tree]
        whole = offsets + (positions.max() + 1)
        whole = whole.expand(3, -1).clone() if three else whole.clone()
        whole[..., : positions.shape[-1]] = positions
        columns.append(whole)
    return torch.stack(columns, dim=-2)
