"""Numeric answers: units, ranges, tolerance, and nothing that is evaluated."""

from __future__ import annotations

import json

import pytest

from rewards import Rubric, Scorer, parse
from rewards.registry import RewardError
from rewards.shipped.number_words import in_digits
from rewards.shipped.numeric import numeric, quantities
from rollouts.records import Sample
from tests.paths import REPOSITORY

pytestmark = pytest.mark.hunt

HUNT = REPOSITORY / "../shared/cases/hunt/numeric.jsonl"


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


# Kinds of public reports: units in several words, one quantity said twice, number words, temperatures.
SAME = [
    ("120/80 mmHg", "120/80 mm Hg"), ("120/80 mm Hg", "120 over 80 mmHg"), ("90 mmHg", "90 millimetres of mercury"),
    ("12 cmH2O", "12 cm H2O"), ("72 bpm", "72 beats per minute"), ("5 mg/dl", "50 mg per l"), ("20 %", "20 per cent"),
    ("3.5 cm", "3.5 cm (35 mm)"), ("3.5 cm", "35 mm = 3.5 cm"), ("3.5 cm", "3.5 cm, or 35 mm"),
    ("3.5 cm (35 mm)", "0.035 m"), ("3 to 5 mg", "3-5 mg (3000-5000 µg)"), ("37 °C", "98.6 °F (37 °C)"),
    ("20", "twenty"), ("21", "Twenty-one nodules"), ("105", "one hundred and five"), ("12", "a dozen"),
    ("3.5 cm", "three point five cm"), ("3 to 4", "three to four"), ("2", "two lesions at L4"), ("twenty", "20"),
    ("2", "两个"), ("2", "共两处病灶"), ("25 岁", "二十五岁"), ("3.5 cm", "三点五厘米"), ("20 %", "百分之二十"),
    ("3 cm", "约3厘米大小"), ("12", "十二个"), ("23000", "两万三千"),
    ("37.5 °C", "37.5 C"), ("37.5 °C", "37.5 degrees Celsius"), ("37 °C", "98.6 °F"), ("37.5°", "37.5 °C"),
    ("98.6 °F", "37 ℃"), ("38 °C", "38摄氏度"),
]  # fmt: skip
OTHER = [
    ("120/80 mmHg", "120/80"), ("12 cmH2O", "12 cm"), ("3 cm", "3 x 3 cm"), ("3 cm", "3 cm (40 mm)"),
    ("3 cm", "3 cm or 4 cm"), ("3 cm", "3 cm ± 30 mm"), ("3 cm", "3 cm and 3 cm"), ("3 cm", "3 or 3 cm"),
    ("37 °C", "37 °F"), ("5", "5 °F"), ("30", "twenty thirty"), ("21", "twenty and one hundred"), ("2", "二尖瓣"),
    ("12", "十二指肠"), ("3", "第三"), ("3", "第3个"), ("1", "一般"), ("2", "one or two"), ("20", "at least twenty"),
]  # fmt: skip


@pytest.mark.parametrize(("gold", "answer", "value"), [(*row, 1.0) for row in SAME] + [(*row, 0.0) for row in OTHER])
def test_one_quantity_in_many_writings(gold, answer, value):
    assert numeric(parse(said(answer)), Sample("n", "How much?", "numeric", gold)).value == value


def test_number_words_never_take_a_word_apart_and_survive_hostile_text():
    words = ("万", "千", "九", "点", "hundred ", "thousand million ", "half a ", "one and ", "百分之", "twenty-")
    for text in (word * (499 // len(word)) for word in words):
        assert isinstance(in_digits(text), str)
        found = quantities(text)
        assert found is None or isinstance(found, list)
    unchanged = "someone often phones the bone clinic; 三叉神经, 十二指肠球部, 万一, 统一, 四肢, one two"
    assert in_digits(unchanged) == unchanged


@pytest.mark.parametrize("number", [0, 7, 10, 19, 20, 42, 99, 100, 101, 110, 999, 1000, 1001, 2345, 10_000, 250_300])
def test_number_words_are_what_they_spell(number):
    assert in_digits(english(number)) == in_digits(chinese(number)) == str(number)


def english(number: int) -> str:
    """The number in English words."""
    ones = ("zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
            " seventeen eighteen nineteen").split()  # fmt: skip
    tens = "twenty thirty forty fifty sixty seventy eighty ninety".split()
    for size, name in ((1000, "thousand"), (100, "hundred")):
        if number >= size:
            high, rest = divmod(number, size)
            return f"{english(high)} {name}" + (f" and {english(rest)}" if rest else "")
    if number < 20:
        return ones[number]
    return tens[number // 10 - 2] + (f"-{ones[number % 10]}" if number % 10 else "")


def chinese(number: int) -> str:
    """The number in Chinese words."""
    digits = "零一二三四五六七八九"
    for size, name in ((10_000, "万"), (1000, "千"), (100, "百"), (10, "十")):
        if number >= size:
            high, rest = divmod(number, size)
            gap = "零" if rest and rest < size // 10 else ""
            return chinese(high) + name + gap + (chinese(rest) if rest else "")
    return digits[number]


@pytest.mark.skipif(not HUNT.is_file(), reason=f"{HUNT} is not there: these inputs are not part of the project")
def test_the_given_numbers_are_paid_as_expected():
    rows = [json.loads(line) for line in HUNT.read_text(encoding="utf-8").splitlines()] if HUNT.is_file() else []
    assert len(rows) >= 6
    for row in rows:
        sample = Sample("n", "How much?", "numeric", row["gold"])
        if isinstance(row["expected"], float):
            assert numeric(parse(said(row["answer"])), sample).value == row["expected"], row
        else:
            with pytest.raises(RewardError):
                numeric(parse(said(row["answer"])), sample)


def test_a_gold_without_a_number_is_an_error_and_no_zero():
    with Scorer(Rubric({"accuracy": 1.0}, {"numeric": "numeric"})) as scorer:
        scored = scorer.submit(Sample("n", "How much?", "numeric", "a lot"), said("3"), "g").result(5)
    assert (scored.total, scored.outcomes["accuracy"].status) == (None, "error")


def test_the_number_grammar_survives_hostile_text():
    for text in ("9" * 400, "1e999", "-" * 500, "1." * 200, "٣", "½", "1/0", "\ud800", "e" * 500, "e0", "+e5", "-.e3"):
        found = quantities(text)
        assert found is None or isinstance(found, list)
