"""Which rows belong together, and sums over them: what every interval and test here is made of."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

# Values a block of the resampling holds at once; 32 MB of 8-byte numbers.
_BLOCK_VALUES = 4_000_000
Z_80 = 0.8416212335729143  # 80 % point of the standard normal


def numbered(clusters: Sequence[str], num_rows: int) -> tuple[NDArray[np.intp], int]:
    """A number from 0 for the cluster of each row, in order of first appearance, and how many clusters there are.

    Raises:
        ValueError: another number of clusters than of rows, or a row without a cluster (None or ""), which would make
            rows that belong together look independent.
    """
    if len(clusters) != num_rows:
        raise ValueError(f"{num_rows} rows and {len(clusters)} clusters; every row needs the cluster it belongs to")
    missing = [place for place, cluster in enumerate(clusters) if cluster is None or cluster == ""]
    if missing:
        raise ValueError(
            f"{len(missing)} of {num_rows} rows have no cluster (the first is row {missing[0]}); give every row its"
            " image, video, patient or article, or its own id where it stands alone"
        )
    numbers: dict[str, int] = {}
    places = np.fromiter((numbers.setdefault(cluster, len(numbers)) for cluster in clusters), np.intp, num_rows)
    return places, len(numbers)


def sums(values: NDArray[np.float64], places: NDArray[np.intp], num_clusters: int) -> NDArray[np.float64]:
    """Sum of the rows of each cluster; rows x columns gives clusters x columns, one column gives a vector."""
    if values.ndim == 1:
        return np.bincount(places, weights=values, minlength=num_clusters).astype(np.float64)
    return np.stack([sums(column, places, num_clusters) for column in values.T], axis=1)


def resampled(sums_C_S: NDArray[np.float64], num_draws: int, seed: int) -> NDArray[np.float64]:
    """Column sums of `num_draws` bootstrap samples of the clusters, draws x columns: clusters are drawn with
    replacement, as many as there are."""
    num_clusters = len(sums_C_S)
    generator = np.random.default_rng(seed)
    parts = []
    for start, stop in _blocks(num_draws, num_clusters):
        drawn = generator.integers(0, num_clusters, size=(stop - start, num_clusters))
        offsets = np.arange(stop - start)[:, None] * num_clusters
        counts = np.bincount((drawn + offsets).ravel(), minlength=(stop - start) * num_clusters)
        parts.append(counts.reshape(stop - start, num_clusters).astype(np.float64) @ sums_C_S)
    return np.concatenate(parts)


def signs(num_clusters: int, num_draws: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Blocks of random signs, draws x clusters, each -1 or 1."""
    generator = np.random.default_rng(seed)
    for start, stop in _blocks(num_draws, num_clusters):
        yield generator.integers(0, 2, size=(stop - start, num_clusters)) * 2 - 1


def all_signs(num_clusters: int) -> NDArray[np.int64]:
    """Every pattern of signs, 2^clusters x clusters."""
    return np.array(list(itertools.product((-1, 1), repeat=num_clusters)), dtype=np.int64).reshape(-1, num_clusters)


def percentiles(draws: Iterable[float], num_clusters: int) -> tuple[float, float]:
    """The ends of a 95 % bootstrap interval: expanded percentiles (Hesterberg 2015, Am. Stat. 69, 371), which for few
    clusters are as much wider as Student's t is, and for many are the 2.5 % and the 97.5 % point."""
    from scipy.special import ndtr, stdtrit  # here, because most of what imports this file asks for no interval

    if num_clusters < 2:
        raise ValueError("one cluster has no bootstrap interval; at least 2 are needed")
    wide = float(np.sqrt(num_clusters / (num_clusters - 1)) * stdtrit(num_clusters - 1, 0.975))
    tail = float(ndtr(-wide))
    low, high = np.quantile(np.fromiter(draws, np.float64), (tail, 1 - tail))
    return float(low), float(high)


def _blocks(num_draws: int, num_clusters: int) -> Iterator[tuple[int, int]]:
    size = max(1, min(1000, _BLOCK_VALUES // max(1, num_clusters)))
    for start in range(0, num_draws, size):
        yield start, min(num_draws, start + size)
