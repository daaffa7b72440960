"""How a step is laid over the machine follows from the configuration alone."""

from __future__ import annotations

from typing import Any

import pytest

from rl.config import ComputeConfig, Config, GrpoConfig
from rl.config.schedule import in_flight, passes_together, pieces_may_be_cut, why_whole, work_at_once


def config(compute: dict[str, Any] | None = None, **grpo: Any) -> Config:
    """16 x 8 completions in 4 mini-batches, unless told otherwise."""
    size = {"prompts_per_step": 16, "num_generations": 8, "num_minibatches": 4}
    return Config(grpo=GrpoConfig(**{**size, **grpo}), compute=ComputeConfig(**(compute or {})))


@pytest.mark.parametrize(
    ("compute", "prompts", "expected"),
    [
        ({}, 32, 64),  # 256 completions in 4 mini-batches
        ({"num_rollout_workers": 3}, 32, 32),  # over three engines 21.3 each, which is too few
        ({}, 8, 32),  # a mini-batch of 16, which is too few
        ({"max_num_seqs": 48}, 32, None),
        ({"device": "cuda"}, 32, None),
    ],
)
def test_a_cpu_draws_a_mini_batch_at_once_and_not_less_than_pays(
    compute: dict[str, Any], prompts: int, expected: int | None
) -> None:
    assert in_flight(config(compute, prompts_per_step=prompts)) == expected


@pytest.mark.parametrize(
    ("compute", "grpo", "reason"),
    [
        ({}, {}, ""),
        ({}, {"prompts_per_step": 4}, "its 32 completions are all drawn at once"),
        ({}, {"prompts_per_step": 5}, ""),
        ({"num_rollout_workers": 2}, {"prompts_per_step": 8}, "its 64 completions"),
        ({"max_num_seqs": 8}, {"prompts_per_step": 4}, ""),
        ({"max_num_seqs": 128}, {}, "its 128 completions"),
        ({"device": "cuda"}, {"prompts_per_step": 4}, ""),
        ({}, {"max_staleness": 1}, "grpo.max_staleness=1"),
        ({}, {"old_logprobs": "policy"}, "grpo.old_logprobs=policy"),
        ({}, {"loss_type": "dapo"}, "loss_type=dapo"),
        ({}, {"refill": "next"}, "grpo.refill=next"),
    ],
)
def test_a_step_streams_unless_something_needs_it_whole(
    compute: dict[str, Any], grpo: dict[str, Any], reason: str
) -> None:
    composed = config(compute, **grpo)
    assert why_whole(composed).startswith(reason) and bool(why_whole(composed)) == bool(reason)
    # Who draws beside the trainer, and who begins with a part of a mini-batch.
    assert work_at_once(composed) == (not reason or "max_staleness" in reason)
    assert pieces_may_be_cut(composed) == (not reason and composed.compute.device == "cpu")
    assert passes_together(composed) == ("policy" in reason)
