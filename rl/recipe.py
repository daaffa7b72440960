"""The recipe as `python -m rl.train` runs it: data, judge, SFT where it is needed, GRPO, and the comparison of both
models; then its controls, each a run in a folder of its own."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from shlex import quote
from typing import Any, NamedTuple

from judges.local.judge import no_server_left
from rl.compare.folders import CONTROLS
from rl.compare.gains import write_gains
from rl.compare.table import print_gains
from rl.config import Config
from rl.config.controls import TAKEN_AWAY, control_of
from rl.doctor.ready import make_ready
from rl.evaluate.asking import EvalResult
from rl.evaluate.of_run import conclusion
from rl.evaluate.table import print_table
from rl.report.page import write_report
from rl.run.folder import CONFIG, SUMMARY, RunFolder, check_can_go_on, versions
from rl.run.progress import Display, duration
from rl.sft.found import ensure_sft
from rl.training import learn_and_evaluate


class Done(NamedTuple):
    """A run that is done."""

    # What summary.json says.
    summary: dict[str, Any]
    # The SFT model's answers; None = it was done before, and they are no longer at hand.
    sft: EvalResult | None


def run_recipe(config: Config, display: Display) -> dict[str, Any]:
    """The whole recipe in `config.out_dir`, then its controls in folders below; returns what summary.json says.

    With `config.resume` what is done already is not done again, so that controls can be added to a run.

    Raises:
        the typed errors of `rl.run.failures.EXPECTED`.
    """
    done = _done_before(config, display) if config.controls else None
    done = done or _run(config, display, None)
    if config.controls:
        run_controls(config, done.sft, display)
    return done.summary


def run_controls(config: Config, sft: EvalResult | None, display: Display) -> None:
    """The controls of a run that is done, then the gain over each: `controls.json` and the report of the run.

    `sft`: the SFT model's answers to the held-out items, which each control starts from as well.
    """
    folder = Path(config.out_dir)
    for name in config.controls:
        display.say(f"control {name}: takes away {TAKEN_AWAY[name]}")
        own = control_of(config, name, str(folder / CONTROLS / name))
        own = dataclasses.replace(own, resume=(Path(own.out_dir) / CONFIG).exists())
        if _done_before(own, display) is None:
            _run(own, display, sft)
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
    return Done(json.loads((folder / SUMMARY).read_text(encoding="utf-8")), None)


def _run(config: Config, display: Display, known_sft: EvalResult | None) -> Done:
    started = time.monotonic()
    with RunFolder(config) as folder, no_server_left():
        splits, rubric, num_steps = make_ready(config, folder.path, display)
        with display.phase("SFT"):
            sft_path = (
                ensure_sft(config, splits.sft, display)
                if config.sft.enabled or config.sft.checkpoint
                else Path(config.model.path)
            )
        models = learn_and_evaluate(config, folder.path, splits, sft_path, rubric, num_steps, display, known_sft)
        summary = {
            **conclusion(models.sft, models.grpo, splits),
            "num_steps": num_steps,
            "control": config.control,
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
        return Done(summary, models.sft)
