"""The evaluations of one training run: the SFT model before, the GRPO model after, a quick subset in between; and what
summary.json says of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from judges import raise_if_unsafe
from rewards.scorer import Scorer
from rl.config import Config
from rl.data.sets import DataSplits
from rl.evaluate.asking import EvalResult, evaluate, prepare
from rl.evaluate.comparison import compare, majority_baseline, measure
from rl.evaluate.kept import keep
from rl.evaluate.quick import QuickEvaluation, quick_evaluation
from rl.evaluate.ways import MODES, Mode
from rl.protocols import Engines
from rl.refusals import tell_refusal
from rl.run.progress import Display
from rollouts.prompt.processing import Processor
from rollouts.records import Sample


class RunEvaluation:
    """Asks the held-out items of a run. One for the whole run, so that both models answer the same items."""

    def __init__(
        self, rollout: Engines, scorer: Scorer, samples: Sequence[Sample], processor: Processor, config: Config
    ) -> None:
        self._rollout, self._scorer, self._config = rollout, scorer, config
        self.held_out = prepare(samples, processor, blank=config.eval.blank_images)
        self.quick: QuickEvaluation = quick_evaluation(rollout, scorer, self.held_out, config)

    def whole(self, name: str, version: int, display: Display) -> EvalResult:
        """All answers of the model whose weights the engines hold as `version`; they are kept in the run's folder.

        Raises:
            CanaryAccepted: the judge accepted a known wrong answer.
        """
        per_item = 1 + self._config.eval.num_samples + self.held_out.blank
        with display.bar(f"evaluate {name}", per_item * len(self.held_out.samples)) as bar:
            result = evaluate(
                self._rollout, self._scorer, self.held_out, self._config,
                name=name, policy_version=version, progress=lambda mode, done, total: bar.advance(),
            )  # fmt: skip
            for refusal in result.refused:
                tell_refusal(Path(self._config.out_dir), bar, f"evaluate {name}", refusal)
        raise_if_unsafe(self._scorer.rubric.judge)
        keep(Path(self._config.out_dir), result, self._config)
        return result

    def known(self, result: EvalResult) -> EvalResult:
        """The answers of a model that was asked these items in this way already, kept in this run's folder, too.

        Raises:
            ValueError: they are to other items.
        """
        if [sample.id for sample in result.samples] != [sample.id for sample in self.held_out.samples]:
            raise ValueError(f"{result.name} answered other items; evaluate it again")
        keep(Path(self._config.out_dir), result, self._config)
        return result


def warn_of_format(sft: EvalResult, config: Config, display: Display) -> None:
    """Say how many completions of the SFT model are well-formed. RL cannot start from a model that never writes the
    tags: every format reward is then 0 (VLM-R1 #173)."""
    mode: Mode = "sampled" if "sampled" in sft.answers else "greedy"
    completions = [completion for item in sft.answers[mode] for completion in item]
    rate = sum(completion.well_formed for completion in completions) / max(1, len(completions))
    display.say(f"format rate of the SFT model: {rate:.1%} ({mode})")
    if rate < config.sft.min_format_rate:
        display.warn(
            f"only {rate:.1%} of the SFT model's completions are well-formed, below"
            f" sft.min_format_rate={config.sft.min_format_rate:.0%}: RL will hardly start. Train SFT longer, raise"
            " sft.learning_rate, or check that the chat template speaks of the tags."
        )


def accuracies(*results: EvalResult) -> dict[str, float]:
    """accuracy/{model}/{way of asking} over all held-out items, for the summary in W&B."""
    return {
        f"accuracy/{result.name}/{mode}": float(measure(result, mode, lambda _: True)["accuracy"])
        for result in results
        for mode in MODES
        if mode in result.answers
    }


def conclusion(sft: EvalResult, grpo: EvalResult, splits: DataSplits) -> dict[str, Any]:
    """What summary.json says of both models: "comparison" (`rl.evaluate.comparison.compare`), "majority_baseline"."""
    return {
        "comparison": compare(sft, grpo),
        "majority_baseline": majority_baseline([row.sample for row in splits.sft], splits.eval),
    }
