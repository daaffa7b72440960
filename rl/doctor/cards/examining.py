"""`python -m rl.doctor benchmark=[..]`: every card is loaded and checked without a model, and what blindness earns on
it is printed."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console

from rl.benchmarks.card import Card
from rl.benchmarks.loading import Benchmark, load, missing_images, screen
from rl.benchmarks.overlap import overlap, overlap_with_run
from rl.config import Config
from rl.data.load import load_for
from rl.data.sets import DataSplits, UnusableData
from rl.data.sizes import images_of
from rl.doctor.cards.blind import print_blinds, repeated
from rl.doctor.data import Finding, frames_fit
from rl.evaluate.quick import quick_subset
from rl.evaluate.suite.asking import num_completions
from rl.evaluate.suite.numbers.summary import DISCORDANT
from rl.evaluate.suite.preparing import cards_of, refuse_far_judge
from rl.probes.probe import ProbeImpossible
from rl.probes.table import make
from rl.statistics.pairs import minimum_detectable
from rollouts.prompt.lengths import measure
from rollouts.prompt.processing import Processor, load_processor
from rollouts.records import BadSample, Sample

Section = tuple[str, list[Finding]]
# Prompts that are encoded to say how many tokens a benchmark has; the others are taken to be like them.
NUM_MEASURED = 64
# Tokens that one engine reads and writes in a second, by device: of an 8B model on one GPU, of the tiny one on two
# cores.
READ_PER_SECOND = {"cuda": 20_000.0, "cpu": 4_000.0}
WRITTEN_PER_SECOND = {"cuda": 2_000.0, "cpu": 400.0}


def examine_benchmarks(config: Config, console: Console) -> Iterator[Section]:
    """Each benchmark as a heading with findings; tables of baselines are printed beside them. Raises UnusableData where
    a card itself cannot be used."""
    cards = cards_of(config, any_judge=True)
    run_data = _run_data(config)
    processor = _processor(config)
    for card in cards:
        try:
            benchmark = load(card, config.eval.benchmark_root, config.data.media)
        except UnusableData as error:
            yield card.title, [Finding(False, str(error), "correct benchmark_root, or the card")]
            continue
        findings = [*_rows(benchmark), *_overlaps(benchmark, run_data), *_asking(benchmark, config, processor)]
        yield card.title, [*findings, *_judge(card, config)]
        print_blinds(benchmark, console)


def _rows(benchmark: Benchmark) -> list[Finding]:
    """What was read, and what is not as the card expects."""
    card = benchmark.card
    findings = [Finding(len(benchmark.unusable) <= card.expect.unusable, "\n".join(screen(benchmark)))]
    for number, (kind, count) in enumerate(Counter(one.flaw for one in benchmark.items if one.flaw).most_common()):
        if number < 5:
            findings.append(Finding(True, f"left out of clean, {count} x {kind}"))
    fix = "give the published file, or eval.on_mismatch=tell to score what is there, marked as another set"
    findings += [Finding(False, f"not the published set: {one}", fix) for one in benchmark.mismatches]
    if missing := missing_images(benchmark):
        folders = ", ".join(card.source.images) or "images"
        findings.append(Finding(False, missing, f"put them below benchmark_root ({folders})"))
    findings += [Finding(True, note) for note in benchmark.notes]
    return [*findings, *(Finding(True, f"trap: {trap}") for trap in card.traps), _licence(card)]


def _judge(card: Card, config: Config) -> list[Finding]:
    """Whether the judge of this configuration may, and can, grade the card's answers."""
    try:
        refuse_far_judge(card, config.judge)
    except UnusableData as error:
        lines = str(error).removeprefix(f"benchmark {card.name}: ").splitlines()
        return [Finding(False, lines[0], " ".join(lines[1:]) or "judge=openai judge.base_url=URL judge.model=NAME")]
    return []


def _licence(card: Card) -> Finding:
    stays = "" if card.may_leave_machine else "; its rows may not leave this machine: a judge elsewhere is refused"
    return Finding(True, f"licence: {card.licence}{stays}")


def _overlaps(benchmark: Benchmark, run_data: DataSplits | str) -> list[Finding]:
    samples = benchmark.samples
    findings = [Finding(True, line) for line in repeated(benchmark)]
    if not any(one.media for one in samples):
        return findings
    overlaps = [overlap(samples, taught, name) for name, taught in benchmark.training.items()]
    if isinstance(run_data, DataSplits) and not benchmark.missing_images:
        overlaps.append(overlap_with_run(samples, run_data, "the training data of this run (data.*)"))
    findings += [Finding(True, str(one)) for one in overlaps]
    if isinstance(run_data, str):
        findings.append(Finding(True, f"images are not compared with the training data of this run: {run_data}"))
    return findings


