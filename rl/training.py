"""The part of the recipe that holds workers: the SFT model is evaluated, GRPO makes another of it, that one is
evaluated."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from judges.local.judge import raise_if_server_gone
from rewards.rubric import Rubric
from rewards.scorer import Scorer
from rl.config import Config
from rl.data.sets import DataSplits
from rl.data.sizes import images_of
from rl.evaluate.asking import EvalResult, evaluate, prepare
from rl.evaluate.of_run import RunEvaluation, accuracies, warn_of_format
from rl.evaluate.suite.in_training import BenchmarksOfRun
from rl.evaluate.suite.preparing import Prepared
from rl.evaluate.suite.run import Suite
from rl.grpo import train
from rl.run.judging import counters_before
from rl.run.progress import Display
from rl.run.run import CHECKPOINTS, Run
from rl.run.tracking import Tracker
from rl.workers.cluster import Cluster, start
from rollouts.prompt.processing import Processor, load_processor
from rollouts.store.writer import RunWriter


class BothModels(NamedTuple):
    """The answers of the model that GRPO started from and of the one it made."""

    sft: EvalResult
    grpo: EvalResult


def learn_and_evaluate(
    config: Config, folder: Path, splits: DataSplits, sft_path: Path, scorer: Scorer, num_steps: int, display: Display,
    benchmarks: Sequence[Prepared] = (), known_sft: EvalResult | None = None,
) -> BothModels:  # fmt: skip
    """GRPO from the SFT model in `sft_path`, between the evaluations of both, on the held-out items and on
    `benchmarks`; the new model is saved in `folder/model`. `known_sft`: the SFT model's answers to the held-out items,
    where it was asked the same already."""
    with display.phase("workers"):
        cluster = start(config, sft_path, total_updates=num_steps * config.grpo.num_minibatches)
        raise_if_server_gone()
    with cluster:
        done = _resume(config, folder, cluster, display)
        judge_counters = counters_before(config, folder)
        processor = load_processor(sft_path, images_of(config.model))
        evaluation = RunEvaluation(cluster.rollout, scorer, splits.eval, processor, config)
        asker = _benchmarks(benchmarks, cluster, scorer.rubric, processor, config, folder, display)
        with _tracker(config, folder, done) as tracker:
            sft = evaluation.known(known_sft) if known_sft else evaluation.whole("SFT", 0, display)
            warn_of_format(sft, config, display)
            on_benchmarks = asker.whole("SFT", 0, str(sft_path)) if asker else {}
            raise_if_server_gone()
            with display.bar("GRPO", num_steps, done) as bar:
                writer = RunWriter(folder)
                writer.drop_steps_after(done)
                run = Run(
                    config=config, folder=folder, samples=splits.rl, processor=processor, cluster=cluster,
                    scorer=scorer, writer=writer, tracker=tracker, bar=bar, start_step=done + 1,
                    counters_before=judge_counters, quick=evaluation.quick,
                    benchmarks=asker.step if asker else None,
                )  # fmt: skip
                if config.eval.every_steps and not done:
                    run.report(0, {**evaluation.quick.of(sft), **on_benchmarks})
                cluster.metrics()  # what the evaluation drew is no step's
                train(run)
                writer.close()
            cluster.policy.save(folder / "model")
            cluster.sync(version=num_steps)
            grpo = evaluation.whole("GRPO", num_steps, display)
            tracker.summary(accuracies(sft, grpo))
            if asker:
                asker.whole("GRPO", num_steps, str(folder / "model"))
                asker.finish()
    return BothModels(sft, grpo)


def _benchmarks(
    prepared: Sequence[Prepared], cluster: Cluster, rubric: Rubric, processor: Processor, config: Config, folder: Path,
    display: Display,
) -> BenchmarksOfRun | None:  # fmt: skip
    """What asks the benchmarks of the run; None = it has none."""
    if not prepared:
        return None
    return BenchmarksOfRun(Suite(prepared, cluster.rollout, rubric.judge, processor, config), folder, display)


def evaluate_model(
    config: Config, model: Path, name: str, splits: DataSplits, scorer: Scorer, display: Display
) -> EvalResult:
    """The greedy answers of the model in a folder to the held-out items, asked as RL asks them; engines are started for
    it and stopped again."""
    with start(config, model, total_updates=None) as cluster:
        processor = load_processor(model, images_of(config.model))
        held_out = prepare(splits.eval, processor, blank=False)
        with display.bar(f"evaluate {name}", len(held_out.samples)) as bar:
            return evaluate(
                cluster.rollout, scorer, held_out, config,
                name=name, policy_version=0, modes=("greedy",), progress=lambda mode, done, total: bar.advance(),
            )  # fmt: skip


def _resume(config: Config, folder: Path, cluster: Cluster, display: Display) -> int:
    """Steps that are done already: those of the newest checkpoint, which the policy takes up, or 0."""
    if not config.resume:
        return 0
    checkpoint = cluster.policy.restore(folder / CHECKPOINTS)
    if checkpoint is None:
        display.say("there is no checkpoint yet: starting with step 1")
        return 0
    display.say(f"resumed after step {checkpoint[0]}")
    return checkpoint[0]


def _tracker(config: Config, folder: Path, done: int) -> Tracker:
    settings = dataclasses.asdict(config)
    return Tracker(folder, config.wandb, config.wandb_project, settings, done if config.resume else None)
