"""What the tests of the engine and of the workers share: questions about noise images, requests, rows, and the gap
between two log-probs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from rl.config import ComputeConfig, Config, GrpoConfig, ModelConfig
from rl.policy.batching import Row
from rollouts.engine.requests import Request, RequestKey, SamplingSettings
from rollouts.imaging.pictures import to_png
from rollouts.prompt.processing import EncodedPrompt, encode, load_processor
from rollouts.records import Completion, Media, Sample

TEMPERATURE = 0.9
LENGTH = 24


def question(number: int) -> Sample:
    """A question about an image of its own; every fourth has none, every fifth two."""
    count = 0 if number % 4 == 3 else 2 if number % 5 == 4 else 1
    rng = np.random.default_rng(number)
    pictures = [Image.fromarray(rng.integers(0, 255, (56, 56, 3), dtype=np.uint8)) for _ in range(count)]
    media = tuple(Media("image", data=to_png(picture)) for picture in pictures)
    return Sample(
        id=f"q{number}", question=f"What is number {number}?", answer_type="open", gold_text="nothing", media=media
    )


def prompts_of(folder: Path, count: int = 6) -> list[EncodedPrompt]:
    """The first `count` questions, without their images where the model reads text only."""
    processor = load_processor(folder)
    questions = [question(number) for number in range(count)]
    if not processor.family.reads_images:
        questions = [dataclasses.replace(one, media=()) for one in questions]
    return [encode(processor, one) for one in questions]


def requests_of(prompts: Sequence[EncodedPrompt], per_prompt: int = 4) -> list[Request]:
    return [
        Request(prompt.prompt_id, index, prompt.text, prompt.engine_media, 1000 * place + index, prompt.token_ids)
        for place, prompt in enumerate(prompts)
        for index in range(per_prompt)
    ]


def settings(
    version: int, banned: tuple[int, ...] = (), temperature: float = TEMPERATURE, length: int = LENGTH
) -> SamplingSettings:
    return SamplingSettings(temperature, length, version, banned)


def rows_of(prompts: Sequence[EncodedPrompt], drawn: Mapping[RequestKey, Completion]) -> list[Row]:
    """Rows with advantages that push up even samples and down odd ones, ordered as their keys."""
    by_id = {prompt.prompt_id: prompt.for_trainer() for prompt in prompts}
    return [
        Row(by_id[key.prompt_id], drawn[key].token_ids, advantage=1.0 if key.sample_index % 2 else -1.0)
        for key in sorted(drawn)
    ]


def gap(drawn: Mapping[RequestKey, Completion], logprobs: Sequence[Sequence[float]]) -> float:
    """Mean |difference| per token between the engine's log-probs and others, given in the order of the keys."""
    pairs = zip(sorted(drawn), logprobs, strict=True)
    return float(
        np.mean([abs(a - b) for key, theirs in pairs for a, b in zip(drawn[key].logprobs, theirs, strict=True)])
    )


def same_share(first: Mapping[RequestKey, Completion], second: Mapping[RequestKey, Completion]) -> float:
    """Share of completions with the same tokens."""
    return float(np.mean([first[key].token_ids == second[key].token_ids for key in second]))


def config_for(folder: Path, num_policy_workers: int = 1, num_rollout_workers: int = 1) -> Config:
    compute = ComputeConfig(
        num_policy_workers=num_policy_workers,
        num_rollout_workers=num_rollout_workers,
        cpu_kv_cache_gib=0.125,
        num_threads=1,
        worker_timeout_seconds=240.0,
    )
    grpo = GrpoConfig(
        temperature=TEMPERATURE, learning_rate=1e-3, beta=0.0, lr_scheduler_type="constant", warmup_ratio=0.0
    )
    return Config(model=ModelConfig(path=str(folder)), grpo=grpo, compute=compute)
