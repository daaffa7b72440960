"""Report metrics over rows: numbers by hand, and the rules that keep a number honest."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewards.metrics.cider import cider, cider_d, rarity
from rewards.metrics.overlap import meteor, rouge_l, rouge_l_of_package
from rewards.metrics.reports import METRICS, compute, rarities
from rewards.metrics.result import Handling, TextRow
from rewards.metrics.stems import stem

ROWS = [
    TextRow("The lungs are clear.", ("The lungs are clear. No effusion.",)),
    TextRow("Small effusion.", ("Small pleural effusion.",)),
    TextRow("", ("Normal heart size.",)),
]


def test_rouge_l_by_hand():
    # 4 of 4 words said, 4 of 6 of the reference: 2 x 4 / 10; 2 of 2 and 2 of 3: 4/5; no answer: 0.
    found = compute("rouge_l", ROWS)
    assert found.items == pytest.approx((0.8, 0.8, 0.0))
    assert found.value == pytest.approx(1.6 / 3)
    assert (found.num_rows, found.num_empty) == (3, 1)


def test_meteor_by_hand():
    # Two of two words and two of three, one chunk of two: P 1, R 2/3, F = (2/3) / (0.9 + 0.1 x 2/3) = 20/29;
    # 1 - 0.5 (1/2)^3 = 15/16.
    assert meteor(["small", "effusion"], ["small", "effusions", "left"]) == pytest.approx(20 / 29 * 15 / 16)


def test_cider_by_hand():
    """Three items whose one-word references are "a", "b" and "a": log(3/2) weighs "a", log 3 weighs "b" and what no
    reference holds. One order of four has n-grams: an identical text is worth 10/4."""
    rare = rarity([[["a"]], [["b"]], [["a"]]])
    assert cider_d(["a"], [["a"]], rare) == pytest.approx(2.5)
    # "a c" against "a": 1-grams log 1.5 and log 3; cosine log 1.5 / sqrt(log^2 1.5 + log^2 3); one bigram more.
    cosine = math.log(1.5) / math.hypot(math.log(1.5), math.log(3))
    assert cider(["a", "c"], [["a"]], rare) == pytest.approx(2.5 * cosine)
    assert cider_d(["a", "c"], [["a"]], rare) == pytest.approx(2.5 * cosine * math.exp(-1 / 72))
    # Said seven times: the vector points the same way, and plain CIDEr sees no difference; clipped it is a seventh.
    assert cider(["b"] * 7, [["b"]], rarity([[["b"]], [["a"]]])) > 7 * cider_d(
        ["b"] * 7, [["b"]], rarity([[["b"]], [["a"]]])
    )


def test_cider_of_one_item_or_of_one_reference_is_not_computed():
    for rows in (ROWS[:1], [ROWS[0], TextRow("Clear.", ROWS[0].references)]):
        found = compute("cider_d", rows)
        assert (found.value, found.items) == (None, None)
        assert "needs" in found.reason and "at least 2" in found.reason
    # With the rarities of a whole benchmark one row has a score, the same as among all rows.
    frozen = compute("cider_d", ROWS[:1], rare=rarities(ROWS))
    assert frozen.value == pytest.approx(compute("cider_d", ROWS).items[0])
    assert "frozen" in frozen.signature


@pytest.mark.parametrize("name", METRICS)
def test_an_answer_that_is_missing_counts_0_and_a_perfect_one_is_best(name):
    rows = [TextRow(row.references[0], row.references) for row in ROWS]
    perfect = compute(name, [*rows, TextRow(None, ("Old fracture of the left sixth rib.",))])
    assert perfect.items[-1] == 0.0
    worse = compute(name, [*ROWS, TextRow("  ", ("Old fracture of the left sixth rib.",))])
    assert (perfect.num_empty, worse.num_empty) == (1, 2)
    assert worse.value < perfect.value


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_is_the_finish_of_the_sums_of_its_rows(name):
    found = compute(name, ROWS)
    assert found.finish(found.sums.sum(axis=0)) == pytest.approx(found.value)
    assert len(found.sums) == 3
    if not name.startswith("cider"):  # whose weights come from all rows
        assert found.finish(found.sums[:2].sum(axis=0)) == pytest.approx(compute(name, ROWS[:2]).value)


def test_the_signature_says_how_xxxx_was_handled():
    rows = [TextRow("The XXXX is clear.", ("The lung XXXX is clear.",)), TextRow("Normal.", ("Normal.",))]
    kept, removed = compute("rouge_l", rows), compute("rouge_l", rows, Handling("findings", "removed"))
    # The xxxx is clear (4) of the lung xxxx is clear (5): 8/9. Without: the is clear (3), the lung is clear (4): 6/7.
    assert kept.items[0] == pytest.approx(8 / 9) and removed.items[0] == pytest.approx(6 / 7)
    assert "sections:findings|xxxx:removed" in removed.signature and "xxxx:kept" in kept.signature
    assert kept.num_redacted == removed.num_redacted == 1


def test_chinese_and_english_rows_have_no_bleu_together():
    rows = [ROWS[0], TextRow("心脏正常", ("心脏大小正常",), "zh")]
    assert "apart" in compute("bleu_4", rows).reason
    assert "tok:zh" in compute("bleu_4", rows[1:]).signature
    assert "tok:ptb,zh:words" in compute("rouge_l_coco", rows).signature


def test_what_cannot_be_scored_is_told():
    with pytest.raises(ValueError, match="did you mean 'rouge_l'"):
        compute("rougel", ROWS)
    with pytest.raises(ValueError, match="no rows"):
        compute("rouge_l", [])
    with pytest.raises(ValueError, match="at least one reference"):
        TextRow("a", (" ",))


def test_a_changed_number_is_seen_by_one_rouge_and_not_by_the_other():
    said, reference = "a 5.3 cm nodule", "a 3.5 cm nodule"
    assert rouge_l_of_package(said, reference) == pytest.approx(1.0)
    assert rouge_l(said.split(), reference.split()).f1 == 0.75


def test_stems():
    pairs = {
        "effusions": "effus",
        "clearing": "clear",
        "dying": "die",
        "happy": "happi",
        "say": "say",
        "hopping": "hop",
    }
    pairs |= {"relational": "relat", "agreed": "agre", "flies": "fli", "dies": "die", "controlled": "control"}
    assert {word: stem(word) for word in pairs} == pairs


@settings(deadline=None, max_examples=100)
@given(st.text(max_size=200), st.sampled_from(METRICS), st.sampled_from(["en", "zh"]))
def test_any_text_has_a_finite_score(text, name, language):
    rows = [
        TextRow(text, ("The lungs are clear. 心脏正常。",), language),
        TextRow("Normal.", ("Normal heart.",), language),
    ]
    found = compute(name, rows)
    assert 0 <= found.value <= 10.0 + 1e-9 and np.isfinite(found.items).all()
