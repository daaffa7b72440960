"""The fast lane: which files are in, and what happens to a test that starts something all the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.lanes import why_left_out
from tests.paths import REPOSITORY

TESTS = REPOSITORY / "tests"


@pytest.mark.parametrize("name", ["rl/algo/test_losses.py", "rewards/answers/test_parser.py", "judges/test_rules.py"])
def test_a_file_that_starts_nothing_is_in_without_being_listed(name: str) -> None:
    assert why_left_out(TESTS / name) == ""


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("test_lanes.py", "tests/test_lanes.py uses subprocess"),  # by its own import
        ("judges/gateway/test_gateway.py", "tests/fakes/scripted_judge.py uses start_server"),  # by a helper's server
        ("rl/policy/test_policy.py", "uses transformers"),  # by what it loads
    ],
)
def test_a_file_that_may_start_something_is_left_out_with_the_reason(name: str, reason: str) -> None:
    assert reason in why_left_out(TESTS / name)


def test_the_lane_is_worth_having() -> None:
    """36 of 86 files when it was made."""
    files = list(TESTS.rglob("test_*.py"))
    assert sum(not why_left_out(path) for path in files) > len(files) / 4


LATE = """
import os
import pytest

def test_quiet(): assert True
def test_loud(): assert os.system("true") == 0
@pytest.mark.full_run_only(reason="loud")
def test_marked(): assert os.system("true") == 0
def test_heavy(): import transformers
def test_compares(): pytest.importorskip("trl")
"""


def test_a_test_of_the_lane_that_starts_something_fails_and_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "test_late.py").write_text(LATE)
    options = ["-p", "tests.conftest", "--fast", "-c", str(REPOSITORY / "pyproject.toml"), "--rootdir", str(tmp_path)]
    command = [sys.executable, "-m", "pytest", "-q", "-rA", *options, str(tmp_path)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120)
    assert "2 failed, 1 passed, 1 skipped, 1 deselected" in done.stdout, done.stdout + done.stderr
    assert "this test did: os.system. Mark it @pytest.mark.full_run_only" in done.stdout
    assert "test_late.py::test_quiet" in next(line for line in done.stdout.splitlines() if line.startswith("PASSED"))
