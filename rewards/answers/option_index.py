"""The option texts of a question in the form in which they are looked for in an answer (ANSWERS.md, rules 3 and 5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rewards.answers.text import key

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class OptionTexts(NamedTuple):
    """The options in comparable form."""

    letters: tuple[str, ...]
    # First token of an option -> its forms (key, letter), longest first.
    by_first: dict[str, list[tuple[tuple[str, ...], str]]]
    # Letter -> its text, where that text is itself one of the labels.
    lone: dict[str, str]


def option_texts(texts: Sequence[str], skip: Sequence[str] = ()) -> OptionTexts:
    """Index the option texts A, B, C..; a text that is itself one of the labels is left to the label rule (rule 3), and
    so are those in `skip`."""
    letters = tuple(LETTERS[: len(texts)])
    by_first: dict[str, list[tuple[tuple[str, ...], str]]] = {}
    lone: dict[str, str] = {}
    for letter, text in zip(letters, texts, strict=True):
        form = key(text)
        if (
            len(form) > 2
            and form[0] == letter.casefold()
            and text.lstrip()[1:2] in (".", ")", ":")
            and form[1:] not in [key(t) for t in texts]
        ):
            form = form[1:]
        lists_letters = (
            form[:1] == ("a",) and len(form) > 1 and (len(form[1]) == 1 or form[1] in ("and", "or"))
        )  # "A, B and C"
        if (
            len(form) > 1
            and form[0] in ("a", "an", "the")
            and text.split()[0].casefold() == form[0]
            and form[1].isalpha()
            and not lists_letters
        ):
            form = form[1:]
        if len(form) == 1 and form[0].upper() in letters:
            lone[letter] = form[0].upper()
        elif form and letter not in skip:
            by_first.setdefault(form[0], []).append((form, letter))
    for forms in by_first.values():
        forms.sort(key=lambda pair: -len(pair[0]))
    return OptionTexts(letters, by_first, lone)
