"""JSON objects and boxes around an answer (rule 11). Nothing is evaluated: `json` and brace counting only."""

from __future__ import annotations

import json
import re
from typing import Any

from rewards.answers import words
from rewards.answers.text import key, normalise, strip_markup

MAX_BOXES = 16
MAX_ANSWER_CHARS = 1500  # an answer longer than this is no answer
_READ_PAIRS = json.JSONDecoder(object_pairs_hook=tuple)


class NoCommitment(Exception):
    """A wrapper that states no single answer: a distribution, two boxes, a repeated field. Internal to the parser."""


def unwrap(answer: str) -> str:
    """The body without boxes, JSON and markup around what it says. Raises NoCommitment."""
    normal = normalise(answer)
    inside = boxes(normal)
    for start, end, content in reversed(inside):
        normal = f"{normal[:start]} {'.' if len(inside) > 1 else ''} answer : {content} . {normal[end:]}"
    if inside and (len({key(strip_markup(box[2])) for box in inside}) > 1 or not inside[-1][2].strip()):
        raise NoCommitment("the boxes disagree or are empty")
    return strip_markup(_without_json(normal))


def _without_json(text: str) -> str:
    """The text with what each JSON object says in its place. Raises NoCommitment."""
    place = 0
    while (place := text.find("{", place)) >= 0:
        try:
            value, end = _READ_PAIRS.raw_decode(text, place)
        except (ValueError, RecursionError):
            place += 1
        else:
            field = f" {_text_of(value)} "
            text, place = text[:place] + field + text[end:], place + len(field)
    return text


def _text_of(value: Any, depth: int = 0) -> str:
    """The text of an answer field. A pair of braces came as a tuple of pairs; one inside the main field is read too."""
    if isinstance(value, tuple) and depth < 2:
        names = [re.sub(r"[\W_]+", "", name).casefold() for name, _ in value]
        if all(len(name) == 1 and name.isalpha() for name in names):
            raise NoCommitment("a map over letters is a distribution")
        main = next((name for name in words.source()["other"]["field"] if name in names), "")
        if names.count(main) != 1:
            raise NoCommitment("the answer field stands twice" if main else "the object has no answer field")
        return _text_of(value[names.index(main)][1], depth + 1)
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        value = " , ".join(value)
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise NoCommitment("the answer field holds no text")
    return str(value).replace("{", " ").replace("}", " ")


def boxes(text: str) -> list[tuple[int, int, str]]:
    r"""Each `\boxed{..}` as (start, end, content), braces counted; an unclosed box reaches to the end."""
    spans: list[tuple[int, int, str]] = []
    for match in re.finditer(r"\\boxed\s*\{", text):
        depth, end = 1, match.end()
        if not spans or match.start() >= spans[-1][1]:
            while depth and end < len(text):
                depth, end = depth + {"{": 1, "}": -1}.get(text[end], 0), end + 1
            spans.append((match.start(), end + bool(depth), text[match.end() : end - (not depth)]))
    return spans[:MAX_BOXES]
