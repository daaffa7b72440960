"""The words of the answer grammar as data: `words.yaml`, read and checked once (ANSWERS.md, "In which order").

A phrase is words in a row. The longest phrase at a place wins, so the order of groups and phrases in the file means nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import yaml

# Groups whose phrases become one capital word in the answer: group -> that word; "" = the phrase says nothing and goes.
MARKS = {
    **{
        group: group.upper()
        for group in "correction undo past deny reject lack would except if or open between torn hedge anchor".split()
    },
    **{group: group.upper() for group in "because while so but and notonly".split()},
    "aside": "",
}
# Groups of single words that are looked up and stay as they are.
SETS = (
    "light",
    "stops",
    "unit",
    "compare",
    "label_after",
    "label_before",
    "label_before_any",
    "name_before",
    "name_after",
    "zh_label_before",
    "zh_label_after",
)
# Groups of yes and no, which `polarity` reads.
POLARITY = ("unsure", "says_no", "says_yes", "begins_yes")
# The longest phrase there is, in words; a file with a longer one is refused.
MAX_PHRASE = 12
_OPTION = "@"


class Lexicon(NamedTuple):
    """All words of `words.yaml`."""

    # First word of a phrase -> (words, mark), longest first; "@" stands for an option.
    phrases: Mapping[str, tuple[tuple[tuple[str, ...], str], ...]]
    # Phrases of one word, by mark, and the last words of the longer ones.
    single: Mapping[str, str]
    lasts: frozenset[str]
    sets: Mapping[str, frozenset[str]]


def expand(phrase: str) -> list[tuple[str, ...]]:
    """The ways to write a phrase: "a/b c?" is "a", "b", "a c" and "b c". Chinese is written sign by sign, without blanks."""
    ways: list[list[str]] = []
    for word in phrase.split():
        optional = word.endswith("?")
        choices = [word] if word == "/" else word.rstrip("?").replace("_", " ").split("/")
        ways.append([*choices, ""] if optional else choices)
    spelled = (" ".join(way).split() for way in itertools.product(*ways))
    return [tuple(itertools.chain.from_iterable(_signs(word) for word in way)) for way in spelled]


def _signs(word: str) -> Iterable[str]:
    return tuple(word) if any("\u3400" <= char <= "\u9fff" for char in word) else (word,)


def build(source: Mapping[str, Mapping[str, list[str]]]) -> Lexicon:
    """The lexicon of such a file. Raises ValueError for a group that means nothing, for no text, and for a phrase with two marks."""
    marks: dict[tuple[str, ...], str] = {}
    sets: dict[str, set[str]] = {name: set() for name in SETS}
    for language, groups in source.items():
        for group, phrases in groups.items():
            if group not in (*MARKS, *SETS, *POLARITY):
                raise ValueError(
                    f"words.yaml names the group {group!r} under {language!r}, expected one of {[*MARKS, *SETS, *POLARITY]}"
                )
            if not isinstance(phrases, list) or not all(
                isinstance(phrase, str) and phrase.strip() for phrase in phrases
            ):
                raise ValueError(
                    f"words.yaml: {language}/{group} is not a list of phrases; quote what YAML reads otherwise"
                )
            for words in itertools.chain.from_iterable(map(expand, phrases)):
                if group in SETS:
                    sets[group].update(words)
                elif group in POLARITY:
                    continue
                elif not words or len(words) > MAX_PHRASE or marks.setdefault(words, MARKS[group]) != MARKS[group]:
                    raise ValueError(
                        f"words.yaml: {' '.join(words)!r} of {language}/{group} is too long or stands in two groups"
                    )
    by_first: dict[str, list[tuple[tuple[str, ...], str]]] = {}
    for words, mark in sorted(marks.items(), key=lambda item: -len(item[0])):
        by_first.setdefault(words[0], []).append((words, mark))
    single = {words[0]: mark for words, mark in marks.items() if len(words) == 1}
    return Lexicon(
        {first: tuple(rest) for first, rest in by_first.items()},
        single,
        frozenset(words[-1] for words in marks if words[-1] != _OPTION),
        {name: frozenset(words) for name, words in sets.items()},
    )


@cache
def source() -> dict[str, dict[str, list[str]]]:
    """What `words.yaml` holds: language -> group -> phrases."""
    text = Path(__file__).with_name("words.yaml").read_text(encoding="utf-8")
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


@cache
def lexicon() -> Lexicon:
    """The lexicon of the shipped file, built once."""
    return build(source())


def mark(items: list[str], words: Lexicon) -> list[str]:
    """The items with each phrase replaced by its mark. Options ("@0") inside a phrase stand before the mark; one at its end is looked at and
    not taken."""
    marked: list[str] = []
    place = 0
    while place < len(items):
        option = items[place].startswith("@")
        candidates = words.phrases.get(_OPTION if option else items[place], ())
        match = next((pair for pair in candidates if _matches(items, place, pair[0])), None)
        if match is None:
            marked.append(items[place])
            place += 1
            continue
        phrase, name = match
        taken = len(phrase) - (phrase[-1] == _OPTION)
        options = [item for item in items[place : place + taken] if item.startswith("@")]
        marked += [*options, name]
        place += taken
    return [item for item in marked if item]


def _matches(items: list[str], place: int, phrase: tuple[str, ...]) -> bool:
    if place + len(phrase) > len(items):
        return False
    return all(
        item == word or (word == _OPTION and item.startswith("@"))
        for item, word in zip(items[place:], phrase, strict=False)
    )
