"""What an evaluation found, as plain values: one record a benchmark, and what they say together.

`summary.json` of an evaluation's folder holds `{"kind": "benchmarks", "model": .., "benchmarks": [record, ..], "macro":
estimate, "parser": .., "versions": ..}`. A record has the fields that `record` returns, in this order: what the card
says (name, version, title, headline, traps, references ..), what was read (num_rows .. overlap), what has no verdict
(`unjudged`), the scores (`clean` and `official`), metrics, strata, groups, letters, samples, baselines, `best_blind`,
`touches_blind`, probes, what others print beside them (`published`). An estimate is an object with the fields of
`rl.statistics.estimates.Estimate`, a difference one with those of `rl.statistics.pairs.Difference`; shares are 0 to 1.
Every number is computed of stored rows (`rows.read_step`) and kept facts (`facts.Facts`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from rewards.metrics.door import MetricDoor
from rl.benchmarks.card import Card
from rl.evaluate.suite.facts import Facts, KeptBlind
from rl.evaluate.suite.numbers import reports, scores
from rl.evaluate.suite.numbers.foreign import items_as_in, reports_of_others
from rl.evaluate.suite.numbers.published import published
from rl.evaluate.suite.numbers.rows import Answered, clean, clean_made, plain
from rl.statistics.estimates import Estimate, estimate, macro_mean
from rl.statistics.pairs import minimum_detectable

KIND = "benchmarks"
# Probes that take the image away: what is right under them is right blind.
BLIND_PROBES = ("blank", "swapped", "text_only")
# Shares of items on which two models differ, for which the smallest difference that could be seen is printed.
DISCORDANT = (0.1, 0.2, 0.3)


def record(facts: Facts, answers: Sequence[Answered], door: MetricDoor | None = None) -> dict[str, Any]:
    """Everything that is said of one benchmark. `door`: to metrics that need a model."""
    card = facts.card
    closed = card.scorer != "report"
    items = [one for one in plain(answers) if closed or one.answer_type != "report"]
    written = [one for one in plain(answers) if one.answer_type == "report"]
    summary = {
        **_of_card(card),
        **_of_facts(facts),
        **_how_written(answers),
        "unjudged": unjudged(answers),
        **_of_items(facts, answers, items),
        **({"reports": _of_reports(facts, answers, written, door)} if written else {}),
    }
    return {**summary, "published": published(card, summary)}


def _of_card(card: Card) -> dict[str, Any]:
    names = (
        "name version title language scorer headline cluster strata licence may_leave_machine traps references prompt"
    ).split()
    return {name: _plain(getattr(card, name)) for name in names}


def _of_facts(facts: Facts) -> dict[str, Any]:
    kept = {
        name: _plain(getattr(facts, name))
        for name in (
            "step num_rows num_asked num_clean unusable mismatches published_rows file notes overlap refused left_out"
            " not_computed seconds"
        ).split()
    }
    return {**kept, "is_published": facts.is_published}


def unjudged(answers: Sequence[Answered]) -> dict[str, Any]:
    """How many completions have no verdict, those of probes among them, and why the first has none."""
    without = [reply for one in answers for reply in (one.greedy, *one.sampled) if reply.value is None]
    return {"num_completions": len(without), "such_as": without[0].reason[:300] if without else ""}


def _how_written(answers: Sequence[Answered]) -> dict[str, Any]:
    replies = [one.greedy for one in plain(answers)]
    return {
        "format_rate": sum(one.well_formed for one in replies) / max(1, len(replies)),
        "mean_length": sum(one.num_tokens for one in replies) / max(1, len(replies)),
        "num_unreadable": sum(one.choice is None for one in replies),
    }


def value_of(card: Card) -> scores.Value:
    """The value of one item in the card's headline."""
    return scores.points if card.headline == "rubric_points" else scores.right


def _of_items(facts: Facts, answers: Sequence[Answered], items: Sequence[Answered]) -> dict[str, Any]:
    """Scores of items that are right or wrong, or earn points."""
    card = facts.card
    if not items:
        return {"clean": None, "official": None, "num_unscored": 0}
    value, bounded = value_of(card), card.headline != "rubric_points"
    shown, sampled = (_as_it_is, scores.sampled) if bounded else (_clipped, scores.sampled_points)
    good = clean(items)
    scored = scores.of(good, value, bounded=bounded)
    kinds = {"chance", "majority", "options_only", "question_only", "question_exact"}
    blinds = _blinds(good, items, value, {name: one for name, one in facts.blinds.items() if name in kinds})
    probes = _probes(answers, good, value)
    best = _best(blinds, probes)
    metrics = {"macro_f1": _plain(scores.macro_f1(good))} if "macro_f1" in card.metrics else {}
    return {
        "clean": _plain(shown(scored)),
        "official": _plain(shown(official(items, facts, value, bounded))),
        "num_unscored": scored.num_unscored,
        "metrics": metrics,
        "strata": {
            name: {what: _plain(shown(one)) for what, one in values.items()}
            for name, values in scores.strata(good, card.all_strata, value, bounded=bounded).items()
        },
        "groups": None if (groups := scores.grouped(items)) is None else _plain(groups._asdict()),
        "letters": scores.letters(items),
        "sampled": {name: _plain(shown(one)) for name, one in sampled(good).items()},
        "baselines": blinds,
        "best_blind": best,
        "touches_blind": touches(scored, best),
        "detectable": detectable(scored),
        "as_in": items_as_in(items) if bounded else {},
        "probes": probes,
    }


