"""Two models on the same rows: the difference, its interval, its p value, what could have been found, and a verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from judges.calibration.agreement import Z_95
from rl.statistics.clusters import Z_80, all_signs, numbered, percentiles, resampled, signs, sums
from rl.statistics.estimates import design_effect

Verdict = Literal["win", "tie", "loss"]
NUM_BOOTSTRAP = 2_000
NUM_FLIPS = 10_000
# Up to so many clusters with a difference all 2^16 patterns of signs are gone through.
EXACT_CLUSTERS = 16


@dataclass(frozen=True)
class Difference:
    """The second model minus the first on the rows both have a value on."""

    # None = no row has both values.
    value: float | None
    # 95 % interval; None = fewer than two clusters.
    low: float | None
    high: float | None
    # Two-sided, that there is no difference; None = no row has both values.
    p_value: float | None
    # The smallest true difference that a test at 5 % would find in 80 % of such data; None = no row differs, so that
    # nothing says how much rows spread.
    detectable: float | None
    # By the interval: win = all of it above 0, loss = all below, tie = else, which on few rows says nothing.
    verdict: Verdict
    # Mean squared difference; of right and wrong, the share of rows on which the two differ. None = no row.
    discordant: float | None
    deff: float | None
    num_items: int
    num_clusters: int
    # Rows that one of the two has no value on; they are in no difference.
    num_unscored: int
    # How interval and p value were made.
    method: str
    test: str


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided p of McNemar's test with mid-p (Fagerland et al. 2013) from the two discordant counts.

    Under the null each of the n = only_first + only_second items that one model got right and the other wrong falls to
    either side with 1/2. The exact two-sided p is 2 P(X <= min); mid-p takes half of the observed point, which removes
    most of the exact test's conservatism.
    """
    n, smaller = only_first + only_second, min(only_first, only_second)
    if n == 0:
        return 1.0
    below, point = 0, 1  # n over k, each from the one before: of thousands of rows, computing each anew takes minutes
    for k in range(smaller):
        below, point = below + point, point * (n - k) // (k + 1)
    return min(1.0, (2 * below + point) / 2**n)


def paired_permutation(differences: Sequence[float], *, num_draws: int = NUM_FLIPS, seed: int = 0) -> float:
    """Two-sided p that the sum of paired differences is 0, by flipping the sign of each; a difference is one of an item
    or the sum of a cluster's.

    All patterns where they are at most 2^16 ("exact"), the share whose |sum| is at least the observed one. Else
    `num_draws` random ones, among which the observed arrangement counts as one draw, so that p is never 0:
    (1 + #{|flipped sum| >= |sum|}) / (1 + num_draws).
    """
    values = np.asarray([value for value in differences if value != 0.0], dtype=np.float64)
    if values.size == 0:
        return 1.0
    observed = abs(float(values.sum())) - 1e-9
    if values.size <= EXACT_CLUSTERS:
        return float(np.mean(np.abs(all_signs(values.size) @ values) >= observed))
    at_least = sum(
        int(np.count_nonzero(np.abs(block @ values) >= observed)) for block in signs(values.size, num_draws, seed)
    )
    return (1 + at_least) / (1 + num_draws)


def minimum_detectable(discordant: float, num_items: int, deff: float = 1.0) -> float:
    """The true difference that a two-sided paired test at 5 % finds with 80 % power: (1.96 + 0.84) sqrt(psi deff / n).

    `discordant`: psi, the share of rows on which the two models differ (0 to 1), or for other values the mean squared
    difference. `deff`: how much less the rows count for lying in clusters. Source: Miller 2024 (arXiv:2411.00640).
    """
    if num_items < 1 or not 0 <= discordant or deff < 1:
        raise ValueError(
            f"needs at least one row, discordant >= 0 and deff >= 1, got {num_items}, {discordant} and {deff}"
        )
    return (Z_95 + Z_80) * math.sqrt(discordant * deff / num_items)


def verdict_of(low: float | None, high: float | None) -> Verdict:
    """What an interval of a difference says; no interval is a tie."""
    if low is not None and low > 0:
        return "win"
    return "loss" if high is not None and high < 0 else "tie"


