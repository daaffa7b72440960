"""Two models on the same rows: oracles, numbers by hand, and simulations in which the truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from rl.statistics.corpus import Corpus, corpus_difference, corpus_estimate
from rl.statistics.labels import macro_f1
from rl.statistics.pairs import holm, mcnemar, minimum_detectable, paired_difference, verdict_of
from tests.bench.evaluation.clusters import design_effect_of, places_of, rates


def alone(n: int) -> list[str]:
    return [f"row {place}" for place in range(n)]


def test_mcnemar_holm_and_the_detectable_difference_meet_the_oracles(metric_oracles):
    oracles = metric_oracles["statistics"]
    for row in oracles["mcnemar"]["rows"]:
        assert mcnemar(row["b"], row["c"]) == pytest.approx(row["mid_p"], abs=1e-8)
    assert holm(oracles["holm"]["p"]) == pytest.approx(oracles["holm"]["adjusted"])
    for row in oracles["minimum_detectable_difference"]["rows"]:
        # Printed with two digits, some with three.
        assert 100 * minimum_detectable(row["psi"], row["n"]) == pytest.approx(row["points"], abs=0.006)


def test_one_row_clusters_of_right_and_wrong_are_mcnemars():
    first, second = [0] * 8 + [1] * 3 + [1] * 9, [1] * 8 + [0] * 3 + [1] * 9
    found = paired_difference(first, second, alone(20))
    assert (found.value, found.discordant, found.test) == (0.25, 0.55, "McNemar mid-p")
    assert found.p_value == mcnemar(3, 8)
    assert found.detectable == pytest.approx((1.959964 + 0.841621) * math.sqrt(0.55 / 20), abs=1e-6)


def test_sign_flips_of_cluster_sums_by_enumeration():
    """Clusters a and b gain 2 each, c loses 1, d stays: sums 2, 2, -1, |sum| 3. Of 8 patterns (2 2 -1), (2 2 1) and
    their mirrors reach 3: 4 of 8."""
    first = [0, 0, 0, 0, 1, 0, 1]
    second = [1, 1, 1, 1, 0, 0, 1]
    found = paired_difference(first, second, list("aabbcdd"))
    assert found.p_value == 0.5
    assert found.test == "sign flips of cluster sums, all patterns"
    # Seven rows of which five differ, all in clusters: 3/7 gained.
    assert found.value == pytest.approx(3 / 7)


def test_item_means_alone_are_tested_by_sign_flips():
    found = paired_difference([0.25, 0.5, 0.0], [0.5, 1.0, 0.25], alone(3))
    assert found.p_value == 0.25  # all three gained: 2 of 8 patterns
    assert found.verdict == "tie" or found.low > 0


def test_images_that_move_together_are_one_piece_of_evidence():
    """Twelve images, ten rows each; nine images gain all their rows and three lose theirs: 60 rows more, which McNemar
    calls certain, and 9 to 3 of images, which is nothing."""
    first = [0] * 90 + [1] * 30
    second = [1] * 90 + [0] * 30
    images = [f"image {place // 10}" for place in range(120)]
    found = paired_difference(first, second, images)
    assert mcnemar(30, 90) < 1e-6
    # 2 x P(X <= 3 of 12) = 2 x 299 / 4096
    assert found.p_value == pytest.approx(2 * 299 / 4096)
    assert found.verdict == "tie" and found.low < 0 < found.high
    # deff = (sum of 12 x squares of deviating sums) over naive: clustered^2 = 12/11 x 12 x ... = 10 x 119/110
    assert found.deff == pytest.approx(10 * 119 / 110)


def test_the_interval_agrees_with_students_for_many_clusters():
    generator = np.random.default_rng(1)
    changes = generator.normal(0.1, 1.0, size=400)
    found = paired_difference([0.0] * 400, changes.tolist(), alone(400))
    half = stats.t.ppf(0.975, 399) * changes.std(ddof=1) / 20
    assert found.low == pytest.approx(changes.mean() - half, abs=0.01)
    assert found.high == pytest.approx(changes.mean() + half, abs=0.01)


def test_rows_without_one_of_the_values_leave_the_pair():
    found = paired_difference([1, None, 0, 1], [1, 1, None, 0], list("aabb"))
    assert (found.num_items, found.num_unscored, found.num_clusters, found.value) == (2, 2, 2, -0.5)
    nothing = paired_difference([None], [1], ["a"])
    assert (nothing.value, nothing.p_value, nothing.verdict) == (None, None, "tie")


def test_no_row_that_differs_detects_nothing():
    found = paired_difference([1, 0, 1], [1, 0, 1], alone(3))
    assert (found.value, found.p_value, found.verdict, found.detectable) == (0.0, 1.0, "tie", None)
    assert paired_difference([1, 0], [0, 1], ["a", "a"]).low is None  # one cluster


def test_a_verdict_is_the_interval_beside_0():
    assert [verdict_of(0.01, 0.2), verdict_of(-0.2, -0.01), verdict_of(0.0, 0.1)] == ["win", "loss", "tie"]
    assert verdict_of(None, None) == "tie"


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_never_lowers_a_p_value_nor_changes_the_order(p_values):
    adjusted = holm(p_values)
    assert all(after >= before for before, after in zip(p_values, adjusted, strict=True))
    assert [p for _, p in sorted(zip(p_values, adjusted, strict=True))] == sorted(adjusted)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda: paired_difference([1], [1, 0], ["a"]), "1 and 2 values"),
        (lambda: paired_difference([1, 0], [1, 0], ["a", ""]), "no cluster"),
        (lambda: paired_difference([1.0], [math.inf], ["a"]), "not finite"),
        (lambda: holm([0.1, 1.2]), "between 0 and 1"),
        (lambda: minimum_detectable(0.2, 0), "at least one row"),
        (lambda: minimum_detectable(0.2, 10, 0.5), "deff >= 1"),
    ],
)
def test_what_cannot_be_compared_is_told(change, message):
    with pytest.raises(ValueError, match=message):
        change()


def test_the_sizes_are_those_of_the_sets(real_data):
    assert len(places_of("SLAKE-EN")) == 1_061 and len(places_of("PathVQA")) == 6_719
    import json
    from collections import Counter

    rows = json.loads((real_data / "benchmarks/slake_test.json").read_text(encoding="utf-8"))
    images = Counter(row["img_name"] for row in rows if row["q_lang"] == "en")
    assert sorted(images.values()) == sorted(np.bincount(places_of("SLAKE-EN")).tolist())


def test_a_true_null_is_rejected_in_one_run_of_twenty_and_what_is_detectable_in_four_of_five():
    """300 comparisons on SLAKE's image sizes; `python -m tests.bench.evaluation.clusters` makes 2,000, also on
    PathVQA's."""
    null = rates("SLAKE-EN", 0.0, 300, num_draws=1000)
    assert null.clusters <= 0.06 < 0.10 < null.rows
    detectable = minimum_detectable(0.2, 1_061, design_effect_of("SLAKE-EN"))
    assert rates("SLAKE-EN", detectable, 300, num_draws=1000).clusters == pytest.approx(0.8, abs=0.05)


