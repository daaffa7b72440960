"""The mean of per-row values with an interval that knows which rows share an image.

The methods are named in the result, because four definitions of "the clustered standard error" give four numbers on one
toy set: this one multiplies by C / (C - 1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from judges.calibration.agreement import Z_95, Interval, wilson
from rl.statistics.clusters import numbered, sums

# Below so many clusters the normal approximation of the mean is not trusted.
FEW_CLUSTERS = 40
# Variances below it are rounding.
_TINY = 1e-15


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval and how both were made."""

    # None = no row has a value; then there is no interval either.
    value: float | None
    low: float | None
    high: float | None
    # Clustered standard error; None = a single cluster, or nothing was scored.
    se: float | None
    # (clustered / naive standard error)^2, at least 1: by how much the rows count for less than independent ones.
    # None = not defined for this method.
    deff: float | None
    # Rows with a value; the clusters they lie in; rows without a value, which are in no mean.
    num_items: int
    num_clusters: int
    num_unscored: int
    method: str


def clustered_error(values: Sequence[float], clusters: Sequence[str]) -> float | None:
    """Standard error of the mean over clusters: sqrt(C / (C - 1) sum over clusters of (sum of residuals)^2) / n, Liang
    and Zeger's with the small-sample factor. None with one cluster."""
    known = np.asarray(values, dtype=np.float64)
    places, num_clusters = numbered(clusters, len(known))
    return _clustered_error(known, places, num_clusters)


def student(value: float, se: float, degrees: int) -> Interval:
    """value +- t(97.5 %, degrees) se, not cut off at any bound."""
    from scipy.special import stdtrit

    half = float(stdtrit(degrees, 0.975)) * se
    return Interval(value - half, value + half)


def estimate(
    values: Sequence[float | None], clusters: Sequence[str], *, bounds: tuple[float, float] | None = (0.0, 1.0)
) -> Estimate:
    """The mean of the rows that have a value, with a 95 % interval.

    Shares and other values between `bounds` get Wilson's interval on the effective number of rows, n / deff (for values
    that are no yes/no, n is first turned into the number of yes/no draws with the same variance, see
    `clustered_wilson`). Below 40 clusters of several rows the interval is Student's t with C - 1 degrees of freedom,
    cut off at the bounds. Where every cluster has one row this is Wilson's plain interval. `bounds` None: any finite
    values, Student's t always, never cut off. A `None` among the values is a row that could not be scored: it leaves
    the mean and is counted.

    Raises:
        ValueError: a row without a cluster, a value that is not finite or outside the bounds.
    """
    if len(values) != len(clusters):
        numbered(clusters, len(values))
    kept = [(value, cluster) for value, cluster in zip(values, clusters, strict=True) if value is not None]
    numbered(clusters, len(clusters))  # a row without a cluster is a fault, scored or not
    known = np.array([value for value, _ in kept], dtype=np.float64)
    _check(known, bounds)
    num_unscored = len(values) - len(known)
    if not len(known):
        return Estimate(None, None, None, None, None, 0, 0, num_unscored, "nothing was scored")
    places, num_clusters = numbered([cluster for _, cluster in kept], len(known))
    mean = math.fsum(known) / len(known)
    se = _clustered_error(known, places, num_clusters)
    deff = design_effect(known, places, num_clusters)
    interval, method = _interval(known, mean, deff, num_clusters, bounds)
    return Estimate(
        mean, interval.low, interval.high, se, deff, len(known), num_clusters, num_unscored, method
    )  # fmt: skip


def design_effect(values: NDArray[np.float64], places: NDArray[np.intp], num_clusters: int) -> float:
    """(clustered / naive standard error of the mean)^2, at least 1; where all values are alike the spread says nothing,
    and the clusters are what is counted: n / C."""
    n = len(values)
    spread = float(np.var(values))
    if num_clusters < 2 or spread <= _TINY:
        return n / num_clusters
    clustered = _clustered_error(values, places, num_clusters) or 0.0
    return max(1.0, clustered**2 / (spread / (n - 1)))


