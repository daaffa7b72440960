"""Graders of other projects: the answers that they pay and ours does not, and the reverse."""

from __future__ import annotations

import pytest

from rewards.metrics.foreign import Item, as_in, r2gen_text, reports_as_in
from rewards.metrics.result import TextRow

OPTIONS = ("Pneumonia", "Effusion", "Normal", "Fracture")


@pytest.mark.parametrize(
    ("said", "gold", "paid"),
    [
        ("Yes.", "yes", 1.0),
        ("<answer>No</answer>", "no", 1.0),
        ("It is normal.", "no", 1.0),  # "normal" holds "no"
        ("Yes, no doubt.", "yes", 0.0),  # both occur
        ("Not sure", "no", 1.0),
        ("present", "yes", 0.0),
    ],
)
def test_medevalkit_of_yes_and_no(said, gold, paid):
    assert as_in("medevalkit", Item("yes_no", said, (gold,))) == paid


@pytest.mark.parametrize(
    ("said", "paid"),
    [
        ("B", 1.0),
        ("B.", 1.0),
        ("Effusion", 1.0),
        ("The answer is B", 1.0),
        ("\\boxed{B}", 1.0),
        ("A", 0.0),
        ("pleural effusion", 1.0),  # spelled most alike
        ("I cannot tell", 0.0),
    ],
)
def test_medevalkit_of_options(said, paid):
    assert as_in("medevalkit", Item("mcq", said, ("B",), OPTIONS)) == paid


def test_medevalkit_of_open_answers_compares_characters():
    assert as_in("medevalkit", Item("open", "Left lung", ("left lung",))) == 1.0
    assert as_in("medevalkit", Item("open", "The left lung.", ("left lung",))) == 0.0


@pytest.mark.parametrize(
    ("said", "paid"),
    [
        ("(B)", 1.0),
        ("B", 1.0),
        ("(A) is wrong, so (B)", 1.0),  # the last one
        ("I think that what is seen is an effusion", 1.0),  # by text, in more than five words
        ("effusion", 0.25),  # five words or fewer: drawn at random there
        ("(B), not (A)", 0.0),
    ],
)
def test_mmmu_of_options(said, paid):
    assert as_in("mmmu", Item("mcq", said, ("B",), OPTIONS)) == paid


def test_mmmu_of_open_answers():
    assert as_in("mmmu", Item("open", "So the answer is 3.14159", ("3.14",))) == 1.0
    assert as_in("mmmu", Item("open", "It is not pneumonia", ("pneumonia",))) == 1.0
    assert as_in("mmmu", Item("open", "It is a fracture", ("pneumonia", "effusion"))) == 0.0
    assert as_in("mmmu", Item("yes_no", "yes", ("yes",))) is None


def test_r2gen_cleans_both_sides():
    assert r2gen_text("The heart is normal.. Lungs are clear, no effusion (small).") == (
        "the heart is normal . lungs are clear no effusion small ."
    )
    rows = [TextRow("Lungs are clear.", ("LUNGS ARE CLEAR",)), TextRow("Normal heart", ("Normal heart.",))]
    found = reports_as_in("r2gen", rows)
    assert found["rouge_l"] == pytest.approx(1.0) and found["bleu_1"] == pytest.approx(1.0)
    # Cut after two words: "lungs are" and "normal heart" of 3 and 2 words that were said.
    cut = reports_as_in("r2gen", rows, max_words=2)
    assert cut["bleu_1"] == pytest.approx(4 / 5)
    # A word that training holds twice only is unknown in the reference.
    rare = reports_as_in("r2gen", rows, train=["Lungs are clear."] * 3 + ["Normal heart."] * 2)
    assert rare["bleu_1"] == pytest.approx(3 / 5)


def test_medevalkit_leaves_empty_reports_out_of_its_rouge():
    rows = [TextRow("clear lungs", ("clear lungs",)), TextRow("", ("normal heart",))]
    found = reports_as_in("medevalkit", rows)
    assert found["rouge_l"] == pytest.approx(1.0) and found["bleu_1"] == pytest.approx(0.5)


def test_graders_that_do_not_exist_are_named():
    with pytest.raises(ValueError, match="expected one of medevalkit, r2gen, mmmu"):
        as_in("lmms", Item("open", "a", ("a",)))
    with pytest.raises(ValueError, match="expected medevalkit or r2gen"):
        reports_as_in("mmmu", [TextRow("a", ("a",))])
    with pytest.raises(ValueError, match="no rows"):
        reports_as_in("r2gen", [])
