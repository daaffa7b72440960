"""What all relatives of GRPO have in common in their loss, as pure functions over flat lists of completion tokens; what
differs stands in `rl/algo/estimators/`.

Legend: N all completion tokens of a micro-batch, end to end, no padding; R rows (completions); R1 the R + 1 bounds of
the rows in N. Every mean of a mini-batch is a sum with one stated denominator (`rl/algo/denominators.py`), by which it
is divided when all of it is there, so that micro-batches, ranks and padding cannot change it.
Sources: DeepSeekMath arXiv:2402.03300 (clipped ratio, k3 KL), DAPO arXiv:2503.14476 (epsilon_high).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from rl.algo.estimator import each_token
from rollouts.measures import MAX_LOG_RATIO

# How far the engine's log-probs are from those of a forward pass of the policy (verl's names but for the last).
ENGINE_GAP = tuple(f"rollout_corr/{name}" for name in ("kl", "k3_kl", "log_ppl_abs_diff", "logprob_abs_diff_mean"))
# The one that is a mean over rows.
PER_ROW_GAP = "rollout_corr/log_ppl_abs_diff"


def row_bounds(lengths: Sequence[int]) -> Tensor:
    """Where the rows begin and end in N, [R + 1], from their token counts: 2, 3 gives 0, 2, 5."""
    return torch.tensor([0, *lengths], dtype=torch.long).cumsum(0)


def k3_kl(logprobs_N: Tensor, ref_logprobs_N: Tensor) -> Tensor:
    """Schulman's k3 estimate of KL(policy || reference) at each token: exp(d) - d - 1 with d = ref - policy, never
    below 0."""
    difference = (ref_logprobs_N - logprobs_N).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    return torch.expm1(difference) - difference


def truncated_importance(old_logprobs_N: Tensor, engine_logprobs_N: Tensor, cap: float) -> Tensor:
    """Weight of each token that an engine with older weights drew: min(exp(old - engine), cap), where old is the policy
    at the step's start (truncated importance sampling, as in verl and slime). No gradient flows through it."""
    log_ratio_N = (old_logprobs_N - engine_logprobs_N).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    return log_ratio_N.exp().clamp(max=cap)


def engine_gap(gap_N: Tensor, lengths: Sequence[int]) -> dict[str, Tensor]:
    """Sums that become `rl.run.metrics.engine_gap`'s means when they are divided by the tokens of the mini-batch;
    PER_ROW_GAP by its rows.

    Args:
        gap_N: log-prob under the policy minus the engine's, of each token, in nats.
        lengths: tokens of each row.
    """
    difference = gap_N.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
    means_R = torch.stack([row.mean() for row in gap_N.split(list(lengths))])
    sums = (
        -gap_N.sum(),
        (torch.expm1(difference) - difference).sum(),
        means_R.abs().sum(),
        gap_N.abs().sum(),
    )
    return dict(zip(ENGINE_GAP, sums, strict=True))


def policy_loss(
    logprobs_N: Tensor,
    old_logprobs_N: Tensor,
    ref_logprobs_N: Tensor | None,
    advantages_N: Tensor,
    weights_N: Tensor,
    bounds_R1: Tensor,
    *,
    log_ratio: Callable[[Tensor, Tensor], Tensor] = each_token,
    epsilon: float,
    epsilon_high: float | None = None,
    beta: float = 0.0,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Weighted sum of these tokens' losses, and sums over them that become means when divided by the number of tokens
    of the mini-batch.

    Per token: -min(ratio * A, clip(ratio, 1 - epsilon, 1 + epsilon_high) * A) + beta * k3. The gradient flows through
    `logprobs_N` only.

    Args:
        logprobs_N: log-probs of the tokens under the policy, in nats; `old_logprobs_N` under the policy that drew them.
        ref_logprobs_N: under the reference; None = no KL, and beta must be 0.
        advantages_N, weights_N: of each token; the weights are `Estimator.token_weights`.
        bounds_R1: where the rows begin and end, `row_bounds`.
        log_ratio: `Estimator.log_ratio`.
        epsilon, epsilon_high: clip range of the ratio; `epsilon_high` None = `epsilon`.

    Raises:
        ValueError: beta is not 0 and there is no reference.
    """
    if beta != 0.0 and ref_logprobs_N is None:
        raise ValueError(f"beta is {beta} but no reference log-probs were given; compute them, or set grpo.beta=0")
    high = epsilon if epsilon_high is None else epsilon_high
    log_ratio_N = log_ratio(logprobs_N - old_logprobs_N, bounds_R1)
    ratio_N = log_ratio_N.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()
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
