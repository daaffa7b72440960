"""The recipe as `python -m rl.train` runs it: data, judge, the stages before RL (SFT alone, or more), GRPO, and the
comparison of the models; then its controls, each a run in a folder of its own."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from pathlib import Path
from shlex import quote
from typing import Any, NamedTuple

from judges.local.judge import no_server_left
from rewards.scorer import Scorer
from rl.compare.folders import CONTROLS
from rl.compare.gains import write_gains
from rl.compare.table import print_gains
from rl.config import Config
from rl.config.controls import TAKEN_AWAY, control_of
from rl.doctor.ready import make_ready
from rl.evaluate.asking import EvalResult
from rl.evaluate.of_run import conclusion
from rl.evaluate.suite.preparing import prepare
from rl.evaluate.table import print_table
from rl.report.page import write_report
from rl.run.folder import CONFIG, SUMMARY, RunFolder, check_can_go_on, versions
from rl.run.progress import Display, duration
from rl.staged import climb, finish, print_stages, told_in_summary
from rl.stages.settings import all_stages
from rl.training import learn_and_evaluate


class Start(NamedTuple):
    """What the controls of a run begin with, as the run itself did."""

    # The folder of the model that RL begins with.
    model: Path
    # Its answers to the held-out items; None = they are no longer at hand, and it is asked again.
    answers: EvalResult | None


class Done(NamedTuple):
    """A run that is done."""

    # What summary.json says.
    summary: dict[str, Any]
    start: Start


def run_recipe(config: Config, display: Display) -> dict[str, Any]:
    """The whole recipe in `config.out_dir`, then its controls in folders below; returns what summary.json says.

    With `config.resume` what is done already is not done again, so that controls can be added to a run.

    Raises:
        the typed errors of `rl.run.failures.EXPECTED`.
    """
    done = _done_before(config, display) if config.controls else None
    done = done or _run(config, display, None)
    if config.controls:
        run_controls(config, done.start, display)
    return done.summary


def run_controls(config: Config, start: Start, display: Display) -> None:
    """The controls of a run that is done, then the gain over each: `controls.json` and the report of the run."""
    folder = Path(config.out_dir)
    for name in config.controls:
        display.say(f"control {name}: takes away {TAKEN_AWAY[name]}")
        own = control_of(config, name, str(folder / CONTROLS / name))
        own = dataclasses.replace(own, resume=(Path(own.out_dir) / CONFIG).exists())
        if _done_before(own, display) is None:
            _run(own, display, start)
    gains = write_gains(folder)
    print_gains(gains)
    display.say(f"report: {write_report(folder)}")


def _done_before(config: Config, display: Display) -> Done | None:
    """The run of this very configuration that is done in its folder already; None = it is not.

    Raises:
        RunFolderError: the folder holds a run with other settings.
    """
    folder = Path(config.out_dir)
    if not config.resume or not (folder / SUMMARY).exists():
        return None
    check_can_go_on(folder, config)
    display.say(f"{folder} is done already")
    summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    return Done(summary, Start(Path(summary["sft_model"]), None))


def _run(config: Config, display: Display, start: Start | None) -> Done:
    """One run. `start`: what it begins with, where that is known from the run that it is a control of."""
    started = time.monotonic()
    with RunFolder(config) as folder, no_server_left():
        benchmarks = prepare(config)  # what is wrong with them is told before anything is trained
        splits, rubric, num_steps, stages = make_ready(config, folder.path, display)
        results: dict[str, Any] = {}
        answers = start.answers if start is not None else None
        # One for the whole run: whoever closes it gives the judge's server back.
        with Scorer(rubric) as scorer:
            if start is not None and start.model.is_dir():
                sft_path = start.model
            else:
                sft_path = climb(config, folder.path, splits, stages, scorer, display)
            if "grpo" in all_stages(config):
                before_rl = time.monotonic()
                models = learn_and_evaluate(
                    config, folder.path, splits, sft_path, scorer, num_steps, display, benchmarks, answers
                )
                answers = models.sft
                finish(folder.path, models.sft, models.grpo, time.monotonic() - before_rl, config)
                results = {**conclusion(models.sft, models.grpo, splits), "num_steps": num_steps}
            else:
                shutil.copytree(sft_path, folder.path / "model", dirs_exist_ok=True)
        records = told_in_summary(folder.path)
        summary = {
            **results,
            **({"stages": records} if records else {}),
            "control": config.control,
            "sft_model": str(sft_path),
            "judge": rubric.judge.describe() if rubric.judge else "none",
            "seconds": time.monotonic() - started,
            "versions": versions(),
        }
        folder.write_summary(summary)
        _tell(folder.path, summary, display, time.monotonic() - started)
        return Done(summary, Start(sft_path, answers))


def _tell(folder: Path, summary: dict[str, Any], display: Display, seconds: float) -> None:
    """Write the report of a run and print its tables."""
    report = write_report(folder)
    if "stages" in summary:
        print_stages(summary["stages"])
    if "comparison" in summary:
        print_table(summary["comparison"], summary["majority_baseline"])
    display.say(f"report: {report}")
    display.say(f"rollouts: python -m rollouts.view {quote(str(folder))} --text")
    display.say(f"done in {duration(seconds)}")
