"""The same stored answers as other projects grade them, so that the gap to a published number is seen row by row. Never
the headline: each of these graders pays answers that are wrong (`rewards/metrics/foreign.py` says which)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from rewards.metrics.foreign import Item, as_in, reports_as_in
from rewards.metrics.result import TextRow
from rl.evaluate.suite.numbers.rows import Answered, is_right
from rl.statistics.estimates import estimate
from rollouts.records import Sample

OF_ITEMS, OF_REPORTS = ("medevalkit", "mmmu"), ("medevalkit", "r2gen")
# Ids of rows that are graded otherwise, kept for the reader's eyes.
MOST_KEPT = 200


def items_as_in(items: Sequence[Answered]) -> dict[str, Any]:
    """Grader -> its mean over every row (official) with an interval, how many rows it pays that we do not and the other
    way round, and the ids of some of them. Rows for which it has no rule have no value there."""
    grades = {}
    for grader in OF_ITEMS:
        values = [_graded(grader, one) for one in items]
        if all(value is None for value in values):
            continue
        ours = [is_right(one.greedy) for one in items]
        both = [
            (one.id, a, b) for one, a, b in zip(items, ours, values, strict=True) if a is not None and b is not None
        ]
        more, less = [name for name, a, b in both if b > a], [name for name, a, b in both if b < a]
        grades[grader] = {
            **dataclasses.asdict(estimate(values, [one.cluster for one in items])),
            "num_paid_there_only": len(more), "num_paid_here_only": len(less),
            "paid_there_only": more[:MOST_KEPT], "paid_here_only": less[:MOST_KEPT],
        }  # fmt: skip
    return grades


def _graded(grader: str, one: Answered) -> float | None:
    if one.answer_type not in ("mcq", "yes_no", "open") or not one.references:
        return None
    gold = tuple(one.gold_choice) if one.answer_type == "mcq" else one.references
    item = Item(one.answer_type, one.greedy.answer, gold, one.options)  # type: ignore[arg-type]  # checked above
    return as_in(grader, item)


def reports_of_others(written: Sequence[Answered], constant: str = "") -> dict[str, dict[str, dict[str, float]]]:
    """Grader -> metric -> `value` over the set, on the scale of the original, and with a constant report that of it for
    every study as `constant`."""
    grades: dict[str, dict[str, dict[str, float]]] = {}
    for grader in OF_REPORTS:
        values = reports_as_in(grader, [_report(grader, one, one.greedy.answer) for one in written])
        blind = reports_as_in(grader, [_report(grader, one, constant) for one in written]) if constant else {}
        grades[grader] = {
            name: {"value": value, **({"constant": blind[name]} if name in blind else {})}
            for name, value in values.items()
        }
    return grades


def constant_as_others(samples: Sequence[Sample], constant: str) -> dict[str, dict[str, float]]:
    """Grader -> metric -> what one report for every study earns there."""
    return {
        grader: reports_as_in(
            grader, [_row(grader, (one.gold_text, *one.aliases), one.tags, one.language, constant) for one in samples]
        )
        for grader in OF_REPORTS
    }


def _report(grader: str, one: Answered, text: str) -> TextRow:
    return _row(grader, one.references, one.tags, one.language, text)


def _row(grader: str, references: tuple[str, ...], tags: Mapping[str, str], language: str, text: str) -> TextRow:
    """A report against its references; MedEvalKit puts a full stop behind both sections, whether there is one or
    not."""
    if grader == "medevalkit" and "impression" in tags:
        references = (f"Findings: {tags.get('findings', '')} Impression: {tags['impression']}.",)
    return TextRow(text, references, "zh" if language == "zh" else "en")