def paired_difference(
    first: Sequence[float | None],
    second: Sequence[float | None],
    clusters: Sequence[str],
    *,
    num_draws: int = NUM_BOOTSTRAP,
    seed: int = 0,
) -> Difference:
    """Mean of second minus first over the rows that both have a value on, row by row in the same order.

    The interval is a bootstrap of whole clusters; p is of sign flips of the clusters' sums, and McNemar's mid-p where
    every cluster is one row of right or wrong.

    Raises:
        ValueError: other lengths, a row without a cluster, a value that is not finite.
    """
    if len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} values; a paired difference is of the same rows")
    numbered(clusters, len(first))
    both = [
        (one, other, cluster)
        for one, other, cluster in zip(first, second, clusters, strict=True)
        if one is not None and other is not None
    ]
    unscored = len(first) - len(both)
    if not both:
        return Difference(None, None, None, None, None, "tie", None, None, 0, 0, unscored, "no row", "no row")
    pairs = np.array([(one, other) for one, other, _ in both], dtype=np.float64)
    if not np.isfinite(pairs).all():
        raise ValueError("a value is not finite; a row that could not be scored is None, never NaN")
    places, num_clusters = numbered([cluster for _, _, cluster in both], len(both))
    changes = pairs[:, 1] - pairs[:, 0]
    low, high, method = _bootstrap(changes, places, num_clusters, num_draws, seed)
    p_value, test = _test(pairs, changes, places, num_clusters, seed)
    discordant = float(np.mean(changes**2))
    deff = design_effect(changes, places, num_clusters)
    return Difference(
        value=math.fsum(changes) / len(changes), low=low, high=high, p_value=p_value,
        detectable=minimum_detectable(discordant, len(changes), deff) if discordant else None,
        verdict=verdict_of(low, high), discordant=discordant, deff=deff, num_items=len(changes),
        num_clusters=num_clusters, num_unscored=unscored, method=method, test=test,
    )  # fmt: skip


def holm(p_values: Sequence[float]) -> list[float]:
    """P values corrected for being several (Holm 1979), in the order given: the smallest times their number, the next
    times one less, never below one before, at most 1. Rejecting those at most 5 % errs in 5 % of families."""
    if any(not 0 <= p <= 1 for p in p_values):
        raise ValueError(f"p values lie between 0 and 1, got {list(p_values)}")
    adjusted, most = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda place: p_values[place])):
        most = max(most, min(1.0, p_values[place] * (len(p_values) - rank)))
        adjusted[place] = most
    return adjusted


def holm_by_name(p_values: Mapping[str, float]) -> dict[str, float]:
    """`holm` of named p values."""
    return dict(zip(p_values, holm(list(p_values.values())), strict=True))


def _bootstrap(
    changes: NDArray[np.float64], places: NDArray[np.intp], num_clusters: int, num_draws: int, seed: int
) -> tuple[float | None, float | None, str]:
    if num_clusters < 2:
        return None, None, "one cluster has no interval"
    columns = np.stack([changes, np.ones_like(changes)], axis=1)
    drawn = resampled(sums(columns, places, num_clusters), num_draws, seed)
    low, high = percentiles(drawn[:, 0] / drawn[:, 1], num_clusters)
    return (
        low,
        high,
        f"paired bootstrap of {num_clusters} clusters, expanded percentiles, {num_draws} draws, seed {seed}",
    )


def _test(
    pairs: NDArray[np.float64],
    changes: NDArray[np.float64],
    places: NDArray[np.intp],
    num_clusters: int,
    seed: int,
) -> tuple[float, str]:
    if num_clusters == len(changes) and np.isin(pairs, (0.0, 1.0)).all():
        return mcnemar(int((changes < 0).sum()), int((changes > 0).sum())), "McNemar mid-p"
    by_cluster = sums(changes, places, num_clusters)
    by_cluster[np.abs(by_cluster) < 1e-12] = 0.0
    exact = np.count_nonzero(by_cluster) <= EXACT_CLUSTERS
    how = "all patterns" if exact else f"{NUM_FLIPS} draws, seed {seed}"
    return paired_permutation(by_cluster.tolist(), seed=seed), f"sign flips of cluster sums, {how}"
