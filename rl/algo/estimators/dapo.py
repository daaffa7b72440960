"""DAPO (arXiv:2503.14476): every token of the step weighs the same, and the upper clip is higher than the lower."""

from __future__ import annotations

from rl.algo.denominators import Denominators
from rl.algo.estimator import Estimator, equal_weights


def mean_step_tokens(totals: Denominators) -> float:
    """Tokens of the step / mini-batches of the step.

    Raises:
        ValueError: the tokens of the step are not known, because only some of its mini-batches were counted.
    """
    if totals.step_tokens is None:
        raise ValueError(
            "loss_type dapo needs the token counts of all mini-batches of a step, got some of them; give `denominators`"
            " the whole step"
        )
    return max(totals.step_tokens, 1.0)


ESTIMATOR = Estimator(
    row_weights=equal_weights,
    divisor=mean_step_tokens,
    divisor_spans_step=True,
    published={"epsilon_high": 0.28, "beta": 0.0},
)
