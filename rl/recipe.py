"""The recipe as `python -m rl.train` runs it: data, judge, the stages before RL (SFT alone, or more), GRPO, and the
comparison of the models."""

from __future__ import annotations

import shutil
import time
from shlex import quote
from typing import Any

from judges.local.judge import no_server_left
from rewards.scorer import Scorer
from rl.config import Config
from rl.doctor.ready import make_ready
from rl.evaluate.of_run import conclusion
from rl.evaluate.suite.preparing import prepare
from rl.evaluate.table import print_table
from rl.report.page import write_report
from rl.run.folder import RunFolder, versions
from rl.run.progress import Display, duration
from rl.staged import climb, finish, print_stages, told_in_summary
from rl.stages.settings import all_stages
from rl.training import learn_and_evaluate


def run_recipe(config: Config, display: Display) -> dict[str, Any]:
    """The whole recipe in `config.out_dir`; returns what summary.json says.

    Raises:
        the typed errors of `rl.run.failures.EXPECTED`.
    """
    started = time.monotonic()
    with RunFolder(config) as folder, no_server_left():
        benchmarks = prepare(config)  # what is wrong with them is told before anything is trained
        splits, rubric, num_steps, stages = make_ready(config, folder.path, display)
        found: dict[str, Any] = {}
        # One for the whole run: whoever closes it gives the judge's server back.
        with Scorer(rubric) as scorer:
            sft_path = climb(config, folder.path, splits, stages, scorer, display)
            if "grpo" in all_stages(config):
                before_rl = time.monotonic()
                models = learn_and_evaluate(
                    config, folder.path, splits, sft_path, scorer, num_steps, display, benchmarks
                )
                finish(folder.path, models.sft, models.grpo, time.monotonic() - before_rl, config)
                found = {**conclusion(models.sft, models.grpo, splits), "num_steps": num_steps}
            else:
                shutil.copytree(sft_path, folder.path / "model", dirs_exist_ok=True)
        summary = {
            **found,
            **({"stages": told} if (told := told_in_summary(folder.path)) else {}),
            "sft_model": str(sft_path),
            "judge": rubric.judge.describe() if rubric.judge else "none",
            "seconds": time.monotonic() - started,
            "versions": versions(),
        }
        folder.write_summary(summary)
        report = write_report(folder.path)
        if told:
            print_stages(told)
        if found:
            print_table(found["comparison"], found["majority_baseline"])
        display.say(f"report: {report}")
        display.say(f"rollouts: python -m rollouts.view {quote(str(folder.path))} --text")
        display.say(f"done in {duration(time.monotonic() - started)}")
        return summary
