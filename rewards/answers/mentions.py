"""Finds the options that an answer names: texts that stand in full, letters that have the shape of a label, a letter bound to a text (rules 3 to 5, 10).

The shape rule stands in place of lists of names. A letter is a label where it is the whole answer, set off by punctuation, behind a word of the
answer grammar and at an end, or before one of the words that may follow a label. Any other letter belongs to a name: "hepatitis B", "B cells",
"C. difficile", "B-lines", "C5".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from rewards.answers.text import Token, key
from rewards.answers.words import Lexicon

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
# Second words of species names: "C. difficile", "E. coli".
_LATIN = re.compile(r"[a-z]+(?:ae|i|is|us|um|ile|ans|ens|oides)|diff|fib")
_ROMAN = frozenset("i ii iii iv v vi vii viii ix x".split())
_CLOSERS = frozenset(".,;:!?)]}\"'>\n—→/|、&=<…")
_OPENERS = frozenset(".,;:!?([{\"'<\n—→/|、&=>…")
_JOINERS = frozenset({"and", "or", "&", "/", "+", "和", "或", "nor"})


class Options(NamedTuple):
    """The options of a question in comparable form."""

    letters: tuple[str, ...]
    # First token of an option -> its forms (key, letter), longest first.
    by_first: dict[str, list[tuple[tuple[str, ...], str]]]
    # Letter -> its text, where that text is itself one of the labels (blood groups, rule 3).
    lone: dict[str, str]
    # Letter -> the first letter with the same text.
    twins: dict[str, str]


class Mention(NamedTuple):
    """An option named in an answer: tokens first..last (inclusive) name `letter`; "?" = a letter beside the text of another option."""

    letter: str
    first: int
    last: int
    by: str  # "label", "text" or "both"; "letter" = perhaps a label: it is never chosen, and no other option is beside it
    particle: bool = False  # the text is the word yes or no


def options_of(texts: Sequence[str], skip: Sequence[str] = ()) -> Options:
    """The options A, B, C..; a text that is one of the labels is left to the label rule, and so are those of the letters in `skip`."""
    letters = tuple(LETTERS[: len(texts)])
    forms = [key(text) for text in texts]
    by_first: dict[str, list[tuple[tuple[str, ...], str]]] = {}
    lone: dict[str, str] = {}
    for letter, text, form in zip(letters, texts, forms, strict=True):
        labelled = len(form) > 2 and form[0] == letter.casefold() and text.lstrip()[1:2] in (".", ")", ":")
        form = form[1:] if labelled and form[1:] not in forms else form
        listing = form[:1] == ("a",) and len(form) > 1 and (len(form[1]) == 1 or form[1] in _JOINERS)  # "A, B and C"
        article = form[:1] in (("a",), ("an",), ("the",)) and text.split()[0].casefold() == form[0]  # not "A-scan"
        if len(form) > 1 and article and form[1].isalpha() and not listing:
            form = form[1:]
        if len(form) == 1 and form[0].upper() in letters:
            lone[letter] = form[0].upper()
        elif form and letter not in skip:
            by_first.setdefault(form[0], []).append((form, letter))
    for named in by_first.values():
        named.sort(key=lambda pair: -len(pair[0]))
    return Options(
        letters,
        by_first,
        lone,
        {letter: letters[forms.index(form)] for letter, form in zip(letters, forms, strict=True)},
    )


def find(stream: list[Token], options: Options, words: Lexicon) -> list[Mention]:
    """All mentions in order; labels are not looked for inside texts."""
    texts = _texts(stream, options, words)
    covered = {index for mention in texts for index in range(mention.first, mention.last + 1)}
    labels = _labels(stream, options, texts, covered, words) if options.letters else []
    return _bind(stream, sorted([*texts, *labels], key=lambda mention: mention.first), options)


def _texts(stream: list[Token], options: Options, words: Lexicon) -> list[Mention]:
    mentions: list[Mention] = []
    index = 0
    while index < len(stream):
        forms = options.by_first.get(stream[index].key, ()) if stream[index].kind != "p" else ()
        match = next((m for form, letter in forms if (m := _match(stream, index, form, letter))), None)
        if match and not _part_of_more(stream, match, words):
            mentions.append(match)
            index = match.last
        index += 1
    return mentions


def _match(stream: list[Token], start: int, form: tuple[str, ...], letter: str) -> Mention | None:
    index = start
    for position, wanted in enumerate(form):
        wrapped = (
            position and index < len(stream) and stream[index].text == "\n"
        )  # a text that goes on in the next line
        index += bool(wrapped)
        while position and index < len(stream) and stream[index].kind == "p" and stream[index].text not in ";\n?!":
            index += 1
        if index >= len(stream) or stream[index].kind == "p" or stream[index].key != wanted:
            return None
        index += 1
    return Mention(letter, start, index - 1, "text", form in (("yes",), ("no",)))


def _part_of_more(stream: list[Token], mention: Mention, words: Lexicon) -> bool:
    """True where neighbours change the meaning: a sign, a unit, a comparison, a range, a further letter or number of a name (rule 5)."""
    first, last = stream[mention.first], stream[mention.last]
    number = first.kind == "n"
    nothing = Token("", "p", -1, -1)
    before, earlier = (*reversed(stream[max(0, mention.first - 2) : mention.first]), nothing, nothing)[:2]
    after, beyond = (*stream[mention.last + 1 : mention.last + 3], nothing, nothing)[:2]
    glued = after.start == last.end
    if before.kind == "s" and (number or before.end == first.start) and before.text not in "/+=>":
        return True
    if number and (before.text in tuple("<>≤≥") or before.key in words.sets["compare"]):
        return True
    if number and before.text == "," and before.end == first.start and earlier.end == before.start:
        return True  # a decimal comma
    if after.text in ("-", "/") and _one_scale(last, beyond):
        return True
    if number and after.key in ("to", "-") and beyond.kind == "n":
        return True
    if after.kind == "s":
        divides = after.text == "/" and (last.kind == "n" or (number and beyond.kind == "w"))
        return after.text in "%°^" or (after.text in "+-" and glued) or divides
    if last.kind == "n" and (after.key in words.sets["unit"] or after.kind == "n"):
        return True
    if after.text == "-" and beyond.key == "like":
        return True
    counted = after.kind == "n" and beyond.key not in words.sets["unit"]
    lettered = after.kind == "w" and (
        (after.key in _ROMAN and len(after.text) > 1) or (len(after.text) == 1 and after.text.isupper())
    )
    return last.kind == "w" and (counted or lettered) and after.text not in ("A", "I", mention.letter)


def _one_scale(last: Token, beyond: Token) -> bool:
    """True for the two sides of "Stage II-III", "Grade 2-3", "C5/6"."""
    return (last.key in _ROMAN and beyond.key in _ROMAN) or (last.text[-1].isdigit() and beyond.text[:1].isdigit())


def _labels(
    stream: list[Token], options: Options, texts: list[Mention], covered: set[int], words: Lexicon
) -> list[Mention]:
    spoken = [index for index, token in enumerate(stream) if token.kind in "wnc"]
    if run := _letters_only(stream, spoken, options, covered, words):
        return run
    starts = {mention.first: mention.letter for mention in texts}
    mentions: list[Mention] = []
    for index in spoken:
        token = stream[index]
        letter = token.text.upper()
        if index in covered or token.kind != "w" or len(token.text) != 1 or letter not in LETTERS:
            continue
        own = letter in (starts.get(index + 1), starts.get(index + 2))
        last = mentions[-1].last if mentions else -9
        joined = index > 1 and stream[index - 1].key in _JOINERS
        named = (
            joined
            and len(stream[index - 2].text) == 1
            and stream[index - 2].kind == "w"
            and stream[index - 2].key != "w"
        )
        if named and last != index - 2 and index - 2 not in covered:
            continue  # "hepatitis B and C": where the first is a name, the second is one
        signed = len(stream) == 2 and index == 0 and stream[1].text in "+-"
        by = (
            "label"
            if len(spoken) == 1 and not signed
            else Shape(stream, index, own, words).kind(options, last == index - 2)
        )
        if by:
            mentions.append(Mention(letter, index, index, by))
    return mentions


def _letters_only(
    stream: list[Token], spoken: list[int], options: Options, covered: set[int], words: Lexicon
) -> list[Mention]:
    """An answer of letters and light words only: glued, "BD", or side by side, "A D"."""
    texts = {i: stream[i].text.upper() if len(spoken) == 1 else stream[i].text for i in spoken if i not in covered}
    runs = [
        i
        for i, run in texts.items()
        if 2 <= len(run) <= 26 and set(run) <= set(options.letters) and len(set(run)) == len(run)
    ]
    light = words.sets["light"] | {word for word, mark in words.single.items() if mark == "ANCHOR"}
    if len(runs) == 1 and all(stream[i].key in light for i in spoken if i != runs[0]):
        return [Mention(letter, runs[0], runs[0], "label") for letter in texts[runs[0]]]
    if len(spoken) > 1 and not covered and all(stream[i].text in options.letters for i in spoken):
        return [Mention(stream[i].text, i, i, "label") for i in spoken]
    return []


class Shape:
    """What stands around a single letter, for the shape rule."""

    def __init__(self, stream: list[Token], index: int, own: bool, words: Lexicon) -> None:
        self.token = stream[index]
        self.stream, self.index, self.own, self.words = stream, index, own, words
        self.before = stream[index - 1] if index else None
        self.after = stream[index + 1] if index + 1 < len(stream) else None
        self.later = stream[index + 2] if index + 2 < len(stream) else None
        self.glued_before = self.before is not None and self.before.end == self.token.start
        self.glued_after = self.after is not None and self.after.start == self.token.end

    def kind(self, options: Options, listed: bool) -> str:
        """The shape rule: "label", "letter" (perhaps one) or "" (a name). `listed`: a label stands just before, with one joiner between."""
        left, right = self._left(), self._right(options)
        if "name" in (left, right):
            return ""
        inside = self.token.text.upper() in options.letters
        if self.token.text.islower():
            bracketed = (
                self.before is not None and self.before.text in "([{\"'<" and right == "end" and self.glued_before
            )
            return "label" if bracketed or (inside and self._lower(left, right, listed)) else ""
        if not inside:  # fails closed: "F" beside a valid text is an answer outside the options
            lone = self.token.text == "I" and self.after is not None
            return "label" if right == "end" and not lone and (left != "word" or listed) else ""
        if right == "word" and left != "any":
            return "letter" if self.token.text not in "AI" or self._before_text() else ""
        article = (
            right == "closed"
            and self.token.text == "A"
            and self.after is not None
            and self.after.key in ("for", "in", "on", "at")
        )
        return "" if article else "label"

    def _before_text(self) -> bool:
        """ "A Pneumonia": a capital word behind "A" which is no article's noun."""
        return (
            self.token.text == "A"
            and self.after is not None
            and self.after.text[:1].isupper()
            and self.after.text[1:2].islower()
        )

    def _lower(self, left: str, right: str, listed: bool) -> bool:
        """A small letter: at the start and marked, behind a strong word and at an end, or the second of a list."""
        if left == "start":
            return self.after is None or self.after.text in '.):]"'
        strong = left in ("strong", "any") or (self.before is not None and self.before.text == ":")
        joined = self.before is not None and self.before.key in _JOINERS | {",", "not", "than"}
        if right == "end":
            return strong or (joined and (listed or self.after is None or self.after.kind == "p"))
        return strong and right == "closed" and (self.token.text not in "ai" or left == "any")

    def _left(self) -> str:
        """ "start", "edge" (punctuation), "strong" or "any" (a word like "option"), "word" of the grammar, or "name"."""
        before, words = self.before, self.words
        if before is None or before.text == "\n":
            return "start"
        if before.kind == "c":
            return "strong" if before.text in words.sets["zh_label_before"] else "name"
        if before.kind == "n" or before.text == "°":
            return "name"
        if before.kind in "ps":
            return self._left_of_sign(before)
        if self.glued_before or before.key in words.sets["name_before"]:
            return "name"
        for name in ("label_before_any", "label_before"):
            if before.key in words.sets[name]:
                return {"label_before_any": "any", "label_before": "strong"}[name]
        known = (words.single, words.lasts, words.sets["light"], words.sets["label_after"])
        return "word" if any(before.key in group for group in known) or re.search(r"n't$|ly$", before.key) else "name"

    def _left_of_sign(self, sign: Token) -> str:
        ahead = self.stream[self.index - 2] if self.index > 1 else None
        glued = self.glued_before and ahead is not None and ahead.end == sign.start
        if (
            glued
            and ahead is not None
            and ((sign.text in "-/'+" and not _lone(ahead)) or (sign.text == "." and len(ahead.text) == 1))
        ):
            return "name"  # "anti-B", "N.A"
        abbreviated = ahead is not None and ahead.kind == "w" and ahead.end == sign.start and sign.text in ".'"
        if (
            abbreviated
            and ahead is not None
            and (ahead.key in ("fig", "figs", "vit", "hep", "dr", "mr", "ms", "mrs", "dukes"))
        ):
            return "name"
        if sign.text in "([" and ahead is not None and ahead.kind == "w" and self._is_figure(ahead):
            return "name"  # "panel (b)"
        return "start" if sign.text in '(["' else "edge"

    def _is_figure(self, word: Token) -> bool:
        return word.key in ("figure", "panel", "table", "plate", "slide", "image", "lp", "lipoprotein", "rh")

    def _right(self, options: Options) -> str:
        """ "end" (punctuation or nothing), "closed" (a word that may follow a label), "word" (another one), or "name"."""
        after, later, words = self.after, self.later, self.words
        if self.own or after is None:
            return "end"
        if after.kind == "c":
            return "closed" if after.text in words.sets["zh_label_after"] else "name" if self.glued_after else "word"
        if after.kind == "n" and not self.glued_after:
            return "end" if later is not None and later.text in "%.)" else "word"  # "B 70%", "1) B 2) C"
        if after.kind in "wn":
            if (
                self.glued_after
                or after.key in words.sets["name_after"]
                or (_lone(after) and after.text not in (*options.letters, "I"))
            ):
                return "name"  # "C5", "B cells", "C T scan"
            return "closed" if after.key in words.sets["label_after"] or after.key.endswith("ly") else "word"
        if self.glued_after and later is not None and later.start == after.end:
            if after.text in ".&/+-" and later.kind in "wn" and not (_lone(later) and later.text in options.letters):
                return (
                    "end" if after.text == "." and later.text[:1].isupper() and len(later.text) > 1 else "name"
                )  # "A.P."
            if after.text == "'" and later.kind in "wn":
                return "name"
        if (
            after.text == "."
            and later is not None
            and later.kind == "w"
            and later.text.islower()
            and len(later.text) > 2
        ):
            alone = all(token.kind == "p" for token in self.stream[self.index + 3 :]) and self.index == 0
            if alone or _LATIN.fullmatch(later.text):
                return "name"  # "C. difficile", and "G. lamblia" as a whole answer
        if self.glued_after and after.text in ("+", "-") and not (later is not None and _lone(later)):
            return "name"  # "A+"
        return "end"


