"""Rows and policies that several tests of the trainer use."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from rl.algo.denominators import Denominators, denominators
from rl.config import GrpoConfig
from rl.policy.batching import Row
from rl.policy.objectives import GrpoObjective
from rl.policy.policy import Policy
from rl.policy.sharding import PLAIN, Layout
from rl.policy.token_model import TokenModel, open_token_model
from rollouts.imaging.pictures import to_png
from rollouts.prompt.processing import encode, load_processor
from rollouts.records import Media, Sample

GRPO = GrpoConfig(
    learning_rate=1e-3, micro_batch_tokens=700, warmup_ratio=0.0, lr_scheduler_type="constant", temperature=0.9
)
TOTAL_UPDATES = 8


def noise(seed: int, height: int = 56, width: int = 56) -> Media:
    pixels = np.random.RandomState(seed).randint(0, 255, (height, width, 3), dtype=np.uint8)
    return Media(kind="image", data=to_png(Image.fromarray(pixels)))


def sample(name: str, question: str, images: tuple[Media, ...]) -> Sample:
    options = {"options": ("left", "right"), "gold_letters": ("A",)}
    return Sample(id=name, question=question, answer_type="mcq", gold_text="left", media=images, **options)  # type: ignore[arg-type]


def token_model(folder: Path, **settings: Any) -> TokenModel:
    """The model of a folder with its weights, whole."""
    tokens, fill = open_token_model(folder, **{"temperature": 0.9, "banned": (), **settings})
    fill()
    return tokens


def some_rows(folder: Path, seed: int = 0, num_generations: int = 3) -> list[Row]:
    """Three prompts with one, no and three images of different sizes, three random completions each, some of which
    begin alike, in no order. A model that reads text only gets the questions without their images."""
    chance = random.Random(seed)
    processor = load_processor(folder)
    asked = [
        sample("one", "Where?", (noise(1),)),
        sample("none", "Where is it, then?", ()),
        sample("three", "And now?", (noise(2), noise(3, 56, 112), noise(4))),
    ]
    if not processor.family.reads_images:
        asked = [dataclasses.replace(one, media=()) for one in asked]
    prompts = [encode(processor, one) for one in asked]
    rows = []
    for prompt in prompts:
        beginning = chance.choices(range(256), k=4)
        for _ in range(num_generations):
            own = chance.choices(range(256), k=chance.randint(1, 8))
            ids = (*beginning[: chance.randint(0, 4)], *own)
            rows.append(Row(prompt, ids, advantage=chance.gauss(0, 1)))
    chance.shuffle(rows)
    return rows


def with_logprobs(rows: list[Row], policy: Policy) -> list[Row]:
    values = policy.log_probs(rows)
    return [
        dataclasses.replace(row, old_logprobs=tuple(v), ref_logprobs=tuple(x - 0.1 for x in v))
        for row, v in zip(rows, values, strict=True)
    ]


def totals_of(rows: list[Row]) -> Denominators:
    return denominators([[len(row.completion_ids) for row in rows if row.valid]], 64)[0]


def policy_of(folder: Path, layout: Layout = PLAIN, **changes: object) -> Policy:
    objective = GrpoObjective(dataclasses.replace(GRPO, **changes))  # type: ignore[arg-type]
    return Policy(folder, objective, total_updates=TOTAL_UPDATES, layout=layout)


def difference(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> float:
    assert left.keys() == right.keys()
    return max((left[name] - right[name]).abs().max().item() for name in left)
