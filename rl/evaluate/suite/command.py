"""`python -m rl.evaluate benchmark=[..] model.path=..`: one model, asked in this process."""

from __future__ import annotations

import subprocess
import sys
from shlex import quote

from judges.local.judge import no_server_left
from rl.config import Config
from rl.config.effects import asks_judge
from rl.data.sizes import images_of
from rl.evaluate.suite.curve import label_of, with_folder
from rl.evaluate.suite.judging import num_failed
from rl.evaluate.suite.preparing import prepare
from rl.evaluate.suite.run import Suite, graded_as
from rl.evaluate.suite.table import print_summary
from rl.run.folder import SUMMARY, RunFolder
from rl.run.judging import judge_of, make_ready
from rl.run.progress import Display
from rl.workers.rollout_worker import engine_settings
from rollouts.engine.vllm import VllmEngine
from rollouts.prompt.processing import load_processor
from rollouts.terminal import DONE, FAILED


def evaluate_model(config: Config, display: Display) -> int:
    """Ask one model all benchmarks of `eval.benchmarks`, in a folder like a run's. Returns the exit code: FAILED where
    a judge failed on an answer, or the page could not be written."""
    config = with_folder(config)
    with display.phase("read benchmarks"):
        prepared = prepare(config)
    with RunFolder(config) as folder, no_server_left():
        processor = load_processor(config.model.path, images_of(config.model))
        judge = judge_of(config, folder.path)
        graded = [graded_as(config, one.benchmark.card) for one in prepared]
        make_ready(judge, next(filter(asks_judge, graded), config), folder.path, display)
        with display.phase("engine"):
            engine = VllmEngine(config.model.path, engine_settings(config), disk_version=0)
        suite = Suite(prepared, engine, judge, processor, config)
        name = label_of(config.model.path)
        summary = suite.measure(folder.path, name, 0, display, model=config.model.path)
        print_summary(summary)
        display.say(f"numbers: {folder.path / SUMMARY}")
        # A command of its own, which knows more than this one.
        page = subprocess.run([sys.executable, "-m", "rl.report", str(folder.path)])
        display.say(f"rows: python -m rollouts.view {quote(str(folder.path))}")
        return FAILED if num_failed(folder.path) or page.returncode else DONE
