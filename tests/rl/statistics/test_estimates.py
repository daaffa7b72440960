"""Intervals of means over clusters: the oracles' toy set, numbers by hand, and what must not pass in silence."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from judges.calibration.agreement import wilson
from rl.statistics.estimates import clustered_error, clustered_wilson, estimate, macro_mean, student


def alone(n: int) -> list[str]:
    return [f"row {place}" for place in range(n)]


def test_the_toy_set_of_the_oracles(metric_oracles):
    toy = metric_oracles["statistics"]["clustered_stderr"]
    found = estimate(toy["scores"], toy["clusters"])
    assert found.value == pytest.approx(toy["mean"])
    assert found.se == pytest.approx(toy["inspect_ai_C_over_C_minus_1"], abs=1e-9)
    # deff = (0.15635 / 0.13093)^2; five clusters are few: Student's t with 4 degrees, cut off at 1.
    assert found.deff == pytest.approx((0.156347192 / 0.130930734) ** 2, abs=1e-6)
    assert student(found.value, found.se, 4) == pytest.approx(toy["ci95_t_df_C_minus_1"], abs=1e-8)
    assert (found.low, found.high) == pytest.approx((toy["ci95_t_df_C_minus_1"][0], 1.0), abs=1e-8)
    assert found.method == "Student's t, 4 degrees of freedom, clustered standard error"
    single = clustered_error(toy["scores"], alone(15))
    assert single == pytest.approx(toy["naive_clt"], abs=1e-9)


def test_clusters_by_hand():
    # Two clusters, {1, 1, 1, 0} and {0, 0, 0, 1}: mean 0.5, sums of residuals +1 and -1; se = sqrt(2/1 (1 + 1)) / 8.
    found = estimate([1, 1, 1, 0, 0, 0, 0, 1], list("aaaabbbb"))
    assert (found.value, found.num_items, found.num_clusters) == (0.5, 8, 2)
    assert found.se == pytest.approx(math.sqrt(2 * 2) / 8)
    # naive^2 = 0.25 / 7; deff = (1/16) / (1/28) = 1.75
    assert found.deff == pytest.approx(1.75)
    # t(97.5 %, 1) = 12.7062: wider than everything that is possible.
    assert (found.low, found.high) == (0.0, 1.0)


def test_forty_clusters_get_wilson_on_effective_rows():
    """Each image has four rows that are all alike: 160 rows, deff about 4, so Wilson of about 40."""
    values = [float(image < 20) for image in range(40) for _ in range(4)]
    clusters = [f"image {image}" for image in range(40) for _ in range(4)]
    found = estimate(values, clusters)
    # se^2 = 40/39 x 40 x (4 x 0.5)^2 / 160^2; naive^2 = 0.25 / 159; deff = 4 x 159/156 = 4.0769
    assert found.deff == pytest.approx(4 * 159 / 156)
    effective = 160 / found.deff
    assert (found.low, found.high) == pytest.approx(wilson(effective / 2, effective))
    assert found.method == "Wilson on 39.2 effective rows of 160, clustered standard error"


@given(st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=60))
def test_one_row_clusters_give_the_plain_wilson_interval(values):
    found = estimate(values, alone(len(values)))
    assert (found.low, found.high) == pytest.approx(wilson(sum(values), len(values)), abs=1e-12)


@given(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=2, max_size=60))
def test_one_row_clusters_of_item_means_give_the_interval_of_items(values):
    found = estimate(values, alone(len(values)))
    assert (found.low, found.high) == pytest.approx(clustered_wilson(values), abs=1e-12)
    assert found.deff == pytest.approx(1.0)


@given(st.lists(st.tuples(st.sampled_from([0.0, 1.0]), st.sampled_from("abcdefgh")), min_size=1, max_size=40))
def test_clusters_never_count_for_more_than_their_rows(rows):
    found = estimate([value for value, _ in rows], [cluster for _, cluster in rows])
    assert found.deff >= 1
    assert 0 <= found.low <= found.value + 1e-12 and found.value <= found.high + 1e-12 and found.high <= 1


def test_rows_that_are_all_right_are_worth_their_clusters():
    found = estimate([1.0] * 50, [str(place // 5) for place in range(50)])
    assert (found.low, found.high) == pytest.approx(wilson(10, 10))
    assert (found.deff, found.se) == (5.0, 0.0)


def test_values_without_bounds_get_students_interval():
    # Mean 2, variance 4/3 of rows 1, 1, 3, 3: se = sqrt(4/3/4); t(3) = 3.18245
    found = estimate([1, 1, 3, 3], alone(4), bounds=None)
    half = 3.1824463 * math.sqrt(1 / 3)
    assert (found.low, found.high) == pytest.approx((2 - half, 2 + half), abs=1e-6)


def test_unscored_rows_leave_the_mean_and_are_counted():
    found = estimate([1, None, 0, None], list("abcd"))
    assert (found.value, found.num_items, found.num_clusters, found.num_unscored) == (0.5, 2, 2, 2)
    nothing = estimate([None], ["a"])
    assert (nothing.value, nothing.low, nothing.num_unscored) == (None, None, 1)


def test_one_cluster_has_no_standard_error():
    found = estimate([1, 0, 1], ["a", "a", "a"])
    assert (found.se, found.low, found.high) == (None, 0.0, 1.0)
    assert "one cluster" in found.method


@pytest.mark.parametrize(
    ("values", "clusters", "message"),
    [
        ([1, 0], ["a", ""], "1 of 2 rows have no cluster"),
        ([None, 0], [None, "a"], "1 of 2 rows have no cluster"),
        ([1, 0], ["a"], "2 rows and 1 clusters"),
        ([1, math.nan], ["a", "b"], "not finite"),
        ([1, 40], ["a", "b"], "expected 0 to 1"),
    ],
)
def test_what_cannot_be_estimated_is_told(values, clusters, message):
    with pytest.raises(ValueError, match=message):
        estimate(values, clusters)


def test_a_macro_mean_counts_every_benchmark_the_same():
    small, large = estimate([1] * 30 + [0] * 10, alone(40)), estimate([1] * 100 + [0] * 300, alone(400))
    found = macro_mean([small, large])
    # (0.75 + 0.25) / 2, not 130 / 440; se = sqrt(0.1875/39 + 0.1875/399) / 2 = 0.03632
    assert found.value == 0.5
    assert found.se == pytest.approx(math.sqrt(0.1875 / 39 + 0.1875 / 399) / 2)
    assert (found.low, found.high) == pytest.approx((0.5 - 1.959964 * found.se, 0.5 + 1.959964 * found.se))
    assert found.num_items == 440


def test_a_headline_without_spread_adds_the_width_of_its_own_interval():
    perfect = estimate([1.0] * 20, alone(20))
    found = macro_mean([perfect])
    assert perfect.se == 0.0 and found.se == pytest.approx((1 - perfect.low) / (2 * 1.959964), abs=1e-6)


def test_a_macro_mean_of_a_headline_without_value_is_refused():
    with pytest.raises(ValueError, match="1 of 2 headlines have no value"):
        macro_mean([estimate([1, 0], ["a", "b"]), estimate([None], ["a"])])
    with pytest.raises(ValueError, match="at least one"):
        macro_mean([])
