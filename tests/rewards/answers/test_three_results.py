"""Stated, nothing, unclear; yes and no in Chinese; gold letters as people write them; marks of thoughts by family."""

from __future__ import annotations

import pytest

import rewards
from rewards.answers.span import THOUGHTS
from rewards.shipped.choice import yes_no
from rollouts.records import Parsed, Sample

CHEST = ("Pleural effusion", "Pneumonia", "Pneumothorax", "Normal chest")


def in_tags(answer: str) -> str:
    return f"<think>The zone is dense.</think>\n<answer>{answer}</answer>"


@pytest.mark.parametrize(
    ("answer", "verdict", "reason"),
    [
        ("B", "stated", "commitment"), ("A large pneumothorax is seen.", "stated", "mention"),
        ("The lung is grey", "nothing", "no option is named"), ("Not B", "nothing", "only denied"),
        ("B or C", "unclear", "alternatives"), ("B, maybe C", "unclear", "a second answer"),
        ("B. Pneumothorax", "unclear", "text of another option"),
        ("If febrile, B.", "unclear", "condition"),
        ("E", "unclear", "outside the options"), ("B. That is wrong. B.", "unclear", "chosen and denied"),
        ("B. Wait, I am not sure it is wrong", "unclear", "taken back"),
        ('{"A": 0.5, "B": 0.5}', "unclear", "distribution"),
        ("B lymphoma", "unclear", "not understood"),
    ],
)  # fmt: skip
def test_every_answer_has_one_of_three_results_and_its_reason(answer, verdict, reason):
    parsed = rewards.parse(in_tags(answer), CHEST)
    assert (parsed.verdict, bool(parsed.letters)) == (verdict, verdict == "stated")
    assert reason in parsed.reason


WALK = "The angle is blunted on the right. Pneumonia would show an air bronchogram, and a pneumothorax a line. "


@pytest.mark.parametrize(
    ("answer", "letters"),
    [
        # An explanation ends with its answer, in known words.
        (WALK + "This clearly nails down a pleural effusion.", ()), (WALK + "This is a pleural effusion.", ("A",)),
        (WALK + "This must be distinguished from a pleural effusion.", ()),
        (WALK + "The nurse wrote pleural effusion.", ()),
        (WALK + "This is no pleural effusion.", ()), (WALK + "Pleural effusion or pneumonia.", ()),
        (WALK + "So it is a pleural effusion, caused by pneumonia or by", ()),
        ("This nails down a pleural effusion.", ()),
        # A preposition leads to an option or away from it.
        ("The picture is typical of pneumonia.", ("B",)), ("The patient recovers from pneumonia.", ()),
        ("The mark is just below the pneumonia.", ()), ("Tablets for pneumonia.", ()),
        # Others, another time, what would be.
        ("A student might well answer pneumonia here.", ()), ("Pneumonia in her sister.", ()),
        ("Pneumonia in 2015.", ()),
        ("Had she a fever, pneumonia.", ()), ("B, if febrile.", ()), ("Crackles would speak for pneumonia.", ()),
        ("B. My reasoning was flawed.", ()), ("B. Then again, the lungs are clear.", ()),
        ("According to the report, pneumonia. I see nothing of the kind.", ()),
        ("One could be forgiven for thinking of pneumonia.", ()), ("B stands for pneumonia in your list.", ()),
    ],
)  # fmt: skip
def test_an_answer_is_read_where_it_commits_itself(answer, letters):
    assert rewards.parse(in_tags(answer), CHEST).letters == letters


