"""The recipe as `python -m rl.train` runs it: data, judge, SFT where it is needed, GRPO, and the comparison of both
models."""

from __future__ import annotations

import time
from pathlib import Path
from shlex import quote
from typing import Any

from judges.local.judge import no_server_left
from rl.config import Config
from rl.doctor.ready import make_ready
from rl.evaluate.of_run import conclusion
from rl.evaluate.table import print_table
from rl.report.page import write_report
from rl.run.folder import RunFolder, versions
from rl.run.progress import Display, duration
from rl.sft.found import ensure_sft
from rl.training import learn_and_evaluate


def run_recipe(config: Config, display: Display) -> dict[str, Any]:
    """The whole recipe in `config.out_dir`; returns what summary.json says.

    Raises:
        the typed errors of `rl.run.failures.EXPECTED`.
    """
    started = time.monotonic()
    with RunFolder(config) as folder, no_server_left():
        splits, rubric, num_steps = make_ready(config, folder.path, display)
        with display.phase("SFT"):
            sft_path = (
                ensure_sft(config, splits.sft, display)
                if config.sft.enabled or config.sft.checkpoint
                else Path(config.model.path)
            )
        models = learn_and_evaluate(config, folder.path, splits, sft_path, rubric, num_steps, display)
        summary = {
            **conclusion(models.sft, models.grpo, splits),
            "num_steps": num_steps,
            "sft_model": str(sft_path),
            "judge": rubric.judge.describe() if rubric.judge else "none",
            "seconds": time.monotonic() - started,
            "versions": versions(),
        }
        folder.write_summary(summary)
        report = write_report(folder.path)
        print_table(summary["comparison"], summary["majority_baseline"])
        display.say(f"report: {report}")
        display.say(f"rollouts: python -m rollouts.view {quote(str(folder.path))} --text")
        display.say(f"done in {duration(time.monotonic() - started)}")
        return summary
