"""Several samples of an item, and agreement of labels: oracles and numbers by hand."""

from __future__ import annotations

import pytest

from rl.statistics.labels import kappa, kendall_tau_b, macro_f1
from rl.statistics.repeated import Vote, avg_at_n, majority_at_k, pass_at_k, pass_hat_k, worst_at_k


def test_pass_at_k_meets_the_oracles(metric_oracles):
    for row in metric_oracles["statistics"]["pass_at_k"]["rows"]:
        counts = row["n"], row["c"], row["k"]
        assert pass_at_k(*counts) == pytest.approx(row["pass_at_k"], abs=1e-9)
        assert pass_hat_k(*counts) == pytest.approx(row["pass_hat_k"], abs=1e-9)


def test_pass_by_hand():
    # 4 samples, 2 right, 2 drawn: 1 of 6 pairs is wrong twice, 1 of 6 right twice.
    assert pass_at_k(4, 2, 2) == pytest.approx(5 / 6)
    assert pass_hat_k(4, 2, 2) == pytest.approx(1 / 6)


@pytest.mark.parametrize(("n", "c", "k"), [(4, 2, 5), (4, 2, 0), (4, 5, 2)])
def test_more_samples_than_there_are_is_an_error(n, c, k):
    with pytest.raises(ValueError, match=r"k is|5 right of 4"):
        pass_at_k(n, c, k)
    with pytest.raises(ValueError, match=r"k is|5 right of 4"):
        pass_hat_k(n, c, k)


def test_the_worst_of_k_by_hand():
    # Of 0.2, 0.5, 0.9 the pairs have 0.2, 0.2 and 0.5 as their worst; points may be below 0.
    assert worst_at_k([0.9, 0.2, 0.5], 2) == pytest.approx(0.3)
    assert worst_at_k([0.9, 0.2, 0.5], 1) == pytest.approx(1.6 / 3) and worst_at_k([0.9, -0.2], 2) == -0.2
    # Of answers that are right or wrong the worst is right where all are.
    assert worst_at_k([1.0, 1.0, 1.0, 0.0], 2) == pytest.approx(pass_hat_k(4, 3, 2))
    with pytest.raises(ValueError, match="draw more"):
        worst_at_k([0.5], 2)


def test_majority_by_hand():
    a, b, none = Vote("a", True), Vote("b", False), Vote(None, False)
    assert majority_at_k([a, a, b]) == 1.0
    assert majority_at_k([a, b]) == 0.5, "a tie is the share of right ones among the tied"
    assert majority_at_k([a, b, Vote("c", False)]) == pytest.approx(1 / 3)
    assert majority_at_k([none, none, a]) == 1.0, "what could not be read never votes"
    assert majority_at_k([none, none]) == 0.0
    assert majority_at_k([Vote("b", None), Vote("b", None), a]) == 1.0, "not judged is as not drawn"
    assert majority_at_k([Vote("b", None)]) is None
    # Two of three drawn: {a a} 1, {a b} 1/2 twice: 2/3.
    assert majority_at_k([a, a, b], 2) == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="expected 1 to 1, the number of judged samples"):
        majority_at_k([a, Vote("b", None)], 2)
    with pytest.raises(ValueError, match="subsets"):
        majority_at_k([a] * 60, 30)


def test_the_mean_over_samples_leaves_out_what_was_not_judged():
    assert avg_at_n([True, None, False]) == 0.5
    assert avg_at_n([None]) is None


def test_kappa_and_macro_f1_meet_the_oracles(metric_oracles):
    oracles = metric_oracles["statistics"]
    for row in oracles["cohen_kappa"]["rows"]:
        expected = None if row["kappa"] is None else pytest.approx(row["kappa"], abs=1e-9)
        assert kappa(row["a"], row["b"]) == expected
        if "kappa_quadratic" in row:
            assert kappa(row["a"], row["b"], weights="quadratic") == pytest.approx(row["kappa_quadratic"], abs=1e-9)
    row = oracles["macro_f1"]
    assert macro_f1(row["gold"], row["pred"]) == pytest.approx(row["macro_f1"], abs=1e-9)


def test_kappa_by_hand_and_where_there_is_none():
    # Agree on 3 of 4; by chance 0.5 x 0.75 + 0.5 x 0.25 = 0.5: (0.75 - 0.5) / 0.5.
    assert kappa(["y", "y", "n", "n"], ["y", "y", "y", "n"]) == pytest.approx(0.5)
    assert kappa([1, 1], [1, 1]) is None and kappa([], []) is None
    assert kappa([1, 1], [0, 0]) == 0.0, "two constants that differ agree as often as chance: never"
    with pytest.raises(ValueError, match="same rows"):
        kappa([1], [])


def test_an_answer_that_could_not_be_read_is_no_class():
    # yes: 1 hit of 2 wanted and 1 given, 2/3; no: 1 hit, 1 wanted, 1 given, 1; mean 5/6, not (2/3 + 1 + 0) / 3.
    assert macro_f1(["yes", "yes", "no"], ["yes", None, "no"]) == pytest.approx(5 / 6)
    assert macro_f1(["yes"], ["yes"], labels=["yes", "no", "maybe"]) == pytest.approx(1 / 3)
    assert macro_f1([], []) is None
    with pytest.raises(ValueError, match="'maybe', which is none of the labels"):
        macro_f1(["maybe"], ["yes"], labels=["yes", "no"])


def test_kendall_by_hand():
    assert kendall_tau_b([1, 2, 3], [1, 3, 2]) == pytest.approx(1 / 3)
    assert kendall_tau_b([1, 1], [1, 2]) is None
