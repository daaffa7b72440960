"""How well a model does while it trains (`eval.every_steps`): one greedy completion for each item of a small subset."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

from rl.config import Config
from rl.evaluate.asking import EvalResult, HeldOut, evaluate
from rl.evaluate.comparison import measure
from rl.protocols import Engines, Scoring
from rollouts.records import Sample, stable_hash


def quick_subset(samples: Sequence[Sample], num_items: int) -> tuple[Sample, ...]:
    """At most `num_items` of the held-out items, in their order: those whose ids have the smallest hashes. The choice
    depends on the ids alone, so that runs with different seeds are measured on the same items."""
    ranked = sorted(samples, key=lambda sample: stable_hash("quick", sample.id))
    chosen = {sample.id for sample in ranked[:num_items]}
    return tuple(sample for sample in samples if sample.id in chosen)


def quick_metrics(result: EvalResult) -> dict[str, float]:
    """A greedy result as metrics of a step.

    Returns:
        `eval/accuracy`, share of the items with a verdict that are right, NaN without any; `eval/num_items`, those
        items; `eval/num_unscored`, completions without a verdict; `eval/format_rate`; `eval/mean_length` in tokens.
    """
    row = measure(result, "greedy", lambda _: True)
    metrics = {f"eval/{name}": float(row[name]) for name in ("num_items", "num_unscored", "format_rate", "mean_length")}
    return {"eval/accuracy": float(row["accuracy"]) if row["num_items"] else math.nan, **metrics}


@dataclass(frozen=True)
class QuickEvaluation:
    """Asks the subset; made once a run."""

    rollout: Engines
    scorer: Scoring
    # The subset only.
    held_out: HeldOut
    config: Config

    def __call__(self, step: int) -> dict[str, float]:
        """`quick_metrics` of the weights of version `step`, which the engines must hold."""
        result = evaluate(
            self.rollout, self.scorer, self.held_out, self.config,
            name=f"step {step}", policy_version=step, modes=("greedy",),
        )  # fmt: skip
        return quick_metrics(result)

    def of(self, whole: EvalResult) -> dict[str, float]:
        """`quick_metrics` of a model that was asked all held-out items greedily: the subset need not be asked again."""
        chosen = {sample.id for sample in self.held_out.samples}
        places = [place for place, sample in enumerate(whole.samples) if sample.id in chosen]
        answers = tuple(whole.answers["greedy"][place] for place in places)
        samples = tuple(whole.samples[place] for place in places)
        return quick_metrics(dataclasses.replace(whole, samples=samples, answers={"greedy": answers}))


def quick_evaluation(rollout: Engines, scorer: Scoring, held_out: HeldOut, config: Config) -> QuickEvaluation:
    """The quick evaluation of a run on `eval.quick_items` of its held-out items."""
    samples = quick_subset(held_out.samples, config.eval.quick_items)
    return QuickEvaluation(rollout, scorer, dataclasses.replace(held_out, samples=samples, blank=False), config)
