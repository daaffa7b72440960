"""Numeric answers: units, ranges, tolerance, and nothing that is evaluated."""

from __future__ import annotations

import pytest

from rewards import Rubric, Scorer
from rewards.shipped.numeric import quantities
from rollouts.records import Sample


def said(answer: str) -> str:
    return f"<think>Measured twice.</think>\n<answer>{answer}</answer>"


@pytest.mark.parametrize(
    ("gold", "answer", "right"),
    [
        ("5.6 cm", "The diameter is 5.6 cm.", True), ("5.6 cm", "56 mm", True),
        ("5.6 cm", "0.056 m", True), ("5.6 cm", "5.6", False), ("5.6 cm", "5.6 mg", False),
        ("5.6 cm", "5.63 cm", True), ("5.6 cm", "5.7 cm", False),
        ("5.6 cm", "5.6 or 6 cm", False), ("5.6 cm", "> 5.6 cm", False), ("5.6 cm", "5,6 cm", False),
        ("3", "three", True), ("3", "3 lesions", True),
        ("3", "3.01", False), ("0.3 to 0.5 mg", "300 to 500 µg", True), ("0.3 to 0.5 mg", "0.3-0.5 mg", True),
        ("0.3 to 0.5 mg", "3 to 5 mg", False), ("45 %", "45%", True),
        ("45 %", "0.45", False), ("-20 HU", "-20 HU", True), ("-20 HU", "20 HU", False),
        ("1,200 ml", "1.2 l", True), ("10 cm²", "1000 mm²", True),
        ("10 cm²", "10 cm", False), ("5 mg/dl", "50 mg/l", True), ("2 years", "24 months", True),
        ("3", "__import__('os')", False), ("3", "10**10**10", False), ("5.6 cm", "5.6 厘米", True), ("3", "", False),
    ],
)  # fmt: skip
def test_numbers_are_compared_with_their_units(gold, answer, right):
    sample = Sample("n", "How much?", "numeric", gold)
    with Scorer(Rubric({"accuracy": 1.0}, {"numeric": "numeric"})) as scorer:
        assert scorer.submit(sample, said(answer), "g").result(5).total == float(right)


def test_a_gold_without_a_number_is_an_error_and_no_zero():
    with Scorer(Rubric({"accuracy": 1.0}, {"numeric": "numeric"})) as scorer:
        scored = scorer.submit(Sample("n", "How much?", "numeric", "a lot"), said("3"), "g").result(5)
    assert (scored.total, scored.outcomes["accuracy"].status) == (None, "error")


def test_the_number_grammar_survives_hostile_text():
    for text in ("9" * 400, "1e999", "-" * 500, "1." * 200, "٣", "½", "1/0", "\ud800", "e" * 500, "e0", "+e5", "-.e3"):
        found = quantities(text)
        assert found is None or isinstance(found, list)
