"""Rewards of groups become advantages (GRPO, arXiv:2402.03300, Eq. 3; scaling as in TRL's `scale_rewards`; GDPO,
arXiv:2601.05242).

Legend: G groups (prompts), N completions in a group, R rewards of a completion. `valid_GN` is data: a completion whose
judgement failed is not in the mean, not in the std, and gets advantage 0 (JUDGING.md, the rule that comes first).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from rewards.rubric import Scored

# TRL's constant under the fraction line; verl's is 1e-6.
STD_EPSILON = 1e-4


class AdvantageSettings(Protocol):
    """What of the settings an advantage reads (`rl.algo.estimator.ADVANTAGE_SETTINGS`); `rl.config.GrpoConfig` has
    them."""

    @property
    def scale_rewards(self) -> Literal["group", "batch", "none"]: ...
    @property
    def multi_objective_aggregation(self) -> Literal["sum_then_normalize", "normalize_then_sum"]: ...
    @property
    def min_valid(self) -> int: ...


class Advantages(NamedTuple):
    """What `group_advantages` gives back; the first two are [G, N], the others [G]."""

    # Exactly 0.0 for invalid members, for all members of a dropped group, and where all valid members were paid the
    # same.
    advantages: Tensor
    # True for members that are trained on: valid, in a group that was not dropped.
    trained: Tensor
    # Fewer valid members than `min_valid`.
    dropped: Tensor
    # At least min_valid members, all of them paid exactly the same by every reward: advantage 0, only the KL acts on
    # them.
    zero_std: Tensor
    # Mean and std (ddof=1) of the total over the valid members; mean NaN without any, std 0 with fewer than two.
    mean: Tensor
    std: Tensor


def group_advantages(
    rewards_GN: Tensor,
    valid_GN: Tensor,
    *,
    scale: Literal["group", "batch", "none"] = "group",
    min_valid: int = 2,
    epsilon: float = STD_EPSILON,
) -> Advantages:
    """(reward - mean of the group) / (std + epsilon), over valid members only.

    Args:
        rewards_GN: in any unit; the value under an invalid member may be anything, NaN included.
        valid_GN: which rewards count.
        scale: which std divides: of the group, of all trained rewards of the batch, or none (Dr. GRPO,
            arXiv:2503.20783).
        min_valid: valid members, at least 1, below which a group is dropped.
        epsilon: added to the std.

    Raises:
        ValueError: the shapes differ, a valid reward is not finite, or min_valid is below 1.
    """
    _check(rewards_GN, valid_GN, min_valid)
    valid = valid_GN.bool()
    rewards = torch.where(valid, rewards_GN, torch.zeros_like(rewards_GN)).double()
    count_G = valid.sum(1)
    mean_G = rewards.sum(1) / count_G
    centred = torch.where(valid, rewards - mean_G.unsqueeze(1), 0.0)
    std_G = (centred.square().sum(1) / (count_G - 1).clamp(min=1)).sqrt()
    # Compared as they were paid, not through a std: eight rewards of 0.1 have a float std of 1e-17, not 0 (NeMo-RL
    # #4158).
    high_G = torch.where(valid, rewards, -torch.inf).amax(1)
    low_G = torch.where(valid, rewards, torch.inf).amin(1)
    dropped_G = count_G < min_valid
    zero_std_G = (high_G == low_G) & ~dropped_G
    trained = valid & ~dropped_G.unsqueeze(1)
    flat = (high_G == low_G) | dropped_G
    std_G = torch.where(high_G == low_G, 0.0, std_G)
    divisor = _divisor(scale, std_G, rewards[trained], epsilon)
    advantages = torch.where(trained & ~flat.unsqueeze(1), centred / divisor, 0.0)
    as_given = rewards_GN.dtype
    return Advantages(advantages.to(as_given), trained, dropped_G, zero_std_G, mean_G.to(as_given), std_G.to(as_given))


def decoupled_advantages(
    rewards_GNR: Tensor,
    weights_R: Tensor,
    valid_GN: Tensor,
    *,
    min_valid: int = 2,
    epsilon: float = STD_EPSILON,
) -> Advantages:
    """Normalise each of R rewards in its group, (r - mean) / (std + epsilon), sum them by weight [R], divide by the std
    of the batch.

    GDPO (arXiv:2601.05242), TRL's `multi_objective_aggregation="normalize_then_sum"`: a reward of small range, or one
    that is nearly always earned, is not drowned by the others. The batch's mean need not be subtracted: it is 0,
    because every group's is. Members and groups leave as in `group_advantages`, and so do values under them.

    Raises:
        ValueError: the shapes differ, a valid reward is not finite, or min_valid is below 1.
    """
    if rewards_GNR.dim() != 3 or weights_R.shape != rewards_GNR.shape[2:]:
        raise ValueError(
            f"rewards {tuple(rewards_GNR.shape)} and weights {tuple(weights_R.shape)}: expected [groups, completions,"
            " rewards] and [rewards]"
        )
    each = [
        group_advantages(rewards_GN, valid_GN, min_valid=min_valid, epsilon=epsilon)
        for rewards_GN in rewards_GNR.double().unbind(2)
    ]
    weights = weights_R.double()
    normalised = torch.stack([reward.advantages for reward in each], 2)
    total = group_advantages(
        (torch.where(valid_GN.bool()[..., None], rewards_GNR.double(), 0.0) @ weights), valid_GN, min_valid=min_valid
    )
    summed = normalised @ weights
    advantages = torch.where(total.trained, summed / _divisor("batch", total.std, summed[total.trained], epsilon), 0.0)
    flat_G = torch.stack([reward.zero_std for reward in each]).all(0)
    given = rewards_GNR.dtype
    return Advantages(
        torch.where(flat_G[:, None], 0.0, advantages).to(given),
        total.trained,
        total.dropped,
        flat_G,
        total.mean.to(given),
        total.std.to(given),
    )


def advantages_of(
    scored: Sequence[Sequence[Scored]], usable: Sequence[Sequence[bool]], settings: AdvantageSettings
) -> Advantages:
    """Advantages [P, N] of P scored groups of N completions, as `multi_objective_aggregation` says.

    `usable`: which completions may be trained on. Behind a closed gate every reward counts as 0.
    """
    valid_PN = torch.tensor(usable)
    if settings.multi_objective_aggregation == "sum_then_normalize":
        totals_PN = torch.tensor(
            [[_number(member.total) for member in members] for members in scored], dtype=torch.float64
        )
        return group_advantages(totals_PN, valid_PN, scale=settings.scale_rewards, min_valid=settings.min_valid)
    weights = {name: weight for name, weight in scored[0][0].weights.items() if weight}
    values_PNR = torch.tensor(
        [
            [[0.0 if m.gated else _number(m.outcomes[name].value) for name in weights] for m in members]
            for members in scored
        ],
        dtype=torch.float64,
    )
    weights_R = torch.tensor(list(weights.values()), dtype=torch.float64)
    return decoupled_advantages(values_PNR, weights_R, valid_PN, min_valid=settings.min_valid)


def _number(total: float | None) -> float:
    return float("nan") if total is None else total


def _divisor(scale: str, std_G: Tensor, trained_rewards: Tensor, epsilon: float) -> Tensor:
    if scale == "group":
        return (std_G + epsilon).unsqueeze(1)
    if scale == "batch":
        spread = trained_rewards.std() if trained_rewards.numel() > 1 else torch.zeros((), dtype=torch.float64)
        return spread + epsilon
    if scale == "none":
        return torch.ones((), dtype=torch.float64)
    raise ValueError(f"scale is {scale!r}, expected 'group', 'batch' or 'none'; see grpo.scale_rewards")


def _check(rewards_GN: Tensor, valid_GN: Tensor, min_valid: int) -> None:
    if rewards_GN.dim() != 2 or rewards_GN.shape != valid_GN.shape:
        raise ValueError(
            f"rewards {tuple(rewards_GN.shape)} and mask {tuple(valid_GN.shape)}: expected one shape [groups,"
            " completions]"
        )
    if min_valid < 1:
        raise ValueError(f"min_valid is {min_valid}, expected at least 1; see grpo.min_valid")
    bad = valid_GN.bool() & ~torch.isfinite(rewards_GN)
    if bad.any():
        group, member = bad.nonzero()[0].tolist()
        value = rewards_GN[group, member].item()
        raise ValueError(
            f"reward of completion {member} in group {group} is {value} but marked valid; mark it invalid instead"
        )