def _lone(token: Token) -> bool:
    return token.kind == "w" and len(token.text) == 1 and token.text.isupper()


def _bind(stream: list[Token], mentions: list[Mention], options: Options) -> list[Mention]:
    """A label and the text behind it, or a text and the label in brackets behind it, become one mention; "?" where they disagree."""
    bound: list[Mention] = []
    for mention in mentions:
        last = bound[-1] if bound else None
        between = [token.text for token in stream[last.last + 1 : mention.first]] if last else []
        after = stream[mention.last + 1].key if mention.last + 1 < len(stream) else ""
        reason = (
            last is not None and last.letter != mention.letter and after == "would"
        )  # "A. Pneumonia would be denser."
        closed = (
            last is not None and between[:2] == [")", "."] and stream[last.first - 1].text != "("
        )  # "(option B). Pneumonia"
        if (
            last
            and {last.by, mention.by} == {"label", "text"}
            and _adjacent(last, between)
            and not reason
            and not closed
        ):
            same = options.twins.get(last.letter, last.letter) == options.twins.get(mention.letter, mention.letter)
            letter = (last.letter if last.by == "label" else mention.letter) if same else "?"
            bound[-1] = Mention(letter, last.first, mention.last, "both", last.particle or mention.particle)
        elif last and between and set(between) <= set(".):(") and options.lone.get(last.letter) == mention.letter:
            bound[-1] = Mention(last.letter, last.first, mention.last, "both")  # "B. A" where option B is blood group A
        else:
            bound.append(mention)
    return bound


def _adjacent(last: Mention, between: list[str]) -> bool:
    if last.by == "text":
        return bool(between) and all(text in "([-—" for text in between)
    linked = all(text in ".):-—([]}\"'、" or text in ("a", "the", "an") for text in between)
    return linked and len(between) <= 4 and "、" not in between[1:]