def _run_data(config: Config) -> DataSplits | str:
    """The rows a run would learn from; or why they are not there."""
    if config.data.name == "phantoms":
        return "data=phantoms is drawn by a program"
    try:
        return load_for(config)
    except (UnusableData, BadSample, OSError) as error:
        return str(error).splitlines()[0]


def _processor(config: Config) -> Processor | str:
    """The model's processor, which says how many tokens a prompt has; or why there is none."""
    if not Path(config.model.path).is_dir():
        return f"{config.model.path} is not here"
    try:
        return load_processor(config.model.path, images_of(config.model))
    except (OSError, ValueError, ImportError) as error:
        return str(error).splitlines()[0]


def _asking(benchmark: Benchmark, config: Config, processor: Processor | str) -> list[Finding]:
    """Detectable difference, and what asking costs: completions, tokens, seconds."""
    samples = benchmark.samples
    if config.eval.benchmark_items is not None:
        samples = list(quick_subset(samples, config.eval.benchmark_items))
    clusters = Counter(item.cluster for item in benchmark.items)
    kish = sum(count**2 for count in clusters.values()) / sum(clusters.values())
    least = ", ".join(f"{100 * minimum_detectable(psi, benchmark.num_clean):.1f}" for psi in DISCORDANT)
    shares = ", ".join(f"{100 * psi:.0f} %" for psi in DISCORDANT)
    findings = [
        Finding(
            True,
            f"two models that differ on {shares} of the items are told apart from {least} points on (80 % power, items"
            f" independent); {len(clusters):,} clusters ({benchmark.card.cluster}), {kish:.1f} items each by Kish",
        ),
    ]
    about, num_probed = _probes(benchmark.card, samples, benchmark, config)
    findings += about
    if isinstance(processor, str) or benchmark.missing_images:
        why = "images are missing" if benchmark.missing_images else processor
        return [*findings, Finding(True, f"tokens and seconds are not estimated: {why}")]
    return [*findings, frames_fit(samples, config), _cost(samples, num_probed, config, processor)]


def _probes(card: Card, samples: Sequence[Sample], benchmark: Benchmark, config: Config) -> tuple[list[Finding], int]:
    """Which probes will be asked and how many questions each is, and all of these together."""
    wanted = card.probes if config.eval.probes is None else config.eval.probes
    if wanted and benchmark.missing_images:
        return [Finding(True, f"probes: {', '.join(wanted)}, not made because images are missing")], 0
    findings, total = [], 0
    for name in wanted:
        try:
            probed = make([name], samples, config.seed)
        except ProbeImpossible as error:
            asked_for = config.eval.probes is not None
            findings.append(Finding(not asked_for, str(error), "leave it out of probes=[..]" if asked_for else ""))
            continue
        findings += [Finding(True, f"probe {one.probe.name}: {len(one.samples):,} questions") for one in probed]
        total += sum(len(one.samples) for one in probed)
    return findings, total


def _cost(samples: Sequence[Sample], num_probed: int, config: Config, processor: Processor) -> Finding:
    measured = measure(processor, quick_subset(samples, NUM_MEASURED))
    lengths = [one for one in measured.lengths if isinstance(one, int)]
    if not lengths:
        return Finding(False, f"no prompt can be encoded: {measured.lengths[0]}", "model.path=ANOTHER")
    completions = sum(num_completions(one, config.eval.num_samples) for one in samples) + num_probed
    read = statistics.fmean(lengths) * (len(samples) + num_probed)
    written = completions * config.grpo.max_completion_length
    device = config.compute.device
    seconds = read / READ_PER_SECOND[device] + written / WRITTEN_PER_SECOND[device]
    room = config.model.max_model_len - config.grpo.max_completion_length
    good = max(lengths) <= room
    text = (
        f"{completions:,} completions; about {read:,.0f} tokens to read and at most {written:,} to write, some"
        f" {seconds:,.0f} s on one {device} engine; the longest of {len(lengths)} prompts that were measured has"
        f" {max(lengths):,} tokens of {room:,}"
    )
    return Finding(
        good, text, "" if good else f"model.max_model_len={max(lengths) + config.grpo.max_completion_length}"
    )