def confusion(gold: list[str], said: list[str], labels: list[str]) -> Corpus:
    """Macro-F1 as a corpus metric: the confusion table of each row, flattened."""
    rows = np.zeros((len(gold), len(labels) ** 2))
    for place, (one, other) in enumerate(zip(gold, said, strict=True)):
        rows[place, labels.index(one) * len(labels) + labels.index(other)] = 1

    def finish(sums):
        table = sums.reshape(len(labels), len(labels))
        whole = table.sum(axis=0) + table.sum(axis=1)
        return float(np.mean(2 * np.diag(table) / whole)) if (whole > 0).all() else None

    return Corpus(rows, finish)


def test_a_corpus_metric_is_resampled_and_not_rescored():
    labels = ["yes", "no"]
    gold = ["yes", "no"] * 30
    said = ["yes", "no"] * 20 + ["no", "no"] * 10
    corpus = confusion(gold, said, labels)
    found = corpus_estimate(corpus, alone(60))
    assert found.value == pytest.approx(macro_f1(gold, said))
    assert found.low < found.value < found.high
    # Rows twice in one cluster are no more evidence; the draws are the same, and so is the interval.
    twice = corpus_estimate(confusion(gold * 2, said * 2, labels), alone(60) * 2)
    assert (twice.low, twice.high) == pytest.approx((found.low, found.high))


def test_a_mean_as_a_corpus_metric_gives_the_paired_test():
    """Mean = sum / count: exchanging the models in a cluster flips the sign of its difference, so p is that of
    `paired_difference`, and the interval is the same draws."""
    first, second = [0, 0, 0, 0, 1, 0, 1], [1, 1, 1, 1, 0, 0, 1]
    clusters = list("aabbcdd")

    def mean(values):
        return Corpus(np.array([(value, 1.0) for value in values]), lambda sums: sums[0] / sums[1])

    found = corpus_difference(mean(first), mean(second), clusters)
    pairs = paired_difference(first, second, clusters)
    assert (found.value, found.p_value) == pytest.approx((pairs.value, pairs.p_value))
    assert (found.low, found.high) == pytest.approx((pairs.low, pairs.high))


def test_a_corpus_metric_that_is_not_defined_is_no_number():
    nothing = Corpus(np.zeros((2, 2)), lambda sums: math.nan)
    assert corpus_estimate(nothing, ["a", "b"]).value is None
    with pytest.raises(ValueError, match="not defined"):
        corpus_difference(nothing, nothing, ["a", "b"])
