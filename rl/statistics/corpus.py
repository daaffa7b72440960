"""Intervals and tests of metrics of a whole corpus: BLEU, CIDEr, macro-F1, kappa.

All of them are a function of sums over rows (n-gram counts, scores, a confusion table), so that a resampled corpus is
a weighted sum and nothing is scored twice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rl.statistics.clusters import all_signs, numbered, percentiles, resampled, signs, sums
from rl.statistics.estimates import Estimate
from rl.statistics.pairs import EXACT_CLUSTERS, NUM_BOOTSTRAP, NUM_FLIPS, Difference, verdict_of


@dataclass(frozen=True)
class Corpus:
    """A corpus metric of one model: what each row adds up, and what the sums mean."""

    # Rows x sums.
    rows: NDArray[np.float64]
    # From the sums over rows to the metric; NaN or None where it is not defined for them.
    finish: Callable[[NDArray[np.float64]], float | None]

    @property
    def value(self) -> float | None:
        """The metric over all rows; None = not defined."""
        return _defined(self.finish(self.rows.sum(axis=0)))


def corpus_estimate(
    corpus: Corpus, clusters: Sequence[str], *, num_draws: int = NUM_BOOTSTRAP, seed: int = 0
) -> Estimate:
    """The metric with a 95 % interval from a bootstrap of whole clusters; se is the spread of the draws.

    Draws in which the metric is not defined are left out and counted in `method`.

    Raises:
        ValueError: a row without a cluster.
    """
    places, num_clusters = numbered(clusters, len(corpus.rows))
    value, n = corpus.value, len(corpus.rows)
    if value is None or num_clusters < 2:
        why = "the metric is not defined for these rows" if value is None else "one cluster has no interval"
        return Estimate(value, None, None, None, None, n, num_clusters, 0, why)
    drawn = resampled(sums(corpus.rows, places, num_clusters), num_draws, seed)
    known = [one for row in drawn if (one := _defined(corpus.finish(row))) is not None]
    method = f"bootstrap of {num_clusters} clusters, expanded percentiles, {num_draws} draws, seed {seed}"
    if len(known) < 2:
        return Estimate(value, None, None, None, None, n, num_clusters, 0, f"{method}; not defined in any draw")
    if len(known) < num_draws:
        method += f", {num_draws - len(known)} of them not defined"
    low, high = percentiles(known, num_clusters)
    return Estimate(value, low, high, float(np.std(known, ddof=1)), None, n, num_clusters, 0, method)


def corpus_difference(
    first: Corpus, second: Corpus, clusters: Sequence[str], *, num_draws: int = NUM_BOOTSTRAP, seed: int = 0
) -> Difference:
    """Second minus first on the same rows: paired bootstrap of clusters, and p by exchanging the two models in whole
    clusters at random (Noreen 1989), exactly where at most 16 clusters differ.

    Raises:
        ValueError: other rows, a row without a cluster, a metric that is not defined for one of the two.
    """
    if len(first.rows) != len(second.rows):
        raise ValueError(f"{len(first.rows)} and {len(second.rows)} rows; a paired difference is of the same rows")
    places, num_clusters = numbered(clusters, len(first.rows))
    if first.value is None or second.value is None:
        raise ValueError("the metric is not defined for one of the two models; there is no difference")
    sums_a, sums_b = sums(first.rows, places, num_clusters), sums(second.rows, places, num_clusters)
    finish = second.finish
    low, high, se, method = None, None, None, "one cluster has no interval"
    if num_clusters > 1:
        drawn = resampled(np.concatenate([sums_a, sums_b], axis=1), num_draws, seed)
        width = sums_a.shape[1]
        changes = [_change(finish, row[:width], row[width:]) for row in drawn]
        known = [change for change in changes if change is not None]
        low, high = percentiles(known, num_clusters)
        se = float(np.std(known, ddof=1))
        method = f"paired bootstrap of {num_clusters} clusters, expanded percentiles, {num_draws} draws, seed {seed}"
    p_value, test = _exchange(sums_a, sums_b, finish, seed)
    return Difference(
        second.value - first.value, low, high, p_value, 2.801585 * se if se else None, verdict_of(low, high),
        None, None, len(first.rows), num_clusters, 0, method, test,
    )  # fmt: skip


def _exchange(
    sums_a: NDArray[np.float64],
    sums_b: NDArray[np.float64],
    finish: Callable[[NDArray[np.float64]], float | None],
    seed: int,
) -> tuple[float, str]:
    half, middle = (sums_b - sums_a) / 2, ((sums_a + sums_b) / 2).sum(axis=0)
    half = half[np.abs(half).sum(axis=1) > 0]
    if not len(half):
        return 1.0, "exchange of clusters, none differs"

    def changed(block: NDArray[np.int64]) -> list[float]:
        moved = block @ half
        return [abs(_change(finish, middle - row, middle + row) or 0.0) for row in moved]

    observed = abs(_change(finish, sums_a.sum(axis=0), sums_b.sum(axis=0)) or 0.0) - 1e-12
    if len(half) <= EXACT_CLUSTERS:
        values = changed(all_signs(len(half)))
        return sum(one >= observed for one in values) / len(values), "exchange of clusters, all patterns"
    at_least = sum(one >= observed for block in signs(len(half), NUM_FLIPS, seed) for one in changed(block))
    return (1 + at_least) / (1 + NUM_FLIPS), f"exchange of clusters, {NUM_FLIPS} draws, seed {seed}"


def _change(
    finish: Callable[[NDArray[np.float64]], float | None], first: NDArray[np.float64], second: NDArray[np.float64]
) -> float | None:
    before, after = _defined(finish(first)), _defined(finish(second))
    return None if before is None or after is None else after - before


def _defined(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)
