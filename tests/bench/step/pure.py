"""The floor under one GRPO step: the same tokens sampled and trained on in plain processes, without Ray, scoring, store
or telling.

`python -m tests.bench.step.pure PART RUN SFT` prints seconds a step as JSON; `tests.bench.step` calls all parts.
`sample` and `train` are the floor as it was defined at first, so that ratios to it can be compared over time: an engine
without a prefix cache, both log-prob passes, the updates. `sample_now` and `train_now` are what a streamed step is made
of today: an engine with a prefix cache, the reference's pass, the updates.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from functools import partial
from itertools import groupby
from pathlib import Path

from rl.algo.denominators import denominators
from rl.config import Config
from rl.config.door import load
from rl.policy.batching import Row
from rollouts.prompt.processing import EncodedPrompt, encode, load_processor, media_token_ids
from rollouts.records import Rollout
from rollouts.store.reader import list_steps
from rollouts.store.writer import read_rollouts


def stored_steps(run: Path) -> Iterator[list[list[Rollout]]]:
    """The groups of each stored step, with their samples' images."""
    for step in list_steps(run):
        rollouts = sorted(read_rollouts(run, step.step), key=lambda one: (one.prompt_id, one.sample_index))
        yield [list(group) for _, group in groupby(rollouts, key=lambda one: one.prompt_id)]


def sample(run: Path, sft: Path, config: Config, prefix_caching: bool = False) -> list[float]:
    """Seconds to draw each step's completions again, in one process."""
    from rollouts.engine.requests import Request, SamplingSettings
    from rollouts.engine.vllm import EngineSettings, VllmEngine

    processor = load_processor(sft)
    engine = VllmEngine(
        sft,
        EngineSettings(
            dtype=config.model.dtype,
            cpu_kv_cache_gib=config.compute.cpu_kv_cache_gib,
            max_model_len=config.model.max_model_len,
            max_images=config.model.max_images,
            prefix_caching=prefix_caching,
        ),
        disk_version=0,
    )
    grpo = config.grpo
    settings = SamplingSettings(grpo.temperature, grpo.max_completion_length, 0, media_token_ids(processor))
    seconds = []
    for groups in stored_steps(run):
        prompts = [encode(processor, group[0].sample) for group in groups]
        requests = [
            Request(
                prompt.prompt_id,
                one.sample_index,
                prompt.text,
                prompt.engine_media,
                one.completion.seed,
                prompt.token_ids,
            )
            for prompt, group in zip(prompts, groups, strict=True)
            for one in group
        ]
        started = time.monotonic()
        drawn = dict(engine.sample(requests, settings))
        seconds.append(time.monotonic() - started)
        same = sum(
            drawn[(one.prompt_id, one.sample_index)].token_ids == one.completion.token_ids
            for group in groups
            for one in group
        )
        print(
            f"pure sampling: {seconds[-1]:.2f} s, {same} of {len(requests)} completions as in the run", file=sys.stderr
        )
    return seconds


def train(run: Path, sft: Path, config: Config, old_pass: bool = True) -> list[float]:
    """Seconds for the log-prob passes (the policy's too, where there is an `old_pass`) and the updates on each step's
    rows, in one process."""
    import torch

    from rl.policy.objectives import GrpoObjective
    from rl.policy.policy import Policy, Reference

    torch.set_num_threads(config.compute.num_threads or torch.get_num_threads())
    processor = load_processor(sft)
    grpo, dtype = config.grpo, config.model.dtype
    policy = Policy(sft, GrpoObjective(grpo), total_updates=1000, dtype=dtype)
    reference = Reference(sft, temperature=grpo.temperature, micro_batch_tokens=grpo.micro_batch_tokens, dtype=dtype)
    seconds = []
    for groups in stored_steps(run):
        prompts = [encode(processor, group[0].sample).for_trainer() for group in groups]
        rows = [rows_of(prompt, group) for prompt, group in zip(prompts, groups, strict=True)]
        flat = [row for group in rows for row in group]
        started = time.monotonic()
        if old_pass:
            policy.log_probs(flat)
        reference.log_probs(flat)
        size = len(flat) // grpo.num_minibatches
        minibatches = [flat[start : start + size] for start in range(0, len(flat), size)]
        lengths = [[len(row.completion_ids) for row in batch if row.valid] for batch in minibatches]
        for batch, totals in zip(minibatches, denominators(lengths, grpo.max_completion_length), strict=True):
            policy.update(batch, totals)
        seconds.append(time.monotonic() - started)
        print(f"pure forward and backward: {seconds[-1]:.2f} s", file=sys.stderr)
    return seconds


def rows_of(prompt: EncodedPrompt, group: list[Rollout]) -> list[Row]:
    return [
        Row(
            prompt,
            one.completion.token_ids,
            one.advantage or 0.0,
            one.valid,
            one.old_logprobs or one.completion.logprobs,
            one.ref_logprobs,
            one.completion.logprobs,
        )
        for one in group
    ]


PARTS = {
    "sample": sample,
    "train": train,
    "sample_now": partial(sample, prefix_caching=True),
    "train_now": partial(train, old_pass=False),
}

if __name__ == "__main__":
    part, run_dir, sft_dir = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    print(json.dumps(PARTS[part](run_dir, sft_dir, load(run_dir / "config.yaml"))))
