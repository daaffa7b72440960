"""The small rewards without a judge: length, overlap of texts, agreement inside a group (numbers by hand)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewards import parse
from rewards.registry import Member, RewardError
from rewards.shipped.form import length
from rewards.shipped.reports import MAX_CHARS, overlap, rouge_l
from rewards.shipped.votes import majority_vote
from rollouts.records import Parsed, Sample

OPTIONS = ("Effusion", "Pneumonia", "Normal")
MCQ = Sample("q", "What is it?", "mcq", "Effusion", OPTIONS, ("A",))
YES_NO = Sample("q", "Is it?", "yes_no", "no")
SIZE = Sample("q", "How wide?", "numeric", "1 cm")
OPEN = Sample("q", "What is it?", "open", "nobody reads this")
REPORT = Sample("q", "Report.", "report", "The heart is normal. No effusion.", aliases=("Normal heart, no effusion.",))


def members(sample: Sample, *answers: str) -> list[Member]:
    shown = sample.options if sample.answer_type in ("mcq", "multi") else None
    texts = [f"<think>I look.</think>\n<answer>{answer}</answer>" for answer in answers]
    return [Member(parse(text, shown), text) for text in texts]


def votes(sample: Sample, *answers: str, **arguments: float) -> list[float | None]:
    return [outcome.value for outcome in majority_vote(members(sample, *answers), sample, **arguments)]


# DAPO, equation 13, with L_max 100 and L_cache 20: free to 80, (80 - n) / 20 to 100, then -1.
@pytest.mark.parametrize(
    ("n", "paid"), [(0, 0.0), (80, 0.0), (81, -0.05), (90, -0.5), (100, -1.0), (101, -1.0), (10**9, -1.0)]
)
def test_length_falls_in_a_straight_line(n, paid):
    assert length(n, max_length=100, cache=20).value == pytest.approx(paid)


@pytest.mark.parametrize("n", [1, 79, 80, 85, 99, 100, 150])
def test_length_is_what_trl_pays(n):
    trl = pytest.importorskip("trl.rewards")

    theirs = trl.get_soft_overlong_punishment(max_completion_len=100, soft_punish_cache=20)
    assert length(n, max_length=100, cache=20).value == pytest.approx(theirs([[0] * n])[0])


@pytest.mark.parametrize(("max_length", "cache"), [(100, 0), (100, 101), (100, -5), (0, 0)])
def test_length_with_settings_that_make_no_sense_is_an_error(max_length, cache):
    with pytest.raises(RewardError, match="0 < cache <= max_length"):
        length(10, max_length=max_length, cache=cache)


def test_length_without_tokens_is_an_error_and_no_number():
    with pytest.raises(RewardError, match="num_tokens"):
        length(None, max_length=100, cache=20)


@pytest.mark.parametrize(
    ("said", "reference", "f1"),
    [
        ("the cat sat", "the cat sat", 1.0),
        ("The CAT, sat!", "the cat sat", 1.0),
        ("sat cat the", "the cat sat", 1 / 3),  # LCS 1 of 3 and 3
        ("the heart is large", "the heart is normal and the lungs are clear", 6 / 13),  # LCS 3 of 4 and 9: 2*3/13
        ("3.5 cm", "3 5 cm", 0.4),  # a decimal is one word: LCS 1 of 2 and 3
        ("心脏大小正常", "心脏增大", 0.6),  # LCS 心脏大 = 3 of 6 and 4
        # What rouge-score 0.1.2 gives for these two: LCS 1 (and) of 8 and 18.
        (
            "Increased mild pulmonary edema and left basal atelectasis.",
            "Status post median sternotomy for CABG with stable cardiac enlargement and calcification of the aorta "
            "consistent with atherosclerosis.",
            0.07692307692307691,
        ),
        ("", "the cat", 0.0),
        ("???", "the cat", 0.0),
    ],
)
def test_rouge_l_by_hand(said, reference, f1):
    assert overlap(said, reference) == pytest.approx(f1)


def test_rouge_l_takes_the_best_reference_and_refuses_what_is_no_report():
    assert rouge_l(Parsed(None, "normal heart; no effusion"), REPORT).value == 1.0
    assert rouge_l(Parsed("The heart is normal. No effusion.", None), REPORT).value == 0.0
    assert rouge_l(Parsed(None, REPORT.gold_text * MAX_CHARS), REPORT).value == 0.0


@pytest.mark.parametrize(
    ("sample", "answers", "paid"),
    [
        (
            MCQ,
            ("B", "B", "C", "pneumonia"),
            [1, 1, 0, 1],
        ),  # the letter and its text are one answer; the gold A is not read
        (MCQ, ("B", "B", "B or C", "no idea"), [1, 1, 0, 0]),  # unresolved answers have no vote
        (MCQ, ("B or C", "no idea"), [0, 0]),
        (MCQ, ("B", "C"), [None, None]),  # a tie is no label
        (MCQ, ("B", "B", "C", "C", "A"), [None] * 5),
        (MCQ, ("B", "", "", ""), [1, 0, 0, 0]),  # empty answers are not a majority
        (YES_NO, ("yes", "Yes, it is.", "no"), [1, 1, 0]),
        (SIZE, ("56 mm", "5.6 cm", "0.056 m", "56 cm"), [1, 1, 1, 0]),
        (OPEN, ("The left kidney", "the left kidney.", "right kidney"), [1, 1, 0]),
        (OPEN, ("left-kidney", "left kidney", "LEFT KIDNEY!", "-2", "2"), [1, 1, 1, 0, 0]),
    ],
)
def test_the_majority_is_paid(sample, answers, paid):
    assert votes(sample, *answers) == paid


def test_a_weak_majority_is_no_label_where_a_share_is_asked_for():
    assert votes(MCQ, "B", "B", "C", "A", least_share=0.5) == [1.0, 1.0, 0.0, 0.0]
    assert votes(MCQ, "B", "B", "C", "A", least_share=0.6) == [None] * 4
    with pytest.raises(RewardError, match="share of the votes"):
        votes(MCQ, "B", least_share=2.0)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.sampled_from(["A", "B", "C", "A or B", "", "effusion", "42"]), min_size=1, max_size=8), st.randoms())
def test_permuting_the_group_permutes_its_pay(answers, random):
    order = list(range(len(answers)))
    random.shuffle(order)
    straight, shuffled = votes(MCQ, *answers), votes(MCQ, *[answers[i] for i in order])
    assert [straight[i] for i in order] == shuffled
    assert all(value in (0.0, 1.0, None) for value in straight)


@settings(deadline=None, max_examples=200)
@given(st.text(max_size=300), st.text(max_size=300))
def test_any_text_has_an_overlap_and_a_vote(said, reference):
    assert 0.0 <= overlap(said, reference) <= 1.0
    assert overlap(said, reference) == pytest.approx(overlap(reference, said))
    for sample in (MCQ, YES_NO, SIZE, OPEN):
        assert len(votes(sample, said, reference, "A")) == 3


def test_several_answer_tags_of_an_open_question_must_say_the_same_however_long_they_are():
    long = "the left lung is clear " * 500
    for one, other, same in (
        ("left lung", "Left lung.", True),
        ("left", "right", False),
        (long, long, True),
        (long, long + "x", False),
    ):
        parsed = parse(f"<think>T</think><answer>{one}</answer><answer>{other}</answer>")
        assert (parsed.answer is not None) == same
