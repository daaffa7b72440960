"""A judge's budget and counters are of a whole run, however often it was stopped: rl/run/judging.py against a real HTTP
server."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from judges import JudgeConfig
from rl.config import Config
from rl.run.judging import counted_before, counters, judge_of
from rl.run.metrics import JUDGE_STEP_METRICS, step_metrics
from rl.run.tracking import METRICS
from tests.fakes import fake_rollouts
from tests.fakes.scripted_judge import MODEL, ScriptedJudge, always, liver_question

LOGGED = (
    {"step": 1, "judge/calls": 1.0, "judge/tokens": 100.0, "judge/failed_ratio": 0.5},
    {
        "step": 2,
        "judge/calls": 2.0,
        "judge/tokens": 200.0,
        "judge/failed_ratio": None,
        "judge/retries": 4.0,
        "reward": 0.5,
    },
)


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_JUDGE_KEY", "sk-planted-key-0815")


def stopped_run(folder: Path, server: ScriptedJudge, resume: bool) -> Config:
    """A run of three calls at most, of which its log says that two were made."""
    (folder / METRICS).write_text("".join(json.dumps(line) + "\n" for line in LOGGED))
    judge = JudgeConfig("openai", server.url, MODEL, "TEST_JUDGE_KEY", max_calls=3, max_attempts=1)
    return replace(Config(), resume=resume, judge=judge)


@pytest.mark.parametrize(("resume", "answered", "calls"), [(True, 1, 3.0), (False, 3, 3.0)])
def test_a_resumed_run_has_what_is_left_of_its_budget(
    tmp_path: Path, resume: bool, answered: int, calls: float
) -> None:
    with ScriptedJudge(always("incorrect")) as server:
        config = stopped_run(tmp_path, server, resume)
        judge = judge_of(config, tmp_path)

        async def four() -> list[str]:
            verdicts = [await judge.judge(liver_question(f"organ {number}")) for number in range(4)]
            await judge.close()
            return [verdict.failure or "answered" for verdict in verdicts]

        said = asyncio.run(four())
    assert said == ["answered"] * answered + ["budget"] * (4 - answered)
    assert counters(judge, counted_before(config, tmp_path))["judge/calls"] == calls


def test_counters_go_on_and_numbers_of_a_step_do_not(tmp_path: Path) -> None:
    with ScriptedJudge(always("incorrect")) as server:
        config = stopped_run(tmp_path, server, resume=True)
    assert counted_before(config, tmp_path) == {"judge/calls": 2.0, "judge/tokens": 200.0, "judge/retries": 4.0}
    assert counters(None, {"judge/retries": 4.0}) == {"judge/retries": 4.0}
    assert counted_before(replace(config, resume=False), tmp_path) == {}


def test_every_number_that_a_step_says_of_its_judge_is_known_as_one() -> None:
    groups = next(fake_rollouts.steps(1, prompts_per_step=6, failures=0.3))
    found = {name for name in step_metrics([one for group in groups for one in group]) if name.startswith("judge/")}
    assert found == JUDGE_STEP_METRICS
