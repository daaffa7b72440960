"""Any number of evaluations on the same items: each minus the first, benchmark by benchmark and stratum by stratum,
paired by item, with Holm's correction over headlines and, apart, over the strata of one benchmark."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from rl.data.sets import UnusableData
from rl.evaluate.suite.facts import Facts, read_all
from rl.evaluate.suite.folder import OF_RUN, ordered
from rl.evaluate.suite.numbers import reports
from rl.evaluate.suite.numbers.rows import Answered, clean, plain, read_step
from rl.evaluate.suite.numbers.summary import KIND, value_of
from rl.evaluate.suite.table import in_two
from rl.run.folder import SUMMARY
from rl.statistics.pairs import Difference, holm_by_name, paired_difference
from rollouts.store.layout import DamagedStore, list_steps
from rollouts.terminal import open_console, table
from rollouts.terminal import plain as safe


class NotTheSame(UnusableData):
    """Evaluations that cannot be compared; the message names every difference, and what would mend it."""


@dataclass(frozen=True)
class Evaluation:
    """One folder."""

    path: Path
    summary: Mapping[str, Any]
    # Benchmark -> its facts.
    facts: Mapping[str, Facts]

    @property
    def name(self) -> str:
        """What it is called in tables."""
        return self.path.resolve().name


def is_evaluation(folder: Path) -> bool:
    """Whether a folder holds an evaluation on benchmarks, and no run."""
    try:
        return bool(json.loads((folder / SUMMARY).read_text(encoding="utf-8")).get("kind") == KIND)
    except (OSError, ValueError, AttributeError):
        return False


def open_evaluation(folder: Path) -> Evaluation:
    """An evaluation. Raises NotTheSame where the folder holds none, DamagedStore where it cannot be read."""
    if not is_evaluation(folder):
        own = ordered(folder / OF_RUN)
        where = f"those of this run are in {folder / OF_RUN}: {', '.join(own)}" if own else (
            "give folders that python -m rl.evaluate benchmark=[..] wrote"
        )  # fmt: skip
        raise NotTheSame(f"{folder} holds no evaluation on benchmarks; {where}")
    summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    return Evaluation(folder, summary, {one.card.name: one for one in read_all(folder)})


def compare(folders: Sequence[Path]) -> dict[str, Any]:
    """Everything that is said of evaluations beside each other.

    Returns:
        base (name of the first), benchmarks, and under "others" for each further one its name and, by benchmark,
        `difference` (fields of `rl.statistics.pairs.Difference`, it minus the base), `adjusted` (p after Holm over the
        headlines), `metrics`: metric of the whole set -> its difference, and `strata`: stratum/value -> the same
        with Holm over the strata of the benchmark; `not_compared`: benchmarks that only one of the two was asked, a
        sentence each.

    Raises:
        NotTheSame: fewer than two, other parsers, no card in common, cards of other versions, other items.
    """
    if len(folders) < 2:
        raise NotTheSame(f"a comparison is of two evaluations or more, got {folders[0]}; give the others behind it")
    opened = [open_evaluation(folder) for folder in folders]
    base, others = opened[0], opened[1:]
    if faults := [fault for other in others for fault in _faults(base, other)]:
        raise NotTheSame("\n".join(["these evaluations cannot be compared:", *(f"  {fault}" for fault in faults[:20])]))
    answers = {name: _answers(base, facts) for name, facts in base.facts.items()}
    return {
        "base": base.name,
        "benchmarks": list(base.facts),
        "others": [
            {
                "name": other.name,
                "benchmarks": _against(base, other, answers),
                "not_compared": [_alone(base, other, name) for name in sorted(base.facts.keys() ^ other.facts.keys())],
            }
            for other in others
        ],
    }


def _faults(base: Evaluation, other: Evaluation) -> list[str]:
    """What is not the same of two evaluations, in sentences."""
    faults = []
    parsers = base.summary.get("parser"), other.summary.get("parser")
    if parsers[0] != parsers[1]:
        faults.append(
            f"{other.name}: its answers were read by the rules {parsers[1]}, those of {base.name} by {parsers[0]};"
            " ask one of the models again"
        )
    common = base.facts.keys() & other.facts.keys()
    if not common:
        faults.append(
            f"{other.name}: it was asked {', '.join(other.facts)}, {base.name} {', '.join(base.facts)}: nothing in"
            " common; ask one of the models what the other was asked"
        )
    for name in sorted(common):
        labels = base.facts[name].card.label, other.facts[name].card.label
        if labels[0] != labels[1]:
            faults.append(f"{other.name}: {labels[1]}, while {base.name} has {labels[0]}; ask one of the models again")
    if base.summary.get("judge") != other.summary.get("judge"):
        faults.append(f"{other.name}: another judge, {other.summary.get('judge')}, not {base.summary.get('judge')}")
    return faults


def _alone(base: Evaluation, other: Evaluation, name: str) -> str:
    holder, outsider = (base, other) if name in base.facts else (other, base)
    return f"{name}: {holder.name} was asked it, {outsider.name} was not"


def _answers(one: Evaluation, facts: Facts) -> list[Answered]:
    stored = next((step for step in list_steps(one.path) if step.step == facts.step), None)
    if stored is None:
        raise DamagedStore(f"{one.path} has no rows of {facts.card.label} (step {facts.step})")
    return read_step(stored)


def _against(base: Evaluation, other: Evaluation, answers: Mapping[str, list[Answered]]) -> dict[str, Any]:
    benchmarks: dict[str, Any] = {}
    for name, facts in base.facts.items():
        if name not in other.facts:
            continue
        theirs = {one.id: one for one in _kept(facts, _answers(other, other.facts[name]))}
        ours = _kept(facts, answers[name])
        missing = {one.id for one in ours} ^ theirs.keys()
        if missing:
            raise NotTheSame(
                f"{other.name}: {len(missing)} items of {name} were not asked of both, such as {min(missing)}; ask the"
                " same items (eval.benchmark_items, eval.on_mismatch)"
            )
        if changed := asked_otherwise(ours, theirs):
            raise NotTheSame(
                f"{other.name}: {len(changed)} items of {name} have another question, other options or another gold,"
                f" such as {changed[0]}; ask one of the models again, with the file of the other"
            )
        benchmarks[name] = _benchmark(facts, ours, [theirs[one.id] for one in ours])
    adjusted = holm_by_name({name: one["difference"]["p_value"] for name, one in benchmarks.items() if _tested(one)})
    return {name: {**one, "adjusted": adjusted.get(name)} for name, one in benchmarks.items()}


def asked_otherwise(ours: Sequence[Answered], theirs: Mapping[str, Answered]) -> list[str]:
    """Ids of items that were not asked alike: another question, other options, or another gold."""

    def question(one: Answered) -> object:
        return one.question, one.options, one.references

    return [one.id for one in ours if question(one) != question(theirs[one.id])]


def _tested(one: Mapping[str, Any]) -> bool:
    return one["difference"]["p_value"] is not None


def _kept(facts: Facts, answers: Sequence[Answered]) -> list[Answered]:
    return plain(answers) if facts.card.scorer == "report" else clean(answers)


def _benchmark(facts: Facts, ours: Sequence[Answered], theirs: Sequence[Answered]) -> dict[str, Any]:
    before, after = _values(facts, ours), _values(facts, theirs)
    clusters = [one.cluster for one in ours]
    strata: dict[str, Any] = {}
    for stratum in facts.card.all_strata:
        for value in sorted({one.stratum(stratum) for one in ours} - {""}):
            places = [place for place, one in enumerate(ours) if one.stratum(stratum) == value]
            first, second = ([side[place] for place in places] for side in (before, after))
            difference = paired_difference(first, second, [clusters[place] for place in places])
            strata[f"{stratum}/{value}"] = {"difference": dataclasses.asdict(difference)}
    adjusted = holm_by_name({name: one["difference"]["p_value"] for name, one in strata.items() if _tested(one)})
    difference = paired_difference(before, after, clusters)
    metrics = reports.differences(facts.card, ours, theirs) if facts.card.scorer == "report" else {}
    return {
        "difference": dataclasses.asdict(difference),
        "metrics": {name: {"difference": dataclasses.asdict(one)} for name, one in metrics.items()},
        "strata": {name: {**one, "adjusted": adjusted.get(name)} for name, one in strata.items()},
    }


def _values(facts: Facts, answers: Sequence[Answered]) -> list[float | None]:
    if facts.card.scorer == "report":
        return reports.headline(facts.card, answers)
    return [value_of(facts.card)(one) for one in answers]


def print_comparison(comparison: Mapping[str, Any], console: Console | None = None) -> None:
    """Print `compare`: win, tie or loss by the interval, and the least difference that the set would show."""
    console = console or open_console()
    for other in comparison["others"]:
        rows: list[Any] = []
        for name, one in other["benchmarks"].items():
            rows.append(_row(name, one))
            rows += [_row(f"  {metric}", inner) for metric, inner in one["metrics"].items()]
            rows += [_row(f"  {stratum}", inner) for stratum, inner in one["strata"].items()]
            rows.append(None)
        columns = ("benchmark", "items", "difference", "p (Holm)", "seen from")
        console.print(table(f"{other['name']} minus {comparison['base']}, in points", columns, rows))
        for line in other["not_compared"]:
            console.print(safe(f"not compared: {line}"), soft_wrap=True)
    console.print(
        safe(
            "win or loss: the 95 % interval over images (or the card's cluster) lies above or below 0. A tie says"
            " nothing where the difference that is looked for is below the one that is seen in 80 of 100 cases (seen"
            " from). Holm over the headlines; over the strata of one benchmark apart."
        ),
        soft_wrap=True,
    )


def _row(name: str, one: Mapping[str, Any]) -> tuple[str | Text, ...]:
    difference = Difference(**one["difference"])
    if difference.value is None:
        return (name, "0", "none judged", "", "")
    low, high = difference.low, difference.high
    ends = "" if low is None or high is None else f" ({100 * low:+.1f} to {100 * high:+.1f})"
    adjusted = "" if one.get("adjusted") is None else f"{one['adjusted']:.3f}"
    least = "" if difference.detectable is None else f"{100 * difference.detectable:.1f}"
    if difference.detectable is not None and difference.detectable > 1:  # so few items show no difference for certain
        least = "none"
    change = f"{100 * difference.value:+.1f}{ends} {difference.verdict}"
    return (name, f"{difference.num_items:,}", in_two(change), adjusted, least)
