"""Intervals and tests for shares of right answers, as pure functions of counts and of per-item values.

The unit is always the held-out item. Several samples of one item are not independent draws; they enter as that item's
mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from judges.calibration.agreement import Z_95, Interval, wilson


def clustered_wilson(item_means: Sequence[float], z: float = Z_95) -> Interval:
    """Wilson's interval of the mean of items, each the mean of several samples of that item: the cluster is the item.

    The variance of the mean is that between items, s^2 / n, never p(1-p) / (n k). It is turned into the number of
    independent yes/no draws with the same variance, n_eff = p(1-p) / (s^2 / n), which lies between n and n k, and
    Wilson's interval is taken of p * n_eff in n_eff. With one sample an item it is the plain Wilson interval of n items
    (up to n - 1 for n in s^2).
    """
    n = len(item_means)
    if n == 0:
        return Interval(0.0, 1.0)
    share = math.fsum(item_means) / n
    between = math.fsum((mean - share) ** 2 for mean in item_means) / n
    # All items alike: the samples tell nothing about the spread of items, so the n items themselves are the count.
    effective = n if between <= 1e-15 else share * (1 - share) / (between / n)
    return wilson(share * effective, effective, z)


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided p of McNemar's test with mid-p (Fagerland et al. 2013) from the two discordant counts.

    Under the null each of the n = only_first + only_second items that one model got right and the other wrong falls to
    either side with 1/2. The exact two-sided p is 2 P(X <= min); mid-p takes half of the observed point, which removes
    most of the exact test's conservatism.
    """
    n, smaller = only_first + only_second, min(only_first, only_second)
    if n == 0:
        return 1.0
    below = sum(math.comb(n, k) for k in range(smaller))
    point = math.comb(n, smaller)
    return min(1.0, (2 * below + point) / 2**n)


def paired_permutation(differences: Sequence[float], *, num_draws: int = 10_000, seed: int = 0) -> float:
    """Two-sided p that the mean of paired per-item differences is 0, by flipping the sign of each item at random.

    For items that are means of several samples, where McNemar's yes/no does not apply. The observed arrangement counts
    as one draw, so that
    p is never 0: (1 + #{|flipped mean| >= |mean|}) / (1 + num_draws).
    """
    values = np.asarray([value for value in differences if value != 0.0], dtype=np.float64)
    if values.size == 0:
        return 1.0
    generator = np.random.default_rng(seed)
    observed = abs(float(values.sum())) - 1e-9
    at_least = 0
    for start in range(0, num_draws, 1000):
        signs = generator.integers(0, 2, size=(min(1000, num_draws - start), values.size)) * 2 - 1
        at_least += int(np.count_nonzero(np.abs(signs @ values) >= observed))
    return (1 + at_least) / (1 + num_draws)


def kendall_tau_b(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Kendall's tau-b of two rankings of the same things: 1 = the same order, -1 = the opposite, ties accounted for;
    None where one ranks nothing.

    (concordant - discordant) / sqrt(pairs not tied in the first x pairs not tied in the second), Kendall 1945.
    """
    agree = untied_first = untied_second = 0
    for j in range(len(first)):
        for i in range(j):
            sign_first = (first[j] > first[i]) - (first[j] < first[i])
            sign_second = (second[j] > second[i]) - (second[j] < second[i])
            agree += sign_first * sign_second
            untied_first += sign_first != 0
            untied_second += sign_second != 0
    if not untied_first or not untied_second:
        return None
    return agree / math.sqrt(untied_first * untied_second)
