"""What a folder keeps of a benchmark beside its rows, so that every number can be computed again without the model and
without the benchmark's files: the card, what was read, and what baselines earn on each item."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rl.benchmarks.baselines import (
    Blind,
    TextMetric,
    chance,
    constant_report,
    frequent_report,
    majority,
    nearest_report,
    options_only,
    question_exact,
    question_only,
)
from rl.benchmarks.card import Card
from rl.benchmarks.loading import Benchmark
from rl.benchmarks.thumbnails import thumbnail
from rl.data.sets import BadRow
from rl.evaluate.suite.numbers.reports import constant_of
from rollouts.annotations import Misfit, read
from rollouts.records import Sample
from rollouts.store.disk import write_atomically
from rollouts.store.layout import DamagedStore

FOLDER = "benchmarks"


@dataclass(frozen=True)
class KeptBlind:
    """A baseline as it is kept."""

    what: str
    # Item -> value, 0 to 1.
    values: dict[str, float]


@dataclass(frozen=True)
class Facts:
    """One benchmark as it was asked."""

    card: Card
    # The step of the store in which its rows are.
    step: int
    # Rows of the file, those that cannot be asked among them; items asked, which are fewer where a subset was.
    num_rows: int
    num_asked: int
    num_clean: int
    unusable: tuple[BadRow, ...]
    mismatches: tuple[str, ...]
    published_rows: tuple[int, ...]
    file: str
    notes: tuple[str, ...]
    # Items of these images are in what the model was trained on, as far as that is known: by whose training, a
    # sentence.
    overlap: tuple[str, ...]
    blinds: dict[str, KeptBlind]
    # Baseline -> why there is none.
    not_computed: dict[str, str]
    # Items that processor or engine did not take: id and reason.
    refused: tuple[tuple[str, str], ...] = ()
    # Probe -> reason -> items left out of it.
    left_out: dict[str, dict[str, int]] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0

    @property
    def is_published(self) -> bool:
        """Whether all rows of the published set were asked, as far as the card knows it."""
        return not self.mismatches and self.num_asked + len(self.unusable) == self.num_rows


def blinds_of(
    benchmark: Benchmark, samples: Sequence[Sample], metric: TextMetric
) -> tuple[list[Blind], dict[str, str]]:
    """The baselines of the card on these items, and why others are not computed.

    `metric`: that of reports, for their baselines.
    """
    card, taught = benchmark.card, benchmark.taught()
    closed = [sample for sample in samples if sample.answer_type != "report"]
    blinds: list[Blind] = []
    without: dict[str, str] = {}
    none = "no training rows are here"

    def on_closed(make: Callable[[], Blind], name: str, needs_training: bool) -> None:
        if needs_training and not taught:
            without[name] = none
        elif closed:
            blinds.append(make())

    for name in card.baselines:
        if name == "chance":
            on_closed(lambda: chance(closed), name, False)
        elif name == "majority":
            on_closed(lambda: majority(closed, taught), name, False)
        elif name == "options_only":
            on_closed(lambda: options_only(closed, taught), name, True)
        elif name == "question_only":
            on_closed(lambda: question_only(closed, taught), name, True)
            on_closed(lambda: question_exact(closed, taught), "question_exact", True)
        else:
            _of_reports(
                name, benchmark, [one for one in samples if one.answer_type == "report"], metric, blinds, without
            )
    return blinds, without


def _of_reports(
    name: str, benchmark: Benchmark, reports: Sequence[Sample], metric: TextMetric, blinds: list[Blind],
    without: dict[str, str],
) -> None:  # fmt: skip
    taught = [one for one in benchmark.taught() if one.answer_type == "report"]
    if not reports:
        return
    if name == "constant":
        blinds.append(constant_report(reports, constant_of(benchmark.card, reports), metric))
    elif not taught:
        without[name] = "no training reports are here"
    else:
        blinds.append(frequent_report(reports, taught, metric))
        if any(not one.media or not one.media[0].sha256 for one in (*taught, *reports)):
            without[name] = "images are not here"
        else:
            blinds.append(nearest_report(reports, taught, metric, thumbnail))


def kept(blinds: Sequence[Blind], samples: Sequence[Sample]) -> dict[str, KeptBlind]:
    """Baselines by name, with the items that each was computed on."""
    closed = [one.id for one in samples if one.answer_type != "report"]
    reports = [one.id for one in samples if one.answer_type == "report"]
    made = {}
    for blind in blinds:
        ids = reports if blind.name in ("constant", "frequent", "nearest") else closed
        made[blind.name] = KeptBlind(blind.what, dict(zip(ids, blind.values, strict=True)))
    return made


def write(folder: Path, facts: Facts) -> None:
    """Keep the facts of a benchmark. Raises DiskFull."""
    (folder / FOLDER).mkdir(exist_ok=True)
    text = json.dumps(dataclasses.asdict(facts), ensure_ascii=False, allow_nan=False)
    write_atomically(folder / FOLDER / f"{facts.card.name}.json", text.encode("utf-8", "backslashreplace"))


def read_all(folder: Path) -> list[Facts]:
    """The facts of every benchmark of a folder, in the order they were asked. Raises DamagedStore."""
    records = []
    for path in sorted((folder / FOLDER).glob("*.json")):
        try:
            value: Any = json.loads(path.read_text(encoding="utf-8"))
            records.append(read(Facts, value))
        except (OSError, ValueError, Misfit, RecursionError) as error:
            raise DamagedStore(f"{path} cannot be read: {' '.join(str(error).split())[:300]}") from None
    return sorted(records, key=lambda facts: facts.step)
