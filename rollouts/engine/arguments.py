"""What vLLM is started with: arithmetic on the settings of an engine, without vLLM, so that a machine without a GPU can
test what an engine on GPUs would be given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rollouts.engine.cpu import LONG_BLOCK, SHORT_BLOCK
from rollouts.engine.requests import EngineSettings


def engine_arguments(
    model_path: str, settings: EngineSettings, *, on_cpu: bool, processor: Mapping[str, object] | None = None
) -> dict[str, Any]:
    """Arguments of vLLM's `EngineArgs`, all but the classes of its own that `rollouts/engine/vllm.py` adds.

    `processor`: what its own processor is told (`Processor.for_engine`).
    """
    return {
        "model": model_path,
        "dtype": settings.dtype,
        "seed": 0,
        "enforce_eager": on_cpu,
        "max_model_len": settings.max_model_len,
        "max_num_seqs": settings.max_num_seqs,
        "limit_mm_per_prompt": {"image": settings.max_images, "video": 0},
        "mm_processor_kwargs": dict(processor) if processor else None,
        # Each prompt is rendered once a call, so a cache of processed images would only hold memory.
        "mm_processor_cache_gb": 0,
        # The distribution drawn from: temperature, top-p and bans applied. The default ignores all three.
        "logprobs_mode": "processed_logprobs",
        # The prompt of a group is computed once, for the first of its completions.
        "enable_prefix_caching": settings.prefix_caching,
        **(_on_cpu(settings) if on_cpu else _on_cuda(settings)),
    }


def _on_cpu(settings: EngineSettings) -> dict[str, Any]:
    return {
        # A seeded request cut in the middle of its prompt fails on CPU ("CPU Generator does not use offset"), hence no
        # chunks; a cache of given size needs no warm-up pass.
        "enable_chunked_prefill": False,
        "max_num_batched_tokens": max(8192, settings.max_model_len),
        # vLLM's own 128 is longer than most prompts. Other numbers than float32 have kernels for long blocks only.
        "block_size": (SHORT_BLOCK if settings.dtype == "float32" else LONG_BLOCK) if settings.prefix_caching else None,
        "kv_cache_memory_bytes": int(settings.cpu_kv_cache_gib * 2**30),
    }


def _on_cuda(settings: EngineSettings) -> dict[str, Any]:
    parallel = settings.tensor_parallel_size
    return {
        **(_beside_the_policy(settings) if settings.shares_gpu else _alone(settings)),
        "tensor_parallel_size": parallel,
        # Inside a placement group of Ray vLLM would choose Ray by itself, and refuse a bundle of several GPUs.
        **({"distributed_executor_backend": "mp"} if parallel > 1 else {}),
    }


def _alone(settings: EngineSettings) -> dict[str, Any]:
    return {"gpu_memory_utilization": settings.gpu_memory_utilization}


def _beside_the_policy(settings: EngineSettings) -> dict[str, Any]:
    return {
        # A cache of given size: vLLM would measure what is free, which others take and give back meanwhile. The share
        # is then only what must be free at the start, and an engine that is started again finds the policy there.
        "kv_cache_memory_bytes": int(settings.gpu_kv_cache_gib * 2**30),
        "gpu_memory_utilization": 0.01,
        "enable_sleep_mode": True,
    }
