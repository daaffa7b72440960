"""One run, one folder, one process: everything else is a clear error that names out_dir= and resume."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from rl.config import Config, GrpoConfig
from rl.config.door import compose
from rl.run.folder import RunFolder, RunFolderError, changed_settings
from tests.paths import REPOSITORY


def config(path: Path, **changes: object) -> Config:
    return dataclasses.replace(Config(out_dir=str(path)), **changes)


def test_a_new_folder_holds_the_resolved_configuration_and_the_versions(tmp_path):
    with RunFolder(config(tmp_path / "deep" / "run", seed=3)) as folder:
        assert folder.is_new
    settings = yaml.safe_load((folder.path / "config.yaml").read_text())
    assert settings["seed"] == 3
    assert settings["grpo"]["beta"] == 0.04
    assert json.loads((folder.path / "versions.json").read_text())["torch"]
    assert sorted(path.name for path in folder.path.iterdir()) == ["config.yaml", "versions.json"]


def test_a_folder_that_holds_a_run_is_refused_and_left_alone(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("{}\n")
    with pytest.raises(RunFolderError, match=r"not empty \(metrics\.jsonl\)(.|\n)*out_dir=(.|\n)*resume=true"):
        RunFolder(config(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_resume_goes_on_and_may_change_where_but_not_what(tmp_path):
    with RunFolder(config(tmp_path)):
        pass
    with RunFolder(config(tmp_path, resume=True, wandb="off")) as folder:
        assert not folder.is_new
    with pytest.raises(RunFolderError, match=r"grpo\.beta: was 0\.04, now 0\.1"):
        RunFolder(config(tmp_path, resume=True, grpo=GrpoConfig(beta=0.1)))


def test_resume_of_a_folder_that_is_no_run_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(RunFolderError, match="no run to resume"):
        RunFolder(config(tmp_path, resume=True))
    assert (tmp_path / "thesis.tex").exists()


def test_two_processes_cannot_write_one_run(tmp_path):
    code = (
        "import sys; from rl.config import Config; from rl.run.folder import RunFolder;"
        "folder = RunFolder(Config(out_dir=sys.argv[1])); print('held', flush=True); input()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )
    try:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(RunFolderError, match=rf"another run \(process {other.pid}\)"):
            RunFolder(config(tmp_path, resume=True))
    finally:
        other.kill()
        other.communicate()
    # A killed process holds nothing.
    RunFolder(config(tmp_path, resume=True)).close()


def test_an_error_before_anything_was_done_leaves_no_folder(tmp_path):
    with pytest.raises(ValueError, match="no such model"), RunFolder(config(tmp_path / "run")):
        raise ValueError("no such model")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_what_was_done_before_an_error_stays(tmp_path, error):
    def one_step_and_out() -> None:
        with RunFolder(config(tmp_path / "run")) as folder:
            (folder.path / "rollouts/step_000001").mkdir(parents=True)
            raise error

    with pytest.raises(error):
        one_step_and_out()
    assert (tmp_path / "run/config.yaml").exists()


def test_an_interrupt_keeps_even_an_empty_run(tmp_path):
    with pytest.raises(KeyboardInterrupt), RunFolder(config(tmp_path / "run")):
        raise KeyboardInterrupt
    assert (tmp_path / "run/config.yaml").exists()


def test_the_summary_is_strict_json(tmp_path):
    with RunFolder(config(tmp_path / "run")) as folder:
        folder.write_summary({"accuracy": {"sft": 0.5, "grpo": math.nan}, "list": [1, math.inf]})
        text = (folder.path / "summary.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail) == {"accuracy": {"sft": 0.5, "grpo": None}, "list": [1, None]}


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="cannot be made"):
        RunFolder(config(tmp_path / "file" / "run"))


def test_what_rewards_in_child_processes_print_is_in_the_runs_folder(tmp_path: Path) -> None:
    printed = logging.getLogger("rewards.plugins")
    with RunFolder(config(tmp_path / "run")) as folder:
        assert not (folder.path / "plugins.log").exists()
        printed.info("polite: hello")
    printed.info("polite: afterwards")
    assert (folder.path / "plugins.log").read_text() == "polite: hello\n"


def test_a_run_goes_on_with_another_limit_for_rewards_in_child_processes(tmp_path: Path) -> None:
    first = config(tmp_path / "run")
    with RunFolder(first) as folder:
        (folder.path / "metrics.jsonl").write_text("{}\n")
    patient = dataclasses.replace(
        first, resume=True, reward=dataclasses.replace(first.reward, plugin_timeout_seconds=60.0)
    )
    with RunFolder(patient) as folder:
        assert "plugin_timeout_seconds: 60.0" in (folder.path / "config.yaml").read_text()


def stored_by(version: str, path: Path) -> None:
    """Settings that `python -m rl.train +experiment=med_grpo` of an earlier version stored."""
    text = (REPOSITORY / f"tests/cases/stored_settings/{version}.yaml").read_text()
    path.mkdir()
    (path / "config.yaml").write_text(text.replace("out_dir: runs/med_grpo", f"out_dir: {path}"))


def test_a_run_of_an_earlier_version_goes_on_with_the_same_command(tmp_path: Path) -> None:
    stored_by("0.3", tmp_path / "run")
    command = ["+experiment=med_grpo", f"out_dir={tmp_path / 'run'}", "resume=true"]
    # Since then: controls, stages, media and metrics, none of which this run has.
    with RunFolder(compose(command)) as folder:
        assert not folder.is_new
        assert "control: none" in (folder.path / "config.yaml").read_text()
    stored = tmp_path / "other"
    stored_by("0.3", stored)
    other = [*command[:1], f"out_dir={stored}", "resume=true"]
    for change, told in {
        "control=blind": r"control: was 'none', now 'blind'",
        "stages.skip=[captions]": r"stages\.skip: was \['interleaved', 'captions'\], now \['captions'\]",
        "grpo.epsilon=0.1": r"grpo\.epsilon: was 0\.2, now 0\.1",
    }.items():
        with pytest.raises(RunFolderError, match=told):
            RunFolder(compose([*other, change]))


def test_what_an_earlier_version_did_without_a_word_is_told_where_this_one_does_otherwise(tmp_path: Path) -> None:
    stored_by("0.2", tmp_path / "run")
    command = ["+experiment=med_grpo", f"out_dir={tmp_path / 'run'}", "resume=true"]
    with pytest.raises(RunFolderError) as error:
        RunFolder(compose(command))
    assert [line for line in str(error.value).splitlines() if line.startswith("  ")] == [
        "  grpo.old_logprobs: was 'policy', now 'engine'"
    ]
    with RunFolder(compose([*command, "grpo.old_logprobs=policy"])) as folder:
        assert not folder.is_new


def test_settings_that_nothing_reads_are_no_change() -> None:
    now = dataclasses.asdict(Config())
    judge = now | {"judge": now["judge"] | {"prompt": "equivalence_2"}}
    assert changed_settings(now, judge) == {}  # judge.kind=rules asks nobody
    asked = {name: tree | {"judge": tree["judge"] | {"kind": "openai"}} for name, tree in (("a", now), ("b", judge))}
    assert changed_settings(asked["a"], asked["b"]) == {"judge.prompt": ("equivalence_1", "equivalence_2")}
    # What one of the two reads is one, and what this version does not know.
    assert changed_settings(now, asked["b"]).keys() == {"judge.kind", "judge.prompt"}
    strange = now | {"grpo": now["grpo"] | {"top_p": 1.0}}
    assert changed_settings(strange, now) == {"grpo.top_p": (1.0, None)}
