"""How the commands end: with a line of ours that says what to do, at most one traceback, and one rule of exit codes
(rollouts/terminal.py); nothing of a library stands behind it."""

from __future__ import annotations

import subprocess
import sys
from typing import NamedTuple

import pytest

from judges.guards.canaries import CanaryAccepted
from rl.drawing import LostCompletions, TooManyFailures
from rl.policy.checkpoints import NotWritten
from rl.policy.policy import NonFiniteUpdate
from rl.run.failures import EXPECTED, exit_on_failure
from rl.workers.failures import WorkerFailed
from rollouts.engine.requests import EngineDead, PromptMismatch, StaleWeights, WeightsRejected
from rollouts.store.disk import DiskFull
from rollouts.terminal import CANNOT, FAILED, exit_code
from tests.paths import REPOSITORY

pytestmark = pytest.mark.full_run_only(reason="starts commands")
RUNS = ("rollouts.check", "rollouts.view", "rl.export", "rl.report", "rl.replay")
SETTINGS = ("rl.train", "rl.sft", "rl.doctor", "rl.evaluate")
COMMANDS = (
    *RUNS,
    *SETTINGS,
    "rollouts.diff",
    "rollouts.imaging",
    "judges.calibrate",
    "rewards.check",
    "rewards.answers.measure",
    "rl.compare",
    "rl.curate",
)
EXAMPLES = ("examples.curate.make", "examples.hospital.make")
NO_RUN = "is not a run"


class Bad(NamedTuple):
    """A call that cannot work, whatever the reason: wrong usage, no such file, data of another kind."""

    command: str
    arguments: tuple[str, ...]
    # What the last line says.
    says: str


BAD = (
    *(
        Bad(name, (), f"the following arguments are required: {'FOLDER' if name == 'rl.report' else 'RUN'}")
        for name in RUNS
    ),
    *(Bad(name, ("/no/such", *more), says) for name, more, says in (
        ("rollouts.check", (), NO_RUN), ("rollouts.view", (), NO_RUN), ("rollouts.view", ("--text",), NO_RUN),
        ("rl.export", ("--to", "wandb", "--out", "/no/out"), NO_RUN), ("rl.report", (), NO_RUN),
        ("rl.replay", (), "config.yaml"), ("rollouts.diff", ("/no/other",), NO_RUN), ("rl.compare", (), "is no run"),
        ("rl.compare", ("/no/such",), "is given twice"), ("rollouts.imaging", (), "there is no such file"),
        ("rewards.check", (), "there is no reward named"), ("rewards.answers.measure", (), "holds no cases"),
        ("judges.calibrate", ("judge=rules", "--out", "/no/out"), "cannot be read"),
        ("examples.curate.make", ("--count", "x"), "invalid int value"),
    )),
    *(Bad(name, ("grpo.num_step=3",), f"python -m {name} --help") for name in SETTINGS),
    *(Bad(name, ("model.path=/no/such",), f"python -m {name} --help") for name in SETTINGS),
    Bad("rl.evaluate", ("--from-rows", "/no/such"), "there is no such folder"),
    Bad("rl.curate", ("/no/such.yaml", "--check"), "cannot be read"),
    Bad("rewards.check", ("format", "--log", "/no/such"), "/no/such"),
    Bad("judges.calibrate", ("/no/such", "judge=nobody", "--out", "/no/out"), "judge"),
    Bad("examples.hospital.make", ("data.root=x",), "--train"),
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
    assert (done.returncode, done.stdout) == (CANNOT, ""), done
    assert bad.says in lines[-1] and "Traceback" not in done.stderr, done.stderr
    assert len(lines) <= 20


def test_every_command_is_held_to_it() -> None:
    """A file of the packages that runs as a program is in the table, or is the child of another."""
    there = {
        ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__main__")
        for package in ("judges", "rewards", "rl", "rollouts")
        for path in (REPOSITORY / package).rglob("*.py")
        if '\nif __name__ == "__main__":\n' in path.read_text(encoding="utf-8")
    }
    children = {
        *("judges.local.guard", "rewards.maths.sympy_child", "rewards.metrics.door_child", "rewards.plugins.child"),
        *("rl.data.media.worker", "rollouts.children"),
    }
    assert there - children == set(COMMANDS)
    assert {bad.command for bad in BAD} == {*COMMANDS, *EXAMPLES}


def test_what_failed_in_the_middle_is_told_from_what_cannot_be_done() -> None:
    ours = {
        *(EngineDead, LostCompletions, NonFiniteUpdate, PromptMismatch, StaleWeights, TooManyFailures),
        *(WeightsRejected, WorkerFailed),
    }
    for kind in EXPECTED:
        assert exit_code(kind("why")) == (FAILED if kind in ours else CANNOT), kind
    assert [exit_code(kind("why")) for kind in (CanaryAccepted, DiskFull, NotWritten)] == [FAILED] * 3


@pytest.mark.parametrize(
    ("fault", "code"),
    [(TooManyFailures("why"), FAILED), (FileNotFoundError("why"), CANNOT), (KeyboardInterrupt(), 130)],
    ids=lambda one: type(one).__name__,
)
def test_a_run_ends_with_the_code_of_its_fault(
    fault: BaseException, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left, exit_on_failure("python -m rl.train"):
        raise fault
    assert left.value.code == code
    assert capsys.readouterr().err.startswith("python -m rl.train: " + ("interrupted" if code == 130 else "why"))


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
