"""What is decided without a model: whole-answer equality and answers without content."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from judges import Assessment, Criteria, RulesJudge
from judges.guards.prechecks import precheck
from judges.guards.wording import clean, equals_reference, fold
from judges.verdict import Question, Verdict


@pytest.mark.parametrize(
    ("answer", "reference", "equal"),
    [
        ("liver", "Liver", True), ("The liver.", "Liver", True),
        (" **Liver** ", "liver", True), ("\\boxed{Liver}", "Liver", True),
        ("ＬＩＶＥＲ", "liver", True),
        ("livers", "Liver", False), ("liver or spleen", "Liver", False), ("not liver", "Liver", False),
        (".5 mg", "5 mg", False),
        (",5 mg", "5 mg", False), ("5 mg,", "5 mg", True),
        ("> 5 mm", "5 mm", False),
        ("-2", "2", False), ("10²", "102", False), ("A positive", "positive", False), ("", "Liver", False),
        ("肝脏。", "肝脏", True),
        ("PAO2", "PaO2", False), ("dd", "Dd", False), ("DD", "dd", False), ("mg", "Mg", False), ("ct", "CT", True),
        ("Type ii", "Type II", True),
        ("NO", "No", True), ("①②", "12", False), ("ⅠⅡ", "III", False), ("!Left", "Left", False),
        ("Left!", "Left", True), ("1\x0b2", "12", False),
    ],
)  # fmt: skip
def test_rules_accept_whole_answers_only(answer, reference, equal):
    assert equals_reference(answer, reference) is equal


def test_aliases_are_accepted_and_the_letter_of_an_item_asked_open_is_not():
    judge = RulesJudge()
    for answer, decision in (("RCA", "correct"), ("B", "incorrect")):
        question = Question("Which artery?", "Right coronary artery", answer, ("RCA",))
        assert asyncio.run(judge.judge(question)).decision == decision


@pytest.mark.parametrize(
    "answer",
    [
        "", " \n", "...", "\u200b\u2060", ":", "✔", "null", "N/A", "[REFERENCE]", "{{ reference }}", "ditto",
        "Which organ?", "Thought process:",
        "Lösung:",
        "Let me think step by step.", "x" * 5000, "{reference} {question!r}",
    ],
)  # fmt: skip
def test_answers_without_content_are_refused_without_a_call(answer):
    verdict = precheck(Question("Which organ?", "Liver", answer))
    assert verdict is not None
    assert verdict.decision == "incorrect"


@pytest.mark.parametrize(
    "answer",
    [
        '{"answer": "liver"}', "{answer: liver}", "[[answer: liver]]", "<<label = liver>>", '{"label": "target sign"}',
        "I'll go with liver.",
        "Let me look: the liver", "Sure, here is the answer: liver", "We will start adrenaline", "The answer is A",
        "I'll go with US", "First.",
        "Let me see: +", "Okay: -", "SO, of course", "让我们看，是肝脏", "I will go with I",
    ],
)  # fmt: skip
def test_a_text_that_names_something_is_left_to_the_judge(answer):
    assert precheck(Question("Which organ?", "Liver", answer)) is None


def test_the_name_of_a_slot_may_be_the_answer():
    assert precheck(Question("Which metal is this implant?", "Gold", "[[metallic gold]]")) is None
    assert precheck(Question("Which organ?", "Liver", "[[gold]]")).decision == "incorrect"


def test_what_may_be_a_yes_is_settled_only_where_none_is_asked_for():
    for answer in ("Sure!", "Of course.", "Okay", "I will.", "Let me look at the image: it is."):
        assert precheck(Question("Which organ?", "Liver", answer)).decision == "incorrect"
        assert precheck(Question("Is the liver enlarged?", "Yes", answer)) is None


def test_a_placeholder_that_may_abbreviate_the_reference_is_left_to_the_judge():
    for answer, reference in (("NA", "Noradrenaline"), ("SO", "Superior oblique"), ("SAMe", "S-adenosylmethionine")):
        assert precheck(Question("Which one?", reference, answer)) is None
        assert precheck(Question("Which one?", "Liver", answer)).decision == "incorrect"


@settings(max_examples=500, deadline=None)
@given(
    st.text(alphabet=st.characters(), max_size=60),
    st.sampled_from(["Liver", "5 mM", "T2*", "10²", "肝脏", "(", "", "+"]),
)
def test_no_text_makes_the_prechecks_raise_or_pay_anything_but_the_reference(answer, reference):
    verdict = precheck(Question("Which organ?", reference, answer))
    if verdict is not None and verdict.decision == "correct":
        assert fold(answer) == fold(reference) != ""
    assert clean(clean(answer)) == clean(answer)
    clean(answer).encode()


def test_a_verdict_holds_a_decision_or_a_failure():
    with pytest.raises(ValueError, match="exactly one"):
        Verdict(None)
    with pytest.raises(ValueError, match="exactly one"):
        Verdict("correct", "timeout")


def test_criteria_are_looked_up_word_bounded_by_the_debugging_judge():
    judge = RulesJudge()
    asked = Criteria(
        "rubric",
        "What is seen?",
        "No effusion; the HEART is enlarged. 左侧胸腔积液。",
        ("heart", "hear", "effusion", "胸腔积液", "The."),
    )
    found = asyncio.run(judge.assess(asked))
    # "effusion" stands there although it is denied: this judge understands nothing. "The." folds to "the", which stands
    # there too.
    assert found.met == (True, False, True, True, True)
    assert found.layer == "rules"


def test_criteria_and_assessments_refuse_what_cannot_be():
    for criteria in ((), ("", "x"), (" ",)):
        with pytest.raises(ValueError, match="at least one"):
            Criteria("rubric", "q", "c", criteria)
    with pytest.raises(ValueError, match="exactly one"):
        Assessment(None)
    with pytest.raises(ValueError, match="exactly one"):
        Assessment((True,), "timeout")
