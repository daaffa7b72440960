"""Commands end well on a terminal that cannot show every character: an old locale, the log of a Windows machine."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes import fake_rollouts
from tests.paths import REPOSITORY

# Files that are started by a command of ours, and print to a pipe that is read as bytes.
CHILDREN = {
    "judges/local/guard.py",
    "rewards/maths/sympy_child.py",
    "rewards/metrics/door_child.py",
    "rewards/plugins/child.py",
    "rl/data/media/worker.py",
    "rollouts/children.py",
}
OLD_LOCALES = ("ascii", "latin-1", "gbk")


def run(encoding: str, *command: str) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=REPOSITORY, env=environment, capture_output=True, timeout=240
    )


def test_every_command_accepts_any_stdout() -> None:
    commands = 0
    for path in (
        path for package in ("judges", "rewards", "rl", "rollouts") for path in (REPOSITORY / package).rglob("*.py")
    ):
        text = path.read_text(encoding="utf-8")
        if path.relative_to(REPOSITORY).as_posix() in CHILDREN or '__name__ == "__main__"' not in text:
            continue
        blocks = [
            node for node in ast.parse(text).body if isinstance(node, ast.If) and "__main__" in ast.unparse(node.test)
        ]
        assert "accept_any_stdout()" in ast.unparse(blocks[-1]), path
        commands += 1
    assert commands >= 13


@pytest.mark.full_run_only(reason="starts commands")
@pytest.mark.parametrize("encoding", OLD_LOCALES)
def test_a_judge_is_calibrated_on_chinese_words(encoding: str, tmp_path: Path) -> None:
    cases, out = tmp_path / "cases.jsonl", tmp_path / "out.jsonl"
    row = {
        "question": "哪个器官 \U0001fa7b?",
        "reference": "肺",
        "completion": "心脏",
        "expected": "incorrect",
        "language": "zh",
    }
    cases.write_text(json.dumps(row, ensure_ascii=False) + "\n", encoding="utf-8")
    done = run(encoding, "judges.calibrate", str(cases), "judge=rules", "--out", str(out))
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr.decode(errors="replace")
    shown = "心脏".encode(encoding, "backslashreplace")
    assert shown in done.stdout


@pytest.mark.full_run_only(reason="starts commands")
def test_a_run_is_read_as_text_in_ascii(tmp_path: Path) -> None:
    fake_rollouts.written(tmp_path / "run\u00fc", 1)
    done = run("ascii", "rollouts.view", str(tmp_path / "run\u00fc"), "--text")
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr.decode(errors="replace")
    assert b"item-0000" in done.stdout
    assert done.stdout.isascii()
