"""Pools of wordings by kind and language, and the table of words that both languages share.

A wording is drawn by a hash of seed, rule and item, never by order. The Chinese pools were written as such and are no
translations of the English ones; wordings of one pair are drawn apart.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from rl.curate.text import fold
from rollouts.records import stable_hash

_FOLDER = Path(__file__).parent
# What a wording may hold in braces. A slot that is not filled by the rule is a wording that is not drawn.
SLOTS = ("modality", "organ", "finding", "side_of")
_SLOT = re.compile(r"\{([^{}]*)\}")


@cache
def _shipped(language: str) -> dict[str, tuple[str, ...]]:
    value = yaml.safe_load((_FOLDER / f"{language}.yaml").read_text(encoding="utf-8"))
    return {kind: tuple(texts) for kind, texts in value.items()}


@cache
def _terms() -> dict[str, dict[str, Any]]:
    """Folded English word -> its entry: zh, and en_also and zh_also, which mean exactly the same."""
    value = yaml.safe_load((_FOLDER / "terms.yaml").read_text(encoding="utf-8"))
    return {fold(word): {"en": word, **entry} for word, entry in value.items()}


KINDS: tuple[str, ...] = (
    "describe",
    "findings",
    "modality",
    "organ",
    "finding",
    "diagnosis",
    "grade",
    "place_image",
    "place_patient",
    "procedure",
)


class Wording(NamedTuple):
    """A question with its place in the pool, such as "finding.en.07"."""

    text: str
    name: str


class Pools:
    """The shipped pools, with those of a recipe in their place."""

    def __init__(self, own: Mapping[str, Mapping[Any, Sequence[str]]]) -> None:
        self._own = {(kind, language): tuple(texts) for kind, by in own.items() for language, texts in by.items()}
        self.kinds = frozenset(KINDS) | set(own)

    def texts(self, kind: str, language: str) -> tuple[str, ...]:
        """All wordings; empty where the recipe gives a kind of its own in the other language only."""
        own = self._own.get((kind, language))
        return own if own is not None else _shipped(language).get(kind, ())

    def draw(self, kind: str, language: str, slots: Mapping[str, str], *seed: object) -> Wording | None:
        """The question for an item, its slots filled; None where no wording of the pool can be filled.

        `slots`: slot -> word; an empty word is none.
        """
        texts = self.texts(kind, language)
        fitting = [i for i, text in enumerate(texts) if all(slots.get(name) for name in _SLOT.findall(text))]
        if not fitting:
            return None
        index = fitting[stable_hash(*seed, "wording", kind, language) % len(fitting)]
        # One pass: a word that holds braces is text.
        text = _SLOT.sub(lambda match: slots[match[1]], texts[index])
        return Wording(text[:1].upper() + text[1:], f"{kind}.{language}.{index:02d}")


def slot_fault(text: str) -> str:
    """What is wrong with the slots of a wording; "" = nothing."""
    unknown = [name for name in _SLOT.findall(text) if name not in SLOTS]
    if unknown:
        return f"has the slot {{{unknown[0]}}}; there are {', '.join('{' + name + '}' for name in SLOTS)}"
    return "is empty" if not text.strip() else ""


def chinese(word: str, own: Mapping[str, str]) -> str:
    """The Chinese name of an English word, the recipe's own first; "" = none is known. `own` is keyed by `fold`."""
    key = fold(word)
    return own.get(key) or str(_terms().get(key, {}).get("zh", ""))


def also(word: str, language: str) -> tuple[str, ...]:
    """Other wordings of a word that mean exactly the same, in a language."""
    entry = _terms().get(fold(word), {})
    return tuple(entry.get(f"{language}_also", ()))
