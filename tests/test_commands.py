"""How the commands end: with a line of ours that says what to do, at most one traceback, and the exit code that is
documented; nothing of a library stands behind it."""

from __future__ import annotations

import subprocess
import sys
from typing import NamedTuple

import pytest

from tests.paths import REPOSITORY

pytestmark = pytest.mark.full_run_only(reason="starts commands")
RUNS = ("rollouts.check", "rollouts.view", "rl.export", "rl.report", "rl.replay")
SETTINGS = ("rl.train", "rl.sft", "rl.doctor", "rl.evaluate")
COMMANDS = (
    *RUNS,
    *SETTINGS,
    "rollouts.diff",
    "judges.calibrate",
    "rewards.check",
    "rewards.answers.measure",
    "rl.curate",
)
NO_RUN = "is not a run"


class Bad(NamedTuple):
    """A call that cannot work."""

    command: str
    arguments: tuple[str, ...]
    code: int
    # What the last line says.
    says: str


BAD = (
    *(
        Bad(name, (), 2, f"the following arguments are required: {'FOLDER' if name == 'rl.report' else 'RUN'}")
        for name in RUNS
    ),
    *(Bad(name, ("/no/such", *more), code, says) for name, more, code, says in (
        ("rollouts.check", (), 2, NO_RUN), ("rollouts.view", (), 2, NO_RUN), ("rollouts.view", ("--text",), 2, NO_RUN),
        ("rl.export", ("--to", "wandb", "--out", "/no/out"), 1, NO_RUN), ("rl.report", (), 2, NO_RUN),
        ("rl.replay", (), 1, "config.yaml"), ("rollouts.diff", ("/no/other",), 2, NO_RUN),
        ("rewards.check", (), 2, "there is no reward named"), ("rewards.answers.measure", (), 2, "holds no cases"),
        ("judges.calibrate", ("judge=rules", "--out", "/no/out"), 2, "cannot be read"),
    )),
    *(Bad(name, ("grpo.num_step=3",), 2, f"python -m {name} --help") for name in SETTINGS),
    *(Bad(name, ("model.path=/no/such",), 2, f"python -m {name} --help") for name in SETTINGS),
    Bad("rl.curate", ("/no/such.yaml", "--check"), 2, "cannot be read"),
    Bad("rewards.check", ("format", "--log", "/no/such"), 2, "/no/such"),
    Bad("judges.calibrate", ("/no/such", "judge=nobody", "--out", "/no/out"), 2, "judge"),
)  # fmt: skip


def called(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=REPOSITORY, capture_output=True, text=True, timeout=240)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_all_that_is_printed(command: str) -> None:
    done = called("-m", command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert (
        done.stdout.startswith((f"usage: python -m {command}", f"python -m {command}", "Usage"))
        or command in done.stdout
    )


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: " ".join((bad.command, *bad.arguments)))
def test_a_call_that_cannot_work_ends_with_what_to_do(bad: Bad) -> None:
    done = called("-m", bad.command, *bad.arguments)
    lines = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (bad.code, ""), done
    assert bad.says in lines[-1] and "Traceback" not in done.stderr, done.stderr
    assert len(lines) <= 20


# A bug of ours in the middle of a command, where bars are shown and signals are held.
BUG = """
import sys
from rl import recipe, train

def run(config, display):
    with display.bar("work", 2) as bar:
        bar.advance()
        raise KeyError("a bug")

recipe.run_recipe = run
sys.exit(train.main(["+experiment=med_grpo", "judge=rules", "out_dir=/no/where"]))
"""


def test_a_bug_prints_its_traceback_once_and_last() -> None:
    done = called("-c", BUG)
    assert done.returncode == 1 and done.stderr.count("Traceback") == 1, done.stderr
    assert done.stderr.splitlines()[-1] == "KeyError: 'a bug'"
