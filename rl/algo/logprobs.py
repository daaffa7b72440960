"""Log-probabilities of completion tokens under the very distribution the engine draws them from.

Legend: N completion tokens end to end, H width of the hidden states, V vocabulary. Temperature and bans come before the
softmax, in fp32, exactly as vLLM's `processed_logprobs` (mean difference below 1e-6 in fp32,
tests/rollouts/engine/test_engine.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

# Logits held at a time, in numbers: 64M of fp32 are 256 MiB. A vocabulary of 150,000 gives chunks of 447 tokens.
CHUNK_LOGITS = 1 << 26
# A number [N] without gradient from all log-probs [N, V] and the targets [N].
Measure = Callable[[Tensor, Tensor], Tensor]


@torch.no_grad()
def entropy(all_logprobs_NV: Tensor, _targets_N: Tensor) -> Tensor:
    """Entropy [N] in nats."""
    # 0 * -inf is NaN; a banned token adds nothing to the entropy.
    return -(all_logprobs_NV.exp() * all_logprobs_NV.clamp(min=torch.finfo(torch.float32).min)).sum(-1)


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
    logits = logits_NV.float() / temperature
    if banned:
        mask_V = torch.zeros(logits.shape[-1], dtype=torch.bool, device=logits.device)
        mask_V[torch.tensor(banned, device=logits.device)] = True
        logits = logits.masked_fill(mask_V, -torch.inf)
    all_logprobs = logits.log_softmax(-1)
    chosen_N = all_logprobs.gather(-1, targets_N.unsqueeze(-1)).squeeze(-1)
    return chosen_N, measure(all_logprobs, targets_N)


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
