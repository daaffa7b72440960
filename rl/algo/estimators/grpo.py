"""GRPO (DeepSeekMath, arXiv:2402.03300): the mean over the tokens of a row, then over the rows of the mini-batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rl.algo.denominators import Denominators
from rl.algo.estimator import Estimator

if TYPE_CHECKING:
    from torch import Tensor


def mean_of_row(lengths_R: Tensor) -> Tensor:
    """1 / tokens of the row: a row weighs the same whatever its length."""
    return 1.0 / lengths_R.clamp(min=1).double()


def num_rows(totals: Denominators) -> float:
    """Rows of the mini-batch."""
    return max(totals.num_rows, 1)


ESTIMATOR = Estimator(row_weights=mean_of_row, divisor=num_rows)
