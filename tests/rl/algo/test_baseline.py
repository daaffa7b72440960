"""The floor of an earlier commit (`python -m tests.bench.step.baseline`): what can be shown without its history."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from rl.config import Config, DataConfig, GrpoConfig
from tests.bench.step import baseline


def test_a_commit_that_the_history_does_not_hold_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(SystemExit, match=r"commit 0123abc cannot be checked out(.|\n)*fetch the whole history"),
        baseline.checked_out("0123abc", tmp_path / "tree"),
    ):
        pass


def test_it_is_named_before_anything_is_measured() -> None:
    baseline.require("HEAD")
    with pytest.raises(SystemExit, match=r"commit 0123abc is not in the history of .*; fetch the whole history"):
        baseline.require("0123abc")


def test_the_code_that_runs_there_imports_nothing_of_today_at_its_head() -> None:
    tree = ast.parse(baseline.OLD_CODE.read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not {name.split(".")[0] for name in names} & {"rl", "rollouts", "rewards", "judges", "conf", "tests"}


def test_a_commit_is_given_the_settings_that_it_knows_and_has_another_default_for() -> None:
    config = Config(seed=3, data=DataConfig(name="jsonl", root="rows.jsonl"), grpo=GrpoConfig(prompts_per_step=4))
    expected = {"seed=3", "data.name=jsonl", f"data.root={Path('rows.jsonl').resolve()}", "grpo.prompts_per_step=4"}
    assert set(baseline.settings_known_to(baseline.ROOT, config)) == expected
