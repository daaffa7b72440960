"""What a training run holds in its hands: workers, scorer, store, tracker, and where it stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from judges import raise_if_unsafe
from rewards.scorer import Scorer
from rl.algo.order import steps_per_epoch
from rl.config import Config
from rl.run.judging import counters
from rl.run.progress import Bar
from rl.run.tracking import Tracker, read_metrics
from rl.run.watch import Watch
from rl.workers.cluster import Cluster
from rollouts.prompt.processing import Processor, media_token_ids
from rollouts.records import Sample
from rollouts.store.writer import RunWriter

CHECKPOINTS = "checkpoints"
# Checkpoints kept: the newest, and the one before in case the newest is damaged.
CHECKPOINTS_KEPT = 2


def total_steps(config: Config, num_samples: int) -> int:
    """Steps of a run: `grpo.num_steps`, or `grpo.num_epochs` over the RL set. Raises TooFewSamples where the set is
    smaller than one step."""
    per_epoch = steps_per_epoch(num_samples, config.grpo.prompts_per_step)
    return config.grpo.num_steps or config.grpo.num_epochs * per_epoch


@dataclass
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
    # What the judge's counters had come to before the run was stopped.
    counted: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.name = self.folder.name
        self.num_steps = total_steps(self.config, len(self.samples))
        # What the run logged before it was stopped; nothing in a new one.
        self._watch = Watch(read_metrics(self.folder))
        self.banned_token_ids = media_token_ids(self.processor)

    def tell(self, step: int, metrics: dict[str, float]) -> None:
        """One step's numbers, and the judge's counters since the run's first start, to metrics.jsonl, W&B and the
        terminal.

        Raises CanaryAccepted, before the step is saved, if the judge accepted a known wrong answer: the last checkpoint
        is from before.
        """
        judge = self.scorer.rubric.judge
        metrics = {**counters(judge, self.counted), **metrics}
        self.tracker.log(step, metrics)
        self.bar.reach(step, metrics)
        for warning in self._watch.see(metrics):
            self.bar.warn(f"step {step}: {warning}")
        raise_if_unsafe(judge)

    def save(self, step: int) -> None:
        """A checkpoint from which the run goes on to the last bit."""
        self.cluster.policy.checkpoint(
            self.folder / CHECKPOINTS, step, {"num_steps": self.num_steps}, keep=CHECKPOINTS_KEPT
        )
