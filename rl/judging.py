"""The judge of a run, made ready before anything is drawn: it is asked once, graded on labelled answers where the run demands that, and named."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from judges import Judge, JudgeConfig, make_judge
from judges.calibration import Summary, describe, require, summarise, summary_as_dict
from judges.calibration_file import Results, identity
from judges.case_files import labelled
from rewards.graded_cases import grade_into
from rl.config import Config
from rl.config_effects import asks_judge
from rl.progress import Teller
from rollouts.disk import write_atomically

JUDGE_CACHE = "judge.sqlite"
CALIBRATION_ROWS, CALIBRATION = "calibration.jsonl", "calibration.json"


def judge_of(config: Config, folder: Path) -> Judge:
    """The judge with its verdicts kept in the run's folder; a server of ours starts now, beside SFT. Raises JudgeConfigError."""
    return make_judge(config.judge, cache_path=folder / JUDGE_CACHE, start=asks_judge(config))


def make_ready(judge: Judge, config: Config, folder: Path, teller: Teller) -> None:
    """Raise unless the judge answers, keeps to the schema, and grades `judge.calibration` well enough; say plainly who pays.

    A server of ours (judge=local) is still starting: unless it must be graded first it is not waited for, judgements wait instead (`raise_if_gone`).

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
    """Grade the labelled answers of `settings.calibration` with a judge of these settings; every verdict and the summary stay in the run's folder.

    A resumed run takes the verdicts that are there. The judge is one of its own, so that a run's budget and counters begin with the run.
    """
    cases = labelled(str(settings.calibration), "judge.calibration")
    judge = make_judge(dataclasses.replace(settings, canary_fraction=0.0), cache_path=folder / JUDGE_CACHE)
    with (
        Results(folder / CALIBRATION_ROWS, identity(settings), cases) as results,
        teller.bar("calibrate the judge", len(cases), len(cases) - len(results.left(cases))) as bar,
    ):
        summary = summarise(grade_into(results, cases, judge, bar.advance, max(64, 2 * settings.max_concurrency)))
    write_atomically(folder / CALIBRATION, (json.dumps(summary_as_dict(summary), indent=2) + "\n").encode())
    return summary
