"""Metrics of written reports over stored rows: of each report for the headline, and of the whole set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rewards.shipped.reports import overlap
from rl.benchmarks.card import Card
from rl.evaluate.suite.rows import Answered


def rouge_l(said: str, reference: str) -> float:
    """ROUGE-L F1 of two texts, 0 to 1; an empty answer is 0."""
    return overlap(said, reference)


def headline(card: Card, answers: Sequence[Answered]) -> list[float | None]:
    """The card's headline of each report, 0 to 1."""
    return [max(rouge_l(one.greedy.answer, reference) for reference in one.references) for one in answers]


def metrics(card: Card, answers: Sequence[Answered]) -> dict[str, Any]:
    """Metric -> its value over the set with interval and signature, or why it is not computed."""
    return {}
