"""What is earned on a benchmark without looking, as `python -m rl.doctor benchmark=[..]` prints it: each baseline, the
best of them by stratum, the constant report by the rules of each grader, and how many printed numbers are not above
it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Column

from rewards.metrics.result import TextRow
from rl.benchmarks.baselines import Blind
from rl.benchmarks.card import Card
from rl.benchmarks.loading import Benchmark
from rl.evaluate.suite.facts import blinds_of, kept
from rl.evaluate.suite.numbers import reports
from rl.evaluate.suite.numbers.foreign import constant_as_others
from rl.evaluate.suite.numbers.published import blind_share
from rl.evaluate.suite.table import NAMES
from rl.statistics.estimates import Estimate, estimate
from rollouts.records import Sample
from rollouts.terminal import plain, table
from rollouts.texts.reading import shorten

# Values of a stratum that are printed, the largest first.
MOST_VALUES = 12


def repeated(benchmark: Benchmark) -> list[str]:
    """How many reports of a benchmark stand word for word in a training part, a sentence each."""
    golds = [one.gold_text for one in benchmark.samples if one.answer_type == "report"]
    lines = []
    for name, taught in benchmark.training.items():
        known = {one.gold_text for one in taught if one.answer_type == "report"}
        if golds and known:
            same = sum(gold in known for gold in golds)
            lines.append(f"{same:,} of {len(golds):,} reports stand word for word in {name}")
    return lines


def print_blinds(benchmark: Benchmark, console: Console) -> None:
    """What is earned without looking, with intervals over clusters."""
    samples = benchmark.samples
    blinds, without = blinds_of(benchmark, samples, reports.rouge_l)
    scored = kept(blinds, samples)
    clusters = {item.sample.id: item.cluster for item in benchmark.items}
    rows: list[Sequence[Any]] = [
        (NAMES.get(name, name), f"{score.num_items:,}", _percent(score), shorten(one.what, 120))
        for name, one in scored.items()
        for score in [_score(one.values, clusters)]
    ]
    if rows:
        columns = ("baseline", "items", "score in %", Column("what it does", overflow="fold"))
        console.print(table(f"{benchmark.card.name}: earned without looking, every row", columns, rows))
    for name, why in without.items():
        console.print(f"no baseline {name}: {why}")
    of_items = {name: one for name, one in scored.items() if name not in ("constant", "frequent", "nearest")}
    best = max(of_items, key=lambda name: _mean(of_items[name].values), default=None)
    if best is not None:
        _print_strata(benchmark, NAMES.get(best, best), of_items[best].values, clusters, console)
    constant = constant_of_others(benchmark)
    for whose, values in constant.items():
        numbers = ", ".join(f"{name} {100 * value:.1f}" for name, value in values.items())
        console.print(plain(f"the constant report{_as(whose)}, x 100: {numbers}"))
    for line in _printed(benchmark.card, blinds, constant):
        console.print(plain(line), soft_wrap=True)


def _score(values: Mapping[str, float], clusters: Mapping[str, str]) -> Estimate:
    return estimate(list(values.values()), [clusters[item] for item in values])


def _percent(score: Estimate) -> str:
    ends = "" if score.low is None or score.high is None else f" ({100 * score.low:.1f}-{100 * score.high:.1f})"
    return "none" if score.value is None else f"{100 * score.value:.1f}{ends}"


def _mean(values: Mapping[str, float]) -> float:
    return sum(values.values()) / max(1, len(values))


def _print_strata(
    benchmark: Benchmark, name: str, values: Mapping[str, float], clusters: Mapping[str, str], console: Console
) -> None:
    """The best baseline within each stratum of the card that holds more than one value."""
    by_id = {one.id: one for one in benchmark.samples}
    rows: list[Sequence[Any]] = []
    for stratum in benchmark.card.strata:
        parts: dict[str, dict[str, float]] = defaultdict(dict)
        for item, value in values.items():
            parts[_stratum(by_id[item], stratum)][item] = value
        parts.pop("", None)
        if len(parts) > 1:
            largest = sorted(parts, key=lambda one: (-len(parts[one]), one))[:MOST_VALUES]
            for part in largest:
                score = _score(parts[part], clusters)
                rows.append((f"{stratum}: {shorten(part, 40)}", f"{score.num_items:,}", _percent(score)))
    if rows:
        console.print(table(f"{benchmark.card.name}: {name}, by stratum", ("stratum", "items", "score in %"), rows))


def _stratum(sample: Sample, name: str) -> str:
    known = {"answer_type": sample.answer_type, "modality": sample.modality, "source": sample.source}
    return known.get(name) or sample.tags.get(name, "")


def _as(whose: str) -> str:
    return f" as {whose} grades" if whose else ""


def constant_of_others(benchmark: Benchmark) -> dict[str, Mapping[str, float]]:
    """Grader ("" = this project) -> metric that needs no model -> what the constant report earns; {} = there is
    none."""
    card = benchmark.card
    written = [one for one in benchmark.samples if one.answer_type == "report"]
    constant = reports.constant_of(card, written)
    if not constant or not written:
        return {}
    texts = [TextRow(constant, (one.gold_text, *one.aliases)) for one in written]
    return {"": reports.of_constant(card, texts, constant), **constant_as_others(written, constant)}


def _printed(card: Card, blinds: Sequence[Blind], constant: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    """How many numbers of each published table are not above what blindness earns on these rows, a sentence each."""
    closed = {one.name: one.mean for one in blinds if one.name not in ("constant", "frequent", "nearest")}
    for reference in card.references:
        baselines = []
        if reference.metric == card.headline and closed:
            best = max(closed, key=lambda name: closed[name])
            baselines.append((NAMES.get(best, best), closed[best]))
        baselines += [
            (f"the constant report{_as(whose)}", values[reference.metric])
            for whose, values in constant.items()
            if reference.metric in values and whose in ("", reference.grader.casefold())
        ]
        for name, value in baselines:
            below, total = blind_share(reference, value), len(reference.values)
            yield f"{reference.source}: {below} of {total} printed numbers are not above {name}, {100 * value:.1f}"
