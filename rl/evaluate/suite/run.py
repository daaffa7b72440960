"""One model on all benchmarks: asked, stored with a step of the store for each benchmark, and summed up."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from judges import Judge, raise_if_unsafe
from rewards.rubric import make_rubric
from rewards.scorer import Scorer
from rl.benchmarks.card import Card
from rl.config import Config
from rl.data.sets import UnusableData
from rl.evaluate.suite import asking, facts
from rl.evaluate.suite.folder import open_door, sum_up
from rl.evaluate.suite.judging import failed, judge_again
from rl.evaluate.suite.preparing import Prepared
from rl.protocols import Engines
from rl.refusals import tell_refusal
from rl.run.progress import Display
from rollouts.prompt.processing import Processor, media_fault
from rollouts.store.layout import StepFiles, list_steps
from rollouts.store.writer import RunWriter


@dataclass(frozen=True)
class Suite:
    """Benchmarks and what asks and judges them; one for a whole run, so that every model answers the same items."""

    prepared: Sequence[Prepared]
    engines: Engines
    judge: Judge | None
    processor: Processor
    config: Config

    def __post_init__(self) -> None:
        open_door(self.config.metric)  # a program that is none is told before anything is asked
        for one in self.prepared:
            if fault := media_fault(self.processor.family, one.samples):
                raise UnusableData(f"benchmark {one.benchmark.card.name}: {fault}")

    def measure(
        self, folder: Path, name: str, version: int, display: Display, *, model: str, quick: bool = False
    ) -> dict[str, Any]:
        """Ask everything of the model whose weights the engines hold as `version`, and write the folder's store, facts
        and summary.json. What a killed evaluation finished there is kept, and where its judge failed, judged again.

        `quick`: greedily and without probes. Returns what summary.json says.

        Raises:
            TooManyFailures, CanaryAccepted, DiskFull, UnusableData (the folder is of other benchmarks).
        """
        folder.mkdir(parents=True, exist_ok=True)
        done = _finished(folder, [one.facts for one in self.prepared])
        writer = RunWriter(folder)
        for one in self.prepared:
            where = asking.Where(name, one.facts.step, version)
            if one.facts.step not in done:
                self._ask(one, writer, folder, where, display, quick)
            elif numbers := failed(stored := done[one.facts.step]):
                title = f"{one.benchmark.card.name}, judged again"
                with self._scorer(one) as scorer, display.bar(title, len(numbers)) as bar:
                    judge_again(folder, stored, numbers, scorer, where, bar.advance)
                raise_if_unsafe(self.judge)
        writer.close()
        judge = self.judge.describe() if self.judge else "none"
        door = None if quick else open_door(self.config.metric)
        return sum_up(folder, door, model=model, judge=judge, policy_version=version)

    def _scorer(self, one: Prepared) -> Scorer:
        return Scorer(make_rubric(graded_as(self.config, one.benchmark.card).reward, self.judge))

    def _ask(
        self, one: Prepared, writer: RunWriter, folder: Path, where: asking.Where, display: Display, quick: bool
    ) -> None:
        started = time.monotonic()
        card = one.benchmark.card
        samples = list(one.samples) if quick else one.everything
        num_samples = 0 if quick else self.config.eval.num_samples
        total = sum(asking.num_completions(sample, num_samples) for sample in samples)
        items = asking.held_out(samples, self.processor)
        # What a killed evaluation began of this benchmark is asked again.
        writer.drop_steps_after(one.facts.step - 1)
        with self._scorer(one) as scorer, display.bar(card.name, total) as bar:
            refused = asking.ask(
                self.engines, scorer, items, self.config, where, writer,
                num_samples=num_samples, advance=bar.advance,
            )  # fmt: skip
            for refusal in refused:
                tell_refusal(folder, bar, f"benchmark {card.name}", refusal)
        raise_if_unsafe(self.judge)
        kept = dataclasses.replace(
            one.facts,
            refused=tuple((refusal.prompt_id, refusal.reason[:2_000]) for refusal in refused),
            left_out={} if quick else {probed.probe.name: dict(probed.left_out) for probed in one.probed},
            seconds=time.monotonic() - started,
        )
        facts.write(folder, kept)
        writer.finish_step(one.facts.step)


def graded_as(config: Config, card: Card) -> Config:
    """The run's settings for a card; answers that are graded by criteria go to the judge of criteria whatever the run's
    routes say."""
    if card.scorer != "rubric_judge":
        return config
    routes = {**config.reward.routes, "open": "rubric_judge"}
    return dataclasses.replace(config, reward=dataclasses.replace(config.reward, routes=routes))


def _finished(folder: Path, wanted: Sequence[facts.Facts]) -> dict[int, StepFiles]:
    """The benchmarks of a folder that need not be asked again, by their steps. Raises UnusableData where the folder is
    of others."""
    there = {one.step: one for one in facts.read_all(folder)}
    for one in wanted:
        old = there.get(one.step)
        if old is not None and (old.card, old.num_asked) != (one.card, one.num_asked):
            raise UnusableData(
                f"{folder} holds {old.card.label} with {old.num_asked:,} items where {one.card.label} with"
                f" {one.num_asked:,} would stand; give another out_dir"
            )
    stored = list_steps(folder) if (folder / "rollouts").is_dir() else []
    return {one.step: one for one in stored if one.finished and one.step in there}
