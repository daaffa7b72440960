"""Finds the options that an answer names: texts in full, letters in the shape of a label (rules 3 to 5, 10).

The shape rule: a letter is a label where it is the whole answer, set off by punctuation, behind a word of the answer
grammar and at an end, or before a word that may follow a label. Any other belongs to a name: "hepatitis B", "B cells".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from rewards.answers.text import Token, key
from rewards.answers.words import group, lexicon

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
        head, rest = text.casefold().split(" ")[0], form[1:]  # no article in "A-scan"
        listing = head == "a" and rest and (len(rest[0]) == 1 or rest[0] in group("joiner"))  # "A and B"
        form = rest if rest and head in ("a", "an", "the") and not listing else form
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
        while position and stream[index].kind == "p" and stream[index].text not in ";?!":
            index += 1
        if stream[index].kind == "p" or stream[index].key != wanted:
            return None
        index += 1
    return Mention(letter, start, index - 1, "text", form in (("yes",), ("no",)))


def _part_of_more(stream: list[Token], mention: Mention, later: bool) -> bool:
    """Whether neighbours change the meaning (rule 5). `later`: not the first text: "Yes, there is no fracture"."""
    earlier, before, first = stream[mention.first - 2 : mention.first + 1]
    last, after, beyond = stream[mention.last : mention.last + 3]
    number, glued = first.kind == "n", earlier.end == before.start and before.end == first.start
    hyphen = glued and before.text == "-" and (number or earlier.text[1:].isalpha())  # "5-10", "PET-CT"
    if hyphen or (number and (before.key in group("compare") | group("figure") or (glued and before.text == ","))):
        return True  # "< 5", "1,5", "Table 5"
    if (number or last.text[-1].isdigit()) and after.key in ("-", "/", "to") and beyond.text[:1].isdigit():
        return True  # "C5/6", the 5 of "5 to 10"
    raised = after.kind == "s" and (after.text in "%°^" or (after.text in "+-" and after.start == last.end))
    if raised or (number and after.text == "/"):
        return True
    if (last.kind == "n" and after.key in group("unit")) or (after.text == "-" and beyond.key == "like"):
        return True  # "5 mg", "sarcoma-like"
    idiom = ("no", after.key) in {words for words, mark in lexicon().phrases["no"] if not mark}
    if mention.particle and first.key == "no" and after.kind == "w" and after.key not in group("goes_on"):
        return later or idiom
    more = (after.kind == "n" and beyond.key not in group("unit")) or (len(after.text) == 1 and after.text.isupper())
    return last.kind == "w" and more and after.text not in ("A", "I", mention.letter)  # "hepatitis B", "effusion 40%"


def _labels(stream: list[Token], options: Options, texts: list[Mention]) -> list[Mention]:
    inside = {index for mention in texts for index in range(mention.first, mention.last + 1)}
    spoken = [index for index, token in enumerate(stream) if token.kind in "wnc"]
    if run := _letters_only(stream, [i for i in spoken if i not in inside], options, len(spoken)):
        return run
    starts, mentions = {mention.first: mention.letter for mention in texts}, list[Mention]()
    for index in spoken:
        letter = stream[index].text.upper()
        if index in inside or len(letter) != 1 or letter not in LETTERS:
            continue
        listed = bool(mentions) and mentions[-1].last == index - 2
        joined = stream[index - 1].key in group("joiner") and stream[index - 2].text.upper() in {*LETTERS}
        if joined and not listed and index - 2 not in inside:
            continue  # "hepatitis B and C": where the first is a name, the second is one
        named = {starts[place] for place in (index + 1, index + 2) if place in starts}
        own = letter in named or (bool(named) and stream[index + 1].text in ".=")
        alone = len(spoken) == 1 and stream[index + 1].text not in ("+", "-")
        by = "label" if alone else _shape(stream, index, own, options)
        mentions += [Mention(letter, index, index, by)] if by else []
    return mentions


def _letters_only(stream: list[Token], free: list[int], options: Options, num_spoken: int) -> list[Mention]:
    """An answer of letters and words of the grammar only: glued, "BD", or side by side, "A D"."""
    runs = {i: stream[i].text.upper() if num_spoken == 1 else stream[i].text for i in free}
    glued = [i for i, run in runs.items() if 2 <= len(run) == len(set(run)) and set(run) <= set(options.letters)]
    others = [stream[i] for i in free if i not in glued]
    beside = all(word.key in group("known") and (word.kind == "c" or len(word.text) > 1) for word in others)
    if len(glued) == 1 and len(free) == num_spoken and beside:
        return [Mention(letter, glued[0], glued[0], "label") for letter in runs[glued[0]]]
    if len(free) > 1 and len(free) == num_spoken and all(run in options.letters for run in runs.values()):
        return [Mention(run, i, i, "label") for i, run in runs.items()]
    return []


def _shape(stream: list[Token], index: int, own: bool, options: Options) -> str:
    """The shape rule: "label", "letter" (perhaps) or "" (a name). `own`: a text follows."""
    before, token, after = stream[index - 1 : index + 2]
    left, right = _left(stream, index), "end" if own else _right(stream, index, options)
    inside, strong = token.text.upper() in options.letters, left in ("strong", "any")
    if "name" in (left, right):
        return ""
    if "sign" in (left, right) and not own:
        return "letter" if before.kind == "c" and inside and token.text.isupper() else ""
    if token.text.islower():
        marked = left == "start" and after.text in ("", *'.):"')
        led = strong or before.text in (":", ",") or before.key in group("joiner") | {"not", "than"}
        spoken = strong and right == "closed" and (token.text not in "ai" or left == "any")
        return "label" if inside and (marked or spoken or (led and right == "end")) else ""
    if not inside:  # fails closed: "F" beside a valid text is an answer outside the options
        return "label" if right == "end" else ""
    if right == "word" and left != "any":
        return "" if token.text in "AI" and not after.text.istitle() else "letter"
    return "label"


def _left(stream: list[Token], index: int) -> str:
    """What is before a letter: "start", "edge" (a sign), "strong", "any" ("option"), "word", "sign" (CJK), "name"."""
    ahead, before, token = stream[index - 2 : index + 1]
    if before.text in ("", "\n"):
        return "start"
    if before.kind == "c":
        return "strong" if before.text in group("zh_label_before") else "sign"
    if before.kind in "ps" and before.text != "°":
        glued = ahead.end == before.start and before.end == token.start
        part = glued and before.text in {*"-/'+"} and len(ahead.text) > 1  # "anti-B", "g/L"
        figure = ahead.key in group("figure") and before.text in ".'("  # "panel (b)"
        return "name" if part or figure else "start" if before.text in '("' else "edge"
    if before.key in group("label_before") - group("name_before"):
        return "any" if before.key in ("option", "choice", "letter") else "strong"
    known = before.key in group("known") - group("name_before") or before.key.endswith(("n't", "ly"))
    return "word" if known else "name"


def _right(stream: list[Token], index: int, options: Options) -> str:
    """What is behind a letter: "end" (a sign, nothing), "closed" (a word that may follow a label), "word", a "name"."""
    token, after, later = stream[index : index + 3]
    if after.kind == "c":
        return "closed" if after.text in group("zh_label_after") else "sign"
    if after.kind in "wn":  # "B cells"
        return "name" if after.key in group("name_after") else "closed" if after.key in group("label_after") else "word"
    joined = later.start == after.end and later.kind in "wn"
    part = after.start == token.end and (after.text in {*"+-"} or (joined and after.text in {*"&/'."}))
    fresh = later.text in options.letters or (after.text == "." and later.text[:1].isupper() and len(later.text) > 1)
    latin = after.text == "." and _LATIN.fullmatch(later.text)
    return "name" if latin or (part and not fresh) else "end"  # "C. difficile", "A.P.", "B-lines", "A+"


def _bind(stream: list[Token], mentions: list[Mention], options: Options) -> list[Mention]:
    """A label and the text behind it, or a text and the label in brackets behind it, become one mention."""
    bound: list[Mention] = []
    for mention in mentions:
        last = bound[-1] if bound else mention
        between = [token.text for token in stream[last.last + 1 : mention.first]]
        same = options.twins.get(last.letter, last.letter) == options.twins.get(mention.letter, mention.letter)
        would = not same and stream[mention.last + 1].key in ("would", "can", "could", "was", "has")
        links = {*"(-—", "option", "choice"} if last.by == "text" else {*".):-—(}\"'、", "a", "the", "an"}
        adjacent = {*between} <= links and (between or last.by != "text")
        if {last.by, mention.by} == {"label", "text"} and adjacent and not would:
            letter = (last if last.by == "label" else mention).letter if same else "?"
            first = last.first - (")" in between and stream[last.first - 1].text == "(")  # "(B) Pneumonia"
            bound[-1] = Mention(letter, first, mention.last, "both", last.particle or mention.particle)
        elif between and set(between) <= set(".):(") and options.lone.get(last.letter) == mention.letter:
            bound[-1] = Mention(last.letter, last.first, mention.last, "both")  # "B. A" where B is blood group A
        else:
            bound.append(mention)
    return bound
