"""BNPO as TRL names it: the mean over all tokens of the mini-batch."""

from __future__ import annotations

from rl.algo.denominators import Denominators
from rl.algo.estimator import Estimator, equal_weights


def num_tokens(totals: Denominators) -> float:
    """Tokens of the mini-batch."""
    return max(totals.num_tokens, 1)


ESTIMATOR = Estimator(row_weights=equal_weights, divisor=num_tokens)
