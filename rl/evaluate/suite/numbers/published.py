"""Numbers that others print, beside those of this evaluation: what stands in their table, what blindness earns on the
same rows, how many of their numbers are not above it, and whether the two may be compared at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from rl.benchmarks.card import Card, Reference

# A grader whose rules are rewritten here (`foreign.py`), by the name that cards give it.
_GRADERS = {"MedEvalKit": "medevalkit", "R2Gen": "r2gen"}
# A column of a table -> the metric here, and how its mean becomes the column's number.
_INVERSE = {"radcliq_inverse": "radcliq"}


class Number(NamedTuple):
    """A number here and what is earned without looking, both as shares; None = there is none."""

    # "" = as this project grades; else the grader whose rules are followed ("medevalkit").
    as_in: str = ""
    value: float | None = None
    low: float | None = None
    high: float | None = None
    # The best that is earned without looking, by the same rules.
    blind: float | None = None
    # Why there is no value.
    reason: str = ""


def published(card: Card, record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One object for each reference of a card and each way in which its metric is graded here.

    Returns:
        source, metric, grader (of the table), `as_in` (whose rules the number here follows; "" = this project's),
        `here` (value, low, high; as shares), `blind` (what the best baseline earns, None where none is known), `reason`
        (why there is no number here), `num` (models in the table), `lowest` and `highest` (as the table prints them, in
        hundredths), `num_blind` (models of the table that are not above `blind`; None where it is not known),
        comparable, why.
    """
    return [_beside(reference, number) for reference in card.references for number in _numbers(card, reference, record)]


def blind_share(reference: Reference, blind: float) -> int:
    """How many models of a table are not above what blindness earns, a share."""
    return sum(value <= round(100 * blind, 1) for value in reference.values.values())


def _beside(reference: Reference, number: Number) -> dict[str, Any]:
    values = reference.values.values()
    return {
        "source": reference.source,
        "metric": reference.metric,
        "grader": reference.grader,
        "as_in": number.as_in,
        "here": {"value": number.value, "low": number.low, "high": number.high},
        "blind": number.blind,
        "reason": number.reason,
        "num": len(values),
        "lowest": min(values),
        "highest": max(values),
        "num_blind": None if number.blind is None else blind_share(reference, number.blind),
        "comparable": reference.comparable,
        "why": reference.why,
    }


def _numbers(card: Card, reference: Reference, record: Mapping[str, Any]) -> Iterator[Number]:
    """The number of a column: as this project grades, then as the table's grader does where its rules are known."""
    if reference.metric in ("accuracy", card.headline) and record.get("official"):
        best = record.get("best_blind")
        yield _number(record["official"], best["value"] if best else None)
        return
    part = record.get("reports") or {}
    yield _metric(reference.metric, part.get("metrics") or {})
    grader = _GRADERS.get(reference.grader, "")
    foreign = (part.get("as_in") or {}).get(grader, {}).get(reference.metric)
    if foreign:
        yield Number(grader, foreign["value"], blind=foreign.get("constant"))


def _metric(name: str, metrics: Mapping[str, Any]) -> Number:
    made = metrics.get(_INVERSE.get(name, name))
    if made is None:
        return Number(reason="not among the metrics of this card")
    if made["value"] is None:
        return Number(reason=made.get("not_computed") or "not defined on these rows")
    if name not in _INVERSE:
        return _number(made, made.get("constant"))
    if made["low"] is None or made["low"] <= 0:  # 1 / x of a score that may cross 0 says nothing
        return Number(reason="1 / mean is not defined where the interval of the mean reaches 0")
    return Number("", 1 / made["value"], 1 / made["high"], 1 / made["low"])


def _number(estimate: Mapping[str, Any], blind: float | None) -> Number:
    return Number("", estimate["value"], estimate["low"], estimate["high"], blind)


def reasons(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Why numbers may not be compared -> the metrics of which that is said."""
    metrics: dict[str, list[str]] = {}
    for one in rows:
        if not one["comparable"] and one["metric"] not in metrics.setdefault(one["why"], []):
            metrics[one["why"]].append(one["metric"])
    return metrics
