"""All that a training run works with: workers, scorer, store, tracker, and where it stands."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from judges import raise_if_unsafe
from rewards.scorer import Scorer
from rl.algo.order import steps_per_epoch
from rl.config import Config
from rl.refusals import tell_refusal
from rl.run.judging import counters
from rl.run.progress import Bar
from rl.run.tracking import Tracker, read_metrics
from rl.run.watch import Watch
from rl.workers.cluster import Cluster
from rollouts.engine.requests import Refusal
from rollouts.prompt.processing import Processor, media_token_ids
from rollouts.records import Sample
from rollouts.store.writer import RunWriter

CHECKPOINTS = "checkpoints"
# Checkpoints kept: the newest, and the one before in case the newest is damaged.
CHECKPOINTS_KEPT = 2


def total_steps(config: Config, num_samples: int) -> int:
    """Steps of a run: `grpo.num_steps`, or `grpo.num_epochs` over an RL set of `num_samples`.

    Raises:
        TooFewSamples: the set is smaller than one step.
    """
    per_epoch = steps_per_epoch(num_samples, config.grpo.prompts_per_step)
    return config.grpo.num_steps or config.grpo.num_epochs * per_epoch


@dataclass(kw_only=True)
class Run:
    """One GRPO run in progress."""

    config: Config
    folder: Path
    # The RL set; the order it is asked in follows from the seed.
    samples: Sequence[Sample]
    processor: Processor
    cluster: Cluster
    scorer: Scorer
    writer: RunWriter
    tracker: Tracker
    bar: Bar
    # First step to do: 1, or the one after the checkpoint that is resumed from.
    start_step: int = 1
    # The judge's counters as they stood when the run was stopped; empty in a new one.
    counters_before: Mapping[str, float] = field(default_factory=dict)
    # Version of the weights that the engines hold -> `eval/*` of it; asked every `eval.every_steps` steps.
    quick: Callable[[int], Mapping[str, float]] | None = None
    # Version of the weights -> `benchmark/*` of it; asked every `eval.benchmark_every_steps` steps.
    benchmarks: Callable[[int], Mapping[str, float]] | None = None

    def __post_init__(self) -> None:
        self.name = self.folder.name
        self.num_steps = total_steps(self.config, len(self.samples))
        # What the run logged before it was stopped; nothing in a new one. Step 0 is the SFT model, which no step made.
        self._watch = Watch([line for line in read_metrics(self.folder) if line["step"]])
        self._evaluation: dict[str, float] = {}
        self.banned_token_ids = media_token_ids(self.processor)

    def evaluate(self, step: int) -> dict[str, float]:
        """`eval/*` of the weights after this step where it is one of every `eval.every_steps`, `benchmark/*` where it
        is one of every `eval.benchmark_every_steps`, else nothing; `timing_s/eval` are the wall seconds of both, those
        of handing the weights to the engines included. Where the steps stream, engines draw the next step before."""
        settings = self.config.eval
        schedule = ((self.quick, settings.every_steps), (self.benchmarks, settings.benchmark_every_steps))
        due = [ask for ask, every in schedule if ask is not None and every and not step % every]
        if not due:
            return {}
        started = time.monotonic()
        self.cluster.sync(version=step)
        metrics = {name: value for ask in due for name, value in ask(step).items()}
        return {**metrics, "timing_s/eval": time.monotonic() - started}

    def report(self, step: int, metrics: Mapping[str, float]) -> None:
        """Log the numbers of a step, and the judge's counters since the run's first start, to metrics.jsonl, W&B and
        the terminal. Step 0 is the SFT model.

        Raises:
            CanaryAccepted: the judge accepted a known wrong answer. The step is not saved, so the last checkpoint is
                from before.
        """
        judge = self.scorer.rubric.judge
        metrics = {**counters(judge, self.counters_before), **self.cluster.metrics(), **metrics}
        self.tracker.log(step, metrics)
        self._evaluation |= {name: value for name, value in metrics.items() if name.startswith(("eval/", "benchmark/"))}
        self.bar.reach(step, {**self._evaluation, **metrics})
        for warning in self._watch.see(metrics) if step else ():
            self.bar.warn(f"step {step}: {warning}")
        raise_if_unsafe(judge)

    def refuse(self, when: str, refusal: Refusal) -> None:
        """Name a row that the processor or the engine did not take, above the bar and in the run's folder."""
        tell_refusal(self.folder, self.bar, when, refusal)

    def save(self, step: int) -> None:
        """Write a checkpoint from which a resumed run goes on bit by bit."""
        self.cluster.policy.checkpoint(
            self.folder / CHECKPOINTS, step, {"num_steps": self.num_steps}, keep=CHECKPOINTS_KEPT
        )
