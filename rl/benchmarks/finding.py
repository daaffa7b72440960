"""Which files of a folder are a card's: its rows, in one of the card's forms, its ids and its images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from rl.benchmarks.card import Card, Form
from rl.benchmarks.files import HUB, READERS, FileFault, Numbered, candidates, hub_rows, rows_of, some_files
from rl.benchmarks.questions import form_of
from rollouts.texts.reading import TextFault, file_text, parse, shorten


class RowFile(NamedTuple):
    """Rows of one file, and the form they are in."""

    # None = the Hub.
    path: Path | None
    form: Form
    rows: Iterator[Numbered]


def root_of(card: Card, root: str | None) -> str:
    """The folder below which a card's files are, or "hub". Raises FileFault where nothing says so."""
    if card.source.root:
        return str(Path(card.source.root).expanduser())
    if root is None:
        where = f", or benchmark_root=hub for {card.source.hub} where there is a network" if card.source.hub else ""
        raise FileFault(
            f"nothing says where its files are ({', '.join(card.source.files)}); give benchmark_root=FOLDER{where}"
        )
    return root if root == HUB else str(Path(root).expanduser())


def open_files(card: Card, root: str, notes: list[str], *, training: bool = False) -> list[RowFile]:
    """The files of rows: those that the card names, or else one that bears the card's name; for `training` only those
    that are named. A file called after training is never the benchmark, unless the card's split is called so. Where a
    card has many files, those in no form of it are a sentence in `notes`.

    Raises:
        FileFault: none is there, or none has the columns of a form.
    """
    source = card.source
    if root == HUB:
        if not source.hub:
            raise FileFault("the card names no data set on the Hub; give benchmark_root=FOLDER")
        rows = hub_rows(source.hub, source.revision, source.subset, source.split)
        return [_with_form(card, None, rows)]
    patterns = [*source.files, *([] if training else [f"{card.name}*{ending}" for ending in READERS])]
    own = [card.name, source.hub.rpartition("/")[2]]

    def found_by(names: Sequence[str]) -> list[Path]:
        there = candidates(Path(root), names, own, only_own=source.many)
        any_name = training or source.split == "train" or Path(root).is_file()
        return there if any_name else [one for one in there if "train" not in one.name.lower()]

    paths = found_by(patterns)
    if not paths:
        raise FileFault(
            f"none of its files ({', '.join(source.files)}) is below {root}; there is {some_files(Path(root))}"
        )
    if source.many:
        paths = next(fit for pattern in patterns if (fit := found_by([pattern])))
    row_files, faults = [], []
    for path in paths:
        try:
            row_files.append(_with_form(card, path, rows_of(path, source.under)))
        except FileFault as error:
            faults.append(str(error))
            continue
        if not source.many:
            return row_files
    if not row_files:
        raise FileFault("\n".join(["no file is in a form of this card", *(f"  {fault}" for fault in faults[:5])]))
    notes += [f"not read: {fault}" for fault in faults[:5]]
    return row_files


def _with_form(card: Card, path: Path | None, rows: Iterator[Numbered]) -> RowFile:
    first = next(rows, None)
    where = path or "the Hub"
    if first is None:
        raise FileFault(f"{where} holds no row")
    form, missing = form_of(first.values, card, path.name if path else "")
    if form is None:
        there = ", ".join(map(str, list(first.values)[:20]))
        raise FileFault(f"{where} has the columns {shorten(there, 300)}; {missing}")
    return RowFile(path, form, _chained(first, rows))


def _chained(first: Numbered, rows: Iterator[Numbered]) -> Iterator[Numbered]:
    yield first
    yield from rows


def image_folders(card: Card, row_files: Sequence[RowFile], root: str) -> list[Path]:
    """Where a card's images are looked for: beside its files, then in each folder above them as far as the root; in
    those folders that the card names, in the folder itself, in `images`."""
    tops: dict[Path, None] = {}
    for one in row_files:
        if one.path:
            above = [top for top in one.path.parents if root != HUB and Path(root) in (top, *top.parents)]
            tops |= dict.fromkeys([one.path.parent, *above])
    if root != HUB:
        tops[Path(root) if Path(root).is_dir() else Path(root).parent] = None
    return [top / name for top in tops for name in (*card.source.images, "", "images")]


def ids_of(card: Card, root: str) -> frozenset[str] | None:
    """The ids that are meant; None = all. Raises FileFault where the file of ids is not there."""
    if not card.ids_file:
        return None
    folder = Path(root) if Path(root).is_dir() else Path(root).parent
    paths = candidates(folder, [card.ids_file, f"*{card.ids_file}"], [card.name]) if root != HUB else []
    if not paths:
        raise FileFault(
            f"the rows that count are listed in {card.ids_file}, which is not below {folder}: all rows together are"
            " another set"
        )
    try:
        values = parse(file_text(paths[0]), whole_file=True)
    except TextFault as error:
        raise FileFault(f"{paths[0]}: {error}") from None
    return frozenset(str(one) for one in values)
