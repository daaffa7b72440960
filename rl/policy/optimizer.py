"""AdamW and its learning rate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from rl.policy.ranks import piece_of, sharded_as
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


# Names of the moments in the optimiser's state.
MOMENTS = ("exp_avg", "exp_avg_sq")
MomentPlace = Literal["float32", "bfloat16", "cpu"]


class LeanAdamW(torch.optim.AdamW):
    """AdamW whose moments need less room on the device between updates. Each parameter's step is torch's own, in
    float32 and one parameter after the other.

    With "bfloat16" a moment is rounded up or down by chance, with the odds of its distance: rounded to the nearest, the
    second moment could not fall at all, because its decay of 0.001 is less than half of the least step of bfloat16. The
    chance is drawn from the number of the update, so a resumed run draws the same.
    """

    def __init__(self, groups: list[dict[str, Any]], place: MomentPlace, **settings: Any) -> None:
        super().__init__(groups, fused=True, **settings)
        self.place = place

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """One update of every parameter that has a gradient."""
        pairs = [(one, group) for group in self.param_groups for one in group["params"] if one.grad is not None]
        if not pairs:
            return
        first = pairs[0][0]
        # Copies of one shard must draw the same, and shards may draw the same.
        chance = torch.Generator(first.device).manual_seed(int(self.state[first].get("step", torch.zeros(()))))
        for parameter, group in pairs:
            self._walk(parameter, group, chance)

    def _walk(self, parameter: Tensor, group: dict[str, Any], chance: torch.Generator) -> None:
        weight, gradient = piece_of(parameter).rows, piece_of(parameter.grad).rows
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros((), device=weight.device)
            state |= {name: self.keep(torch.zeros_like(weight)) for name in MOMENTS}
        moments = [state[name].to(weight.device, torch.float32) for name in MOMENTS]
        beta1, beta2 = group["betas"]
        adamw(
            [weight], [gradient], [moments[0]], [moments[1]], [], [state["step"]], fused=True, amsgrad=False,
            beta1=beta1, beta2=beta2, lr=group["lr"], weight_decay=group["weight_decay"], eps=group["eps"],
            maximize=False,
        )  # fmt: skip
        for name, moment in zip(MOMENTS, moments, strict=True):
            state[name].copy_(rounded_by_chance(moment, chance) if self.place == "bfloat16" else moment)

    def keep(self, rows: Tensor) -> Tensor:
        """A moment as it is kept between updates."""
        if self.place == "bfloat16":
            return rows.to(torch.bfloat16)
        kept = torch.empty(rows.shape, dtype=torch.float32, pin_memory=rows.is_cuda)
        return kept.copy_(rows)


def rounded_by_chance(values: Tensor, chance: torch.Generator) -> Tensor:
    """float32 values as bfloat16: one of the two neighbours, each with the odds of the distance to the other, so that
    the mean is the value."""
    noise = torch.randint(0, 1 << 16, values.shape, dtype=torch.int32, device=values.device, generator=chance)
    # bfloat16 is the upper half of a float32: what the lower half and the noise carry over is the rounding.
    return ((values.view(torch.int32) + noise) & -(1 << 16)).view(torch.float32).to(torch.bfloat16)


def make_optimizer(
    tokens: TokenModel, settings: OptimizerSettings, place: MomentPlace = "float32"
) -> torch.optim.AdamW:
    """AdamW of what learns, in one fused kernel; biases and norms (one dimension) do not decay, as in Hugging Face's
    trainer. `place`: how the moments are kept."""
    learning = [parameter for parameter in tokens.parameters() if parameter.requires_grad]
    decayed = [parameter for parameter in learning if parameter.dim() > 1]
    others = [parameter for parameter in learning if parameter.dim() <= 1]
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": settings.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    walk = {
        "lr": settings.learning_rate,
        "betas": (settings.adam_beta1, settings.adam_beta2),
        "eps": settings.adam_epsilon,
    }
    return torch.optim.AdamW(groups, fused=True, **walk) if place == "float32" else LeanAdamW(groups, place, **walk)


def moment_of(optimizer: torch.optim.AdamW, rows: Tensor, parameter: Tensor) -> Tensor:
    """This rank's rows of a stored moment as this optimiser keeps them."""
    if isinstance(optimizer, LeanAdamW):
        return optimizer.keep(rows.to(parameter.device, torch.float32))
    return sharded_as(rows.to(torch.float32, copy=True), parameter)
