"""Who sees whom in a micro-batch of trees, where each token stands, and the attention that reads it.

There are three forms of the same mask. The dense one, [T, 1, L, L], lets scaled dot product attention compute all
L x L pairs, of which a tree of eight completions needs a sixth to a tenth. FlexAttention's block mask skips blocks of
128 x 128 that nobody looks into, but has no backward pass on a CPU and takes a compilation, so that short micro-batches
are quicker without it. On a CPU, where padding is paid for like any other token, trees stand end to end without it, and
each has a dense mask of its own.

Legend: T trees of a micro-batch, L their padded length.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention
from transformers import AttentionInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from rl.policy.batching import MicroBatch, Tree, onto

Attention = Literal["auto", "dense", "flex"]
# Tokens of a tree from which block masks pay on CUDA; below, the dense mask is a few megabytes and no block is empty.
FLEX_TOKENS = 1024
# Queries and keys of a block: FlexAttention's own default. Trees are padded to a multiple of it, so that few lengths
# occur.
BLOCK = 128
# The name under which transformers finds `attend`.
TREE_ATTENTION = "rounds_trees"


class EndToEnd(NamedTuple):
    """The masks of trees that stand one behind the other in one sequence [1, S]; no tree sees another."""

    # Tokens of each, S together.
    lengths: list[int]
    # [1, 1, length, length] each.
    masks: list[Tensor]


class Laid(NamedTuple):
    """A micro-batch as a model takes it: its tokens as they lie now, and what its attention is told of them."""

    batch: MicroBatch
    # `attention_mask`, `position_ids`, and `trees` where they stand end to end, by names that a model hands on.
    arguments: dict[str, Any]


def may_use_flex(kind: Attention, device: torch.device) -> bool:
    """Whether any micro-batch on this device may get a block mask."""
    return kind == "flex" or (kind == "auto" and device.type == "cuda")


def uses_flex(kind: Attention, device: torch.device, num_tokens: int) -> bool:
    """Whether trees of so many tokens, padding included, get a block mask. "flex" and "dense" say so for all lengths;
    "auto" takes blocks on CUDA from FLEX_TOKENS on."""
    return may_use_flex(kind, device) and (kind == "flex" or num_tokens >= FLEX_TOKENS)


def attends_by_tree(kind: Attention, device: torch.device) -> bool:
    """Whether a decoder on this device needs the attention below, and not only that of transformers."""
    return may_use_flex(kind, device) or device.type == "cpu"


def lay_out(
    batch: MicroBatch,
    prompt_positions: Sequence[Tensor],
    dtype: torch.dtype,
    device: torch.device,
    kind: Attention = "auto",
    pad_id: int = 0,
) -> Laid:
    """The micro-batch as it is computed on this device, with its mask, made there: end to end on a CPU, padded to whole
    blocks where the mask has blocks, else as it was. All forms are made of the same `ends`.

    Args:
        prompt_positions: of each tree's prompt, [P] or [3, P].
    """
    flex = uses_flex(kind, device, batch.input_ids.shape[1])
    if flex:
        batch = pad_to_multiple(batch, BLOCK, pad_id)
    positions = position_ids(batch, prompt_positions)
    if flex or device.type != "cpu":
        batch, (positions,) = batch.on(device), onto(device, positions)
        mask = block_mask(batch, device) if flex else attention_mask(batch, dtype, device)
        return Laid(batch, {"attention_mask": mask, "position_ids": positions})
    return Laid(
        end_to_end(batch),
        {
            "attention_mask": None,
            "position_ids": without_padding(positions, batch.trees),
            "trees": masks_end_to_end(batch, dtype),
        },
    )


def end_to_end(batch: MicroBatch) -> MicroBatch:
    """The micro-batch with its trees one behind the other, [1, S], and no padding."""
    length = batch.input_ids.shape[1]
    starts = torch.tensor([0, *(tree.length for tree in batch.trees[:-1])]).cumsum(0)
    return dataclasses.replace(
        batch,
        input_ids=without_padding(batch.input_ids, batch.trees),
        ends=without_padding(batch.ends, batch.trees),
        offsets=without_padding(batch.offsets, batch.trees),
        sources=batch.sources % length + starts[batch.sources // length],
    )


def without_padding(values: Tensor, trees: Sequence[Tree]) -> Tensor:
    """[1, S] of [T, L], or [3, 1, S] of [3, T, L]."""
    rows = [values[..., place, : tree.length] for place, tree in enumerate(trees)]
    return torch.cat(rows, dim=-1).unsqueeze(-2)


def attention_mask(batch: MicroBatch, dtype: torch.dtype, device: torch.device | None = None) -> Tensor:
    """Additive mask [T, 1, L, L]: 0 where a token may look (the prompt, and what stands before it in its own
    completion), the least number elsewhere.

    A padding token sees itself, so that no row of the softmax is empty.
    """
    return _dense(batch.ends, dtype, device or torch.device("cpu"))


def masks_end_to_end(batch: MicroBatch, dtype: torch.dtype) -> EndToEnd:
    """The same for each tree by itself, without its padding, on the CPU."""
    lengths = [tree.length for tree in batch.trees]
    rows = (batch.ends[place : place + 1, :length] for place, length in enumerate(lengths))
    return EndToEnd(lengths, [_dense(row, dtype, torch.device("cpu")) for row in rows])


def _dense(ends: Tensor, dtype: torch.dtype, device: torch.device) -> Tensor:
    places = torch.arange(ends.shape[1], device=device)
    visible = _visible(ends.to(device).unsqueeze(1), places.unsqueeze(1), places)
    mask = torch.zeros(visible.shape, dtype=dtype, device=device)
    return mask.masked_fill_(~visible, torch.finfo(dtype).min).unsqueeze(1)


def block_mask(batch: MicroBatch, device: torch.device) -> BlockMask:
    """The same as blocks [T, 1, L, L]; L must be a multiple of BLOCK (`pad_to_multiple`)."""
    ends = batch.ends.to(device)
    num_trees, length = ends.shape
    if length % BLOCK:
        raise ValueError(f"trees of {length} tokens, expected a multiple of {BLOCK}; pad them with pad_to_multiple")

    def sees(tree: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return _visible(ends[tree, key], query, key)

    return create_block_mask(sees, num_trees, None, length, length, device=device, BLOCK_SIZE=BLOCK)


def _visible(key_ends: Tensor, queries: Tensor, keys: Tensor) -> Tensor:
    """Whether a token at place `queries` sees the one at `keys`; whatever the shapes broadcast to."""
    return (keys <= queries) & (queries < key_ends)


def pad_to_multiple(batch: MicroBatch, multiple: int, pad_id: int) -> MicroBatch:
    """The micro-batch with padding behind its trees, up to the next multiple of so many tokens. No number of a
    completion depends on it."""
    num_trees, length = batch.input_ids.shape
    more = -length % multiple
    if not more:
        return batch

    def behind(values: Tensor, filler: int) -> Tensor:
        return torch.cat([values, values.new_full((num_trees, more), filler)], dim=1)

    places = torch.arange(length, length + more).expand(num_trees, -1)

    return dataclasses.replace(
        batch,
        input_ids=behind(batch.input_ids, pad_id),
        ends=torch.cat([batch.ends, places + 1], dim=1),
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
    trees: EndToEnd | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attention as transformers calls it, [T, heads, L, width] to [T, L, heads, width]: FlexAttention where the mask
    has blocks, else the scaled dot product attention of transformers, tree by tree where they stand end to end."""
    if trees is not None:
        parts = (tensor.split(trees.lengths, dim=2) for tensor in (query, key, value))
        pieces = zip(*parts, trees.masks, strict=True)
        outputs = [sdpa_attention_forward(module, *piece, scaling=scaling, **others)[0] for piece in pieces]
        return torch.cat(outputs, dim=1), None
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
