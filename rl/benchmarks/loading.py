"""A card and a folder become a benchmark: every row read, every image looked at, and whatever differs from what the
card expects named."""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rl.benchmarks.card import Card, Training
from rl.benchmarks.files import HUB, FileFault
from rl.benchmarks.finding import RowFile, ids_of, image_folders, open_files, root_of
from rl.benchmarks.pictures import Pictures
from rl.benchmarks.questions import CARD, CLUSTER, FLAW, Item, image_key, item_of, made_of, matches
from rl.config import DataConfig, MediaConfig
from rl.data.load import SOURCES
from rl.data.sets import BadRow, UnusableData
from rollouts.media import with_hash
from rollouts.records import BadSample, Sample, stable_hash
from rollouts.texts.reading import shorten

# Names of rows or images shown on one screen, in at most three lines of 80 characters each.
NUM_SHOWN = 5
# Tag of items that ask the same of the same image: one of them, with all their answers, counts in `clean`.
MERGED = "merged"
# Columns in which a row's own id may stand, for files of ids.
_ID_COLUMNS = ("key", "pubid", "id", "pmid", "PMID")


class BenchmarkError(UnusableData):
    """A benchmark cannot be used as it lies there; the message says on one screen what is wrong and what to do."""


@dataclass(frozen=True)
class Benchmark:
    """One benchmark, read."""

    card: Card
    items: tuple[Item, ...]
    # Rows that cannot be asked: they count as wrong in `official`, and in nothing else.
    unusable: tuple[BadRow, ...]
    # What differs from what the card expects, a sentence each; none = it is the published set.
    mismatches: tuple[str, ...]
    # Image name -> why it is not there; and the different images that rows name.
    missing_images: dict[str, str]
    num_images: int
    # The file of rows, as it was found; "the Hub" where it came from there.
    file: str
    # Rows by the name of the card's training part.
    training: dict[str, tuple[Sample, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def file_name(self) -> str:
        """The file's name without its folder, which belongs to this machine."""
        return ", ".join(Path(part).name for part in self.file.split(", "))

    @property
    def published_rows(self) -> tuple[int, ...]:
        """The sizes in which the set is passed around; none = any."""
        return published_rows(self.card)

    @property
    def samples(self) -> list[Sample]:
        """The questions."""
        return [item.sample for item in self.items]

    @property
    def num_clean(self) -> int:
        """Items of the `clean` score."""
        return len({item.sample.tags.get(MERGED, item.sample.id) for item in self.items if not item.flaw})

    def taught(self) -> list[Sample]:
        """Training rows that blind baselines may learn from."""
        compared_only = {part.name for part in self.card.training if not part.baselines}
        return [one for name, samples in self.training.items() if name not in compared_only for one in samples]


def load(card: Card, root: str | None, media: MediaConfig | None = None, *, training: bool = True) -> Benchmark:
    """The benchmark of a card.

    Args:
        card: the card.
        root: the folder below which its files are, or "hub"; None = the card's own `source.root`.
        media: how volumes and videos are read; None = as `data.media` has it by default.
        training: whether its training parts are read, too, where they are there.

    Raises:
        BenchmarkError: no such folder or file, no form of the card fits the columns, no row is left.
    """
    if card.source.data:
        return _of_the_project(card, root)
    notes: list[str] = []
    try:
        place = root_of(card, root)
        row_files = open_files(card, place, notes)
        pictures = Pictures(image_folders(card, row_files, place), media or MediaConfig(), card.modality)
        items, unusable = _drawn(card, *_read(card, row_files, pictures, ids_of(card, place)))
    except FileFault as error:
        raise BenchmarkError(f"benchmark {card.name}: {error}") from None
    if not items:
        shown = "\n".join(_shown(unusable))
        raise BenchmarkError(f"benchmark {card.name}: no row can be asked ({len(unusable):,} cannot)\n{shown}")
    items = _together(items)
    file = "the Hub" if row_files[0].path is None else ", ".join(str(one.path) for one in row_files[:3])
    parts = {part.name: _taught(card, part, place, notes) for part in card.training} if training else {}
    return Benchmark(
        card=card,
        items=tuple(items),
        unusable=tuple(unusable),
        mismatches=tuple(_mismatches(card, row_files[0].form.content or card.expect.content, items, unusable)),
        missing_images=dict(pictures.missing),
        num_images=pictures.num_images,
        file=file,
        training={name: samples for name, samples in parts.items() if samples},
        notes=tuple(notes),
    )


def _of_the_project(card: Card, root: str | None) -> Benchmark:
    """The held-out items of a source of the project, with its training rows. Raises BenchmarkError."""
    data = DataConfig()
    if card.source.data == "vqa_rad":
        data = DataConfig(name="vqa_rad", root=root, num_sft=None, num_rl=None, num_eval=None, on_bad_row="skip")
    if card.source.data == "vqa_rad" and root is None:
        raise BenchmarkError(f"benchmark {card.name}: give benchmark_root=FOLDER ({', '.join(card.source.files)})")
    try:
        splits = SOURCES[card.source.data](data)
    except OSError as error:
        raise BenchmarkError(f"benchmark {card.name}: {error}") from None
    items = [_labelled(card, sample, line) for line, sample in enumerate(splits.eval, start=1)]
    taught = tuple(row.sample for row in splits.sft)
    notes = tuple(f"{note}: {count:,} rows" for note, count in splits.notes.items())
    return Benchmark(
        card, tuple(_together(items)), tuple(splits.bad_rows), (), {}, len({one.cluster for one in items}),
        "the project's generator" if card.source.data == "phantoms" else str(root),
        {"its training rows": taught}, notes,
    )  # fmt: skip


def _labelled(card: Card, sample: Sample, line: int) -> Item:
    cluster = image_key(with_hash(sample.media[0])) if sample.media else sample.id
    tags = {**sample.tags, CARD: card.label, CLUSTER: cluster}
    return Item(
        dataclasses.replace(sample, id=f"{card.name}-{sample.id}", source=card.name, tags=tags), "", cluster, line
    )


def _read(
    card: Card,
    row_files: Sequence[RowFile],
    pictures: Pictures,
    ids: frozenset[str] | None,
    *,
    other_ids: bool = False,
) -> tuple[list[Item], list[BadRow]]:
    items: list[Item] = []
    unusable: list[BadRow] = []
    taken: dict[str, int] = {}
    for one in row_files:
        # "anatomy-test-00000-of-00001-7": files of many folders may have one name.
        file = "" if one.path is None or len(row_files) == 1 else f"{one.path.parent.name}-{one.path.stem}-"
        for line, row in one.rows:
            if not matches(row, card.where) or not matches(row, one.form.where):
                continue
            if ids is not None and other_ids == bool(ids & {str(row.get(name)) for name in _ID_COLUMNS}):
                continue
            if one.path:
                row = {"file": one.path.stem, **row}
            try:
                made = made_of(row, one.form)
            except BadSample as error:
                unusable.append(BadRow(line, _name_of(row), str(error)))
                continue
            for question in made:
                try:
                    item = item_of(question, one.form, card, line, pictures, file)
                    if item.sample.id in taken:
                        raise BadSample(f"the id is taken by row {taken[item.sample.id]}")
                except BadSample as error:
                    unusable.append(BadRow(line, _name_of(question), str(error)))
                    continue
                taken[item.sample.id] = line
                items.append(item)
    return items, unusable


def _name_of(row: Mapping[str, Any]) -> str:
    return next((str(row[key]) for key in ("qid", "id", "question_id", "index", "key") if row.get(key)), "")


def _drawn(card: Card, items: Sequence[Item], unusable: Sequence[BadRow]) -> tuple[list[Item], list[BadRow]]:
    """The rows that the card draws of each stratum, in their order: those whose ids have the smallest hashes. Rows that
    cannot be asked are of no stratum, and none of them is drawn."""
    if card.draw is None:
        return list(items), list(unusable)
    strata: dict[str, list[Item]] = collections.defaultdict(list)
    for item in items:
        by = item.sample.modality if card.draw.by == "modality" else item.sample.tags.get(card.draw.by, "")
        if by:
            strata[by].append(item)
    chosen = {
        item.sample.id
        for members in strata.values()
        for item in sorted(members, key=lambda one: stable_hash("draw", one.sample.id))[: card.draw.rows]
    }
    return [item for item in items if item.sample.id in chosen], []


def _together(items: Sequence[Item]) -> list[Item]:
    """What can only be told from all rows: the same question of the same image asked again. Open answers to it are one
    item with all of them right; closed ones that contradict each other are all in doubt."""
    groups: dict[tuple[object, ...], list[int]] = collections.defaultdict(list)
    for place, item in enumerate(items):
        sample = item.sample
        question = " ".join(sample.question.casefold().split())
        groups[tuple(map(image_key, sample.media)), question, sample.options or ()].append(place)
    result = list(items)
    for places in groups.values():
        if len(places) == 1 or items[places[0]].sample.answer_type == "report":
            continue
        golds = {(items[place].sample.answer_type, _plain_gold(items[place].sample)) for place in places}
        closed = any(items[place].sample.answer_type != "open" for place in places)
        for place in places:
            item = items[place]
            if closed and len(golds) > 1:
                answers = ", ".join(sorted({items[one].sample.gold_text for one in places}))
                result[place] = _flawed(item, f"the same question has the answers {shorten(answers)}")
            else:
                tags = {**item.sample.tags, MERGED: items[places[0]].sample.id}
                result[place] = item._replace(sample=dataclasses.replace(item.sample, tags=tags))
    return result


def _plain_gold(sample: Sample) -> str:
    return " ".join(sample.gold_text.casefold().split())


def _flawed(item: Item, flaw: str) -> Item:
    reason = item.flaw or flaw
    return item._replace(flaw=reason, sample=dataclasses.replace(item.sample, tags={**item.sample.tags, FLAW: reason}))


def _mismatches(card: Card, content: str, items: Sequence[Item], unusable: Sequence[BadRow]) -> Iterator[str]:
    """What is not as the card says, in sentences."""
    expect, num_rows = card.expect, len(items) + len(unusable)
    if expect.rows is not None and num_rows not in published_rows(card):
        yield f"{num_rows:,} rows, the published set has {' or '.join(f'{one:,}' for one in published_rows(card))}"
    if len(unusable) > expect.unusable:
        yield f"{len(unusable):,} rows cannot be asked, the card knows of {expect.unusable:,}"
    if content and num_rows in published_rows(card):
        got = content_hash([one.sample for one in items])
        if got != content:
            yield f"the rows have the hash {got}, the card expects {content}: questions, options or golds differ"


def published_rows(card: Card) -> tuple[int, ...]:
    """The sizes in which the set is passed around; none = any."""
    rows = card.expect.rows
    return () if rows is None else (rows,) if isinstance(rows, int) else rows


def content_hash(samples: Iterable[Sample]) -> str:
    """Sixteen digits over questions, options and golds, in any order; ids, images and file formats do not count."""
    lines = sorted(
        json.dumps([one.question, list(one.options or ()), one.gold_text, list(one.gold_letters or ())])
        for one in samples
    )
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _taught(card: Card, part: Training, root: str, notes: list[str]) -> tuple[Sample, ...]:
    """The rows of one training part; none where its file is not there, which is noted."""
    if root == HUB:
        return ()
    source = dataclasses.replace(card.source, files=part.files, under=part.under)
    as_card = dataclasses.replace(card, where=part.where, source=source)
    try:
        row_files = open_files(as_card, root if Path(root).is_dir() else str(Path(root).parent), notes, training=True)
        ids = ids_of(card, root) if part.other_ids else None
        pictures = Pictures(image_folders(card, row_files, root), names_only=("volume", "video"))
        items, unusable = _read(as_card, row_files, pictures, ids, other_ids=part.other_ids)
    except FileFault:
        notes.append(f"{part.name} is not there ({', '.join(part.files)}): no baseline learns from it")
        return ()
    if unusable:
        notes.append(f"{part.name}: {len(unusable):,} rows cannot be read and teach no baseline")
    return tuple(item.sample for item in items)


def screen(benchmark: Benchmark) -> list[str]:
    """What was read, in lines: rows, images, what is not as expected."""
    card = benchmark.card
    total = len(benchmark.items) + len(benchmark.unusable)
    flawed = sum(bool(item.flaw) for item in benchmark.items)
    merged = len(benchmark.items) - flawed - benchmark.num_clean
    sizes = published_rows(card)
    expected = f" of {' or '.join(f'{one:,}' for one in sizes)}" if sizes else ""
    lines = [
        f"{card.label}: {total:,}{expected} rows from {benchmark.file}; {len(benchmark.unusable):,} cannot be asked,"
        f" {flawed:,} have gold in doubt, {merged:,} repeat another: {benchmark.num_clean:,} items are clean"
    ]
    return [*lines, *_shown(benchmark.unusable)]


def _shown(rows: Sequence[BadRow]) -> list[str]:
    """The first rows that cannot be asked, with the reason, and how many more there are."""
    lines = [f"  row {row.line} {shorten(row.id, 40)}: {shorten(row.reason, 180)}" for row in rows[:NUM_SHOWN]]
    return [*lines, *([f"  and {len(rows) - NUM_SHOWN:,} more"] if len(rows) > NUM_SHOWN else [])]


def missing_images(benchmark: Benchmark) -> str:
    """The images that are not there, with their share, on one screen; "" = all are."""
    missing = benchmark.missing_images
    if not missing:
        return ""
    shown = [f"  {shorten(name, 80)}: {shorten(why, 70)}" for name, why in list(missing.items())[:NUM_SHOWN]]
    more = [f"  and {len(missing) - NUM_SHOWN:,} more"] if len(missing) > NUM_SHOWN else []
    share = len(missing) / max(1, benchmark.num_images)
    head = f"{len(missing):,} of {benchmark.num_images:,} images ({share:.1%}) are not there or cannot be read:"
    return "\n".join([head, *shown, *more])


def refuse_unfit(benchmark: Benchmark, *, tell_only: bool) -> None:
    """Stop before anything is asked where images are missing, or where the set is not the published one and
    `eval.on_mismatch` does not say to go on. Raises BenchmarkError."""
    name = benchmark.card.name
    if missing := missing_images(benchmark):
        raise BenchmarkError(
            f"benchmark {name}: {missing}\nPut them below benchmark_root"
            f" ({', '.join(benchmark.card.source.images) or 'images'}), or leave the benchmark out."
        )
    if benchmark.mismatches and not tell_only:
        raise BenchmarkError(
            "\n".join(
                [
                    f"benchmark {name}: this is not the published set:",
                    *(f"  {one}" for one in benchmark.mismatches),
                    *screen(benchmark)[1:],
                    "Give the published file, or eval.on_mismatch=tell to score what is there, marked as another set.",
                ]
            )
        )
