"""A run of schema 1, stored by version 0.3.0, is scored again like one of today."""

from __future__ import annotations

import shutil

from rl.replay.report import Change
from rl.replay.run import replay
from rl.run.progress import Display
from rollouts.store.paid import Paid
from rollouts.store.reader import read_rollouts
from tests.paths import CASES


def test_a_run_of_schema_1_is_replayed_and_nothing_changes(tmp_path):
    run = shutil.copytree(CASES / "schema_1", tmp_path / "run")
    with open(tmp_path / "said", "w", encoding="utf-8") as said:
        out, report = replay(run, [], only=[], times=1, out=None, display=Display(said))
    assert (report["num_completions"], report["num_identical"]) == (16, 16)
    assert [one.total for one in read_rollouts(out)] == [one.total for one in read_rollouts(run)]


def test_the_rounding_of_another_processor_is_no_change():
    before = Paid({"accuracy": ("ok", 1.0)}, 1.0, True, 0.7069956875321199)
    same, other = before._replace(advantage=0.70699568753212), before._replace(advantage=0.70699568)
    paid_less, without = before._replace(total=0.9999999999999999), before._replace(advantage=None)
    changes = [Change(1, "a", 0, before, after) for after in (same, other, paid_less, without)]
    assert [one.is_identical for one in changes] == [True, False, False, False]
    assert Change(1, "a", 0, without, without).is_identical