def clustered_wilson(item_means: Sequence[float], z: float = Z_95) -> Interval:
    """Wilson's interval of the mean of items, each the mean of several samples of that item: the cluster is the item.

    The variance of the mean is that between items, s^2 / n, never p(1-p) / (n k). It is turned into the number of
    independent yes/no draws with the same variance, n_eff = p(1-p) / (s^2 / n), which lies between n and n k, and
    Wilson's interval is taken of p * n_eff in n_eff. With one sample an item it is the plain Wilson interval of n items
    (up to n - 1 for n in s^2).
    """
    if not len(item_means):
        return Interval(0.0, 1.0)
    return _wilson(np.asarray(item_means, dtype=np.float64), math.fsum(item_means) / len(item_means), 1.0, z)


def macro_mean(estimates: Sequence[Estimate]) -> Estimate:
    """The plain mean of several headlines, every benchmark counting the same however many rows it has.

    The benchmarks are independent, so the standard error is sqrt(sum of se^2) / K; one that is 0 or unknown, as at 0 or
    100 % right, is taken from the width of that benchmark's own interval. Normal interval, cut off at [0, 1] where all
    values lie there.

    Raises:
        ValueError: no estimate, or one without a value, which must not pass as 0.
    """
    if not estimates:
        raise ValueError("a macro mean needs at least one headline, got none")
    values = [one.value for one in estimates if one.value is not None]
    if len(values) < len(estimates):
        raise ValueError(f"{len(estimates) - len(values)} of {len(estimates)} headlines have no value; leave them out")
    errors = [one.se if one.se else ((one.high or 0.0) - (one.low or 0.0)) / (2 * Z_95) for one in estimates]
    mean = math.fsum(values) / len(values)
    se = math.sqrt(math.fsum(error**2 for error in errors)) / len(values)
    low, high = mean - Z_95 * se, mean + Z_95 * se
    if all(0 <= value <= 1 for value in values):
        low, high = max(0.0, low), min(1.0, high)
    return Estimate(
        mean, low, high, se, None,
        sum(one.num_items for one in estimates),
        sum(one.num_clusters for one in estimates),
        sum(one.num_unscored for one in estimates),
        f"mean of {len(values)} headlines, their standard errors propagated, normal interval",
    )  # fmt: skip


def _clustered_error(values: NDArray[np.float64], places: NDArray[np.intp], num_clusters: int) -> float | None:
    if num_clusters < 2:
        return None
    residuals = sums(values - values.mean(), places, num_clusters)
    return math.sqrt(num_clusters / (num_clusters - 1) * float(residuals @ residuals)) / len(values)


def _interval(
    values: NDArray[np.float64], mean: float, deff: float, num_clusters: int, bounds: tuple[float, float] | None
) -> tuple[Interval, str]:
    n, spread = len(values), float(np.var(values))
    alike = spread <= _TINY
    if num_clusters < 2 and (n > 1 or bounds is None):
        low, high = bounds or (-math.inf, math.inf)
        return Interval(low, high), "one cluster has no standard error; the interval is all that is possible"
    if bounds is None or (num_clusters < FEW_CLUSTERS and num_clusters < n and not alike):
        error = math.sqrt(deff * spread / (n - 1))
        interval = student(mean, error, num_clusters - 1)
        if bounds:
            interval = Interval(max(bounds[0], interval.low), min(bounds[1], interval.high))
        return interval, f"Student's t, {num_clusters - 1} degrees of freedom, clustered standard error"
    low, width = bounds[0], bounds[1] - bounds[0]
    scaled = _wilson((values - low) / width, min(1.0, max(0.0, (mean - low) / width)), deff, Z_95)
    interval = Interval(low + width * scaled.low, low + width * scaled.high)
    if num_clusters == n:
        return interval, "Wilson, every cluster one row"
    return interval, f"Wilson on {n / deff:.1f} effective rows of {n}, clustered standard error"


def _wilson(values: NDArray[np.float64], share: float, deff: float, z: float) -> Interval:
    n, between = len(values), float(np.var(values))
    # All rows alike: they tell nothing about their spread, so that their number, or that of clusters, is the count.
    effective = (n if between <= _TINY else share * (1 - share) / (between / n)) / deff
    return wilson(share * effective, effective, z)


def _check(values: NDArray[np.float64], bounds: tuple[float, float] | None) -> None:
    if not np.isfinite(values).all():
        raise ValueError("a value is not finite; a row that could not be scored is None, never NaN")
    if bounds and len(values) and not (bounds[0] <= values.min() and values.max() <= bounds[1]):
        raise ValueError(
            f"values lie between {values.min():g} and {values.max():g}, expected {bounds[0]:g} to {bounds[1]:g}; give"
            " `bounds`, or None where there are none"
        )
