"""The check of a stored run names everything that is missing or changed."""

from __future__ import annotations

from rollouts.store.check import check_run
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
