"""A run of schema 1, stored by version 0.3.0, is scored again like one of today."""

from __future__ import annotations

import shutil

from rl.replay.run import replay
from rl.run.progress import Display
from rollouts.store.reader import read_rollouts
from tests.paths import CASES


def test_a_run_of_schema_1_is_replayed_and_nothing_changes(tmp_path):
    run = shutil.copytree(CASES / "schema_1", tmp_path / "run")
    with open(tmp_path / "said", "w", encoding="utf-8") as said:
        out, report = replay(run, [], only=[], times=1, out=None, display=Display(said))
    assert (report["num_completions"], report["num_identical"]) == (16, 16)
    assert [one.total for one in read_rollouts(out)] == [one.total for one in read_rollouts(run)]
