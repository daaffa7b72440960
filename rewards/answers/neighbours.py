"""Tells whether what stands beside an option text in an answer makes it part of something else (ANSWERS.md, rule 5)."""

from __future__ import annotations

from rewards.answers import lexicon
from rewards.answers.text import Token

_ROMAN = frozenset("i ii iii iv v vi vii viii ix x".split())


def part_of_more(stream: list[Token], start: int, end: int, letter: str) -> bool:
    """True where neighbours change the meaning: a sign, a unit, a comparison, a range, or a further letter or number of
    a name (rule 5)."""
    first, last = stream[start], stream[end]
    before = stream[start - 1] if start else None
    after = stream[end + 1] if end + 1 < len(stream) else None
    if before and before.kind == "s" and (first.kind == "n" or before.end == first.start) and before.text not in "/+=>":
        return True
    if before and first.kind == "n" and (before.text in "<>≤≥" or before.key in lexicon.COMPARES):
        return True
    if (
        first.kind == "n"
        and before
        and before.text == ","
        and before.end == first.start
        and stream[start - 2].end == before.start
    ):
        return True  # a decimal comma
    if not after:
        return False
    beyond = stream[end + 2] if end + 2 < len(stream) else None
    if after.text in "-/" and beyond and _ranges(last, beyond):
        return True
    if first.kind == "n" and after.key in ("to", "-") and beyond and beyond.kind == "n":
        return True
    if after.kind == "s":
        return (
            after.text in "%°^"
            or (after.text in "+-" and after.start == last.end)
            or (
                after.text == "/"
                and (last.kind == "n" or (first.kind == "n" and beyond is not None and beyond.kind == "w"))
            )
        )
    if (
        after.text == "-"
        and after.start == last.end
        and after.end < (stream[end + 2].start if end + 2 < len(stream) else 0)
    ):
        return False
    if last.kind == "n" and (after.key in lexicon.UNITS or after.kind == "n"):
        return True
    if after.text == "-" and beyond and beyond.key == "like":
        return True
    named = (after.kind == "n" and not (beyond and beyond.key in lexicon.UNITS)) or (
        after.kind == "w"
        and ((after.key in _ROMAN and len(after.text) > 1) or (len(after.text) == 1 and after.text.isupper()))
    )
    return named and last.kind == "w" and after.text not in ("A", "I", letter)


def _ranges(last: Token, beyond: Token) -> bool:
    """True for what stands on both sides of the sign in "Stage II-III", "Grade 2-3", "C5/6": two members of one
    scale."""
    numeral = last.key in _ROMAN and beyond.key in _ROMAN
    return numeral or (last.text[-1].isdigit() and beyond.text[:1].isdigit())
