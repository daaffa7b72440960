"""Finds the options an answer mentions: letters that are labels, texts that stand in full, and a letter bound to a text
(rules 3, 4, 5, 10)."""

from __future__ import annotations

from typing import NamedTuple

from rewards.answers import lexicon
from rewards.answers.neighbours import part_of_more
from rewards.answers.option_index import LETTERS, OptionTexts
from rewards.answers.text import Token

_OPEN, _CLOSE = frozenset("([{\"'<"), frozenset(")]}\"'>")


class Mention(NamedTuple):
    """An option named in an answer: tokens first..last (inclusive) name `letter`."""

    letter: str
    first: int
    last: int
    by: str  # "label", "text" or "both"
    particle: bool = False  # the text is the word yes or no


def find(stream: list[Token], options: OptionTexts) -> list[Mention]:
    """All mentions in order; labels are not looked for inside texts."""
    texts = _texts(stream, options)
    covered = {index for mention in texts for index in range(mention.first, mention.last + 1)}
    labels = [] if not options.letters else _labels(stream, options, texts, covered)
    return _bind(stream, sorted([*texts, *labels], key=lambda mention: mention.first), options)


def _texts(stream: list[Token], options: OptionTexts) -> list[Mention]:
    found: list[Mention] = []
    keys = [token.key if token.kind != "p" else "" for token in stream]
    index = 0
    while index < len(stream):
        forms = options.by_first.get(keys[index])
        match = (
            next((m for form, letter in forms if (m := _match(stream, keys, index, form, letter))), None)
            if forms
            else None
        )
        if match and not part_of_more(stream, match.first, match.last, match.letter):
            found.append(match)
            index = match.last + 1
        else:
            index += 1
    return found


def _match(stream: list[Token], keys: list[str], start: int, form: tuple[str, ...], letter: str) -> Mention | None:
    index = start
    for position, wanted in enumerate(form):
        if position and index < len(stream) and stream[index].text == "\n":
            index += 1  # a text that was wrapped
        while (
            position
            and index < len(stream)
            and stream[index].kind == "p"
            and stream[index].text not in (";", "\n", "?", "!")
        ):
            index += 1
        if index >= len(stream) or keys[index] != wanted:
            return None
        index += 1
    return Mention(letter, start, index - 1, "text", form in (("yes",), ("no",)))


def _labels(stream: list[Token], options: OptionTexts, texts: list[Mention], covered: set[int]) -> list[Mention]:
    glued = _glued(stream, options, covered) or ([] if covered else _spaced(stream, options))
    if glued:
        return glued
    by_first = {mention.first: mention for mention in texts}
    words = [index for index, token in enumerate(stream) if token.kind in "wnc"]
    found: list[Mention] = []
    for index in words:
        token = stream[index]
        if index in covered or token.kind != "w" or len(token.text) != 1 or token.text.upper() not in LETTERS:
            continue
        left = found[-1].last if found else -1
        if _second_name(stream, index) and index - 2 not in covered and index - 2 != left:
            continue
        signed = index == 0 and len(stream) == 2 and stream[1].text in "+-" and stream[1].start == token.end
        sole = len(words) == 1 and not signed
        listed = bool(found) and index - left < 6 and _listed(stream, left, index, options)
        if sole or listed or _closes(stream, index, options) or _is_label(stream, index, token, by_first, options):
            found.append(Mention(token.text.upper(), index, index, "label"))
    return found


def _second_name(stream: list[Token], index: int) -> bool:
    """True for the second letter of "hepatitis B and C": where the first is no option, the second is none (rule 10)."""
    if index < 2 or stream[index - 1].key not in ("and", "or", "&", "/"):
        return False
    return stream[index - 2].kind == "w" and len(stream[index - 2].text) == 1 and stream[index - 2].key != "w"  # "w/"


def _closes(stream: list[Token], index: int, options: OptionTexts) -> bool:
    """True for a small letter behind "or" at the very end: "pneumonia or a"."""
    return (
        index > 1
        and stream[index - 1].key == "or"
        and stream[index].text.upper() in options.letters
        and all(token.kind == "p" for token in stream[index + 1 :])
    )


def _listed(stream: list[Token], left: int, index: int, options: OptionTexts) -> bool:
    """True for the second letter of "b or c" and of "B, c" """
    after, later = (*stream[index + 1 : index + 3], None, None)[:2]
    between = {token.key for token in stream[left + 1 : index]}
    ends = after is None or (after.text in ".,;!?)\n" and (later is None or later.start > after.end))
    return ends and bool(between) and between <= lexicon.LISTING and stream[index].text.upper() in options.letters


