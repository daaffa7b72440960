"""The options that a closed question names itself: "..., kidney or spleen?", "图中肺和心脏哪个更大?".

Beyond `rl.data.vqa_rad.answers.options_in_question`, which guesses no end of an option, a comma before the list says
where it begins, and Chinese says it by 哪个 and 还是.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from rl.data.vqa_rad.answers import options_in_question

# Words of an option at most; what is longer before a comma is the stem.
_MOST_WORDS = 3
# Answers that stand beside the options that a question names.
_BESIDE = frozenset({"both", "neither", "almost the same", "都是", "都不是", "几乎相等", "一样大"})
_ASKING = frozenset("which what where when who how is are was were does do can in on".split())
_STEM = "图片中|图像中|这张图中|在这个图像中|在图中|图中"
_WHICH = re.compile(rf"(?:{_STEM})?([\u4e00-\u9fffA-Za-z0-9、]+?)(?:哪个|谁)")
_ITEM = r"[\u4e00-\u9fffA-Za-z0-9]"


class Named(NamedTuple):
    """Options as the question names them, and which of them is right."""

    options: tuple[str, ...]
    # None = the gold answer is none of them.
    gold_index: int | None


def named_options(question: str, gold: str) -> Named | None:
    """The options of a closed question and the place of its gold; None where it names none for certain, or where the
    gold stands beside them ("both")."""
    if gold.casefold() in _BESIDE:
        return None
    chinese = bool(re.search(r"[\u4e00-\u9fff]", question))
    options = _chinese(question) if chinese else _english(question)
    if len(options) < 2 or len({one.casefold() for one in options}) < len(options):
        plain = options_in_question(question, gold)
        return Named(plain.options, plain.gold_index) if plain else None
    target = gold.casefold()
    same = [place for place, one in enumerate(options) if one.casefold() == target]
    same = same or [place for place, one in enumerate(options) if one.casefold().startswith(target)]
    return Named(tuple(options), same[0] if len(same) == 1 else None)


def _english(question: str) -> list[str]:
    """A stem, a comma, then "A, B or C"; or "T1 weighted or T2 weighted"."""
    text = question.strip().rstrip("?. ").strip()
    twice = re.search(r"\b(\w+) (\w+) or (\w+) \2\b", text)
    if twice and "," not in text:
        return [f"{twice[1]} {twice[2]}", f"{twice[3]} {twice[2]}"]
    parts = [part.strip() for part in text.split(",")]
    if len(parts) < 2 or not re.search(r"\bor\b", parts[-1]):
        return []
    options = [one.strip() for one in re.split(r"\bor\b", parts[-1]) if one.strip()]
    for part in reversed(parts[:-1]):
        words = part.casefold().split()
        if len(words) > _MOST_WORDS or (words and words[0] in _ASKING):
            return options if all(len(one.split()) <= _MOST_WORDS for one in options) else []
        options.insert(0, part)
    return []


def _chinese(question: str) -> list[str]:
    text = question.strip().rstrip("?？。 ")
    if "还是" in text:
        before, _, after = text.partition("还是")
        parts = re.split(r"[,，]", before)
        listed = parts[-1] if len(parts) > 1 else before
        if len(parts) == 1 or "是" in listed:
            listed = listed.rpartition("是")[2]
        match = re.match(rf"({_ITEM}+?)(?:的.*)?$", after)
        return [*_items(listed, "、"), *([match[1]] if match else [])]
    which = _WHICH.search(re.split(r"[,，]", text)[-1])
    return _items(which[1], "、|和|与|或者|或") if which else []


def _items(listed: str, joins: str) -> list[str]:
    return [one.strip().removesuffix("的") for one in re.split(joins, listed) if one.strip()]
