"""The words of the answer grammar as data: `words.yaml`, read and checked once. The longest phrase at a place wins."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import yaml

# Groups whose phrases become one capital word in the answer; those of `aside` say nothing and go.
MARKED = tuple(
    "correction undo past deny reject nor lack would were except if or open between torn hedge anchor"
    " because while so but and aside".split()
)
# Groups of words that are looked up and stay as they are, and lists that other files read in their order.
SETS = tuple(
    "light stops unit compare joiner asks figure goes_on label_after label_before name_before name_after"
    " zh_label_before zh_label_after link modifier agent preposition fits head describes described astray times beside"
    " toward apt speaker sees copula auxiliary seen".split()
)
LISTS = ("unsure", "says_no", "says_yes", "begins_yes", "field")


INFLECTED = ("link", "fits")  # sets of verbs in their base form


class Lexicon(NamedTuple):
    """All words of `words.yaml`: first word of a phrase -> (words, mark), longest first; "@" stands for an option."""

    phrases: Mapping[str, list[tuple[tuple[str, ...], str]]]
    sets: Mapping[str, set[str]]  # those of SETS; and of several together, as in `build`


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
    marks: dict[tuple[str, ...], str] = {}
    sets: dict[str, set[str]] = {name: set() for name in SETS}
    for language, group, phrases in ((name, *item) for name, groups in source.items() for item in groups.items()):
        if group not in (*MARKED, *SETS, *LISTS):
            raise ValueError(f"words.yaml names the group {language}/{group}, expected one of {MARKED + SETS + LISTS}")
        if not isinstance(phrases, list) or not all(isinstance(phrase, str) and phrase.strip() for phrase in phrases):
            raise ValueError(f"words.yaml: {language}/{group} is no list of texts; quote what YAML reads otherwise")
        for words in itertools.chain.from_iterable(map(expand, () if group in LISTS else phrases)):
            mark = "" if group == "aside" else group.upper()
            if group == "toward":
                sets[group].update(f"{form} {words[1]}" for form in inflect(words[0]))
            elif group in SETS:
                sets[group].update(*map(inflect, words) if group in INFLECTED else [words])
            elif marks.setdefault(words, mark) != mark:
                raise ValueError(f"words.yaml: {' '.join(words)!r} of {language}/{group} stands in another group too")
    by_first: dict[str, list[tuple[tuple[str, ...], str]]] = {}
    for words, mark in sorted(marks.items(), key=lambda item: -len(item[0])):
        by_first.setdefault(words[0], []).append((words, mark))
    sets["bare"], sets["links"] = sets["light"] | sets["stops"], sets["stops"] | sets["link"] | {*":=→—≈", "ANCHOR"}
    sets["plain"] = sets["bare"] | sets["label_before"] | sets["unit"] | sets["link"]
    sets["prepositions"] = sets["preposition"] | sets["beside"] | {"to", "towards", "toward", "like"}
    sets["prepositions"] -= {"that", "since", "because", "where", "unless", "as", "given", "causing", "showing"}
    sets["ends_noun"], sets["others"] = sets["prepositions"] | sets["links"], sets["agent"] | sets["astray"]
    sets["tail"] = sets["bare"] | sets["unit"]
    sets["follows"], sets["nouns"] = sets["preposition"] | sets["fits"] | {*":=→—≈"}, sets["head"] | sets["modifier"]
    sets["known"] = sets["light"] | sets["label_after"] | {words[-1] for words in marks} - {"@"}
    return Lexicon(by_first, sets)


@cache
def source() -> dict[str, dict[str, list[str]]]:
    """What `words.yaml` holds: language -> group -> phrases."""
    text = Path(__file__).with_name("words.yaml").read_text(encoding="utf-8")
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


@cache
def lexicon() -> Lexicon:
    """The lexicon of the shipped file, built once."""
    return build(source())


def mark(items: list[str]) -> list[str]:
    """The items with each phrase as its mark, options in it ("@0") before that; one at its end is only looked at."""
    marked: list[str] = []
    plain, known = ["@" if item[0] == "@" else item for item in items], lexicon().sets["known"]
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