def _glued(stream: list[Token], options: OptionTexts, covered: set[int]) -> list[Mention]:
    """Letters written as one word, "BC", where that word is the whole answer beside anchor words."""
    words = [i for i, token in enumerate(stream) if token.kind in "wn"]
    written = {i: stream[i].text.upper() if len(words) == 1 else stream[i].text for i in words if i not in covered}
    runs = [i for i, run in written.items() if 2 <= len(run) <= 26 and set(run) <= set(options.letters)]
    if len(runs) != 1 or len(set(written[runs[0]])) != len(written[runs[0]]):
        return []
    others = [stream[i].key for i in words if i != runs[0]]
    if any(other not in lexicon.LIGHT for other in others):
        return []
    return [Mention(letter, runs[0], runs[0], "label") for letter in written[runs[0]]]


def _spaced(stream: list[Token], options: OptionTexts) -> list[Mention]:
    """Letters side by side, "A D", where the answer says nothing else: a list, whose first letter is no article."""
    words = [index for index, token in enumerate(stream) if token.kind in "wnc"]
    if len(words) < 2 or any(stream[index].text not in options.letters for index in words):
        return []
    return [Mention(stream[index].text, index, index, "label") for index in words]


def _is_label(stream: list[Token], index: int, token: Token, texts: dict[int, Mention], options: OptionTexts) -> bool:
    before = stream[index - 1] if index else None
    after = stream[index + 1] if index + 1 < len(stream) else None
    later = stream[index + 2] if index + 2 < len(stream) else None
    glued_before = before is not None and before.end == token.start
    glued_after = after is not None and after.start == token.end
    letter = token.text.upper()
    own = next((texts[i].letter == letter for i in (index + 1, index + 2) if i in texts), False)
    if before is not None and (before.kind == "n" or before.text == "°") and letter in "CFK":
        return False  # a temperature
    opens_quote = (
        before is not None
        and before.text == "'"
        and (index < 2 or stream[index - 2].end < before.start or stream[index - 2].kind == "p")
    )
    if (
        glued_before
        and before
        and not opens_quote
        and (before.kind in "wn" or (before.text in "-'/+" and not _joins(stream, index - 1)))
    ):
        return False
    if glued_after and after and not own and _goes_on(stream, index + 1, options):
        return False
    if (
        before
        and before.kind == "w"
        and before.key in lexicon.NAME_BEFORE
        and not (before.key == "case" and stream[index - 2].key == "which")
    ):
        return False
    if before and before.text in (".", "'") and index > 1 and stream[index - 2].key in lexicon.ABBREVIATED_BEFORE:
        return False
    named = later if after and after.text == "." else after
    if named and named.key in lexicon.EPITHETS and not own:
        return False
    if index > 1 and before and (before.text == "(" or before.kind == "n") and stream[index - 2].key in lexicon.FIGURES:
        return False
    if after and _lone(after) and after.start == token.end + 1 and after.text not in (*options.letters, "I"):
        return False  # "C T scan"
    if _chinese_name(before, after, later, stream, index):
        return False
    bracketed = bool(
        before and after and before.text in _OPEN and after.text in _CLOSE and glued_before and glued_after
    )
    if token.text.islower():
        return bracketed or _lower_label(stream, index, before, after)
    if letter not in options.letters and not bracketed and not _in_label_position(index, before, after):
        return False
    return bracketed or _upper_label(token, before, after, own, texts, index, options)


def _goes_on(stream: list[Token], place: int, options: OptionTexts) -> bool:
    """True where a letter is the beginning of something longer: "B-lines", "B's", "A+", "A.P.", "A&E"."""
    after, later = stream[place], stream[place + 1] if place + 1 < len(stream) else None
    glued = later is not None and later.start == after.end
    if later and glued and after.text in ".&/+-" and _lone(later) and later.text not in options.letters:
        return True
    if after.kind in "wn":
        return True
    if after.text == "'":
        return glued and later is not None and later.kind in "wn"
    return not _joins(stream, place) and (after.text == "+" or (after.text == "-" and (glued or later is None)))


def _lone(token: Token) -> bool:
    return token.kind == "w" and len(token.text) == 1 and token.text.isupper()


