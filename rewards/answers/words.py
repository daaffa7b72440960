"""The words of the answer grammar as data: `words.yaml`, read and checked once. The longest phrase at a place wins."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml


class Lexicon(NamedTuple):
    """All words of `words.yaml`."""

    phrases: Mapping[str, list[tuple[tuple[str, ...], str]]]  # first word -> (words, mark), longest first; "@": option
    sets: Mapping[str, set[str]]  # of a group of words, or of several together


def expand(phrase: str) -> list[tuple[str, ...]]:
    """The ways to write a phrase: "a/b c?" is "a", "b", "a c" and "b c". Chinese is written sign by sign."""
    ways = [
        [word] if word == "/" else [*word.rstrip("?").replace("_", " ").split("/"), *([""] if word[-1] == "?" else [])]
        for word in phrase.split()
    ]
    spelled = (" ".join(way).split() for way in itertools.product(*ways))
    return [tuple(sign for word in way for sign in (word if "㐀" <= word[0] <= "鿿" else [word])) for way in spelled]


def inflect(verb: str) -> set[str]:
    """The regular forms of an English verb: "show", "shows", "showed", "showing". Others stand in the list."""
    ends = "es" if verb.endswith(("s", "x", "ch", "sh")) else "s"
    stem, past = verb.removesuffix("e"), verb[:-1] + "i" if re.search("[^aeiou]y$", verb) else verb.removesuffix("e")
    return {verb, (past + "es" if past[-1] == "i" else verb + ends), past + "ed", stem + "ing"}


def build(source: Mapping[str, Mapping[str, list[str]]]) -> Lexicon:
    """The lexicon of such a file. Raises ValueError for an unknown group, no text, or a phrase of two groups."""
    kinds = {group: kind for kind, groups in grammar()["groups"].items() for group in groups}
    marks: dict[tuple[str, ...], str] = {}
    sets: dict[str, set[str]] = {group: set() for group, kind in kinds.items() if kind != "lists"}
    for language, group, phrases in ((name, *item) for name, groups in source.items() for item in groups.items()):
        if group not in kinds:
            raise ValueError(f"words.yaml names the group {language}/{group}, expected one of {[*kinds]}")
        if not isinstance(phrases, list) or not all(isinstance(phrase, str) and phrase.strip() for phrase in phrases):
            raise ValueError(f"words.yaml: {language}/{group} is no list of texts; quote what YAML reads otherwise")
        mark = "" if group == "aside" else group.upper()
        for words in itertools.chain.from_iterable(map(expand, () if kinds[group] == "lists" else phrases)):
            if kinds[group] == "phrases" and marks.setdefault(words, mark) != mark:
                raise ValueError(f"words.yaml: {' '.join(words)!r} of {language}/{group} stands in another group too")
            if kinds[group] == "pairs":
                words = tuple(f"{form} {words[1]}" for form in inflect(words[0]))
            sets[group].update(*map(inflect, words) if kinds[group] == "verbs" else [words])
    for name, parts in grammar()["together"].items():
        sets[name] = {word for part in parts for word in sets[part]}
    sets["known"] = sets["light"] | sets["label_after"] | {words[-1] for words in marks} - {"@"}
    by_first: dict[str, list[tuple[tuple[str, ...], str]]] = {}
    for words, mark in sorted(marks.items(), key=lambda item: -len(item[0])):
        by_first.setdefault(words[0], []).append((words, mark))
    return Lexicon(by_first, sets)


@cache
def grammar() -> dict[str, Any]:
    """All that the file holds: the table of precedence, what its groups are for, and the languages."""
    text = Path(__file__).with_name("words.yaml").read_text(encoding="utf-8")
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def source() -> dict[str, dict[str, list[str]]]:
    """What `words.yaml` holds: language -> group -> phrases."""
    return {language: grammar()[language] for language in ("en", "zh", "other")}


@cache
def lexicon() -> Lexicon:
    """The lexicon of the shipped file, built once."""
    return build(source())


def group(name: str) -> set[str]:
    """The words of a group, or of several together."""
    return lexicon().sets[name]


def mark(items: list[str]) -> list[str]:
    """The items with each phrase as its mark, options in it ("@0") before that; one at its end is only looked at."""
    marked: list[str] = []
    plain, known = ["@" if item[0] == "@" else item for item in items], group("known")
    wild = ["~" if word.isalpha() and word not in known else word for word in plain]
    place = 0
    while place < len(items):
        phrases = lexicon().phrases.get(plain[place], ())
        fitting = (p for p in phrases if [*p[0]] in (plain[place : place + len(p[0])], wild[place : place + len(p[0])]))
        words, name = next(fitting, (("",), None))
        taken = items[place : place + len(words) - (words[-1] == "@")]
        marked += taken if name is None else [item for item in (*(w for w in taken if w[0] == "@"), name) if item]
        place += len(taken)
    return marked
