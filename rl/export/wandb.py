"""A stored run as W&B tables with images, one a step: prompt, image, question, gold, answer, rewards, judge's words,
advantage."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from rl.run.tracking import ImageTable, log_tables
from rollouts.media import frames
from rollouts.records import BadSample, Rollout

_COLUMNS = (
    *(
        "prompt_id",
        "completion",
        "image",
        "modality",
        "answer_type",
        "question",
        "gold",
        "think",
        "answer",
        "total",
        "advantage",
    ),
    *("trained_on", "num_tokens", "finish_reason"),
)


def write_wandb(
    out: Path, steps: Iterator[tuple[int, Sequence[Rollout]]], *, mode: Literal["offline", "online"], project: str
) -> int:
    """Log every step as the table `rollouts` of one W&B run in `OUT/wandb`. Returns how many steps. Raises
    TrackingError."""
    return log_tables(out, (table(step, rollouts) for step, rollouts in steps), mode=mode, project=project)


def table(step: int, rollouts: Sequence[Rollout]) -> ImageTable:
    """The table of one step; a volume or video stands as its middle frame, an image that is missing as nothing."""
    rewards = list(dict.fromkeys(name for one in rollouts for name in one.outcomes))
    columns = [*_COLUMNS, *(f"{name}{ending}" for name in rewards for ending in ("", "_status", "_reason")), "judge"]
    return ImageTable(step, columns, [_row(one, rewards) for one in rollouts])


def _row(one: Rollout, rewards: Sequence[str]) -> list[Any]:
    sample = one.sample
    row = [
        one.prompt_id, one.sample_index, _picture(one), sample.modality, sample.answer_type, sample.question,
        sample.gold_text,
        one.parsed.think, one.parsed.answer if one.parsed.well_formed else one.completion.text, one.total,
        one.advantage, one.valid,
        len(one.completion.token_ids), one.completion.finish_reason,
    ]  # fmt: skip
    for name in rewards:
        outcome = one.outcomes.get(name)
        row += [outcome.value, outcome.status, outcome.reason] if outcome else [None, None, None]
    evidence = {name: outcome.evidence for name, outcome in one.outcomes.items() if outcome.evidence is not None}
    return [*row, json.dumps(evidence, default=str, ensure_ascii=False) if evidence else None]


def _picture(one: Rollout) -> Image.Image | None:
    try:
        pictures = frames(one.sample.media[0]) if one.sample.media else []
    except BadSample:
        return None
    return pictures[len(pictures) // 2] if pictures else None
