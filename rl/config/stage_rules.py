"""What the settings of stages must satisfy: ranges, files, a model that has what is to learn."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final, Literal

from rl.config import Config, StageConfig
from rl.config.files import how_to_make
from rollouts.prompt.families import Family

# The stages that are trained on documents, in the order in which they run.
DOCUMENT_STAGES: Final[tuple[Literal["interleaved", "captions"], ...]] = ("interleaved", "captions")


def _of_each(*names: str) -> str:
    return " ".join(f"stages.{stage}.{name}" for stage in DOCUMENT_STAGES for name in names)


# As in rl/config/rules.py: settings by the range they share.
RANGES: dict[str, str] = {
    _of_each("num_documents", "max_tiles", "batch_size", "micro_batch_tokens", "num_epochs", "save_steps"): ">= 1",
    _of_each("learning_rate", "max_grad_norm"): "> 0",
    _of_each("weight_decay"): ">= 0",
    _of_each("warmup_ratio"): ">= 0, < 1",
    "sft.max_tiles": ">= 1",
}


def stage_of(config: Config, name: str) -> StageConfig:
    """The settings of a stage that is trained on documents."""
    stage: StageConfig = {"interleaved": config.stages.interleaved, "captions": config.stages.captions}[name]
    return stage


def stage_faults(config: Config, family: Family | None) -> Iterable[str]:
    """Faults of the stages that are not left out, in words.

    Args:
        config: the whole tree.
        family: of the model the run starts from; None = not known.
    """
    skip = config.stages.skip
    if {"interleaved", "captions", "instruction", "grpo"} <= {*skip}:
        yield "stages.skip: got all four stages, so that nothing is left to do; leave one in"
    for name in DOCUMENT_STAGES:
        if name in skip:
            continue
        stage = stage_of(config, name)
        if stage.data != "phantoms" and stage.root is None:
            yield f"stages.{name}.root: stages.{name}.data={stage.data} needs the JSONL file, such as root=PATH"
        elif stage.data != "phantoms" and not Path(str(stage.root)).is_file():
            what = "is a folder" if Path(str(stage.root)).is_dir() else "does not exist"
            mend = how_to_make(str(stage.root))
            yield f"stages.{name}.root: expected a JSONL file of documents, but {stage.root} {what}{mend}"
        if stage.train == "vision_projector" and family is not None and not family.reads_images:
            yield (
                f"stages.{name}.train: got vision_projector, but a model of the family {family.model_type} reads text"
                f" only; leave the stage out with stages.skip=[{name}], or take a model that reads images"
            )
    if config.sft.checkpoint is not None and not {*DOCUMENT_STAGES} <= {*skip}:
        yield (
            f"sft.checkpoint: got {config.sft.checkpoint}, a model that is finished already, and stages before it;"
            " give it as model.path, or leave the stages out with stages.skip=[interleaved,captions]"
        )
