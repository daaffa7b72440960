"""Two steps of GRPO whose policy learns through adapters, in this process: its own base is the reference."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import torch

from rewards.rubric import Rubric
from rewards.scorer import Scorer
from rl.config import Config, LoraConfig, ModelConfig
from rl.grpo import train
from rl.policy.objectives import GrpoObjective
from rl.policy.policy import Policy, Reference
from rollouts.engine.checksum import checksum
from rollouts.prompt.processing import load_processor
from rollouts.store.writer import RunWriter, read_rollouts
from tests.rl.test_step import GRPO, SEED, Engine, Frozen, Judge, Learner, OneRun, Workers, at_once, model, samples

__all__ = ["model"]  # the fixture, which pytest finds by its name here


def learned(model: Path, folder: Path, own_base: bool) -> tuple[Policy, OneRun]:
    """The policy after two steps. `own_base`: the reference is the policy with its adapter off, else a model of its
    own."""
    config = Config(seed=SEED, grpo=GRPO, model=ModelConfig(path=str(model), train="lora", lora=LoraConfig(r=4)))
    policy = Policy(model, GrpoObjective(GRPO), total_updates=8, train="lora", lora=config.model.lora)
    base = SimpleNamespace(log_probs=policy.reference_log_probs)
    reference = Frozen(base if own_base else Reference(model, temperature=GRPO.temperature))  # type: ignore[arg-type]
    workers = Workers(Engine(), Learner(policy, [], lambda: None), reference)
    rubric = Rubric(config.reward.weights, config.reward.routes, Judge(at_once))  # type: ignore[arg-type]
    with Scorer(rubric) as scorer:
        run = OneRun(config, workers, scorer, RunWriter(folder), load_processor(model), samples(), folder.name)
        try:
            train(run)
        finally:
            run.writer.close()
    return policy, run


def test_the_base_under_an_adapter_is_the_reference_to_the_last_bit(model: Path, tmp_path: Path) -> None:
    own, own_run = learned(model, tmp_path / "own", own_base=True)
    other, other_run = learned(model, tmp_path / "other", own_base=False)
    assert checksum(own.state()[0]) == checksum(other.state()[0])
    records = [
        [dataclasses.replace(one, run="", timings={}, outcomes={}) for one in read_rollouts(tmp_path / name)]
        for name in ("own", "other")
    ]
    assert records[0] == records[1]
    assert own_run.reported[2]["kl"] == other_run.reported[2]["kl"] > 0.0, "the adapter has moved away from its base"
    # Only adapters learned: the base is still the model of the folder.
    untouched = Policy(model, GrpoObjective(GRPO), total_updates=1).weights()
    with own.parts.switched_off():
        base = {name: tensor for name, tensor in own.tokens.model.state_dict().items() if ".lora_" not in name}
    assert all(torch.equal(base.get(name, base.get(_inside(name))), tensor) for name, tensor in untouched.items())  # type: ignore[arg-type]


def _inside(name: str) -> str:
    """The name of a weight that has an adapter beside it."""
    layer, _, leaf = name.rpartition(".")
    return f"{layer}.base_layer.{leaf}"
