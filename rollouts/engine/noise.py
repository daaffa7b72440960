"""How vLLM draws on a CPU. The function runs inside vLLM's worker."""

from __future__ import annotations

from typing import Any


def draw_noise_once(worker: Any) -> None:
    """Let the CPU sampler draw the noise of a seeded row once.

    vLLM 0.30's own for CPUs (`forward_cpu`) draws noise for every row, and then again for each that has a seed, as all
    of ours have; noise is most of what sampling costs there. Its sampler for other devices (`forward_native`) leaves
    the first draw out. Every token and log-prob is the same (tests/rollouts/engine/test_engine.py).
    """
    sampler = worker.model_runner.sampler.topk_topp_sampler
    sampler.forward = sampler.forward_native
