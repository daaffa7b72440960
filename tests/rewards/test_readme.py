"""The README's section on rewards works typed as it stands, and shows the plugin as it is."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

import pytest

from judges import RulesJudge
from rewards import Rubric, Sample, Scorer
from rewards.rubric import make_rubric
from rl.config.door import compose
from tests.paths import REPOSITORY

SECTION = (REPOSITORY / "README.md").read_text().split("## Write a reward\n")[1].split("\n## ")[0]
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", SECTION, re.DOTALL)
COMMANDS = [line for kind, text in BLOCKS if not kind for line in text.splitlines()]
CHECKS = [line for line in COMMANDS if line.startswith("python -m rewards.check")]
TRAININGS = [line for line in COMMANDS if line.startswith("python -m rl.train")]


def typed(command: str, *more: str, timeout: float) -> subprocess.CompletedProcess[str]:
    """A command of the README with this Python; `more` goes behind it."""
    words = shlex.split(command, comments=True)
    return subprocess.run(
        [sys.executable, *words[1:], *more], cwd=REPOSITORY, capture_output=True, text=True, timeout=timeout
    )


def code(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines() if line.strip() and not line.startswith(('"""', "#"))]


def test_the_section_shows_the_files_as_they_are():
    shown = {kind: text for kind, text in reversed(BLOCKS) if kind}  # the first block of each kind
    plugin = (REPOSITORY / "examples/my_reward/my_reward.py").read_text()
    assert code(shown["python"]) == code(plugin)
    assert len(code(plugin)) <= 10
    assert code(shown["yaml"]) == code((REPOSITORY / "conf/reward/my_reward.yaml").read_text())
    page = (REPOSITORY / "examples/my_reward/README.md").read_text()
    assert shown["python"] in page
    assert shown["yaml"] in page


def test_the_reward_of_the_page_that_asks_the_judge_works_as_shown(tmp_path):
    page = (REPOSITORY / "examples/my_reward/README.md").read_text()
    (block,) = re.findall(r"```python\n(.*?)```", page.split("## Ask the judge\n")[1].split("\n## ")[0], re.DOTALL)
    (tmp_path / "asking.py").write_text(block)
    sample = Sample("q", "Which organ?", "open", "Liver", aliases=("Hepar",))
    with Scorer(Rubric({f"{tmp_path}/asking.py:means_it": 1.0}, judge=RulesJudge())) as scorer:
        scored = scorer.score_group(
            sample, [f"<answer>{answer}</answer>" for answer in ("the liver", "Hepar", "Spleen")]
        )
    assert [one.total for one in scored] == [1.0, 1.0, 0.0]


def test_every_command_is_tried_here():
    assert CHECKS
    assert TRAININGS
    assert sorted(CHECKS + TRAININGS) == sorted(COMMANDS)


@pytest.mark.parametrize("command", CHECKS)
def test_the_check_runs_as_typed(command):
    # Only the limit on seconds is ours: here several processes may share one core.
    done = typed(command, "--slow-seconds", "9", timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing found that would break training" in done.stdout


@pytest.mark.parametrize("command", TRAININGS)
def test_the_training_command_is_a_whole_configuration(command, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    config = compose(shlex.split(command)[3:])
    rubric = make_rubric(config.reward, RulesJudge())
    assert rubric.weights == {"accuracy": 0.9, "format": 0.1, "brevity": 0.05}
    assert list(rubric.plugins()) == ["brevity"]


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("command", TRAININGS)
def test_the_training_command_trains(command, tmp_path):
    small = [
        "grpo.num_steps=1",
        "grpo.prompts_per_step=4",
        "data.num_eval=8",
        "sft.enabled=false",
        "judge=rules",
        f"out_dir={tmp_path}/run",
    ]
    done = typed(command.replace(" out_dir=runs/my_reward", ""), *small, timeout=1400)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    metrics = (tmp_path / "run/metrics.jsonl").read_text()
    assert "rewards/brevity/mean" in metrics
    assert '"reward_status/brevity/ok": 1.0' in metrics
