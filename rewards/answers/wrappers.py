"""JSON objects and boxes around an answer (ANSWERS.md, rule 11). Nothing is evaluated: `json.loads` and brace counting only."""

from __future__ import annotations

import json
import re
from typing import Any

MAX_WRAPPERS = 16
# Names of the field that states the answer, letters and digits only, the first that is there counts.
_MAIN = (
    "answer finalanswer choice option finalchoice letter label prediction selectedoption selected selection correctanswer correctoption result"
    " answers finalanswers correctanswers diagnosis response final answerletter optionletter correctletter answerchoice answeroption"
    " finaldiagnosis conclusion output 答案 选项 最终答案"
).split()
_NOT_KEY = re.compile(r"[\W_]+")


class NoCommitment(Exception):
    """A wrapper that states no single answer: a distribution, two boxes, a repeated field. Internal to the parser."""


def unwrap_json(text: str) -> str:
    """The text with each JSON object replaced by what its main field says. Raises NoCommitment for maps over letters and repeated fields."""
    start, tries = text.find("{"), 0
    while start >= 0 and tries < MAX_WRAPPERS:
        tries += 1
        parsed = _object_at(text, start)
        if parsed is None:
            start = text.find("{", start + 1)
            continue
        pairs, end = parsed
        said = _main_field(pairs)
        text = f"{text[:start]} {said} {text[end:]}"
        start = text.find("{", start + len(said) + 2)
    stripped = text.strip()
    if stripped.startswith('["') and (items := _list_of_text(stripped)) is not None:
        return " , ".join(items)
    return text


def _object_at(text: str, start: int) -> tuple[list[tuple[str, Any]], int] | None:
    try:
        value, end = json.JSONDecoder(object_pairs_hook=lambda pairs: pairs).raw_decode(text, start)
    except (ValueError, RecursionError):
        return None
    return value, end


def _main_field(pairs: list[tuple[str, Any]]) -> str:
    folded = [(_NOT_KEY.sub("", name).casefold(), value) for name, value in pairs]
    if folded and all(len(name) == 1 and name.isalpha() for name, _ in folded):
        raise NoCommitment("a map over letters is a distribution")
    for wanted in _MAIN:
        values = [value for name, value in folded if name == wanted]
        if len(values) > 1:
            raise NoCommitment(f"the field {wanted!r} stands twice")
        if values:
            return _said(values[0])
    raise NoCommitment("the object has no answer field")


def _said(value: Any, nested: bool = False) -> str:
    """The text of an answer field. An object inside it (its pairs are tuples) is read the same way, once."""
    if isinstance(value, list) and value and all(isinstance(item, tuple) for item in value) and not nested:
        inner = _main_field(value) if len(value) > 1 or len(value[0][0]) > 1 else ""
        if inner:
            return inner
    if isinstance(value, str):
        return value.replace("{", " ").replace("}", " ")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return " , ".join(item.replace("{", " ") for item in value)
    raise NoCommitment("the answer field holds no text")


def _list_of_text(text: str) -> list[str] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, list) and value and all(isinstance(item, str) for item in value) else None


def boxes(text: str) -> list[tuple[int, int, str]]:
    r"""Each `\boxed{..}` as (start, end, content), braces counted; an unclosed box reaches to the end."""
    found: list[tuple[int, int, str]] = []
    start = text.find("\\boxed")
    while start >= 0 and len(found) < MAX_WRAPPERS:
        opening = text.find("{", start)
        if opening < 0 or text[start + len("\\boxed") : opening].strip():
            start = text.find("\\boxed", start + 1)
            continue
        depth, end = 0, opening
        for end in range(opening, len(text)):
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            if depth == 0:
                break
        found.append((start, end + 1, text[opening + 1 : end if depth == 0 else end + 1]))
        start = text.find("\\boxed", end + 1)
    return found
