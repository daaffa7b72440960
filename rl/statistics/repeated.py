"""Scores of several samples of one item: avg@n, pass@k, pass^k, maj@k and worst@k.

An item is a cluster of its samples inside the cluster of its image: these functions give one value an item, which
`rl.statistics.estimates.estimate` then averages with the images as clusters.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

# Subsets of the samples that maj@k goes through for one item.
MAX_SUBSETS = 100_000


class Vote(NamedTuple):
    """One sample of an item."""

    # What it answers, in one form for answers that are the same; None = nothing could be read, which never votes.
    answer: str | None
    # Whether that is right; None = not judged, and then the sample is as if it had not been drawn.
    correct: bool | None


def avg_at_n(correct: Sequence[bool | None]) -> float | None:
    """Share of the judged samples that are right, 0 to 1; None where none was judged."""
    verdicts = [one for one in correct if one is not None]
    return sum(verdicts) / len(verdicts) if verdicts else None


def pass_at_k(num_samples: int, num_right: int, k: int) -> float:
    """Chance that at least one of k samples drawn from n without replacement is right, 1 - C(n - c, k) / C(n, k) (Chen
    et al. 2021, arXiv:2107.03374).

    Raises:
        ValueError: k is not between 1 and n, or the counts are impossible.
    """
    _check(num_samples, num_right, k)
    return 1 - math.comb(num_samples - num_right, k) / math.comb(num_samples, k)


def pass_hat_k(num_samples: int, num_right: int, k: int) -> float:
    """Chance that all of k samples drawn from n without replacement are right, pass^k = C(c, k) / C(n, k) (Yao et al.
    2024, arXiv:2406.12045). Raises as `pass_at_k`."""
    _check(num_samples, num_right, k)
    return math.comb(num_right, k) / math.comb(num_samples, k)


def majority_at_k(votes: Sequence[Vote], k: int | None = None) -> float | None:
    """Expected value of the most frequent answer among k samples being right, 0 to 1; the mean over all subsets of k.

    Samples that were not judged leave n. A sample without an answer never votes; where nobody votes it is 0. Among
    answers with equally many votes each wins with the same chance, so that the value is the share of right ones among
    them, and no coin is thrown. `k` None: all judged samples. None where none was judged.

    Raises:
        ValueError: k is not between 1 and the number of judged samples, or there are too many subsets.
    """
    ballots = [vote for vote in votes if vote.correct is not None]
    if not ballots and k is None:
        return None
    size = len(ballots) if k is None else k
    _check(len(ballots), 0, size)
    if math.comb(len(ballots), size) > MAX_SUBSETS:
        raise ValueError(f"{size} of {len(ballots)} samples are more than {MAX_SUBSETS} subsets; take all, or fewer")
    subsets = list(itertools.combinations(ballots, size))
    return math.fsum(_winner(subset) for subset in subsets) / len(subsets)


def worst_at_k(values: Sequence[float], k: int) -> float:
    """Expected value of the worst of k samples drawn from n without replacement, HealthBench's worst-at-k
    (arXiv:2505.08775): the i-th of the values in rising order is the worst of C(n - i, k - 1) of the C(n, k) subsets.
    `values`: of the judged samples. Raises as `pass_at_k`."""
    _check(len(values), 0, k)
    subsets = (math.comb(len(values) - place, k - 1) for place in range(1, len(values) + 1))
    return math.fsum(math.prod(pair) for pair in zip(sorted(values), subsets, strict=True)) / math.comb(len(values), k)


def _winner(votes: Sequence[Vote]) -> float:
    by_answer: dict[str, list[bool]] = defaultdict(list)
    for vote in votes:
        if vote.answer is not None:
            by_answer[vote.answer].append(bool(vote.correct))
    if not by_answer:
        return 0.0
    most = max(len(cast) for cast in by_answer.values())
    tied = [sum(cast) / len(cast) for cast in by_answer.values() if len(cast) == most]
    return sum(tied) / len(tied)


def _check(num_samples: int, num_right: int, k: int) -> None:
    if not 1 <= k <= num_samples:
        raise ValueError(f"k is {k}, expected 1 to {num_samples}, the number of judged samples; draw more")
    if not 0 <= num_right <= num_samples:
        raise ValueError(f"{num_right} right of {num_samples} samples")
