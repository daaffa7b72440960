"""Sensitivity, specificity and kappa, against numbers computed by hand."""

from __future__ import annotations

import math
import random

import pytest

from judges.calibration.agreement import Interval, Table, cohen_kappa, kappa_interval, table_of


def test_rows_become_a_table_and_failures_stay_outside() -> None:
    rows = [
        (True, "correct"),
        (True, "incorrect"),
        (True, "unsure"),
        (False, "correct"),
        (False, "incorrect"),
        (False, None),
    ]
    table = table_of(rows)  # type: ignore[arg-type]
    assert table == Table(right_accepted=1, right_refused=2, wrong_accepted=1, wrong_refused=1, unsure=1, failed=1)
    assert (table.sensitivity, table.specificity, table.accuracy) == (1 / 3, 1 / 2, 2 / 5)


def test_kappa_is_cohens() -> None:
    # Cohen's own form: p_o = (20 + 15) / 50 = 0.7, p_e = 0.5 * 0.6 + 0.5 * 0.4 = 0.5, kappa = 0.2 / 0.5.
    assert cohen_kappa(20, 5, 10, 15) == pytest.approx(0.4)
    assert cohen_kappa(10, 0, 0, 10) == 1.0
    assert cohen_kappa(0, 10, 10, 0) == -1.0
    # A judge that says the same to everything agrees by chance only.
    assert cohen_kappa(30, 0, 10, 0) == pytest.approx(0.0)
    assert math.isnan(cohen_kappa(10, 0, 0, 0))
    assert math.isnan(Table().kappa)


def test_kappas_interval_has_a_width_at_perfect_agreement_and_narrows_with_rows() -> None:
    few, many = kappa_interval(10, 0, 0, 10), kappa_interval(1000, 0, 0, 1000)
    assert few.high == many.high == 1.0
    assert 0.5 < few.low < 0.8 < 0.99 < many.low < 1.0
    assert kappa_interval(10, 0, 0, 0) == Interval(-1.0, 1.0)
    assert kappa_interval(20, 5, 10, 15) == kappa_interval(20, 5, 10, 15)


def test_kappas_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """Cells 0.42, 0.08, 0.05, 0.45: p_o = 0.87, p_e = 0.5 * 0.47 + 0.5 * 0.53 = 0.5, kappa = 0.74."""
    cells, truth, rng = (0.42, 0.08, 0.05, 0.45), 0.74, random.Random(3)
    assert cohen_kappa(*cells) == pytest.approx(truth)
    hits = 0
    for seed in range(120):
        drawn = rng.choices(range(4), cells, k=60)
        low, high = kappa_interval(*(drawn.count(cell) for cell in range(4)), seed=seed)
        hits += low <= truth <= high
    # 95 % of 120 is 114, with a standard deviation of 2.4.
    assert hits >= 106
