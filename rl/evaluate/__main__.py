"""`python -m rl.evaluate [overrides] model.path=FOLDER` measures one model alone, with an engine in this process: on
the held-out items of the data, or on benchmarks (`benchmark=[slake_en,vqa_rad] benchmark_root=FOLDER`)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from judges import make_judge
from rewards.rubric import make_rubric
from rewards.scorer import Scorer
from rl.config import Config, MetricConfig, door
from rl.config.files import card_names, table_names
from rollouts.terminal import CANNOT, Ending, accept_any_stdout, complain, end_with, require

COMMAND = "python -m rl.evaluate"
FROM_ROWS, MODELS = "--from-rows", "models="
PURPOSE = """\
Measures one model without training: on the held-out items of the data, or on benchmarks.
  benchmark=[slake_en,vqa_rad] benchmark_root=FOLDER   on cards of conf/benchmark, into a folder like a run's
  models=[A,B,C] benchmark=[..]                        several checkpoints, each in its folder, as a curve
  --from-rows FOLDER [metric.python=PYTHON]            every number of such a folder again, without a model
  benchmark=fleming_table3                             the columns of a paper's table
Cards: {cards}
Tables: {tables}"""


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Returns its exit code (`rollouts.terminal`)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if FROM_ROWS in arguments:
        return _from_rows(arguments)
    models = [one for one in arguments if one.startswith(MODELS)]
    arguments = [one for one in arguments if not one.startswith(MODELS)]
    purpose = PURPOSE.format(cards=" ".join(card_names()), tables=" ".join(table_names()))
    config = door.from_command_line(arguments, COMMAND, purpose)
    if models and not config.eval.benchmarks:
        complain("models=[..] compares models on benchmarks: say which, as benchmark=[slake_en]")
        return CANNOT
    require(COMMAND, "train", "cpu")
    if models:
        return _curve([part.strip() for part in models[-1][len(MODELS) :].strip("[]").split(",")], arguments, config)
    return _benchmarks(config) if config.eval.benchmarks else _held_out(config)


def _from_rows(arguments: Sequence[str]) -> int:
    """`--from-rows FOLDER` needs neither a model nor the benchmark's files."""
    settings = dict(one.split("=", 1) for one in arguments if one.startswith(("metric.python=", "metric.model_dir=")))
    others = [one for one in arguments if one != FROM_ROWS and not one.startswith(tuple(settings))]
    if useless := [one for one in others if "=" in one and not Path(one).is_dir()]:
        complain(
            f"{COMMAND} {FROM_ROWS} FOLDER reads stored rows: {', '.join(useless)} has no effect there; leave it out"
        )
        return CANNOT
    if len(others) != 1 or others[0].startswith("-"):
        complain(f"{COMMAND} {FROM_ROWS} FOLDER: expected one folder of an evaluation, got {others or 'none'}")
        return CANNOT
    from rl.data.sets import UnusableData
    from rl.evaluate.suite.folder import from_rows
    from rollouts.store.disk import DiskFull
    from rollouts.store.layout import StoreError

    # `failures` knows every kind of failure, and loads torch for that.
    with Ending(COMMAND, UnusableData, StoreError, DiskFull) as ending:
        from_rows(Path(others[0]), MetricConfig(settings.get("metric.python"), settings.get("metric.model_dir")))
    return ending.code


def _curve(models: Sequence[str], arguments: Sequence[str], config: Config) -> int:
    from rl.evaluate.suite.curve import evaluate_models
    from rl.run import failures

    with failures.exit_on_failure(COMMAND):
        evaluate_models(models, arguments, config)
    return 0


def _benchmarks(config: Config) -> int:
    # Here, because the engine takes seconds that nobody should wait for to learn of a typing error.
    from rl.evaluate.suite.command import evaluate_model
    from rl.run import failures, progress

    with failures.exit_on_failure(COMMAND), progress.Display() as display:
        return evaluate_model(config, display)


def _held_out(config: Config) -> int:
    from rl.data.load import load_for
    from rl.data.sizes import images_of
    from rl.evaluate.asking import evaluate, prepare
    from rl.evaluate.comparison import majority_baseline
    from rl.evaluate.table import print_one
    from rl.refusals import MOST_SHOWN
    from rl.run import failures, progress
    from rl.workers.rollout_worker import engine_settings
    from rollouts.engine.vllm import VllmEngine
    from rollouts.prompt.processing import load_processor
    from rollouts.texts.reading import shorten

    with failures.exit_on_failure(COMMAND), progress.Display() as display:
        splits = load_for(config, display.late_bar)
        processor = load_processor(config.model.path, images_of(config.model))
        held_out = prepare(splits.eval, processor, blank=config.eval.blank_images)
        judge = make_judge(config.judge)
        judge.check_now()
        display.say(judge.describe())
        engine = VllmEngine(config.model.path, engine_settings(config), disk_version=0)
        total = (1 + config.eval.num_samples + held_out.blank) * len(held_out.samples)
        with Scorer(make_rubric(config.reward, judge)) as scorer, display.bar("evaluate", total) as bar:
            result = evaluate(
                engine, scorer, held_out, config,
                name=config.model.path, policy_version=0, progress=lambda mode, done, total: bar.advance(),
            )  # fmt: skip
            for refusal in result.refused:
                reason = shorten(refusal.reason, MOST_SHOWN)
                bar.warn(f"item {shorten(refusal.prompt_id)} was refused and has no verdict: {reason}")
        print_one(result, majority_baseline([row.sample for row in splits.sft], splits.eval))
    return 0


if __name__ == "__main__":
    accept_any_stdout()
    end_with(main)
