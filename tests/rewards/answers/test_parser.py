"""The parser against the case files, and the properties that must hold for every completion (ANSWERS.md)."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rewards
from rewards.answers.measure import wrong
from tests.bench.parser import CHEST, FRAGMENTS, LIMIT_MS, hostile, milliseconds, wrapped
from tests.paths import CASES

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
# Ways to state one letter; {x} is the letter.
STATEMENTS = (
    "{x}", "({x})", "{x}.", "**{x}**", "[{x}]", "Answer: {x}", "The answer is {x}.", "I choose option {x}.",
    "So the best choice is {x}",
    "Probably {x}",
    "{x} is correct", "答案是{x}", "选{x}。", "\\boxed{{{x}}}", '{{"answer": "{x}"}}', "{x}!", "Final answer — {x}",
    "It is option {x}, I am sure.",
)  # fmt: skip


def cases(name: str) -> list[dict]:
    return [json.loads(line) for line in (CASES / name).read_text(encoding="utf-8").split("\n") if line]


def in_tags(answer: str) -> str:
    return f"<think>The zone is dense.</think>\n<answer>{answer}</answer>"


@pytest.mark.parametrize(
    "name",
    [
        "options/option_cases.jsonl",
        "options/own_option_cases.jsonl",
        "options/own_option_cases_2.jsonl",
        "options/own_option_cases_3.jsonl",
        "options/own_option_cases_4.jsonl",
        "options/own_option_cases_5.jsonl",
        "options/own_option_cases_6.jsonl",
        "options/own_option_cases_7.jsonl",
        "options/own_option_cases_8.jsonl",
        "options/own_option_cases_9.jsonl",
        "options/own_option_cases_10.jsonl",
        "options/own_option_cases_11.jsonl",
        "options/own_option_cases_12.jsonl",
        "options/own_option_cases_13.jsonl",
        "options/own_option_cases_14.jsonl",
        "options/own_option_cases_15.jsonl",
        "options/own_option_cases_16.jsonl",
        "options/own_option_cases_17.jsonl",
        "options/own_option_cases_18.jsonl",
        "options/own_option_cases_19.jsonl",
        "options/own_option_cases_20.jsonl",
        "options/unseen_1.jsonl",
        "options/unseen_2.jsonl",
        "options/unseen_3.jsonl",
        "options/unseen_4.jsonl",
        "options/unseen_5.jsonl",
        "options/unseen_6.jsonl",
    ],
)
def test_every_option_case_is_graded_as_written(name):
    rows = cases(name)
    assert len(rows) > 30
    assert list(wrong(rows, is_format=False)) == []


def test_what_is_refused_though_it_states_an_answer_is_little_and_is_told():
    names = [f"options/{path.name}" for path in (CASES / "options").glob("*.jsonl")]
    changed = [row for name in names for row in cases(name) if "was" in row]
    assert 0 < len(changed) <= 66
    assert all(row.get("verdict") == "unclear" or row.get("expected_letters") == "" for row in changed)
    assert all(row["was"] for row in changed)


@pytest.mark.parametrize(
    "name", ["formats/format_cases.jsonl", "formats/own_format_cases.jsonl", "formats/own_format_cases_2.jsonl"]
)
def test_every_format_case_is_graded_as_written(name):
    rows = cases(name)
    assert len(rows) > 20
    assert [row for row in rows if rewards.grade_format(row["completion"]) != row["verdict"]] == []


def test_options_may_be_a_map_or_a_sequence():
    mapping = dict(zip(LETTERS, CHEST, strict=False))
    assert (
        rewards.parse(in_tags("pneumonia"), mapping).letters
        == rewards.parse(in_tags("pneumonia"), CHEST).letters
        == ("B",)
    )


def test_a_map_with_other_letters_is_an_error_of_the_data():
    with pytest.raises(ValueError, match="expected"):
        rewards.parse(in_tags("B"), {"A": "one", "C": "two"})


def test_format_and_extraction_read_the_same_body():
    parsed = rewards.parse("<think>Dense.</think><answer>(B) Pneumonia</answer>", CHEST)
    assert (parsed.think, parsed.answer, parsed.letters, parsed.well_formed) == (
        "Dense.",
        "(B) Pneumonia",
        ("B",),
        True,
    )


def test_a_prefilled_opening_tag_is_put_back_before_the_format_check():
    text = "Dense.</think><answer>B</answer>"
    assert not rewards.grade_format(text)
    assert rewards.grade_format(text, prefill="<think>")
    assert rewards.parse(text, CHEST, prefill="<think>").think == "Dense."


def test_an_answer_cut_at_the_length_limit_is_no_answer():
    assert rewards.parse("<think>x</think><answer>B", CHEST).letters == ("B",)
    assert rewards.parse("<think>x</think><answer>B", CHEST, finish_reason="length").answer is None


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        ("Yes", "yes"), ("No, it is not.", "no"), ("Diagnosis: yes", "yes"), ("eyes", None), ("Diagnosis", None),
        ("Yes and no", None),
        ("not yes", None),
        ("No idea", None), ("unknown", None), ("是的。", "yes"), ("不是", "no"), ("没有骨折", "no"), ("是否骨折", None),
        ("不确定", None),
        ("Normal", None),
        ("NoYes", None), ("yes, the heart is not enlarged", "yes"), ("No fracture is seen", "no"), ("", None),
    ],
)  # fmt: skip
def test_yes_and_no_are_read_by_whole_word(answer, word):
    assert rewards.parse(in_tags(answer)).yes_no == word


def test_a_letter_on_a_yes_no_item_reads_as_its_word():
    assert rewards.parse(in_tags("B"), ("Yes", "No")).yes_no == "no"


@settings(max_examples=150, deadline=None)
@given(st.permutations(range(4)), st.integers(0, 3), st.sampled_from(STATEMENTS))
def test_relabelling_the_options_permutes_the_verdict(order, choice, statement):
    # Option k moves to place order.index(k); the statement names the letter of the same option before and after.
    moved = [CHEST[k] for k in order]
    before = rewards.parse(in_tags(statement.format(x=LETTERS[choice])), CHEST).letters
    after = rewards.parse(in_tags(statement.format(x=LETTERS[order.index(choice)])), moved).letters
    assert [CHEST[LETTERS.index(x)] for x in before] == [moved[LETTERS.index(x)] for x in after] == [CHEST[choice]]


@settings(max_examples=100, deadline=None)
@given(
    st.permutations(range(4)),
    st.integers(0, 3),
    st.sampled_from(("{t}", "It is {t}.", "The diagnosis is {t}", "**{t}**", "not {t}", "{t} or {u}")),
)
def test_shuffling_keeps_the_verdict_of_an_answer_in_words(order, choice, statement):
    text = in_tags(statement.format(t=CHEST[choice], u=CHEST[(choice + 1) % 4]))
    moved = [CHEST[k] for k in order]
    verdict = rewards.grade_option(text, CHEST, LETTERS[choice])
    assert rewards.grade_option(text, moved, LETTERS[order.index(choice)]) == verdict


@settings(max_examples=100, deadline=None)
@given(
    st.integers(2, 26).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n - 1))),
    st.sampled_from(STATEMENTS),
    st.sampled_from(("**{}**", "({})", "[{}]", "`{}`", "【{}】")),
)
def test_bold_and_brackets_keep_the_verdict(size_and_choice, statement, wrapper):
    size, choice = size_and_choice
    options = [f"finding number {k}" for k in range(1, size + 1)]
    plain, wrapped = (
        statement.format(x=LETTERS[choice]),
        statement.replace("{x}", wrapper.format("{x}")).format(x=LETTERS[choice]),
    )
    assert rewards.grade_option(in_tags(plain), options, LETTERS[choice]), plain
    assert rewards.grade_option(in_tags(wrapped), options, LETTERS[choice]), wrapped


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 3),
    st.integers(1, 3),
    st.sampled_from(STATEMENTS + ("{x}, since D would need other signs", "{x}. The zone is dense.")),
    st.sampled_from((" or {y}", ", or {y}", " or {t}", "或{y}", " or maybe {y}", ". Or {y}.")),
)
def test_an_appended_alternative_makes_it_false(choice, step, statement, tail):
    other = (choice + step) % 4
    answer = statement.format(x=LETTERS[choice]) + tail.format(y=LETTERS[other], t=CHEST[other])
    assert not rewards.grade_option(in_tags(answer), CHEST, LETTERS[choice]), answer


def test_every_right_single_choice_case_becomes_false_with_an_alternative_in_its_tag():
    checked = 0
    for name in (
        "options/option_cases.jsonl",
        "options/own_option_cases.jsonl",
        "options/own_option_cases_2.jsonl",
        "options/own_option_cases_4.jsonl",
    ):
        for row in cases(name):
            if not (
                row["verdict"] is True and isinstance(row["gold"], str) and row["completion"].endswith("</answer>")
            ):
                continue
            checked += 1
            other = next(letter for letter in row["options"] if letter != row["gold"])
            text = row["completion"][: -len("</answer>")] + f" or {other}</answer>"
            assert not rewards.grade_option(text, row["options"], row["gold"]), text
    assert checked > 400


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=200), st.lists(st.sampled_from(FRAGMENTS), max_size=40).map("".join)))
def test_no_text_makes_the_parser_raise(text):
    for completion in (text, in_tags(text)):
        parsed = rewards.parse(completion, CHEST)
        assert set(parsed.letters) <= set("ABCD")
        rewards.grade_format(completion)


def test_no_hostile_text_of_a_hundred_thousand_characters_holds_the_parser_up():
    # Ten times what `python -m tests.bench.parser` allows, which measures: this one only sees a pattern that runs away.
    slow = {
        (name, where): taken
        for name, text in hostile().items()
        for where, completion in wrapped(text).items()
        if (taken := milliseconds(completion, 1)) > 10 * LIMIT_MS
        and (taken := milliseconds(completion, 5)) > 10 * LIMIT_MS
    }
    assert slow == {}


def test_the_longest_answer_that_is_read_is_read_fast():
    random.seed(0)
    for _ in range(20):
        text = "".join(random.choice(FRAGMENTS) for _ in range(1500))[:2900]
        assert milliseconds(in_tags(text), 3) < 10 * LIMIT_MS
