"""The check of a stored run names everything that is missing or changed."""

from __future__ import annotations

import json

import pytest

from rollouts.check import check_run, main
from rollouts.store.writer import RunWriter
from tests.fakes import fake_rollouts


def test_check_run_finds_what_is_missing(tmp_path):
    fake_rollouts.written(tmp_path, 2)
    assert check_run(tmp_path).problems == ()
    check = check_run(tmp_path, num_steps=2, prompts_per_step=4, num_generations=8)
    assert (check.num_steps, check.num_rollouts, check.num_media, check.ok) == (2, 64, 12, True)
    assert "expected 3" in " ".join(check_run(tmp_path, num_steps=3).problems)
    next(iter((tmp_path / "media").iterdir())).unlink()
    assert "missing" in " ".join(check_run(tmp_path).problems)


def test_check_run_finds_a_short_group_and_a_changed_image(tmp_path):
    writer = RunWriter(tmp_path)
    writer.append_group(fake_rollouts.group(0, size=8))
    writer.append_group(fake_rollouts.group(2, size=7))
    writer.finish_step(1)
    next(iter((tmp_path / "media").iterdir())).write_bytes(fake_rollouts.png(99))
    problems = " ".join(check_run(tmp_path).problems)
    assert "item-0002" in problems
    assert "7 completions" in problems
    assert "changed" in problems


def test_the_command_says_what_is_there_and_what_is_not(tmp_path, capsys):
    fake_rollouts.written(tmp_path, 2)
    assert main([str(tmp_path), "--steps", "2", "--prompts", "4", "--completions", "8"]) == 0
    assert capsys.readouterr().out == "2 steps, 64 completions, 12 images\nall is there and unchanged\n"
    image = next(iter((tmp_path / "media").iterdir()))
    image.unlink()
    parquet = tmp_path / "rollouts/step_000002/rollouts.parquet"
    parquet.write_bytes(parquet.read_bytes()[:100])
    assert main([str(tmp_path)]) == 1
    printed = capsys.readouterr().out
    assert f"image {image.stem} of step" in printed
    assert "step_000002" in printed
    assert printed.endswith("problems\n")
    assert main([str(tmp_path), "--json"]) == 1
    assert len(json.loads(capsys.readouterr().out)["problems"]) >= 2


def test_a_step_that_is_being_written_is_named_and_no_fault(tmp_path, capsys):
    writer = RunWriter(tmp_path)
    writer.append_group(fake_rollouts.group(0, size=8))
    writer.close()
    assert main([str(tmp_path)]) == 0
    assert "not finished: step 1" in capsys.readouterr().out


@pytest.mark.parametrize("manifest", ['{"schema_version": 1}', '{"schema_version": 1, "files": 3, "media": {}}', "[]"])
def test_a_strangers_manifest_is_a_problem_and_no_crash(tmp_path, capsys, manifest):
    fake_rollouts.written(tmp_path, 1)
    (tmp_path / "rollouts/step_000001/manifest.json").write_text(manifest)
    assert main([str(tmp_path)]) == 1
    assert "step_000001" in capsys.readouterr().out


def test_a_folder_that_is_no_run_has_an_exit_code_of_its_own(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    assert "is not a run" in capsys.readouterr().err