def test_answer_tags_that_differ_are_unclear():
    text = "<think>x</think><answer>B</answer><answer>C</answer>"
    assert rewards.parse(text, CHEST).verdict == "unclear"
    assert rewards.parse(text).verdict == "unclear"


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        ("包含", "yes"), ("不包含", "no"), ("可以", "yes"), ("不可以", "no"), ("能", "yes"), ("不能", "no"),
        ("会", "yes"),
        ("不会", "no"), ("有", "yes"), ("没有", "no"), ("是的", "yes"), ("不是", "no"),
        ("存在", "yes"), ("包括", "yes"),
        ("包含肝脏", "yes"), ("能看到肝脏", "yes"), ("可以看到。", "yes"), ("有骨折", "yes"), ("不能看到", "no"),
        ("能不能", None), ("有没有", None), ("可能有", None), ("会不会", None), ("正常", None), ("异常", None),
        ("健康", None), ("不正常", None), ("无异常", None), ("未见明显异常", None), ("不确定", None), ("能谱CT", None),
        ("True", "yes"), ("false.", "no"), ("y", "yes"), ("YES!", "yes"), ("ｙｅｓ", "yes"),
    ],
)  # fmt: skip
def test_yes_and_no_in_chinese_and_in_short(answer, word):
    assert rewards.parse(in_tags(answer)).yes_no == word


def test_normal_and_abnormal_are_options_and_no_polarity():
    parsed = rewards.parse(in_tags("正常"), ("异常", "正常"))
    assert (parsed.letters, parsed.yes_no) == (("B",), None)
    assert rewards.parse(in_tags("不正常"), ("异常", "正常")).letters == ()


def test_gold_letters_may_be_small_and_twins_are_one_answer():
    assert rewards.grade_option(in_tags("B"), CHEST, "b")
    assert rewards.grade_option(in_tags("B and C"), CHEST, ["c", "b"])
    assert not rewards.grade_option(in_tags("B"), CHEST, "c")
    doubled = ("cyst", "stone", "cyst")
    for answer in ("A", "C", "cyst", "C. cyst", "A. cyst"):
        assert all(rewards.grade_option(in_tags(answer), doubled, gold) for gold in "AC")
    assert not rewards.grade_option(in_tags("B"), doubled, "A")


def sample(gold: str) -> Sample:
    return Sample(id="1", question="Q", answer_type="open", gold_text=gold)


@pytest.mark.parametrize("gold", ["yes", "Yes.", "YES!", "True", "是"])
def test_a_gold_of_any_form_is_paid(gold):
    assert yes_no(rewards.parse(in_tags("Yes")), sample(gold)).value == 1.0
    assert yes_no(rewards.parse(in_tags("No")), sample(gold)).value == 0.0


def test_a_gold_that_is_neither_raises_and_is_not_everybodys_zero():
    with pytest.raises(rewards.RewardError, match="expected yes or no"):
        yes_no(rewards.parse(in_tags("Yes")), sample("left lung"))


@pytest.mark.parametrize("family", THOUGHTS)
def test_thoughts_of_every_family_are_thoughts(family):
    opening, closing = THOUGHTS[family]
    for mark in (str, str.upper):
        whole = rewards.parse(f"{mark(opening)} the answer is A\n{mark(closing)}\nThe answer is B.", CHEST)
        assert (whole.letters, whole.think.strip()) == (("B",), "the answer is A")
    assert rewards.parse(f"{opening} the answer is A", CHEST).answer is None
    assert rewards.parse(f"the answer is A\n{closing} B", CHEST, prefill=f"{opening}\n").letters == ("B",)
    assert rewards.parse("the answer is A", CHEST, prefill=f"{opening}\n").answer is None


@pytest.mark.parametrize(
    ("completion", "letters"),
    [
        ("The film shows a pneumothorax", ()), ("So it is B", ()), ("The answer is B. The zone is de", ("B",)),
        ("<think>x</think><answer>B", ()), ("<think>x</think><answer>B. Pneumonia, as the", ("B",)),
        ("<think>x</think><answer>B</answer> The", ("B",)), ("The answer is $\\boxed{B}$ sin", ("B",)),
    ],
)  # fmt: skip
def test_what_is_cut_at_the_limit_counts_only_where_it_is_stated(completion, letters):
    assert rewards.parse(completion, CHEST, finish_reason="length").letters == letters


def test_an_open_question_keeps_its_answer():
    parsed = rewards.parse(in_tags("a dense zone"))
    assert parsed == Parsed("The zone is dense.", "a dense zone", (), None, True, "neither yes nor no", "nothing")
