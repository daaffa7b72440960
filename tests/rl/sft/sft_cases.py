"""Rows and configurations that the tests of SFT share."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
from torch.nn.utils.rnn import pad_sequence

from rl.config import ComputeConfig, Config, DataConfig, ModelConfig, SftConfig
from rl.data.phantoms import questions as phantoms
from rl.data.sets import SftRow
from rl.policy.batching import Row
from rollouts.prompt.messages import response
from rollouts.prompt.processing import collate_media
from rollouts.records import Sample

# What a plain loss leaves out: prompt tokens and padding (the value PyTorch's cross entropy ignores).
IGNORED = -100


def seeing_rows(count: int = 16) -> list[SftRow]:
    """Images, three-slice volumes and, as the last one, a row without an image."""
    text_only = Sample(id="text", question="Is a cyst hollow?", answer_type="yes_no", gold_text="yes")
    return [
        *phantoms.load(DataConfig(num_sft=count - 1, num_rl=1, num_eval=1)).sft,
        SftRow(text_only, response("A cyst is hollow.", "yes")),
    ]


def config(model: Path, **sft: object) -> Config:
    """Four rows an update, one thread, fp32."""
    settings = {"batch_size": 4, "learning_rate": 1e-3, **sft}
    return Config(
        model=ModelConfig(path=str(model)),
        sft=SftConfig(**settings),  # type: ignore[arg-type]
        compute=ComputeConfig(num_threads=1),
    )


def padded(rows: list[Row], pad_token_id: int) -> dict[str, torch.Tensor]:
    """The rows as a plain right-padded batch with labels, the way Hugging Face's models take it; for models that count
    positions in one direction."""
    ids = [torch.tensor(row.prompt.token_ids + row.completion_ids) for row in rows]
    labels = [torch.tensor((IGNORED,) * len(row.prompt.token_ids) + row.completion_ids) for row in rows]
    return {
        "input_ids": pad_sequence(ids, batch_first=True, padding_value=pad_token_id),
        "attention_mask": pad_sequence([torch.ones_like(one) for one in ids], batch_first=True),
        "labels": pad_sequence(labels, batch_first=True, padding_value=IGNORED),
        **collate_media([row.prompt.media for row in rows]),
    }


def without_images(rows: list[SftRow]) -> list[SftRow]:
    """The same questions for a model that reads text only."""
    return [dataclasses.replace(row, sample=dataclasses.replace(row.sample, media=())) for row in rows]
