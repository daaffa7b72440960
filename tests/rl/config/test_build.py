"""Building and checking the configuration tree: strict types, ranges, nearest names; pure functions without Hydra."""

from __future__ import annotations

import dataclasses

from rl.config import Config, ModelConfig
from rl.config.build import build, leaves
from rl.config.rules import RANGES, problems, without_effect
from rollouts.nearest import nearest


def test_settings_of_files_and_unchanged_defaults_are_never_without_effect() -> None:
    config = dataclasses.replace(Config(), wandb="off", wandb_project="mine")
    assert without_effect(config, set()) == []
    assert without_effect(Config(), {"compute.tensor_parallel_size"}) == []


def test_an_unknown_setting_in_a_file_names_the_file() -> None:
    config, faults = build({"grpo": {"betta": 1}}, lambda path: f"conf/model/tiny.yaml states {path}")
    assert config == Config()
    assert faults == [
        "grpo.betta (conf/model/tiny.yaml states grpo.betta): there is no such setting; did you mean 'grpo.beta'?"
    ]


def test_a_value_of_the_wrong_type_is_told_and_the_default_stays() -> None:
    config, faults = build({"seed": True, "grpo": {"beta": 1}, "reward": {"weights": {"format": "x", "a": 1}}}, str)
    assert (config.seed, config.grpo.beta, config.reward) == (Config().seed, 1.0, Config().reward)
    assert type(config.grpo.beta) is float
    assert faults == [
        "seed (seed): got True (bool), expected int",
        "reward.weights (reward.weights): got 'x' (str), expected float under 'format'",
    ]


def test_nothing_near_is_not_guessed() -> None:
    assert nearest("zzzz.qqqq", leaves()) is None
    assert nearest("lerning_rate", leaves()) == "sft.learning_rate"
    assert nearest("grpo.learning_rat", leaves()) == "grpo.learning_rate"


def test_every_number_has_a_range_that_its_default_satisfies() -> None:
    ranged = {path for paths in RANGES for path in paths.split()}
    numbers = {path for path, leaf in leaves().items() if leaf.annotation in (int, float, int | None, float | None)}
    assert ranged | {"grpo.num_generations"} == numbers
    assert problems(dataclasses.replace(Config(), model=ModelConfig(path="organisation/name")), set()) == []
