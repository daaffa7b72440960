"""A source of the recipe becomes items; what is missing is told on one screen, with the lines."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rl.curate.items import Item, Kind, item_id
from rl.curate.recipe.door import Plan
from rl.curate.recipe.lines import RecipeError
from rl.curate.recipe.schema import Source
from rl.curate.sources.folders import FolderFault, layout_of, read_folder
from rl.curate.sources.tables import ENDINGS, TableFault, TableRow, read_table
from rollouts.nearest import did_you_mean
from rollouts.texts.reading import shorten

MEDIA_FIELDS: tuple[Kind, ...] = ("image", "volume", "video")
FIELDS = (
    *("image", "images", "volume", "video", "mask", "organ_mask", "label", "caption", "patient", "id", "split"),
    *("modality", "organ", "language"),
)
_SPLITS = {"train": "train", "training": "train", **dict.fromkeys(("eval", "test", "val", "validation"), "eval")}
_MOST_SHOWN = 12


class Read(NamedTuple):
    """The items of a source, and what is wrong with others: (line, reason)."""

    items: list[Item]
    faults: list[tuple[int, str]]


def read_source(plan: Plan, name: str) -> Read:
    """All items of a source. Raises RecipeError where the source itself cannot be read."""
    source = plan.recipe.sources[name]
    path = plan.root / source.read
    where = f"{plan.where(name)}: source {name}, {shorten(source.read)}"
    try:
        if path.is_dir():
            rows, base = _folder_rows(path, source), source.read
        elif path.is_file():
            rows, base = _table_rows(path, source), os.path.dirname(source.read)
        else:
            raise RecipeError(f"{where}: there is no such file or folder; paths start from the recipe's folder")
        names = _columns(rows, source) if path.is_file() else {field: field for field in FIELDS}
    except (TableFault, FolderFault) as error:
        raise RecipeError(f"{where}: {error}") from error
    except OSError as error:  # a link to itself is neither file nor folder
        raise RecipeError(f"{where}: cannot be read: {error.strerror}") from error
    if not rows:
        raise RecipeError(f"{where}: holds no row")
    items, faults = [], []
    for row in rows:
        try:
            items.append(_item(plan, name, source, base, names, row))
        except ValueError as error:
            faults.append((row.number, str(error)))
    return Read(items, faults + _missing(plan.root, items))


def _folder_rows(path: Path, source: Source) -> list[TableRow]:
    layout = source.layout or layout_of(path)
    if layout is None:
        raise FolderFault(
            "what the folder is cannot be told: expected a folder for each label (layout: classes), a .txt beside each"
            " picture (layout: captions), or the folders images and masks (layout: masks); else give a table"
        )
    return [TableRow(number, dict(row)) for number, row in enumerate(read_folder(path, layout), start=1)]


def _table_rows(path: Path, source: Source) -> list[TableRow]:
    if source.layout is not None:
        raise TableFault(f"layout: {source.layout} describes a folder, and this is a file")
    if path.suffix.lower() not in ENDINGS:
        raise TableFault(f"expected a table ({', '.join(ENDINGS)}) or a folder")
    return read_table(path)


def _columns(rows: Iterable[TableRow], source: Source) -> dict[str, str]:
    """Our field -> column. Raises TableFault for a column that the table does not have."""
    there = {column for row in rows for column in row.values}
    if not there:
        return {}
    for field, column in source.fields.items():
        if column not in there:
            hint = did_you_mean(column, there, f"; there are {', '.join(sorted(there)[:20])}")
            raise TableFault(f"fields.{field}: there is no column {shorten(column)!r}{hint}")
    taken = set(source.fields.values())
    names = {column: column for column in there if column not in taken} | source.fields
    if not any(names.get(field) in there for field in (*MEDIA_FIELDS, "images")):
        raise TableFault(
            f"no column says where the picture is: name it in fields, such as fields: {{image: file}}; there are"
            f" {', '.join(sorted(there)[:20])}"
        )
    return names


def _item(plan: Plan, name: str, source: Source, base: str, names: Mapping[str, str], row: TableRow) -> Item:
    """Raises ValueError with what is wrong with the row."""
    given = {field: row.values[column] for field, column in names.items() if column in row.values}

    def one(field: str, default: str = "") -> str:
        value = given.get(field, default)
        if isinstance(value, list):
            raise ValueError(f"{field} is a list, expected one text")
        return value

    media = _media(given, base)
    split = one("split").lower()
    if split and split not in _SPLITS:
        raise ValueError(f"split is {shorten(split)!r}, expected train or eval")
    language = one("language", source.language).lower()
    if language not in ("en", "zh"):
        raise ValueError(f"language is {shorten(language)!r}, expected en or zh")
    known = {*FIELDS}
    return Item(
        id=item_id(name, {**given, "read": source.read}),
        source=name,
        number=row.number,
        media=media,
        mask=_below(base, one("mask")),
        organ_mask=_below(base, one("organ_mask")),
        labels=_labels(given.get("label", ""), source.label_separator),
        caption=one("caption"),
        language=language,  # type: ignore[arg-type]  # checked above
        patient=one("patient") or _patient(media, source.patient_pattern),
        split=_SPLITS.get(split, ""),
        modality=one("modality", source.modality),
        organ=one("organ", source.organ),
        facts={field: value for field, value in given.items() if field not in known and isinstance(value, str)},
    )


def _media(given: Mapping[str, Any], base: str) -> tuple[tuple[Kind, str], ...]:
    media: list[tuple[Kind, str]] = []
    images = given.get("images", [])
    for path in images if isinstance(images, list) else [images]:
        media.append(("image", _below(base, path)))
    for kind in MEDIA_FIELDS:
        if isinstance(value := given.get(kind), str):
            media.append((kind, _below(base, value)))
        elif value:
            raise ValueError(f"{kind} is a list, expected one path; several images go into 'images'")
    if not media:
        raise ValueError(f"has no {', '.join(MEDIA_FIELDS)}")
    return tuple(media)


def _below(base: str, path: str) -> str:
    return os.path.normpath(os.path.join(base, path)) if path else ""


def _labels(value: Any, separator: str | None) -> tuple[str, ...]:
    texts = value if isinstance(value, list) else value.split(separator) if separator else [value]
    return tuple(dict.fromkeys(text for one in texts if (text := " ".join(one.split()))))


def _patient(media: tuple[tuple[Kind, str], ...], pattern: str | None) -> str:
    if pattern is None:
        return ""
    match = re.search(pattern, media[0][1])
    if not match or not match[1]:
        raise ValueError(f"patient_pattern finds no patient in {shorten(media[0][1])}")
    return match[1]


def _missing(root: Path, items: list[Item]) -> list[tuple[int, str]]:
    """Files that are named and not there."""
    faults = []
    for item in items:
        paths = [*item.media, *(("mask", path) for path in (item.mask, item.organ_mask) if path)]
        for kind, path in paths:
            try:
                there = (root / path).exists()
            except (OSError, ValueError):  # a name too long, or with a zero in it
                there = False
            if not there:
                faults.append((item.number, f"{kind} {shorten(path)} does not exist"))
    return faults


def refuse(plan: Plan, name: str, faults: list[tuple[int, str]]) -> None:
    """Stop where items of a source cannot be used. Raises RecipeError on one screen."""
    if not faults:
        return
    shown = [f"  line {number:>6}  {shorten(reason, 200)}" for number, reason in faults[:_MOST_SHOWN]]
    more = [f"  and {len(faults) - _MOST_SHOWN} more"] if len(faults) > _MOST_SHOWN else []
    source = plan.recipe.sources[name]
    head = f"{plan.where(name)}: source {name}: {len(faults)} faults in {shorten(source.read)}"
    fix = "Correct them, or set `on_bad_item: drop` to go on without these items (they are counted)."
    raise RecipeError("\n".join([head, *shown, *more, fix]))


def repeated(items: list[Item]) -> set[int]:
    """Places, in the list, of items that say the same as an earlier one."""
    seen: Counter[str] = Counter()
    again = set()
    for place, item in enumerate(items):
        if seen[item.id]:
            again.add(place)
        seen[item.id] += 1
    return again
