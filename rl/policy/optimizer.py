"""AdamW and its learning rate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch

from rl.policy.token_model import TokenModel


@dataclass(frozen=True)
class OptimizerSettings:
    """How the optimiser walks; the defaults are Hugging Face's."""

    # The highest one of the schedule.
    learning_rate: float
    lr_scheduler_type: Literal["cosine", "constant"]
    # Share of all updates.
    warmup_ratio: float
    weight_decay: float
    max_grad_norm: float
    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    adam_epsilon: float = 1e-8


def learning_rate(
    update: int, total_updates: int, *, peak: float, warmup_ratio: float, kind: Literal["cosine", "constant"]
) -> float:
    """Learning rate of optimiser update number `update` (from 0): linear warm-up, then constant or half a cosine to 0
    at the end.

    The first update already moves (peak / warm-up updates; Hugging Face's schedule wastes it at 0). A function of an
    integer, so that there is no scheduler state to lose.
    """
    warmup = math.ceil(warmup_ratio * total_updates)
    if update < warmup:
        return peak * (update + 1) / warmup
    if kind == "constant":
        return peak
    progress = min((update - warmup) / max(total_updates - warmup, 1), 1.0)
    return peak * 0.5 * (1.0 + math.cos(math.pi * progress))


def make_optimizer(tokens: TokenModel, settings: OptimizerSettings) -> torch.optim.AdamW:
    """AdamW over what learns, in one fused kernel; biases and norms (one dimension) do not decay, as in Hugging Face's
    trainer."""
    learning = [parameter for parameter in tokens.parameters() if parameter.requires_grad]
    decayed = [parameter for parameter in learning if parameter.dim() > 1]
    others = [parameter for parameter in learning if parameter.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(
        groups,
        lr=settings.learning_rate,
        betas=(settings.adam_beta1, settings.adam_beta2),
        eps=settings.adam_epsilon,
        fused=True,
    )
