"""The words of the answer grammar: what the file may hold, that no group is there without a case, that page and code
tell the same precedence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from rewards import parse
from rewards.answers import polarity, words
from rewards.answers.statement import TABLE
from tests.bench.answers import grade, rows_of

CASES = Path(__file__).parents[2] / "cases" / "options"
PAGE = Path(words.__file__).parents[1] / "ANSWERS.md"
OPTIONS = ("Effusion", "Pneumonia", "Pneumothorax", "Normal")
GROUPS = [(language, group) for language, groups in words.source().items() for group in groups]


def rows() -> Iterator[dict]:
    for path in sorted(CASES.glob("*.jsonl")):
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
