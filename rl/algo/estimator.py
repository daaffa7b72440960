"""What makes one relative of GRPO differ from another: an `Estimator`. Each has a file of its own in
`rl/algo/estimators/`, and a line in the dict there.

Legend: N all completion tokens of a micro-batch, end to end, no padding; R rows (completions); R1 the R + 1 bounds of
the rows, so that row r holds the tokens bounds[r] .. bounds[r + 1]. This file and the estimators load no torch, because
the configuration reads their names: they call methods of the tensors they are given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rl.algo.denominators import Denominators

if TYPE_CHECKING:
    from torch import Tensor

    from rewards.rubric import Scored
    from rl.algo.advantages import Advantages, AdvantageSettings

# Names under `grpo.` of what an advantage depends on beside the scores; a replay may change these and no others.
ADVANTAGE_SETTINGS = ("scale_rewards", "min_valid", "multi_objective_aggregation")

Usable = Sequence[Sequence[bool]]


def each_token(log_ratio_N: Tensor, bounds_R1: Tensor) -> Tensor:
    """Every token keeps the log of its own ratio policy / old policy (PPO, GRPO)."""
    return log_ratio_N


def equal_weights(lengths_R: Tensor) -> Tensor:
    """The weight 1 [R], in float64, for the tokens of all rows."""
    return lengths_R.double().fill_(1.0)


def group_relative(scored: Sequence[Sequence[Scored]], usable: Usable, settings: AdvantageSettings) -> Advantages:
    """`rl.algo.advantages.advantages_of`: a reward minus the mean of its group, scaled as the settings say."""
    from rl.algo.advantages import advantages_of  # torch, which nobody should wait for who only reads names

    return advantages_of(scored, usable, settings)


def group_relative_spans_step(settings: AdvantageSettings) -> bool:
    """Whether a `group_relative` advantage depends on other groups: its std is that of the whole batch."""
    return settings.scale_rewards == "batch" or settings.multi_objective_aggregation == "normalize_then_sum"


def group_relative_without_effect(settings: AdvantageSettings) -> dict[str, str]:
    """Name under `grpo.` -> why a `group_relative` advantage does not read it."""
    if settings.multi_objective_aggregation == "sum_then_normalize":
        return {}
    return {
        "scale_rewards": "grpo.multi_objective_aggregation=normalize_then_sum scales every reward in its group and the"
        " sum over the batch"
    }


@dataclass(frozen=True)
class Estimator:
    """One way to turn scored completions into a loss. Functions only; it holds no state.

    The loss of a mini-batch is a weighted sum over its tokens, divided by one number. The weight of a token depends on
    its own row only, and the number is not needed before the last row, so that gradients can be added up while the rest
    of the mini-batch is still drawn.
    """

    # Token counts [R] of the rows at hand -> weight [R], in float64, of each token of a row in the sum.
    row_weights: Callable[[Tensor], Tensor]
    # What the sum is divided by, above 0, from the totals of the mini-batch.
    divisor: Callable[[Denominators], float]
    # Whether it counts tokens of other mini-batches of the step (`Denominators.step_tokens`).
    divisor_spans_step: bool = False
    # Log of the ratio policy / old policy at each token [N], bounds of the rows [R1] -> log of the ratio [N] that is
    # clipped and multiplied by the advantage. The gradient flows through it.
    log_ratio: Callable[[Tensor, Tensor], Tensor] = each_token
    # Scores [P][N], which of them may be used [P][N], settings -> advantages [P, N].
    advantages: Callable[[Sequence[Sequence[Scored]], Usable, AdvantageSettings], Advantages] = group_relative
    # Whether an advantage depends on groups other than its own.
    advantages_span_step: Callable[[AdvantageSettings], bool] = group_relative_spans_step
    # Name under `grpo.` -> why setting it does nothing with this estimator and these settings.
    without_effect: Callable[[AdvantageSettings], Mapping[str, str]] = group_relative_without_effect
    # Values under `grpo.` that its paper used where they differ from our defaults; `rl.doctor` compares them with the
    # run's. Nothing is set silently.
    published: Mapping[str, float | str] = field(default_factory=dict)

    def token_weights(self, lengths_R: Tensor) -> Tensor:
        """Weight [N], float32, of each token's loss in the sum of its mini-batch."""
        return self.row_weights(lengths_R).repeat_interleave(lengths_R).float()

    def needs_whole_step(self, settings: AdvantageSettings) -> bool:
        """Whether no update can be made before the last score of the step is there."""
        return self.divisor_spans_step or self.advantages_span_step(settings)
