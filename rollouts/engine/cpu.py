"""Where vLLM 0.30 takes a longer way on a CPU than it needs, and the shorter one. `rollouts/engine/vllm.py` hands in
what is vLLM's."""

from __future__ import annotations

from typing import Any

# Tokens of a block in float32, and of vLLM's own kernels for other numbers.
SHORT_BLOCK, LONG_BLOCK = 16, 32


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


def draw_noise_once(worker: Any) -> None:
    """Let the CPU sampler draw the noise of a seeded row once; runs inside vLLM's worker.

    vLLM's own for CPUs (`forward_cpu`) draws noise for every row, and then again for each that has a seed, as all of
    ours have; noise is most of what sampling costs there. Its sampler for other devices (`forward_native`) leaves the
    first draw out. Every token and log-prob is the same (tests/rollouts/engine/test_drawing.py).
    """
    sampler = worker.model_runner.sampler.topk_topp_sampler
    sampler.forward = sampler.forward_native
