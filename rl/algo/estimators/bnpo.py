"""BNPO as TRL names it: the mean over all tokens of the mini-batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rl.algo.denominators import Denominators
from rl.algo.estimator import Estimator, equal_weights

if TYPE_CHECKING:
    from torch import Tensor


def mean_of_tokens(lengths_R: Tensor, totals: Denominators) -> Tensor:
    """1 / tokens of the mini-batch."""
    return equal_weights(lengths_R, 1.0 / max(totals.num_tokens, 1))


ESTIMATOR = Estimator(row_weights=mean_of_tokens)
