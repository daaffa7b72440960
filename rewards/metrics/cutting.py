"""How texts are cut into tokens, by name: a score means nothing without it, so every signature says which."""

from __future__ import annotations

import re
from collections.abc import Callable

from rewards.answers.text import key
from rewards.metrics.stems import stem

_NOT_ALNUM = re.compile(r"[^a-z0-9]+")
_PTB = re.compile(
    r"(?P<dots>\.\.\.)|(?P<number>[-+]?\d+(?:[.,:/]\d+)*(?=\W|$))|(?P<word>\w+(?:[-/.&']\w+)*)|(?P<other>\S)"
)
_PTB_CLITIC = re.compile(r"(?<=\w)(?:n't|'(?:s|m|d|ll|re|ve))$")
_PTB_BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
# What the captioning metrics drop. Brackets stay: their list names them in upper case, and the text is in lower case.
_PTB_DROPPED = frozenset("'' ' `` ` . ? ! , : - -- ... ;".split() + ['"'])
_CHARACTERS_DROPPED = frozenset(" \t\n\u3000。，,.")


def words(text: str) -> list[str]:
    """Words and numbers as answers are compared here, each Chinese character one token (`rewards.answers.text.key`)."""
    return list(key(text))


def alnum(text: str) -> list[str]:
    """As package rouge-score: lower case, everything but a-z and 0-9 is a gap. Chinese is nothing at all."""
    return _NOT_ALNUM.sub(" ", text.lower()).split()


def alnum_stemmed(text: str) -> list[str]:
    """`alnum` with Porter's stems of words longer than three letters, as rouge-score with use_stemmer=True."""
    return [stem(word) if len(word) > 3 else word for word in alnum(text)]


def blanks(text: str) -> list[str]:
    """Lower case, cut at blanks; a full stop stays with its word."""
    return text.lower().split()


def stops(text: str) -> list[str]:
    """Lower case, cut at blanks, every full stop a token of its own, also that of 3.5."""
    return text.lower().replace(".", " .").split()


def ptb(text: str) -> list[str]:
    """As Stanford's PTBTokenizer does for the captioning metrics: lower case, punctuation dropped, "right-sided", "3.5"
    and "l4/l5" one token, "%" one, "doesn't" two. English; the rules of that tokenizer for dates, addresses and mail
    are left out."""
    tokens: list[str] = []
    for match in _PTB.finditer(text.lower()):
        token = match.group()
        if match.lastgroup == "word" and (clitic := _PTB_CLITIC.search(token)):
            tokens += [token[: clitic.start()], clitic.group()]
        elif token not in _PTB_DROPPED:
            tokens.append(_PTB_BRACKETS.get(token, token))
    return tokens


def characters(text: str) -> list[str]:
    """Every character but blanks, commas and full stops; for Chinese."""
    return [char for char in text.casefold() if char not in _CHARACTERS_DROPPED]


TOKENIZERS: dict[str, Callable[[str], list[str]]] = {
    "words": words,
    "alnum": alnum,
    "alnum+porter": alnum_stemmed,
    "blanks": blanks,
    "stops": stops,
    "ptb": ptb,
    "characters": characters,
}
