"""Metrics of written reports over stored rows: of each report for the headline, and of the whole set, each with an
interval over clusters and a signature that says how it was made."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

from rewards.metrics.door import MODEL_METRICS, MetricDoor, compute_by_model
from rewards.metrics.reports import compute
from rewards.metrics.result import MetricResult, TextRow
from rl.benchmarks.card import Card
from rl.benchmarks.odd_rows import two_sections
from rl.evaluate.suite.numbers.rows import Answered
from rl.statistics.corpus import Corpus, corpus_difference, corpus_estimate
from rl.statistics.pairs import Difference
from rollouts.records import Sample


def rouge_l(text: str, reference: str) -> float:
    """ROUGE-L F1 of two texts, 0 to 1; an empty answer is 0."""
    (value,) = compute("rouge_l", [TextRow(text, (reference,))]).items or (0.0,)
    return value or 0.0


def headline(card: Card, answers: Sequence[Answered]) -> list[float | None]:
    """The card's headline of each report, on the metric's own scale; None = the metric has none for single reports."""
    result = compute(card.headline, list(map(_row, answers)))
    return [None] * len(answers) if result.items is None else list(result.items)


def metrics(card: Card, answers: Sequence[Answered], door: MetricDoor | None = None) -> dict[str, Any]:
    """Metric -> value, low, high, signature, direction; or why it is not computed. `constant` beside them is what the
    card's constant report earns on the same references, where it has one. `door`: to those that need a model."""
    texts, clusters = list(map(_row, answers)), [one.cluster for one in answers]
    results = {name: _computed(name, texts, door) for name in card.metrics if name != "macro_f1"}
    made = {name: _plain(result, clusters) for name, result in results.items()}
    for name, value in of_constant(card, texts, constant_of(card, answers), door).items():
        made[name]["constant"] = value
    return made


def _computed(name: str, rows: Sequence[TextRow], door: MetricDoor | None) -> MetricResult:
    return compute_by_model(name, rows, door) if name in MODEL_METRICS else compute(name, rows)


def constant_of(card: Card, reports: Iterable[Answered | Sample]) -> str:
    """The card's constant report in the form of its references: with an impression where they have one; "" = the card
    has none."""
    with_impression = any("impression" in one.tags for one in reports)
    return two_sections(card.constant, card.constant_impression) if card.constant and with_impression else card.constant


def of_constant(
    card: Card, texts: Sequence[TextRow], constant: str, door: MetricDoor | None = None
) -> dict[str, float]:
    """What one report for every study earns in the card's metrics that are defined on this set; `door`: to those that
    need a model."""
    rows = [dataclasses.replace(one, answer=constant) for one in texts]
    values = {name: _computed(name, rows, door).value for name in card.metrics if constant and name != "macro_f1"}
    return {name: value for name, value in values.items() if value is not None}


def differences(card: Card, ours: Sequence[Answered], theirs: Sequence[Answered]) -> dict[str, Difference]:
    """Metric of the whole set -> theirs minus ours on the same items, for those that need no model and are defined for
    both."""
    clusters = [one.cluster for one in ours]
    changes = {}
    for name in card.metrics:
        if name in MODEL_METRICS or name == "macro_f1":
            continue
        first, second = (compute(name, list(map(_row, answers))) for answers in (ours, theirs))
        if first.value is not None and second.value is not None:
            changes[name] = corpus_difference(
                Corpus(first.sums, first.finish), Corpus(second.sums, second.finish), clusters
            )
    return changes


def _row(answer: Answered) -> TextRow:
    return TextRow(answer.greedy.answer, answer.references, "zh" if answer.language == "zh" else "en")


def _plain(result: MetricResult, clusters: Sequence[str]) -> dict[str, Any]:
    about = {"signature": result.signature, "direction": result.direction, "num_redacted": result.num_redacted}
    if result.value is None:
        return {"value": None, "low": None, "high": None, "not_computed": result.reason, **about}
    made = dataclasses.asdict(corpus_estimate(Corpus(result.sums, result.finish), clusters))
    without = {"num_items": made["num_items"] - result.num_unjudged, "num_unscored": result.num_unjudged}
    return {**made, **without, **about}
