"""Where vLLM 0.30 takes a longer way on a CPU than it needs, and the shorter one. `rollouts/engine/vllm.py` hands in
what is vLLM's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any

import torch
from torch import Tensor

# Tokens of a block in float32, and of vLLM's own kernels for other numbers.
SHORT_BLOCK, LONG_BLOCK = 16, 32
# Numbers of noise that are computed together: as many as stay in a core's cache.
_NOISE_AT_ONCE = 1 << 16


def admit_short_blocks(backend: Any, multiple_of: Any) -> None:
    """Let the KV cache have blocks of 16 tokens in float32, before an engine starts.

    Only whole blocks of a prompt are kept for its next completion, and each completion computes the rest anew: half a
    block on average. vLLM's attention has a kernel for 16 tokens and its platform for CPUs takes them, but its list of
    sizes names multiples of 32 alone. Log-probs are the same to the last bit (tests/rollouts/engine/test_engine.py).

    Args:
        backend: vLLM's attention on CPUs (`CPUAttentionBackend`).
        multiple_of: vLLM's class that such a list is made of (`MultipleOf`).

    Raises:
        RuntimeError: the list is none that this was written for.
    """
    listed = [one.base if isinstance(one, multiple_of) else one for one in backend.get_supported_kernel_block_sizes()]
    if listed not in ([LONG_BLOCK], [SHORT_BLOCK]):
        raise RuntimeError(
            f"vLLM's attention on CPUs lists blocks of {listed} tokens, expected multiples of {LONG_BLOCK}; this is"
            " another vLLM than 0.30, install the versions of requirements/cpu.txt"
        )
    backend.get_supported_kernel_block_sizes = staticmethod(lambda: [multiple_of(SHORT_BLOCK)])


def sample_in_few_steps(worker: Any, logprobs_tensors: Callable[..., Any]) -> None:
    """Let the sampler of a CPU do less for rows that have a seed, as all drawn rows of ours do, and that want the
    log-prob of the drawn token alone; runs inside vLLM's worker. Every token and log-prob is the same to the last bit
    (tests/rollouts/engine/test_drawing.py).

    vLLM's own draws noise for every row and then again for each with a seed, number by number, which is most of what
    sampling costs; and it looks for the likeliest tokens and the drawn one's rank where none was asked for.

    Args:
        logprobs_tensors: vLLM's record of log-probs (`LogprobsTensors`).

    Raises:
        RuntimeError: what is replaced takes other arguments than those that this was written for.
    """
    sampler = worker.model_runner.sampler
    whole, gather = sampler.topk_topp_sampler.forward_native, type(sampler).gather_logprobs
    _refuse_others(whole, ["logits", "generators", "k", "p"])
    _refuse_others(gather, ["logprobs", "num_logprobs", "token_ids"])

    def draw(
        logits_BV: Tensor, generators: Mapping[int, torch.Generator], k: Tensor | None, p: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        if k is not None or p is not None or len(generators) != len(logits_BV):
            drawn: tuple[Tensor, Tensor | None] = whole(logits_BV, generators, k, p)
            return drawn
        logprobs_BV = logits_BV.log_softmax(dim=-1, dtype=torch.float32)
        scores_BV = logits_BV.softmax(dim=-1, dtype=torch.float32).div_(noise_of(generators, logits_BV.shape[1]))
        # Faster than argmax, which vLLM takes.
        return scores_BV.max(dim=-1).indices, logprobs_BV

    def gather_drawn(logprobs_BV: Tensor, num_logprobs: int, token_ids: Tensor) -> Any:
        if num_logprobs:
            return gather(logprobs_BV, num_logprobs, token_ids)
        ids_B1 = token_ids.unsqueeze(-1)
        # Ranks that nobody reads are 0, which is no rank.
        return logprobs_tensors(ids_B1.to(torch.int32), logprobs_BV.gather(-1, ids_B1), torch.zeros_like(token_ids))

    sampler.topk_topp_sampler.forward = draw
    sampler.gather_logprobs = gather_drawn


def _refuse_others(function: Callable[..., Any], expected: list[str]) -> None:
    names = list(signature(function).parameters)
    if names != expected:
        raise RuntimeError(
            f"vLLM's {function.__qualname__} takes {', '.join(names)}, expected {', '.join(expected)}; this is another"
            " vLLM than 0.30, install the versions of requirements/cpu.txt"
        )


def noise_of(generators: Mapping[int, torch.Generator], num_columns: int) -> Tensor:
    """What `exponential_` draws for each row from its own generator, as float32 [B rows, V columns], in a third of its
    time: torch takes the logarithm of one number after the other there, here of many at once."""
    noise_BV = torch.empty(len(generators), num_columns)
    for first in range(0, len(generators), at_once := max(1, _NOISE_AT_ONCE // num_columns)):
        part_BV = noise_BV[first : first + at_once]
        uniform_BV = torch.empty(part_BV.shape, dtype=torch.float64)
        for row, uniform_V in enumerate(uniform_BV, first):
            uniform_V.uniform_(generator=generators[row])
        part_BV.copy_(uniform_BV.neg_().log1p_().neg_())
    return noise_BV
