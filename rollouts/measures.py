"""The few formulas that the trainer's numbers, the stored runs and the page have in common. Loads no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

# exp(20) = 5e8: a log ratio beyond it is a fault, and this keeps the fault finite. verl clamps at the same value.
MAX_LOG_RATIO = 20.0


def k3(logprobs: Any, ref_logprobs: Any) -> np.ndarray[Any, Any]:
    """Schulman's k3 estimate of KL(policy || reference) at each token, in nats: exp(d) - d - 1 with d = reference -
    policy, never below 0. Arrays of any one shape; `rl.algo.losses.k3_kl` is the same with a gradient."""
    difference = np.asarray(ref_logprobs, dtype=np.float64) - np.asarray(logprobs, dtype=np.float64)
    clamped = np.clip(difference, -MAX_LOG_RATIO, MAX_LOG_RATIO)
    return np.exp(clamped) - clamped - 1


def mean(values: Sequence[float]) -> float:
    """The mean, independent of the order of the values; NaN of nothing."""
    return math.fsum(values) / len(values) if values else math.nan


def mean_or_none(values: Sequence[float]) -> float | None:
    """The mean for a file in which NaN cannot be written; None of nothing."""
    return mean(values) if values else None


def std(values: Sequence[float]) -> float:
    """The standard deviation with ddof 1; NaN of fewer than two values."""
    if len(values) < 2:
        return math.nan
    centre = mean(values)
    return math.sqrt(math.fsum((value - centre) ** 2 for value in values) / (len(values) - 1))
