"""A checkpoint of a run as a model in Hugging Face format, which transformers, vLLM and `rl.evaluate models=[..]` load.

A checkpoint holds what learns, the optimiser's moments and the position in the run; everything else of the model is
that of the run's `model/`, which was not trained.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch

from rl.config import door
from rl.data.sizes import images_of
from rl.policy.checkpoints import STATE, CheckpointError, Stored, verify
from rl.policy.token_model import DTYPES, open_token_model
from rl.run.folder import CONFIG
from rollouts.prompt.processing import load_processor

CHECKPOINTS, MODEL = "checkpoints", "model"
_WEIGHT = "weight/"


def steps_with_checkpoints(run: Path) -> list[int]:
    """The steps of a run whose checkpoints are kept, in order."""
    folders = sorted((run / CHECKPOINTS).glob("step_*"))
    return [int(path.name.removeprefix("step_")) for path in folders if path.name.removeprefix("step_").isdigit()]


def write_model(run: Path, step: int, out: Path) -> Path:
    """Write the model of one step to `OUT/step_000010`; returns that folder. The weights have the run's dtype.

    Raises:
        CheckpointError: the run has no model/ yet, the checkpoint cannot be trusted, or it is of an adapter.
        ConfigError: the run's config.yaml cannot be read. OSError.
    """
    path, base = run / CHECKPOINTS / f"step_{step:06d}", run / MODEL
    if not (base / "config.json").is_file():
        raise CheckpointError(
            f"{run} has no {MODEL}/ yet, whose configuration and processor go with a checkpoint: let the run end"
            " (resume=true), or ask benchmarks while it trains (eval.benchmark_every_steps)"
        )
    if fault := verify(path):
        raise CheckpointError(f"{path} cannot be trusted: {fault}; give another step")
    if json.loads((path / STATE).read_text(encoding="utf-8"))["policy"]["parts"]["lora"] is not None:
        raise CheckpointError(
            f"{path} holds an adapter (model.train=lora), which is only merged at the end of a run; ask benchmarks"
            " while it trains instead (eval.benchmark_every_steps)"
        )
    config = door.load(run / CONFIG)
    tokens, fill = open_token_model(base, temperature=1.0, banned=(), dtype=config.model.dtype)
    fill()
    stored, learning = Stored(path), dict(tokens.named_parameters())
    learned = [name.removeprefix(_WEIGHT) for name in stored if name.startswith(_WEIGHT)]
    if unknown := [name for name in learned if name not in learning]:
        raise CheckpointError(f"{path} is of another model than {base}: it holds {unknown[0]}")
    with torch.no_grad():
        for name in learned:
            learning[name].copy_(stored[_WEIGHT + name])
    tied = getattr(tokens.model, "all_tied_weights_keys", None) or {}
    dtype = DTYPES[config.model.dtype]
    weights = {
        name: tensor.to(dtype if tensor.is_floating_point() else tensor.dtype).contiguous()
        for name, tensor in tokens.model.state_dict().items()
        if name not in tied
    }
    folder = out / path.name
    tokens.model.save_pretrained(folder, state_dict=weights)
    load_processor(str(base), images_of(config.model)).save_pretrained(folder)
    return folder
