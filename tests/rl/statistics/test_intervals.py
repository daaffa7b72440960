"""Intervals and tests on counts, with the numbers worked out by hand and SciPy as the oracle."""

from __future__ import annotations

import pytest
from scipy import stats

from judges.calibration.agreement import Interval, wilson
from rl.statistics.estimates import clustered_wilson
from rl.statistics.pairs import mcnemar, paired_permutation


def test_wilson_of_eight_in_ten_by_hand() -> None:
    # z^2 = 3.8415; centre (0.8 + 0.19207) / 1.38415 = 0.71674; half 1.95996 sqrt(0.016 + 0.0096036) / 1.38415 = 0.22658
    assert wilson(8, 10) == pytest.approx((0.49016, 0.94332), abs=2e-5)


@pytest.mark.parametrize(("successes", "total"), [(0, 10), (1, 7), (320, 640), (639, 640), (640, 640)])
def test_wilson_equals_scipy(successes: int, total: int) -> None:
    oracle = stats.binomtest(successes, total).proportion_ci(method="wilson")
    assert wilson(successes, total) == pytest.approx((oracle.low, oracle.high), abs=1e-9)


def test_wilson_at_the_edges_has_a_width_and_stays_inside() -> None:
    # At 0 of n the upper bound is z^2 / (n + z^2) = 3.8415 / 13.8415
    assert wilson(0, 10) == pytest.approx((0.0, 0.27753), abs=1e-5)
    assert wilson(10, 10) == pytest.approx((0.72247, 1.0), abs=1e-5)
    assert wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("successes", "total"), [(-1, 5), (6, 5)])
def test_wilson_refuses_impossible_counts(successes: int, total: int) -> None:
    with pytest.raises(ValueError, match="0 <= successes <= total"):
        wilson(successes, total)


def test_intervals_that_touch_overlap() -> None:
    assert Interval(0.1, 0.2).overlaps(Interval(0.2, 0.3))
    assert not Interval(0.1, 0.2).overlaps(Interval(0.21, 0.3))


def test_one_sample_an_item_is_the_plain_interval() -> None:
    # Means 1,1,1,0: p 0.75, between-item variance 0.1875 = p(1-p), so n_eff = 4.
    assert clustered_wilson([1, 1, 1, 0]) == pytest.approx(wilson(3, 4))


def test_repeating_every_sample_does_not_narrow_the_interval() -> None:
    """Four identical samples of each item are one draw of that item: 100 items, not 400 draws."""
    means = [1.0] * 80 + [0.0] * 20
    assert clustered_wilson(means) == pytest.approx(wilson(80, 100))
    narrow = wilson(320, 400)
    assert clustered_wilson(means).low < narrow.low


def test_samples_that_spread_inside_items_narrow_it_towards_all_draws() -> None:
    # Half the items 0.25, half 0.75: p 0.5, variance 0.0625, n_eff = 0.25 / (0.0625 / 40) = 160 = 4 samples x 40 items.
    assert clustered_wilson([0.25, 0.75] * 20) == pytest.approx(wilson(80, 160))


def test_items_that_are_all_alike_count_as_items() -> None:
    assert clustered_wilson([0.5] * 10) == pytest.approx(wilson(5, 10))
    assert clustered_wilson([]) == (0.0, 1.0)


def test_mcnemar_by_hand() -> None:
    # 1 against 5: mid-p (2 * 1 + 6) / 64 = 8/64.
    assert mcnemar(1, 5) == pytest.approx(8 / 64)
    assert mcnemar(5, 1) == mcnemar(1, 5)
    assert mcnemar(0, 0) == 1.0
    # 3 against 3: mid-p (2 * 22 + 20) / 64 = 1.
    assert mcnemar(3, 3) == 1.0


@pytest.mark.parametrize(("first", "second"), [(0, 9), (12, 30), (150, 90), (7_000, 7_300)])
def test_mcnemar_equals_scipys_binomial_with_half_of_the_observed_point(first: int, second: int) -> None:
    smaller, n = min(first, second), first + second
    mid = 2 * stats.binom.cdf(smaller, n, 0.5) - stats.binom.pmf(smaller, n, 0.5)
    assert mcnemar(first, second) == pytest.approx(mid)


def test_paired_permutation_of_few_items_by_enumeration() -> None:
    # +1, +1, +1: of eight sign patterns two reach |sum| = 3, so p is near 2/8.
    assert paired_permutation([1.0, 1.0, 1.0]) == pytest.approx(0.25, abs=0.02)
    assert paired_permutation([0.5, -0.5, 0.0]) == pytest.approx(1.0, abs=0.01)
    assert paired_permutation([]) == 1.0
    assert paired_permutation([0.25] * 60) < 0.001


def test_paired_permutation_depends_on_its_seed_alone() -> None:
    values = [0.25, -0.5, 0.75, 0.25, 0.0, 0.5]
    assert paired_permutation(values, seed=3) == paired_permutation(values, seed=3)
