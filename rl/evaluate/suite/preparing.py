"""Everything about benchmarks that can go wrong before a model is loaded: cards, files, images, probes, and a judge
that may not see the rows."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from judges.settings import JudgeConfig
from rl.benchmarks.baselines import Blind
from rl.benchmarks.card import COMBINATION, Card, CardError, find, of_table
from rl.benchmarks.loading import Benchmark, BenchmarkError, load, refuse_unfit
from rl.benchmarks.overlap import overlap
from rl.config import Config
from rl.data.sets import UnusableData
from rl.evaluate.quick import quick_subset
from rl.evaluate.suite.facts import Facts, blinds_of, kept
from rl.evaluate.suite.numbers import reports
from rl.probes.probe import Probed, ProbeImpossible
from rl.probes.table import make, named
from rl.probes.unseen import strata
from rollouts.records import Sample

# Where an endpoint that names none is asked.
_DEFAULT_ENDPOINT = "https://api.openai.com/v1"
# Lines that the faults of several benchmarks take together, and characters of a line.
_SCREEN, _WIDTH = 16, 80


@dataclass(frozen=True)
class Prepared:
    """One benchmark, ready to be asked."""

    benchmark: Benchmark
    # Those that are asked: all, or a subset (eval.benchmark_items).
    samples: tuple[Sample, ...]
    probed: tuple[Probed, ...]
    facts: Facts

    @property
    def everything(self) -> list[Sample]:
        """Items, and what probes made of them."""
        return [*self.samples, *(one for probed in self.probed for one in probed.samples)]


def cards_of(config: Config, *, any_judge: bool = False) -> list[Card]:
    """The cards of `eval.benchmarks`, that may be judged by this judge; `any_judge`: whoever judges.

    Raises:
        UnusableData: no such card, a card that cannot be used, rows that may not go where the judge is.
    """
    try:
        cards = find(config.eval.benchmarks)
    except CardError as error:
        raise UnusableData(str(error)) from None
    for card in () if any_judge else cards:
        refuse_far_judge(card, config.judge)
    return cards


def refuse_far_judge(card: Card, judge: JudgeConfig) -> None:
    """Raise BenchmarkError where rows may not leave the machine and a judge's endpoint is on another, or where the card
    needs a judge of criteria and there is none."""
    far = [url for url in endpoints(judge) if not is_local(url)]
    if far and not card.may_leave_machine:
        raise BenchmarkError(
            f"benchmark {card.name}: its rows may not leave this machine ({card.licence}), but the judge is asked at"
            f" {far[0]}.\nUse judge=rules, judge=local, or a judge on this machine"
            " (judge.base_url=http://127.0.0.1:PORT/v1), or leave the benchmark out."
        )
    if card.scorer == "rubric_judge" and judge.kind != "openai":
        raise BenchmarkError(
            f"benchmark {card.name}: its answers are graded by criteria, which judge={judge.kind} cannot read; use"
            " judge=openai judge.base_url=URL judge.model=NAME"
        )


def endpoints(judge: JudgeConfig) -> list[str]:
    """The addresses at which a judge is asked; none for rules and for the embedded judge."""
    if judge.kind != "openai":
        return [judge.second_base_url] if judge.second_opinion != "off" and judge.second_base_url else []
    own = judge.base_url or _DEFAULT_ENDPOINT
    addresses = [member.base_url or own for member in judge.panel.values()] or [own]
    return [*addresses, *([judge.second_base_url or own] if judge.second_opinion != "off" else [])]


def is_local(url: str) -> bool:
    """Whether an endpoint is on this machine: a loopback address or "localhost"."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def prepare(config: Config) -> list[Prepared]:
    """Every benchmark of `eval.benchmarks`, read, checked, with its probes made.

    Raises:
        UnusableData: whatever a card, its files, its images or its probes are not fit for; ProbeImpossible among it.
    """
    if config.eval.probes is not None:
        named(config.eval.probes)  # a wrong name is told before files are read
    cards = cards_of(config)
    names = [one for group in config.eval.benchmarks for one in of_table(group)]
    ready: dict[str, Prepared] = {}
    faults: dict[str, UnusableData] = {}
    for step, (name, card) in enumerate(zip(names, cards, strict=True), start=1):
        try:
            ready[name] = _prepared(card, config, step)
        except UnusableData as error:
            faults[card.name] = error
    if faults:
        raise _together(faults, list(ready))
    return list(ready.values())


