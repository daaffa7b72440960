"""Rewrites an answer for the clause grammar: options become "@0", "@1", .., phrases of the lexicon become control
words, corrections are cut."""

from __future__ import annotations

import re

from rewards.answers import lexicon
from rewards.answers.mentions import Mention
from rewards.answers.text import Token

# "A) no B) no C) yes": one verdict behind each option.
_WALK = re.compile(
    r"(?:@\d+ [:=-]? ?(?:is )?(?:yes|no|correct|right|true|incorrect|wrong|false|不?正确|不?符合|不?对|错误?)["
    r" ,;.]*(?=\W|$)\n? ?){3,}"
)
# "Among A, B and C the best is C": the offer ends before the choice.
_OFFER = re.compile(r"\b(between|among)((?: @\d+(?: ,)?(?: and)?){1,25} @\d+)(?= )")


def control_words(stream: list[Token], mentions: list[Mention]) -> list[str]:
    """The answer as lower-case words, "@k" for mention k, and control words in capitals."""
    text = _OFFER.sub(r"\1\2 ,", _canonical(stream, mentions))
    if walk := _WALK.match(text):
        text = re.sub(r" (?=@\d)", " . ", walk.group()) + " . " + text[walk.end() :]
    for pattern, control in lexicon.CONTROL:
        text = pattern.sub(control, text)
    return _split_words(text)


def after_correction(words: list[str]) -> list[str] | None:
    """What follows the last self-correction that leads to a choice (rule 8); None where an answer is taken back without
    a new one."""
    while "FIX" in words or "UNDO" in words:
        cut = max(place for place, word in enumerate(words) if word in ("FIX", "UNDO"))
        before, after = words[:cut], words[cut + 1 :]
        if any(word.startswith("@") for word in after):
            return after
        if words[cut] == "UNDO" or any(word in ("NEG", "OPEN") for word in after):
            return None
        words = [*before, ".", *after]
    return words


def _canonical(stream: list[Token], mentions: list[Mention]) -> str:
    by_first: dict[int, list[int]] = {}
    for number, mention in enumerate(mentions):
        by_first.setdefault(mention.first, []).append(number)
    inside = {i for mention in mentions for i in range(mention.first, mention.last + 1)}
    sole = len({mention.letter for mention in mentions}) == 1
    parts: list[str] = []
    for index, token in enumerate(stream):
        if index in by_first:
            if token.start and index > 1 and stream[index - 1].text == "(" and stream[index - 2].key in ("no", "yes"):
                parts.append(" ,")  # "(a) no (b) yes": the bracket begins another statement
            parts.append(" " + " , ".join(f"@{number}" for number in by_first[index]) + " ")
        elif index in inside:
            continue
        elif token.kind == "c":
            parts.append(token.text)
        elif token.kind == "n":
            none = set(token.key) <= set("0.") and index + 1 < len(stream) and stream[index + 1].text == "%"
            parts.append(" not " if none else " 0% " if token.text.startswith(("0.", ".")) else " 0 ")
        elif token.text in ("'", '"', "@") or (token.text in "()[]{}<>" and _hugs(stream, index, by_first, inside)):
            if token.text == "(" and (index - 1) in inside and sole:
                parts.append(" : ")  # a remark in brackets reads like one behind a colon
        elif (
            token.text == "-"
            and 0 < index < len(stream) - 1
            and stream[index - 1].end == token.start
            and stream[index + 1].start == token.end
        ):
            parts.append(" ")
        else:
            parts.append(
                " … "
                if token.text.startswith("...")
                else f" {token.text.lower()} "
                if token.kind == "w"
                else f" {token.text} "
            )
    return re.sub(r" +", " ", "".join(parts)).strip()


def _hugs(stream: list[Token], index: int, by_first: dict[int, list[int]], inside: set[int]) -> bool:
    """A bracket at an option says nothing, "C (wrong)" included; it begins a remark in "yes (no effusion)" and "D (A
    and B are wrong)"."""
    if (index - 1) in inside:
        remark = [token.kind for token in stream[index + 1 : index + 3] if token.key != "no"] == [
            "w"
        ]  # "(no fluid)", not "(no)"
        listed = stream[index - 1].key in ("yes", "no") or (index + 1) in by_first
        return stream[index].text in ")]}>" or not (listed or (remark and stream[index + 1].key == "no"))
    return (index + 1) in by_first


def _split_words(text: str) -> list[str]:
    words: list[str] = []
    for word in text.split(" "):
        if word and "\u2e80" < word[0] and word != "、" and len(word) > 1:
            words.extend(word)
        elif word:
            words.append(word)
    return words
