"""Finds the options that an answer names: texts in full, letters in the shape of a label (rules 3 to 5, 10).

The shape rule: a letter is a label where it is the whole answer, set off by punctuation, behind a word of the answer
grammar and at an end, or before a word that may follow a label. Any other belongs to a name: "hepatitis B", "B cells".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from rewards.answers.text import Token, key
from rewards.answers.words import lexicon

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LATIN = re.compile(r"[a-z]+(?:ae|i|is|us|um|ile|ans|ens|oides)|diff|fib|lamblia|vivax")  # of species: "E. coli"
PAD = [Token("", "end", -1, -1, "")] * 2  # before and behind the tokens of an answer: each has two neighbours


class Options(NamedTuple):
    """The options of a question in comparable form."""

    letters: tuple[str, ...]
    by_first: dict[str, list[tuple[tuple[str, ...], str]]]  # first token -> forms (key, letter), longest first
    lone: dict[str, str]  # letter -> its text, where that text is itself one of the labels (blood groups, rule 3)
    twins: dict[str, str]  # letter -> the first letter with the same text


class Mention(NamedTuple):
    """An option named by tokens first..last (inclusive); letter "?" = a letter beside the text of another option."""

    letter: str
    first: int
    last: int
    by: str  # "label", "text" or "both"; "letter" = perhaps a label, never chosen by itself
    particle: bool = False  # the text is the word yes or no


def options_of(texts: Sequence[str], skip: Sequence[str] = ()) -> Options:
    """The options A, B, C..; texts that are labels themselves, or of letters in `skip`, are not looked for."""
    letters, forms = tuple(LETTERS[: len(texts)]), [key(text) for text in texts]
    options = Options(letters, {}, {}, {x: letters[forms.index(form)] for x, form in zip(letters, forms, strict=True)})
    for letter, text, form in zip(letters, texts, forms, strict=True):
        head, rest = "".join(form[:1]), form[1:]
        listing = head == "a" and rest and (len(rest[0]) == 1 or rest[0] in lexicon().sets["joiner"])  # "A, B and C"
        article = head in ("a", "an", "the") and text.split()[0].casefold() == head and not listing  # not of "A-scan"
        form = rest if rest and article else form
        if len(form) == 1 and form[0].upper() in letters:
            options.lone[letter] = form[0].upper()
        elif form and letter not in skip:
            options.by_first.setdefault(form[0], []).append((form, letter))
    for named in options.by_first.values():
        named.sort(key=lambda pair: -len(pair[0]))
    return options


def find(stream: list[Token], options: Options) -> list[Mention]:
    """All mentions in order; labels are not looked for inside texts."""
    texts: list[Mention] = []
    for index, token in enumerate(stream):
        if token.kind != "p" and not (texts and texts[-1].last >= index):
            forms = options.by_first.get(token.key, ())
            match = next((m for form, letter in forms if (m := _match(stream, index, form, letter))), None)
            texts += [match] if match and not _part_of_more(stream, match, bool(texts)) else []
    labels = _labels(stream, options, texts) if options.letters else []
    return _bind(stream, sorted([*texts, *labels], key=lambda mention: mention.first), options)


def _match(stream: list[Token], start: int, form: tuple[str, ...], letter: str) -> Mention | None:
    index = start
    for position, wanted in enumerate(form):
        index += bool(position and stream[index].text == "\n")  # a text of two lines
        while position and stream[index].kind == "p" and stream[index].text not in ";\n?!":
            index += 1
        if stream[index].kind == "p" or stream[index].key != wanted:
            return None
        index += 1
    return Mention(letter, start, index - 1, "text", form in (("yes",), ("no",)))


def _part_of_more(stream: list[Token], mention: Mention, later: bool) -> bool:
    """Whether neighbours change the meaning (rule 5). `later`: not the first text: "Yes, there is no fracture"."""
    first, last = stream[mention.first], stream[mention.last]
    earlier, before = stream[mention.first - 2 : mention.first]
    after, beyond = stream[mention.last + 1 : mention.last + 3]
    number, sets = first.kind == "n", lexicon().sets
    glued = earlier.end == before.start and before.end == first.start
    compared = (
        (glued and before.text == ",") or before.text in tuple("<>≤≥") or before.key in sets["compare"] | sets["figure"]
    )
    if (number and compared) or (glued and before.text == "-" and earlier.text[1:].isalpha()):
        return True  # "PET-CT"
    scale = last.text[-1].isdigit() and beyond.text[:1].isdigit()
    through = ("to", "-")
    if (after.text in ("-", "/") and scale) or (number and after.key in through and beyond.kind == "n"):
        return True  # "C5/6", the 5 of "5 to 10"
    if number and before.key in through and earlier.kind == "n":
        return True  # the 10 of it
    if after.kind == "s":
        divides = after.text == "/" and (last.kind == "n" or (number and beyond.kind == "w"))
        return after.text in "%°^" or (after.text in "+-" and after.start == last.end) or divides
    idioms = {words[1] for words, mark in lexicon().phrases["no"] if not mark}
    noun = after.kind == "w" and after.key not in sets["goes_on"] and (later or after.key in idioms)
    measured = last.kind == "n" and (after.key in sets["unit"] or after.kind == "n")
    if measured or (after.text == "-" and beyond.key == "like") or (noun and mention.particle and first.key == "no"):
        return True
    numbered = after.kind == "n" and beyond.key not in sets["unit"]
    return last.kind == "w" and (numbered or _lone(after)) and after.text not in ("A", "I", mention.letter)


def _labels(stream: list[Token], options: Options, texts: list[Mention]) -> list[Mention]:
    covered = {index for mention in texts for index in range(mention.first, mention.last + 1)}
    spoken = [index for index, token in enumerate(stream) if token.kind in "wnc"]
    if run := _letters_only(stream, [i for i in spoken if i not in covered], options, len(spoken)):
        return run
    starts, joiners = {mention.first: mention.letter for mention in texts}, lexicon().sets["joiner"]
    mentions: list[Mention] = []
    for index in spoken:
        letter = stream[index].text.upper()
        if index in covered or len(letter) != 1 or letter not in LETTERS:
            continue
        listed = bool(mentions) and mentions[-1].last == index - 2
        joined = stream[index - 1].key in joiners and stream[index - 2].text.upper() in {*LETTERS} - {"W"}
        if joined and not listed and index - 2 not in covered:
            continue  # "hepatitis B and C": where the first is a name, the second is one
        signed = len(stream) == 6 and stream[index + 1].text in ("+", "-")
        named = {starts[place] for place in (index + 1, index + 2) if place in starts}
        own = letter in named or (bool(named) and stream[index + 1].text in ".=")
        by = "label" if len(spoken) == 1 and not signed else _shape(stream, index, own, options, listed)
        mentions += [Mention(letter, index, index, by)] if by else []
    return mentions


def _letters_only(stream: list[Token], free: list[int], options: Options, num_spoken: int) -> list[Mention]:
    """An answer of letters and words of the grammar only: glued, "BD", or side by side, "A D"."""
    runs = {i: stream[i].text.upper() if num_spoken == 1 else stream[i].text for i in free}
    glued = [i for i, run in runs.items() if 2 <= len(run) == len(set(run)) and set(run) <= set(options.letters)]
    others, known = [stream[i] for i in free if i not in glued], lexicon().sets["known"]
    beside = all(word.key in known and (word.kind == "c" or len(word.text) > 1) for word in others)
    if len(glued) == 1 and len(free) == num_spoken and beside:
        return [Mention(letter, glued[0], glued[0], "label") for letter in runs[glued[0]]]
    if len(free) > 1 and len(free) == num_spoken and all(run in options.letters for run in runs.values()):
        return [Mention(run, i, i, "label") for i, run in runs.items()]
    return []


def _shape(stream: list[Token], index: int, own: bool, options: Options, listed: bool) -> str:
    """The shape rule: "label", "letter" (perhaps) or "" (a name). `own`: a text follows. `listed`: behind a label."""
    before, token, after = stream[index - 1 : index + 2]
    left, right = _left(stream, index), "end" if own else _right(stream, index, options)
    inside = token.text.upper() in options.letters
    spoken = (left == "sign" and right != "name") or (left == "strong" and right == "sign" and before.kind == "c")
    if spoken and not own:
        return "letter" if token.text.isupper() and inside else ""
    if {"name", "sign"} & {left, right} and not (own and before.kind == "c"):
        return ""
    strong = left in ("strong", "any") or before.text == ":"
    if token.text.islower():
        marked = left == "start" and after.text in ("", *'.):"')
        second = (listed or after.kind != "w") and before.key in lexicon().sets["joiner"] | {",", "not", "than"}
        last = right == "end" and left != "start" and (strong or second)
        bracketed = before.end == token.start and before.text in tuple("({\"'<") and right == "end"
        spoken = strong and right == "closed" and (token.text not in "ai" or left == "any")
        return "label" if bracketed or (inside and (marked or last or spoken)) else ""
    if not inside:  # fails closed: "F" beside a valid text is an answer outside the options
        pronoun = token.text == "I" and after.kind != "end"
        return "label" if right == "end" and not pronoun and (left != "word" or listed) else ""
    if right == "word" and left != "any":
        noun = after.text[:1].isupper() and after.text[1:2].islower() and token.text == "A"  # "A Pneumonia": no article
        return "letter" if token.text not in "AI" or noun else ""
    return "" if right == "closed" and token.text == "A" and after.key in ("for", "in", "on", "at") else "label"


def _left(stream: list[Token], index: int) -> str:
    """What is before a letter: "start", "edge" (a sign), "strong", "any" ("option"), "word", "sign" (CJK), "name"."""
    (ahead, before, token), sets = stream[index - 2 : index + 1], lexicon().sets
    if before.text in ("", "\n"):
        return "start"
    if before.kind == "c":
        return "strong" if before.text in sets["zh_label_before"] else "sign"
    if before.kind in "ps" and before.text != "°":
        glued = before.end == token.start and ahead.end == before.start
        part = (
            (before.text == "," and ahead.kind == "n")
            or (before.text in "-/'+" and not _lone(ahead))
            or (before.text == "." and len(ahead.text) == 1)
        )
        figure = ahead.key in sets["figure"] and before.text in ("'(" if len(ahead.key) > 4 else ".'(")  # no "image. C"
        if (glued and part) or figure:
            return "name"  # "anti-B", "N.A", "panel (b)"
        return "start" if before.text in '("' else "edge"
    if before.kind != "w" or before.end == token.start or before.key in sets["name_before"]:
        return "name"
    if before.key in sets["label_before"]:
        return "any" if before.key in ("option", "choice", "letter") else "strong"
    return "word" if before.key in sets["known"] or before.key.endswith(("n't", "ly")) else "name"


def _right(stream: list[Token], index: int, options: Options) -> str:
    """What is behind a letter: "end" (a sign, nothing), "closed" (a word that may follow a label), "word", a "name"."""
    (token, after, later), sets = stream[index : index + 3], lexicon().sets
    glued = after.start == token.end
    if after.kind == "c":
        return "closed" if after.text in sets["zh_label_after"] else "sign" if glued else "word"
    if after.kind == "w" or (after.kind == "n" and glued):
        foreign = _lone(after) and after.text not in (*options.letters, "I")
        if glued or foreign or after.key in sets["name_after"]:
            return "name"  # "C5", "C T scan", "B cells"
        return "closed" if after.key in sets["label_after"] or after.key.endswith("ly") else "word"
    if after.text in ("=", "≈") and token.text.upper() not in options.letters:
        return "name"  # "P = 0.05"
    if after.kind == "n":
        return "end" if later.text in ("%", ".", ")") else "word"  # "B 70%", "1) B 2) C"
    both = glued and later.start == after.end and later.kind in ("w", "n")
    if both and after.text in ".&/+-'" and not (_lone(later) and later.text in options.letters):
        return "end" if after.text == "." and later.text[:1].isupper() and len(later.text) > 1 else "name"  # "A.P."
    if after.text == "." and later.kind == "w" and later.text.islower() and len(later.text) > 2:
        outside = token.text not in options.letters
        return "name" if outside or _LATIN.fullmatch(later.text) else "end"  # "C. difficile"
    return "name" if glued and after.text in ("+", "-") and not _lone(later) else "end"  # "A+"


def _lone(token: Token) -> bool:
    return token.kind == "w" and len(token.text) == 1 and token.text.isupper()


def _bind(stream: list[Token], mentions: list[Mention], options: Options) -> list[Mention]:
    """A label and the text behind it, or a text and the label in brackets behind it, become one mention."""
    bound: list[Mention] = []
    for mention in mentions:
        last = bound[-1] if bound else mention
        between = [token.text for token in stream[last.last + 1 : mention.first]]
        same = options.twins.get(last.letter, last.letter) == options.twins.get(mention.letter, mention.letter)
        would = not same and stream[mention.last + 1].key in ("would", "can", "could", "was", "has")
        closed = between[:2] == [")", "."] and stream[last.first - 1].text != "("  # "(option B). Pneumonia .."
        links = {*"(-—", "option", "choice"} if last.by == "text" else {*".):-—(}\"'、", "a", "the", "an"}
        adjacent = {*between} <= links and (between or last.by != "text")
        if {last.by, mention.by} == {"label", "text"} and adjacent and not would and not closed:
            letter = (last if last.by == "label" else mention).letter if same else "?"
            particle = last.particle or mention.particle
            first = last.first - (")" in between and stream[last.first - 1].text == "(")  # "(B) Pneumonia"
            bound[-1] = Mention(letter, first, mention.last, "both" if between else "text", particle)
        elif between and set(between) <= set(".):(") and options.lone.get(last.letter) == mention.letter:
            bound[-1] = Mention(last.letter, last.first, mention.last, "both")  # "B. A" where B is blood group A
        else:
            bound.append(mention)
    return bound
