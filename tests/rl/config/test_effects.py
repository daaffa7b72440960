"""Settings that would do nothing, and judges that cannot be made: told at the door, with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from judges.settings import PanelMember
from rl.config import door as compose
from rl.config.build import build, leaves, value_at
from rl.config.door import load, to_yaml
from rl.config.effects import EFFECTS
from rl.config.files import CONF_DIR, settings_in
from tests.rl.config.test_compose import faults_of, model_path

__all__ = ["model_path"]  # the fixture, which pytest finds by its name here


@pytest.mark.parametrize(
    ("arguments", "setting"),
    [
        (["data.root=."], "data.root"),
        (["model.lora.r=8"], "model.lora.r"),
        (["model.train=language", "model.lora.target_modules=[q_proj]"], "model.lora.target_modules"),
        (["data=vqa_rad", "data.root=.", "data.shortcut_fraction=0.1"], "data.shortcut_fraction"),
        (["judge.base_url=http://localhost:1/v1"], "judge.base_url"),
        (["compute.tensor_parallel_size=2"], "compute.tensor_parallel_size"),
        (["compute.gpu_memory_utilization=0.9"], "compute.gpu_memory_utilization"),
        (["sft.checkpoint=examples/tiny/model", "sft.learning_rate=1"], "sft.learning_rate"),
        (["sft.enabled=false", "sft.num_epochs=7"], "sft.num_epochs"),
        (["sft.enabled=false", "sft.cache_dir=x"], "sft.cache_dir"),
        (["grpo.num_steps=5", "grpo.num_epochs=2"], "grpo.num_epochs"),
        (["wandb=off", "wandb_project=mine"], "wandb_project"),
        (["grpo.refill_rounds=3"], "grpo.refill_rounds"),
        (["grpo.tis_cap=3"], "grpo.tis_cap"),
        (["allow_changes=true"], "allow_changes"),
        (["reward.plugin_workers=3"], "reward.plugin_workers"),
        (["reward.weights={format:1}", "~reward.weights.accuracy", "reward.routes.open=yes_no"], "reward.routes"),
        (
            ["grpo.multi_objective_aggregation=normalize_then_sum", "grpo.scale_rewards=batch"],
            "grpo.scale_rewards",
        ),
        (
            ["judge=openai", "judge.kind=openai", "judge.base_url=http://a/v1", "judge.model=m", "~reward.routes.open"],
            "judge.kind",
        ),
    ],
)
def test_a_setting_without_effect_is_an_error_that_names_why(
    arguments: list[str], setting: str, model_path: str
) -> None:
    (fault,) = faults_of(model_path, *arguments)
    assert fault.startswith(f"{setting}: setting it has no effect, because ")


# One judge and nothing else: the file switches further layers on.
OPENAI = [
    "judge=openai",
    "judge.base_url=http://a/v1",
    "judge.model=m",
    "judge.second_opinion=off",
    "judge.canary_fraction=0",
]


def merged(arguments: list[str], others: list[str]) -> list[str]:
    """Both, the second winning: Hydra refuses a setting that stands twice."""
    return list({argument.split("=")[0]: argument for argument in [*arguments, *others]}.values())


@pytest.mark.parametrize(
    ("arguments", "setting", "why"),
    [
        (["judge.second_model=n"], "judge.second_model", "judge.second_opinion is off"),
        (["judge.panel_rule=unanimous"], "judge.panel_rule", "judge.panel has no members"),
        (["judge.on_canary=warn"], "judge.on_canary", "judge.canary_fraction is 0"),
        (["judge.min_kappa=0.9"], "judge.min_kappa", "judge.calibration names no file"),
        (["judge.offline=true", "judge.max_calls=5"], "judge.max_calls", "judge.offline=true asks nobody"),
        (["judge.panel.a.prompt=equivalence_1", "judge.panel.b.prompt=equivalence_2", "judge.prompt=mine"],
        "judge.prompt", "every member"),
    ],
)  # fmt: skip
def test_a_judge_setting_without_effect_says_what_switches_it_on(
    arguments: list[str], setting: str, why: str, model_path: str
) -> None:
    (fault,) = faults_of(model_path, *merged(OPENAI, arguments))
    assert fault.startswith(f"{setting}: setting it has no effect, because ")
    assert why in fault


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["judge.panel.a.model=x"], ["judge.panel: got one member (a), expected at least two"]),
        (["judge.panel.a.model=x", "judge.panel.b.model=x"],
        ["judge.panel.b: asks the same model with the same prompt as judge.panel.a"]),
        (["judge.panel.a.modle=x", "judge.panel.b.model=y"],
        ["judge.panel", "settings among base_url, model", "got 'modle'"]),
        (["judge.panel.a.model=x", "judge.panel.b.model=y", "judge.panel_quorum=3"],
        ["judge.panel_quorum: got 3, expected 1 to 2"]),
        (["judge.second_opinion=both", "judge.second_prompt=equivalence_1"], ["judge.second_opinion", "no defence"]),
        (["judge.canary_fraction=2"], ["judge.canary_fraction: got 2.0, expected >= 0 and <= 1"]),
        (["judge.calibration=/no/such.jsonl"], ["judge.calibration: there is no file /no/such.jsonl"]),
        (["judge.sampling.temprature=1"], ["judge.sampling.temprature", "temperature, top_p"]),
        (["judge.kind=oracle"], ["judge.kind", "expected one of"]),
        (["judge.offline=true", "judge.cache=off"], ["judge.offline", "judge.cache is off"]),
        (["judge.base_url=localhost:80"], ["expected an address that begins with http"]),
    ],
)  # fmt: skip
def test_a_judge_that_cannot_be_made_is_refused_with_the_setting(
    arguments: list[str], words: list[str], model_path: str
) -> None:
    faults = "\n".join(faults_of(model_path, *merged(OPENAI, arguments)))
    for word in words:
        assert word in faults


def test_a_panel_is_named_on_the_command_line_and_survives_yaml(model_path: str, tmp_path: Path) -> None:
    config = compose.compose(
        [model_path, *OPENAI, "judge.panel.a.prompt=equivalence_2", "judge.panel.b.base_url=http://127.0.0.1:8000/v1"]
    )
    assert config.judge.panel == {
        "a": PanelMember(prompt="equivalence_2"),
        "b": PanelMember(base_url="http://127.0.0.1:8000/v1"),
    }
    (tmp_path / "config.yaml").write_text(to_yaml(config))
    assert load(tmp_path / "config.yaml") == config


def idle_settings(values: Mapping[str, Any]) -> list[str]:
    """Settings that a file of conf/ states away from their defaults and itself makes do nothing."""
    stated = {name: value for name, value in values.items() if name != "defaults"}
    # Which stages a run has is said by the experiment; a model's file says what each would take.
    config, _ = build(stated | {"stages": {"skip": [], **stated.get("stages", {})}}, str)
    default = {path: leaf.default for path, leaf in leaves().items()}
    return [
        path
        for effect in EFFECTS
        if effect.idle(config)
        for path in effect.paths
        if value_at(config, path) != default[path] and path != "stages.skip"
    ]


@pytest.mark.parametrize("file", sorted(CONF_DIR.rglob("*.yaml")), ids=lambda file: file.stem)
def test_no_shipped_file_states_what_it_switches_off(file: Path) -> None:
    group = "" if file.parent == CONF_DIR else file.parent.name
    assert idle_settings(settings_in(file.read_text(), group)) == []


def test_a_file_that_states_what_it_switches_off_would_be_seen() -> None:
    assert idle_settings(settings_in("kind: rules\nbase_url: http://127.0.0.1:1/v1\n", "judge")) == ["judge.base_url"]
    assert idle_settings(settings_in("# @package _global_\nwandb: 'off'\nwandb_project: mine\n", "x")) == [
        "wandb_project"
    ]


def test_the_folder_of_models_is_used_by_the_stages_before_an_instruction_tuning_that_is_left_out() -> None:
    left_out = ["+experiment=fleming_vl", "stages.skip=[instruction]", "sft.cache_dir=x"]
    assert compose.compose(left_out).sft.cache_dir == "x"