def _joins(stream: list[Token], index: int) -> bool:
    """True where a sign stands between two single letters: "B+C", "B/C", "A-D"."""
    sides = [stream[i] for i in (index - 1, index + 1) if 0 <= i < len(stream)]
    return len(sides) == 2 and all(map(_lone, sides))


def _in_label_position(index: int, before: Token | None, after: Token | None) -> bool:
    """Where a letter outside the options counts, to fail closed: at the head with label punctuation, or after "option",
    "answer", ":" (rule 4)."""
    punctuated = after is None or after.text in (".", ")", ":", ",", "]", "\n", ";")
    anchored = before is not None and (
        before.key in lexicon.LOWER_BEFORE
        or before.text in ":,/、&"
        or before.key in ("and", "or")
        or before.kind == "c"
    )
    listed = after is not None and after.key in ("and", "or", "/", "&")
    return (index == 0 and (punctuated or listed)) or (anchored and punctuated)


def _lower_label(stream: list[Token], index: int, before: Token | None, after: Token | None) -> bool:
    ends = after is None or (after.kind in "ps" and after.text != "-")
    if index == 0 or (before is not None and before.text in '(["'):
        return (after is not None and after.text in (".", ")", ":", "]", '"')) or after is None
    anchored = before is not None and (
        before.key in lexicon.LOWER_BEFORE or before.text == ":" or before.text in ("选", "是", "为")
    )
    no_word = stream[index].key not in "ai" or (before is not None and before.key in ("option", "choice", "letter"))
    return anchored and (ends or (no_word and after is not None and after.key in lexicon.VERBISH))


def _upper_label(
    token: Token,
    before: Token | None,
    after: Token | None,
    own: bool,
    texts: dict[int, Mention],
    index: int,
    options: OptionTexts,
) -> bool:
    if own or after is None or after.kind not in "wn":
        return not (token.text == "I" and after is not None and after.text == "," and "I" not in options.letters)
    if before is not None and before.key in ("option", "choice", "letter"):
        return True
    if token.text == "A":
        other_label = index + 1 in texts and after.text[:1].isupper() and after.text[1:2].islower()
        return after.key in lexicon.VERBISH or other_label
    if token.text == "I":
        return after.key in lexicon.PRONOUN_LABEL
    return after.key not in lexicon.NAME_AFTER


def _chinese_name(
    before: Token | None, after: Token | None, later: Token | None, stream: list[Token], index: int
) -> bool:
    left = (
        "".join(token.text for token in stream[max(0, index - 3) : index] if token.kind == "c")
        if before and before.kind == "c"
        else ""
    )
    right = (
        "".join(token.text for token in (after, later) if token and token.kind == "c")
        if after and after.kind == "c"
        else ""
    )
    return left.endswith(lexicon.ZH_NAME_BEFORE) or right.startswith(lexicon.ZH_NAME_AFTER)


def _bind(stream: list[Token], mentions: list[Mention], options: OptionTexts) -> list[Mention]:
    """A label and the text that follows it, or a text and the label in brackets behind it, become one mention; a pair
    that disagrees becomes "?"."""
    bound: list[Mention] = []
    for mention in mentions:
        last = bound[-1] if bound else None
        between = [token.text for token in stream[last.last + 1 : mention.first]] if last else []
        pair = bool(last) and {last.by, mention.by} == {"label", "text"} if last else False
        after = stream[mention.last + 1].key if mention.last + 1 < len(stream) else ""
        reason = (
            last is not None and last.letter != mention.letter and after == "would"
        )  # "A. Pneumonia would be denser."
        closed = (
            last is not None and between[:2] == [")", "."] and stream[last.first - 1].text != "("
        )  # "(option B). Pneumonia .."
        if last and pair and _adjacent(last, between) and not reason and not closed:
            letter = last.letter if last.letter == mention.letter else "?"
            bound[-1] = Mention(letter, last.first, mention.last, "both", last.particle or mention.particle)
        elif last and between and set(between) <= set(".):(") and options.lone.get(last.letter) == mention.letter:
            bound[-1] = Mention(last.letter, last.first, mention.last, "both")  # "B. A" where option B is blood group A
        else:
            bound.append(mention)
    return bound


def _adjacent(last: Mention, between: list[str]) -> bool:
    if last.by == "label":
        return (
            all(text in ".):-—([]}\"'、" or text in ("a", "the", "an") for text in between)
            and len(between) <= 4
            and "、" not in between[1:]
        )
    return bool(between) and all(text in "([-—" for text in between)
