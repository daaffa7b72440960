"""Who sees whom in a micro-batch of trees, and where each token stands."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rl.policy.batching import PADDING, PROMPT, MicroBatch


def attention_mask(batch: MicroBatch, dtype: torch.dtype) -> Tensor:
    """Additive mask [T, 1, L, L]: 0 where a token may look (earlier, and in the prompt or in its own segment), the
    least number elsewhere.

    A padding token sees itself, so that no row of the softmax is empty.
    """
    segments = batch.segments
    length = segments.shape[1]
    earlier = torch.ones(length, length, dtype=torch.bool).tril()
    keys, queries = segments.unsqueeze(1), segments.unsqueeze(2)
    visible = earlier & ((keys == PROMPT) | (keys == queries)) & (keys != PADDING)
    visible |= torch.eye(length, dtype=torch.bool)
    mask = torch.zeros(visible.shape, dtype=dtype).masked_fill_(~visible, torch.finfo(dtype).min)
    return mask.unsqueeze(1)


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
