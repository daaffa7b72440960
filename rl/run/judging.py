"""The judge of a run, made ready before anything is drawn: it is asked once, graded on labelled answers where the run
demands that, and named."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

from judges import Judge, JudgeConfig, make_judge
from judges.calibration.grading import Summary, describe, require, summarise, summary_as_dict
from judges.calibration.results import Results, identity
from judges.cases import read_labelled
from rewards.graded_cases import grade_into
from rl.config import Config
from rl.config.effects import asks_judge
from rl.run.metrics import JUDGE_STEP_METRICS
from rl.run.progress import Teller
from rl.run.tracking import read_metrics
from rollouts.store.disk import write_atomically

JUDGE_CACHE = "judge.sqlite"
CALIBRATION_ROWS, CALIBRATION = "calibration.jsonl", "calibration.json"


def judge_of(config: Config, folder: Path) -> Judge:
    """The judge with its verdicts kept in the run's folder; a server of ours starts now, beside SFT. A resumed run goes
    on with what is left of its budget. Raises JudgeConfigError."""
    spent = counted_before(config, folder)
    calls, tokens = int(spent.get("judge/calls", 0)), int(spent.get("judge/tokens", 0))
    return make_judge(
        config.judge, cache_path=folder / JUDGE_CACHE, start=asks_judge(config), calls=calls, tokens=tokens
    )


def counted_before(config: Config, folder: Path) -> dict[str, float]:
    """The judge's counters (calls, tokens, retries, cost ..) as the last step of a stopped run logged them; empty in a
    new run.

    Steps after the last checkpoint count, too: they are made again, but their calls were paid for. Calls of the step
    that was under way do not.
    """
    logged = read_metrics(folder)[-1:] if config.resume else []
    return {
        name: value
        for line in logged
        for name, value in line.items()
        if name.startswith("judge/") and name not in JUDGE_STEP_METRICS and value is not None
    }


def counters(judge: Judge | None, before: Mapping[str, float]) -> dict[str, float]:
    """The judge's counters since the run's first start; `before`: what they had come to when it was stopped
    (`counted_before`)."""
    now = judge.metrics() if judge else {}
    return {name: before.get(name, 0.0) + now.get(name, 0.0) for name in sorted({*before, *now})}


def make_ready(judge: Judge, config: Config, folder: Path, teller: Teller) -> None:
    """Raise unless the judge answers, keeps to the schema, and grades `judge.calibration` well enough; say plainly who
    pays.

    A server of ours (judge=local) is still starting: unless it must be graded first it is not waited for, judgements
    wait instead (`raise_if_server_gone`).

    Raises:
        JudgeUnreachable, JudgeConfigError, JudgeNotGoodEnough.
    """
    if not asks_judge(config):
        teller.say("no reward of this run asks a judge")
        return
    if config.judge.kind != "local" or config.judge.calibration is not None:
        judge.check_now()
    teller.say(judge.describe())
    if config.judge.calibration is not None and config.judge.kind != "rules":
        summary = calibrate(config.judge, folder, teller)
        teller.say(f"judge on {config.judge.calibration}: {describe(summary)}")
        require(summary, config.judge)


def calibrate(settings: JudgeConfig, folder: Path, teller: Teller) -> Summary:
    """Grade the labelled answers of `settings.calibration` with a judge of these settings; every verdict and the
    summary stay in the run's folder.

    A resumed run takes the verdicts that are there. The judge is one of its own, so that a run's budget and counters
    begin with the run.
    """
    cases = read_labelled(str(settings.calibration), "judge.calibration")
    judge = make_judge(dataclasses.replace(settings, canary_fraction=0.0), cache_path=folder / JUDGE_CACHE)
    with (
        Results(folder / CALIBRATION_ROWS, identity(settings), cases) as results,
        teller.bar("calibrate the judge", len(cases), len(cases) - len(results.missing(cases))) as bar,
    ):
        summary = summarise(grade_into(results, cases, judge, bar.advance, max(64, 2 * settings.max_concurrency)))
    write_atomically(folder / CALIBRATION, (json.dumps(summary_as_dict(summary), indent=2) + "\n").encode())
    return summary
