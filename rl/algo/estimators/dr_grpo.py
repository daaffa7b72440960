"""Dr. GRPO (arXiv:2503.20783): a sum over tokens with a constant denominator, so that length has no say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rl.algo.denominators import Denominators
from rl.algo.estimator import Estimator, equal_weights

if TYPE_CHECKING:
    from torch import Tensor


def sum_over_longest(lengths_R: Tensor, totals: Denominators) -> Tensor:
    """1 / (rows of the mini-batch x tokens that a completion may have at most)."""
    return equal_weights(lengths_R, 1.0 / (max(totals.num_rows, 1) * totals.max_completion_length))


# The paper also leaves out the division by the group's std.
ESTIMATOR = Estimator(row_weights=sum_over_longest, published={"scale_rewards": "none"})
