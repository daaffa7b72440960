"""Dr. GRPO (arXiv:2503.20783): a sum over tokens with a constant denominator, so that length has no say."""

from __future__ import annotations

from rl.algo.denominators import Denominators
from rl.algo.estimator import Estimator, equal_weights


def most_tokens(totals: Denominators) -> float:
    """Rows of the mini-batch x tokens that a completion may have at most."""
    return max(totals.num_rows, 1) * totals.max_completion_length


# The paper also leaves out the division by the group's std.
ESTIMATOR = Estimator(row_weights=equal_weights, divisor=most_tokens, published={"scale_rewards": "none"})