def _together(faults: Mapping[str, UnusableData], ready: Sequence[str]) -> UnusableData:
    """All that is wrong with several benchmarks, a few lines each, and the command without those; the fault itself
    where one was asked for."""
    if len(faults) == 1 and not ready:
        return next(iter(faults.values()))
    room = max(1, _SCREEN // len(faults))
    lines = [f"{len(faults)} of {len(faults) + len(ready)} benchmarks cannot be asked:"]
    for name, fault in list(faults.items())[:_SCREEN]:
        words = str(fault).removeprefix(f"benchmark {name}: ").splitlines()
        lines += _fitting([f"  {name}: {words[0]}", *(f"    {one.strip()}" for one in words[1:])], room)
    lines += [f"  and {len(faults) - _SCREEN} more"] if len(faults) > _SCREEN else []
    rest = f"ask the others alone: benchmark=[{','.join(ready)}]" if ready else "ask others"
    more = "python -m rl.doctor with the same benchmark=[..] tells all of it"
    return BenchmarkError("\n".join([*lines, f"Put right what is missing ({more}), or {rest}."]))


def _fitting(lines: Sequence[str], room: int) -> list[str]:
    """As much of these lines as fits so many of a terminal."""
    shown: list[str] = []
    for line in lines:
        left = room - sum(math.ceil(len(one) / _WIDTH) for one in shown)
        if left <= 0:
            break
        shown.append(line if len(line) <= left * _WIDTH else f"{line[: left * _WIDTH - 3]}...")
    return shown


def _prepared(card: Card, config: Config, step: int) -> Prepared:
    benchmark = load(card, config.eval.benchmark_root, config.data.media)
    refuse_unfit(benchmark, tell_only=config.eval.on_mismatch == "tell")
    samples = benchmark.samples
    if config.eval.benchmark_items is not None:
        samples = list(quick_subset(samples, config.eval.benchmark_items))
    samples, unknown = _with_combinations(card, samples, benchmark)
    probed, without = _probes(card, samples, config)
    blinds, not_computed = blinds_of(benchmark, samples, reports.rouge_l)
    facts = facts_of(benchmark, samples, blinds, {**not_computed, **without, **unknown}, step)
    return Prepared(benchmark, tuple(samples), tuple(probed), facts)


def _with_combinations(
    card: Card, samples: Sequence[Sample], benchmark: Benchmark
) -> tuple[list[Sample], dict[str, str]]:
    """The items with what training has seen of their combination as a tag, where the card asks for it; or why it is not
    known."""
    if not card.combination:
        return list(samples), {}
    try:
        seen = strata(benchmark.taught(), samples, card.combination)
    except ProbeImpossible as error:
        return list(samples), {COMBINATION: str(error)}
    tags = [({COMBINATION: seen[sample.id]} if sample.id in seen else {}) for sample in samples]
    return [replace(one, tags={**one.tags, **tag}) for one, tag in zip(samples, tags, strict=True)], {}


def facts_of(
    benchmark: Benchmark, samples: Sequence[Sample], blinds: Sequence[Blind], not_computed: dict[str, str], step: int
) -> Facts:
    """What the folder keeps of a benchmark before it is asked."""
    shared = [
        overlap(samples, taught, name)
        for name, taught in benchmark.training.items()
        if any(one.media for one in samples)
    ]
    return Facts(
        card=benchmark.card,
        step=step,
        num_rows=len(benchmark.items) + len(benchmark.unusable),
        num_asked=len(samples),
        num_clean=benchmark.num_clean,
        unusable=benchmark.unusable,
        mismatches=benchmark.mismatches,
        published_rows=benchmark.published_rows,
        file=benchmark.file_name,
        notes=benchmark.notes,
        overlap=tuple(str(one) for one in shared),
        blinds=kept(blinds, samples),
        not_computed=not_computed,
    )


def _probes(card: Card, samples: Sequence[Sample], config: Config) -> tuple[list[Probed], dict[str, str]]:
    """The probes that were asked for, or the card's. One of the card's that these items cannot have is noted; one that
    was asked for is an error."""
    if config.eval.probes is not None:
        return make(config.eval.probes, samples, config.seed), {}
    probes, without = [], {}
    for name in card.probes:
        if name == "blank" and not config.eval.blank_images:
            continue
        try:
            probes += make([name], samples, config.seed)
        except ProbeImpossible as error:
            without[name] = str(error)
    return probes, without
