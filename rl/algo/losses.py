"""The loss of GRPO and its relatives, as pure functions over flat lists of completion tokens.

Legend: N all completion tokens of a micro-batch, end to end, no padding; R rows (completions). Every mean of a
minibatch is a sum with one stated denominator that is known before the first forward pass (`Denominators`), so that
micro-batches, ranks and padding cannot change it.
Sources: DeepSeekMath arXiv:2402.03300 (grpo, k3 KL), Dr. GRPO arXiv:2503.20783 (dr_grpo), DAPO arXiv:2503.14476 (dapo,
epsilon_high).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

LossType = Literal["grpo", "bnpo", "dr_grpo", "dapo"]
# exp(20) = 5e8: a ratio beyond it is a fault, and this keeps the fault finite. verl clamps at the same value.
MAX_LOG_RATIO = 20.0


@dataclass(frozen=True)
class Denominators:
    """What the sums of one minibatch are divided by, over all ranks. Invalid rows are in none of them (TRL #6439)."""

    # Valid rows, and their completion tokens, in this minibatch.
    num_rows: int
    num_tokens: int
    # Mean number of completion tokens over the minibatches of the step: DAPO weighs every token of a step the same.
    step_tokens: float
    # Tokens a completion may have at most (dr_grpo).
    max_completion_length: int


def denominators(lengths: Sequence[Sequence[int]], max_completion_length: int) -> list[Denominators]:
    """One `Denominators` a minibatch, from the token counts of the valid rows of each minibatch of a step."""
    step_tokens = sum(map(sum, lengths)) / max(len(lengths), 1)
    return [Denominators(len(rows), sum(rows), step_tokens, max_completion_length) for rows in lengths]


def token_weights(loss_type: LossType, lengths: Sequence[int], totals: Denominators) -> Tensor:
    """Weight [N] of each token's loss in the minibatch's loss, from the token counts [R] of the rows at hand.

    grpo: mean over the tokens of a row, then over the rows. bnpo: mean over the tokens of the minibatch. dapo: over the
    tokens of the step (its share of one minibatch). dr_grpo: over rows x max_completion_length, so that length has no
    say.
    """
    lengths_R = torch.tensor(lengths, dtype=torch.long)
    if loss_type == "grpo":
        weights_R = 1.0 / (lengths_R.clamp(min=1).double() * max(totals.num_rows, 1))
    elif loss_type == "bnpo":
        weights_R = torch.full((len(lengths),), 1.0 / max(totals.num_tokens, 1), dtype=torch.float64)
    elif loss_type == "dapo":
        weights_R = torch.full((len(lengths),), 1.0 / max(totals.step_tokens, 1.0), dtype=torch.float64)
    elif loss_type == "dr_grpo":
        whole = max(totals.num_rows, 1) * totals.max_completion_length
        weights_R = torch.full((len(lengths),), 1.0 / whole, dtype=torch.float64)
    else:
        raise ValueError(
            f"loss_type is {loss_type!r}, expected 'grpo', 'bnpo', 'dr_grpo' or 'dapo'; see grpo.loss_type"
        )
    return weights_R.repeat_interleave(lengths_R).float()


def k3_kl(logprobs_N: Tensor, ref_logprobs_N: Tensor) -> Tensor:
    """Schulman's k3 estimate of KL(policy || reference) at each token: exp(d) - d - 1 with d = ref - policy, never
    below 0."""
    difference = (ref_logprobs_N - logprobs_N).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    return torch.expm1(difference) - difference


def policy_loss(
    logprobs_N: Tensor,
    old_logprobs_N: Tensor,
    ref_logprobs_N: Tensor | None,
    advantages_N: Tensor,
    weights_N: Tensor,
    *,
    epsilon: float,
    epsilon_high: float | None = None,
    beta: float = 0.0,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Share of these tokens in the minibatch's loss, and sums over them that become means when divided by its number of
    tokens.

    Per token: -min(ratio * A, clip(ratio, 1 - epsilon, 1 + epsilon_high) * A) + beta * k3. `epsilon_high` None means
    epsilon. The gradient flows through `logprobs_N` only. Without a reference there is no KL and beta must be 0.

    Raises:
        ValueError: beta is not 0 and there is no reference.
    """
    if beta != 0.0 and ref_logprobs_N is None:
        raise ValueError(f"beta is {beta} but no reference log-probs were given; compute them, or set grpo.beta=0")
    high = epsilon if epsilon_high is None else epsilon_high
    ratio_N = (logprobs_N - old_logprobs_N).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()
    clipped_N = ratio_N.clamp(1.0 - epsilon, 1.0 + high)
    loss_N = -torch.minimum(ratio_N * advantages_N, clipped_N * advantages_N)
    kl_N = torch.zeros_like(loss_N) if ref_logprobs_N is None else k3_kl(logprobs_N, ref_logprobs_N)
    if beta != 0.0:
        loss_N = loss_N + beta * kl_N
    low_N = (ratio_N < 1.0 - epsilon) & (advantages_N < 0)
    high_N = (ratio_N > 1.0 + high) & (advantages_N > 0)
    sums = {
        "kl": kl_N.detach().sum(),
        "ratio": ratio_N.detach().sum(),
        "clip_ratio/low_mean": low_N.sum(),
        "clip_ratio/high_mean": high_N.sum(),
        "clip_ratio/region_mean": (low_N | high_N).sum(),
    }
    return (loss_N * weights_N).sum(), sums