def official(items: Sequence[Answered], facts: Facts, value: scores.Value, bounded: bool) -> Estimate:
    """Every row as its authors count it: those that cannot be asked are wrong."""
    values = [value(one) for one in items] + [0.0] * len(facts.unusable)
    clusters = [one.cluster for one in items] + [f"row {row.line}" for row in facts.unusable]
    return estimate(values, clusters, bounds=(0.0, 1.0) if bounded else None)


def _as_it_is(scored: Estimate) -> Estimate:
    return scored


def _clipped(scored: Estimate) -> Estimate:
    """A mean of points, clipped to 0..1: only the mean is, never an example."""
    if scored.value is None or scored.low is None or scored.high is None:
        return scored
    value, low, high = (min(1.0, max(0.0, end)) for end in (scored.value, scored.low, scored.high))
    return dataclasses.replace(scored, value=value, low=low, high=high)


def _blinds(
    good: Sequence[Answered], items: Sequence[Answered], value: scores.Value, kept: Mapping[str, KeptBlind]
) -> dict[str, Any]:
    made = {}
    for name, blind in kept.items():
        values: dict[str, float] = {}
        for one in items:  # an item that stands for several is right where it is right for any of them
            key = one.merged or one.id
            if one.id in blind.values and not one.flaw:
                values[key] = max(values.get(key, 0.0), blind.values[one.id])
        by_item = {
            one.id: math.prod(values[key] for key in one.keys)  # all of a group: as if its members were guessed apart
            for one in good
            if all(key in values for key in one.keys)
        }
        score, difference = scores.differences(good, value, by_item)
        made[name] = {"what": blind.what, "score": _plain(score), "difference": _plain(difference)}
    return made


def _probes(answers: Sequence[Answered], good: Sequence[Answered], value: scores.Value) -> dict[str, Any]:
    names = sorted({one.probe for one in answers} - {""})
    made = {}
    for name in names:
        probe = scores.probe(good, clean_made(answers, name), value)
        made[name] = _plain(probe._asdict())
    return made


def _best(blinds: Mapping[str, Any], probes: Mapping[str, Any]) -> dict[str, Any] | None:
    """The baseline, or the probe without an image, that earns most; None = there is none."""
    known = {name: one["score"]["value"] for name, one in blinds.items()}
    known |= {name: probes[name]["score"]["value"] for name in BLIND_PROBES if name in probes}
    known = {name: value for name, value in known.items() if value is not None}
    if not known:
        return None
    name = max(known, key=lambda one: known[one])
    return {"name": name, "value": known[name]}


def touches(scored: Estimate, best: Mapping[str, Any] | None) -> bool:
    """Whether the headline's interval touches its best blind baseline, so that it does not show that anything was
    seen."""
    return best is not None and scored.low is not None and scored.low <= best["value"]


def detectable(scored: Estimate) -> dict[str, float]:
    """Share of items on which two models differ -> the smallest difference that this set tells in 80 of 100 cases."""
    if not scored.num_items:
        return {}
    return {str(psi): minimum_detectable(psi, scored.num_items, scored.deff or 1.0) for psi in DISCORDANT}


def _of_reports(
    facts: Facts, answers: Sequence[Answered], written: Sequence[Answered], door: MetricDoor | None
) -> dict[str, Any]:
    """Metrics of reports, beside those of reports that were written without looking."""
    card = facts.card
    made = [one for one in answers if one.probe and one.answer_type == "report"]
    everything = [*written, *made]
    values = dict(zip((one.id for one in everything), reports.headline(card, everything), strict=True))

    def value(answer: Answered) -> float | None:
        return values[answer.id]

    metrics = reports.metrics(card, written, door)
    blinds = {}
    for name in ("constant", "frequent", "nearest"):
        if kept := facts.blinds.get(name):
            score, difference = scores.differences(written, value, kept.values)
            blinds[name] = {"what": kept.what, "score": _plain(score), "difference": _plain(difference)}
    probes = {
        name: _plain(scores.probe(written, [one for one in made if one.probe == name], value)._asdict())
        for name in sorted({one.probe for one in made})
    }
    best = _best(blinds, probes)
    scored = estimate([values[one.id] for one in written], [one.cluster for one in written])
    return {
        "headline": card.headline,
        "score": _plain(scored),
        "metrics": metrics,
        "as_in": reports_of_others(written, reports.constant_of(card, written)),
        "baselines": blinds,
        "best_blind": best,
        "touches_blind": touches(scored, best),
        "probes": probes,
        "num_empty": sum(not one.greedy.answer.strip() for one in written),
    }


def together(records: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The plain mean of the accuracies of several benchmarks with its interval; None for fewer than two. Never a mean
    over rows: one large set would be all of it."""
    estimates = [
        one["clean"]
        for one in records
        if one["headline"] == "accuracy" and one["clean"] and one["clean"]["value"] is not None
    ]
    if len(estimates) < 2:
        return None
    made: dict[str, Any] = _plain(macro_mean([Estimate(**one) for one in estimates]))
    return made


def _plain(value: Any) -> Any:
    """Records as plain values."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: _plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, (list, tuple)) else value
