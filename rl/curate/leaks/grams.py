"""Texts that an evaluation set holds already: eight words in a row that both have."""

from __future__ import annotations

from collections.abc import Iterable

from rl.curate.text import words

NUM_WORDS = 8


def grams(text: str) -> set[tuple[str, ...]]:
    """All runs of eight folded words; a shorter text is one run of all its words."""
    folded = words(text)
    if len(folded) <= NUM_WORDS:
        return {tuple(folded)} if folded else set()
    return {tuple(folded[start : start + NUM_WORDS]) for start in range(len(folded) - NUM_WORDS + 1)}


def all_grams(texts: Iterable[str]) -> set[tuple[str, ...]]:
    """The runs of many texts."""
    runs: set[tuple[str, ...]] = set()
    for text in texts:
        runs |= grams(text)
    return runs


def shares_a_run(text: str, known: set[tuple[str, ...]]) -> bool:
    """Whether a text of at least eight words has a run of eight in common with the known ones."""
    return len(words(text)) >= NUM_WORDS and not known.isdisjoint(grams(text))
