"""Log-probabilities of completion tokens under the very distribution the engine draws them from.

Legend: N completion tokens end to end, H width of the hidden states, V vocabulary. Temperature and bans come before the
softmax, in fp32, exactly as vLLM's `processed_logprobs` (mean difference below 1e-6 in fp32,
tests/rollouts/engine/test_engine.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

# Logits held at a time, in numbers: 64M of fp32 are 256 MiB. A vocabulary of 150,000 gives chunks of 447 tokens.
CHUNK_LOGITS = 1 << 26
# Of them a CPU works on so many at a time: 2 MiB stay in its cache, and are no new pages of memory for every operation.
BLOCK_LOGITS = 1 << 19
# A number [N] without gradient from all log-probs [N, V] and the targets [N]. The log-probs may be overwritten.
Measure = Callable[[Tensor, Tensor], Tensor]


@torch.no_grad()
def entropy(all_logprobs_NV: Tensor, _targets_N: Tensor) -> Tensor:
    """Entropy [N] in nats."""
    probs_NV = all_logprobs_NV.exp()
    # 0 * -inf is NaN; a banned token adds nothing to the entropy.
    return -probs_NV.mul_(all_logprobs_NV.clamp_(min=torch.finfo(torch.float32).min)).sum(-1)


def nothing(_all_logprobs_NV: Tensor, targets_N: Tensor) -> Tensor:
    """Zeros [N]: for passes whose log-probs alone are wanted."""
    return torch.zeros(targets_N.shape, device=targets_N.device)


@torch.no_grad()
def is_likeliest(all_logprobs_NV: Tensor, targets_N: Tensor) -> Tensor:
    """1 where the target is the likeliest token, else 0: [N]. Their mean is TRL's `mean_token_accuracy`."""
    return (all_logprobs_NV.argmax(-1) == targets_N).to(all_logprobs_NV.dtype)


def logprobs_and_entropy(
    logits_NV: Tensor, targets_N: Tensor, temperature: float, banned: Sequence[int] = (), measure: Measure = entropy
) -> tuple[Tensor, Tensor]:
    """Log-prob [N] of each target and entropy [N], or what else `measure` gives, of softmax(logits / temperature)
    without the banned tokens.

    A banned target has log-prob -inf. Raises ValueError for a temperature that is not above 0.
    """
    if temperature <= 0:
        raise ValueError(
            f"temperature is {temperature}, expected above 0; log-probs of greedy decoding are not defined"
        )
    learns = torch.is_grad_enabled() and logits_NV.requires_grad
    banned_B = _on(logits_NV.device, tuple(banned))
    scored: tuple[Tensor, Tensor] = _Scored.apply(logits_NV, targets_N, temperature, banned_B, measure, learns)
    return scored


@cache
def _on(device: torch.device, tokens: tuple[int, ...]) -> Tensor:
    """Ids of tokens on a device; a copy for every chunk would make the GPU wait."""
    return torch.tensor(tokens, dtype=torch.long, device=device)


class _Scored(torch.autograd.Function):
    """`logprobs_and_entropy` that keeps one [N, V] for the backward pass, the probabilities, and turns it into the
    gradient where it lies. A second backward pass is an error of torch's."""

    @staticmethod
    def forward(
        ctx: Any,
        logits_NV: Tensor,
        targets_N: Tensor,
        temperature: float,
        banned_B: Tensor,
        measure: Measure,
        learns: bool,
    ) -> tuple[Tensor, Tensor]:
        """See `logprobs_and_entropy`; banned_B: the banned tokens. `learns`: a backward pass will come."""
        chosen, measured, probs_NV = [], [], torch.empty(logits_NV.shape if learns else 0, device=logits_NV.device)
        for block in _blocks(logits_NV):
            targets = targets_N[block]
            scaled = (logits_NV[block].float() / temperature).index_fill_(-1, banned_B, -torch.inf)
            logprobs = scaled.log_softmax(-1)
            chosen.append(logprobs.gather(-1, targets.unsqueeze(-1)).squeeze(-1))
            if learns:
                torch.exp(logprobs, out=probs_NV[block])
            measured.append(measure(logprobs, targets))
        ctx.save_for_backward(probs_NV, targets_N)
        ctx.temperature, ctx.dtype = temperature, logits_NV.dtype
        chosen_N, measured_N = torch.cat(chosen), torch.cat(measured)
        ctx.mark_non_differentiable(measured_N)
        return chosen_N, measured_N

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_N: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        """d log p(target) / d logit = (1 at the target - p) / temperature; 0 for a banned token."""
        grad_NV, targets_N = ctx.saved_tensors
        for block in _blocks(grad_NV):
            grad = grad_N[block].unsqueeze(-1)
            grad_NV[block].mul_(-grad).scatter_add_(-1, targets_N[block].unsqueeze(-1), grad).div_(ctx.temperature)
        return grad_NV.to(ctx.dtype), None, None, None, None, None


def _blocks(values_NV: Tensor) -> Iterator[slice]:
    """Rows that are worked on at a time; a GPU takes all of them."""
    num_rows, vocabulary = values_NV.shape
    size = num_rows if values_NV.is_cuda else max(BLOCK_LOGITS // vocabulary, 1)
    return (slice(start, start + size) for start in range(0, max(num_rows, 1), max(size, 1)))


def chunked_logprobs(
    hidden_NH: Tensor,
    head: Callable[[Tensor], Tensor],
    targets_N: Tensor,
    temperature: float,
    banned: Sequence[int] = (),
    vocab_size: int = 0,
    measure: Measure = entropy,
) -> tuple[Tensor, Tensor]:
    """`logprobs_and_entropy` of head(hidden) that never holds more than CHUNK_LOGITS logits, backward pass included.

    `vocab_size` sets the chunk; 0 = everything at once.
    """

    def score(hidden: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        return logprobs_and_entropy(head(hidden), targets, temperature, banned, measure)

    size = max(CHUNK_LOGITS // vocab_size, 1) if vocab_size else max(len(targets_N), 1)
    if len(targets_N) <= size:
        return score(hidden_NH, targets_N)
    parts = []
    for hidden, targets in zip(hidden_NH.split(size), targets_N.split(size), strict=True):
        # Logits are computed again in the backward pass instead of being kept.
        parts.append(checkpoint(score, hidden, targets, use_reentrant=False))
    return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])
