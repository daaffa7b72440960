"""Porter's stemmer (Porter 1980, "An algorithm for suffix stripping") with the departures of NLTK's version, because
METEOR and ROUGE are published with that one."""

from __future__ import annotations

import functools
import itertools

_IRREGULAR = {
    "skies": "sky", "sky": "sky", "dying": "die", "lying": "lie", "tying": "tie", "news": "news", "innings": "inning",
    "inning": "inning", "outings": "outing", "outing": "outing", "cannings": "canning", "canning": "canning",
    "howe": "howe", "proceed": "proceed", "exceed": "exceed", "succeed": "succeed",
}  # fmt: skip
# Suffix -> what it becomes where the stem before it has a measure above 0 (steps 2 and 3) or 1 (step 4, to nothing).
_STEP_2 = (
    ("ational", "ate"), ("tional", "tion"), ("enci", "ence"), ("anci", "ance"), ("izer", "ize"), ("bli", "ble"),
    ("alli", "al"), ("entli", "ent"), ("eli", "e"), ("ousli", "ous"), ("ization", "ize"), ("ation", "ate"),
    ("ator", "ate"), ("alism", "al"), ("iveness", "ive"), ("fulness", "ful"), ("ousness", "ous"), ("aliti", "al"),
    ("iviti", "ive"), ("biliti", "ble"), ("fulli", "ful"),
)  # fmt: skip
_STEP_3 = (
    ("icate", "ic"), ("ative", ""), ("alize", "al"), ("iciti", "ic"), ("ical", "ic"), ("ful", ""), ("ness", ""),
)  # fmt: skip
_STEP_4 = (
    "al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent", "sion", "tion", "ou", "ism", "ate",
    "iti", "ous", "ive", "ize",
)  # fmt: skip


@functools.lru_cache(maxsize=65536)
def stem(word: str) -> str:
    """The stem of a word, in lower case: "effusions" and "effusion" are "effus"."""
    word = word.lower()
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if len(word) <= 2:
        return word
    for step in (_plurals, _past, _final_y, _step_2, _step_3, _step_4, _final_e, _double_l):
        word = step(word)
    return word


def _consonants(part: str) -> list[bool]:
    """Of each letter whether it is a consonant; y is one at the start and behind a vowel."""
    flags: list[bool] = []
    for place, letter in enumerate(part):
        flags.append(letter not in "aeiou" and (letter != "y" or place == 0 or not flags[-1]))
    return flags


def _measure(part: str) -> int:
    """How often a vowel is followed by a consonant: m of Porter's [C](VC)^m[V]."""
    return sum(now and not before for before, now in itertools.pairwise(_consonants(part)))


def _has_vowel(part: str) -> bool:
    return not all(_consonants(part))


def _doubled(word: str) -> bool:
    return len(word) >= 2 and word[-1] == word[-2] and _consonants(word)[-1]


def _short(word: str) -> bool:
    """Consonant, vowel, consonant at the end, the last none of w, x, y; or a word of two, a vowel and a consonant."""
    kinds = _consonants(word)
    return kinds == [False, True] or (kinds[-3:] == [True, False, True] and word[-1] not in "wxy")


def _plurals(word: str) -> str:
    if word.endswith("ies") and len(word) == 4:
        return word[:-1]
    for suffix, left in (("sses", 2), ("ies", 2), ("ss", 0), ("s", 1)):
        if word.endswith(suffix):
            return word[: len(word) - left]
    return word


def _past(word: str) -> str:
    if word.endswith("ied"):
        return word[:-1] if len(word) == 4 else word[:-2]
    if word.endswith("eed"):
        return word[:-1] if _measure(word[:-3]) > 0 else word
    for suffix in ("ed", "ing"):
        part = word.removesuffix(suffix)
        if part != word and _has_vowel(part):
            return _mended(part)
    return word


def _mended(part: str) -> str:
    """What is left of a word without -ed or -ing, with the e or the single letter it has on its own."""
    if part.endswith(("at", "bl", "iz")):
        return part + "e"
    if _doubled(part):
        return part if part[-1] in "lsz" else part[:-1]
    return part + "e" if _measure(part) == 1 and _short(part) else part


def _final_y(word: str) -> str:
    ends = word.endswith("y") and len(word) > 2 and _consonants(word)[-2]
    return word[:-1] + "i" if ends else word


def _step_2(word: str) -> str:
    if word.endswith("alli") and _measure(word[:-4]) > 0:
        return _step_2(word[:-2])
    if word.endswith("logi"):
        return word[:-1] if _measure(word[:-3]) > 0 else word
    return _replaced(word, _STEP_2)


def _step_3(word: str) -> str:
    return _replaced(word, _STEP_3)


def _replaced(word: str, rules: tuple[tuple[str, str], ...]) -> str:
    for suffix, new in rules:
        if word.endswith(suffix):
            part = word[: -len(suffix)]
            return part + new if _measure(part) > 0 else word
    return word


def _step_4(word: str) -> str:
    for suffix in _STEP_4:
        if word.endswith(suffix):
            part = word[:-3] if suffix in ("sion", "tion") else word[: -len(suffix)]
            return part if _measure(part) > 1 else word
    return word


def _final_e(word: str) -> str:
    if not word.endswith("e"):
        return word
    part = word[:-1]
    return part if _measure(part) > 1 or (_measure(part) == 1 and not _short(part)) else word


def _double_l(word: str) -> str:
    return word[:-1] if word.endswith("ll") and _measure(word[:-1]) > 1 else word
