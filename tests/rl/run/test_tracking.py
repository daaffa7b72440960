"""metrics.jsonl is readable whatever happens to the run, and W&B works without network, login or noise."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import pytest

from rl.run.tracking import Tracker, TrackingError, read_metrics
from tests.paths import REPOSITORY


def test_a_line_a_step_with_null_for_what_is_not_finite(tmp_path):
    with Tracker(tmp_path, "off") as tracker:
        tracker.log(1, {"reward": 0.5, "kl": math.nan, "grad_norm": math.inf})
        tracker.log(2, {"reward": 0.75})
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line, parse_constant=pytest.fail) for line in lines] == [
        {"step": 1, "reward": 0.5, "kl": None, "grad_norm": None},
        {"step": 2, "reward": 0.75},
    ]
    assert not (tmp_path / "wandb").exists()


def test_each_line_is_on_disk_as_soon_as_it_is_logged(tmp_path):
    tracker = Tracker(tmp_path, "off")
    tracker.log(1, {"reward": 0.5})
    assert read_metrics(tmp_path) == [{"step": 1, "reward": 0.5}]
    tracker.close()
    tracker.close()


def test_a_run_killed_at_any_byte_leaves_every_whole_step_readable(tmp_path):
    with Tracker(tmp_path, "off") as tracker:
        for step in (1, 2, 3):
            tracker.log(step, {"reward": step / 4})
    path = tmp_path / "metrics.jsonl"
    whole = path.read_bytes()
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        assert [line["step"] for line in read_metrics(tmp_path)] == [1, 2, 3][: whole[:cut].count(b"\n")]


def test_a_resumed_run_writes_later_steps_again(tmp_path):
    with Tracker(tmp_path, "off") as tracker:
        for step in (1, 2, 3):
            tracker.log(step, {"reward": 0.1})
    with (tmp_path / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": 4, "rew')
    with Tracker(tmp_path, "off", resume_step=2) as tracker:
        tracker.log(3, {"reward": 0.9})
    assert [(line["step"], line["reward"]) for line in read_metrics(tmp_path)] == [(1, 0.1), (2, 0.1), (3, 0.9)]


def test_a_run_resumed_from_its_beginning_writes_every_line_again(tmp_path):
    with Tracker(tmp_path, "off") as tracker:
        for step in (0, 1):
            tracker.log(step, {"reward": 0.1})
    with Tracker(tmp_path, "off", resume_step=0) as tracker:
        tracker.log(0, {"reward": 0.9})
    assert [(line["step"], line["reward"]) for line in read_metrics(tmp_path)] == [(0, 0.9)]


def test_no_file_is_no_steps(tmp_path):
    assert read_metrics(tmp_path) == []


_OFFLINE = """
import sys
from pathlib import Path
from rl.run.tracking import Tracker
with Tracker(Path(sys.argv[1]), "offline", "rounds", {"seed": 0, "grpo": {"beta": 0.04}}) as tracker:
    tracker.log(1, {"reward": 0.5, "kl": float("nan")})
    tracker.summary({"accuracy": 0.5})
with Tracker(Path(sys.argv[1]), "offline", resume_step=1) as tracker:
    tracker.log(2, {"reward": 0.6})
"""


def test_wandb_offline_needs_no_network_and_no_login_and_says_nothing(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(home),
        "WANDB_BASE_URL": "http://127.0.0.1:9",
        "PYTHONPATH": str(REPOSITORY),
    }
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    command = [sys.executable, "-c", _OFFLINE, str(run_dir)]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, check=False, cwd=tmp_path, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    files = list(run_dir.glob("wandb/offline-run-*/*.wandb"))
    assert len(files) == 2
    assert len({file.name for file in files}) == 1
    assert not list(tmp_path.glob("wandb"))


def test_wandb_online_without_a_key_says_what_to_set(tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with pytest.raises(TrackingError, match="WANDB_API_KEY"):
        Tracker(tmp_path, "online")


def test_off_does_not_load_wandb(tmp_path):
    code = (
        "import sys, pathlib, rl.run.tracking as t; t.Tracker(pathlib.Path(sys.argv[1]), 'off').close();"
        " sys.exit('wandb' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=REPOSITORY, check=False).returncode == 0
