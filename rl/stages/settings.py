"""Which stages a run has, and the configuration that each is trained with."""

from __future__ import annotations

import dataclasses

from rl.config import Config, StageConfig
from rl.config.stage_rules import DOCUMENT_STAGES, stage_of
from rollouts.prompt.families import Family


def document_stages(config: Config) -> list[str]:
    """The stages that are trained on documents and not left out, in order."""
    return [name for name in DOCUMENT_STAGES if name not in config.stages.skip]


def all_stages(config: Config) -> list[str]:
    """The stages of the run by name, in order."""
    tuned = ["instruction"] if config.sft.enabled or config.sft.checkpoint else []
    return [*document_stages(config), *tuned, *(["grpo"] if "grpo" not in config.stages.skip else [])]


def as_staged(config: Config, name: str, family: Family | None, model_path: str | None = None) -> Config:
    """The configuration of a stage: the loop of supervised training reads it as it reads that of SFT.

    Args:
        name: of a stage that is trained on documents.
        family: of the model; one that cuts no tiles has no number of them.
        model_path: the model that the stage begins with; None = the run's.
    """
    return _with_settings(config, stage_of(config, name), family, model_path)


def _with_settings(config: Config, stage: StageConfig, family: Family | None, model_path: str | None) -> Config:
    tiles = stage.max_tiles if family is not None and family.cuts_tiles else config.model.max_tiles
    model = dataclasses.replace(config.model, path=model_path or config.model.path, train=stage.train, max_tiles=tiles)
    sft = dataclasses.replace(
        config.sft,
        enabled=True,
        checkpoint=None,
        train=None,
        max_tiles=None,
        learning_rate=stage.learning_rate,
        weight_decay=stage.weight_decay,
        warmup_ratio=stage.warmup_ratio,
        lr_scheduler_type=stage.lr_scheduler_type,
        batch_size=stage.batch_size,
        micro_batch_tokens=stage.micro_batch_tokens,
        num_epochs=stage.num_epochs,
        max_grad_norm=stage.max_grad_norm,
        save_steps=stage.save_steps,
    )
    return dataclasses.replace(config, model=model, sft=sft)
