"""The words of the answer grammar: what the file may hold, that no group is there without a case, that page and code
tell the same precedence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from rewards import parse
from rewards.answers import polarity, words
from rewards.answers.measure import grade, rows_of

CASES = Path(__file__).parents[2] / "cases" / "options"
PAGE = Path(words.__file__).parents[1] / "ANSWERS.md"
OPTIONS = ("Effusion", "Pneumonia", "Pneumothorax", "Normal")
TABLE = words.grammar()["table"]
GROUPS = [(language, group) for language, groups in words.source().items() for group in groups]


def rows() -> Iterator[dict]:
    for path in sorted(CASES.glob("*.jsonl"), key=lambda path: path.stat().st_size):  # the small ones are for groups
        yield from rows_of(path)


def clear() -> None:
    words.lexicon.cache_clear()
    polarity._begins.cache_clear()


@pytest.fixture
def without(monkeypatch):
    """Takes a group of phrases out of the grammar; it is back when the test ends."""

    def take(language: str, group: str) -> None:
        left = {name: dict(groups) for name, groups in words.source().items()}
        left[language][group] = []
        monkeypatch.setattr(words, "source", lambda: left)
        clear()

    yield take
    monkeypatch.undo()
    clear()


@pytest.mark.parametrize(("language", "group"), GROUPS)
def test_without_a_group_of_phrases_a_case_fails(without, language, group):
    phrases = words.source()[language][group]
    spoken = {word for phrase in phrases for way in words.expand(phrase) for word in way if len(word) > 1 or word > "~"}
    spoken |= {sign for phrase in phrases for sign in phrase if sign > "\u2e80"}
    concerned = [row for row in rows() if any(word in row["completion"].casefold() for word in spoken | {"@"} - {""})]
    without(language, group)
    assert any(wanted != paid for wanted, paid, _ in map(grade, concerned)), f"no case needs {language}/{group}"


def test_page_and_code_tell_the_same_precedence():
    cells = [[cell.strip() for cell in line.strip("| \n").split("|")] for line in PAGE.read_text("utf-8").splitlines()]
    roles = [rule["role"] for rule in TABLE]
    page = [row for row in cells if row[0] in roles and len(row) == 6]
    assert page == [[cell or "–" for cell in rule.values()] for rule in TABLE]


@pytest.mark.parametrize("rule", TABLE, ids=lambda rule: rule["role"])
def test_the_example_of_each_row_holds(rule):
    assert "".join(parse(rule["example"], OPTIONS).letters) == rule["letters"]


def test_the_groups_of_the_table_are_those_of_the_words():
    kinds = words.grammar()["groups"]
    grammar = {group for rule in TABLE for group in rule["groups"].split()}
    structure = {"because", "while", "so", "but", "and", "aside", "were"}
    assert grammar | structure == {*kinds["phrases"]} | {"light"}
    assert {group for _, group in GROUPS} == {group for groups in kinds.values() for group in groups}


def test_verbs_stand_in_their_base_form():
    assert words.inflect("show") == {"show", "shows", "showed", "showing"}
    assert words.inflect("identify") == {"identify", "identifies", "identified", "identifying"}
    assert words.inflect("match") == {"match", "matches", "matched", "matching"}
    built = words.build({"en": {"toward": ["point/lead to"]}})
    assert {"points to", "leading to"} <= built.sets["toward"]


def test_a_phrase_is_spelled_in_all_its_ways():
    assert words.expand("a/b c?") == [("a", "c"), ("a",), ("b", "c"), ("b",)]
    assert words.expand("不是") == [("不", "是")]
    assert words.expand("r / o") == [("r", "/", "o")]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"en": {"denies": ["not"]}}, "en/denies"),
        ({"en": {"deny": [False]}}, "no list of texts"),
        ({"en": {"deny": "not"}}, "no list of texts"),
        ({"en": {"deny": [" "]}}, "no list of texts"),
        ({"en": {"deny": ["not"]}, "zh": {"lack": ["not"]}}, "stands in another group too"),
    ],
)
def test_a_file_of_words_that_is_wrong_is_refused(source, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        words.build(source)


def test_the_longest_phrase_wins_whatever_the_order():
    lexicon = words.build({"en": {"deny": ["not"], "open": ["not worse"], "aside": ["not sure"]}})
    assert [mark for _, mark in lexicon.phrases["not"]] in (["OPEN", "", "DENY"], ["", "OPEN", "DENY"])
