"""Files of rows: JSON, JSON lines, CSV, TSV (with images in base64) and Parquet, found below a folder and read as
mappings; nothing is downloaded unless the user says `benchmark_root=hub`."""

from __future__ import annotations

import csv
import fnmatch
import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from rollouts.texts.reading import TextFault, decode, file_lines, file_text, parse, parse_object, shorten

# Folders below the root in which files are looked for, and files that are looked at: a data set is no deeper, and a
# whole disk is no root.
MAX_DEPTH = 5
MAX_FILES = 500_000
Row = Mapping[str, Any]
HUB = "hub"


class FileFault(ValueError):
    """A file of a benchmark that is not there or cannot be read; the message says which, and what was expected."""


class Numbered(NamedTuple):
    """One row as the file has it."""

    # Line, or place in a list or table, from 1.
    line: int
    values: Row


def _files_below(root: Path) -> tuple[str, ...]:
    """The files below a folder, as paths relative to it, sorted; links to folders are not followed."""
    paths: list[str] = []
    for folder, folders, files in os.walk(root):
        inside = Path(folder).relative_to(root)
        folders[:] = sorted(one for one in folders if not one.startswith(".")) if len(inside.parts) < MAX_DEPTH else []
        paths += [(inside / one).as_posix() for one in sorted(files) if not one.startswith(".")]
        if len(paths) > MAX_FILES:
            raise FileFault(f"{root} holds more than {MAX_FILES:,} files; give the folder of the benchmark itself")
    return tuple(paths)


def candidates(root: Path, patterns: Sequence[str], names: Sequence[str], *, only_own: bool = False) -> list[Path]:
    """The files below `root` that fit a pattern, those of the first pattern first; what lies in a folder of one of the
    card's names ("vqa_rad", "VQA-RAD") goes before the rest, or stands alone with `only_own`. `root` itself, where it
    is a file. Raises FileFault where there is no such place."""
    if root.is_file():
        return [root]
    if not root.is_dir():
        raise FileFault(f"there is no folder {root}")
    below = _files_below(root)
    fitting = dict.fromkeys(
        path
        for pattern in patterns
        for path in below
        if fnmatch.fnmatchcase(path, pattern) or fnmatch.fnmatchcase(path, f"*/{pattern}")
    )
    wanted = {_plain(name) for name in names} - {""}
    own = {path: None for path in fitting if wanted & {_plain(part) for part in Path(path).parts[:-1]}}
    rest = [] if own and only_own else [path for path in fitting if path not in own]
    return [root / path for path in [*own, *rest]]


def _plain(name: str) -> str:
    """A name as folders spell it in different ways: letters and digits alone, capitals not counted."""
    return "".join(one for one in name.casefold() if one.isalnum())


def some_files(root: Path, most: int = 8) -> str:
    """A few names of what is there, for an error."""
    below = _files_below(root)
    shown = ", ".join(shorten(path, 60) for path in below[:most])
    return f"{shown or 'nothing'}{f' and {len(below) - most:,} more' if len(below) > most else ''}"


def rows_of(path: Path, under: str = "") -> Iterator[Numbered]:
    """The rows of one file by its ending. `under`: where a JSON object holds lists, the one that is meant.

    An object of objects gives its rows with their names as the column "key". Raises FileFault.
    """
    if path.suffix.lower() not in READERS:
        raise FileFault(f"{path} is no file of rows; expected {', '.join(READERS)}")
    try:
        yield from READERS[path.suffix.lower()](path, under)
    except (OSError, TextFault, csv.Error, pa.ArrowException) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise FileFault(f"{path} cannot be read: {shorten(str(reason), 300)}") from error


def _json(path: Path, under: str) -> Iterator[Numbered]:
    text = file_text(path)
    try:
        values = parse(text, whole_file=True)
    except TextFault:
        if text.lstrip().startswith("{") and "\n{" in text:  # JSON lines under another ending
            yield from _json_lines(path, under)
            return
        raise
    if under and isinstance(values, dict) and isinstance(values.get(under), list):
        values = values[under]
    elif under and isinstance(values, dict) and all(isinstance(one, list) for one in values.values()):
        raise FileFault(f"{path} holds no {under!r}; it holds {', '.join(map(shorten, list(values)[:8]))}")
    if isinstance(values, dict) and values and all(isinstance(one, dict) for one in values.values()):
        values = [{"key": name, **one} for name, one in values.items()]
    if not isinstance(values, list):
        raise FileFault(f"{path} holds a {type(values).__name__}, expected a list of rows")
    yield from _mappings(path, enumerate(values, start=1))


def _json_lines(path: Path, under: str) -> Iterator[Numbered]:
    for number, raw in file_lines(path):
        try:
            yield Numbered(number, parse_object(decode(raw)))
        except TextFault as error:
            raise FileFault(f"{path}, line {number}: {error}") from None


def _table(path: Path, under: str) -> Iterator[Numbered]:
    """Comma- or tab-separated values: every cell is text, "None" and "NA" too."""
    csv.field_size_limit(1 << 28)  # images in base64
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    reader = csv.DictReader(io.StringIO(file_text(path), newline=""), delimiter=delimiter)
    names = reader.fieldnames or []
    if len(set(names)) < len(names):
        raise FileFault(f"{path}: a column stands twice in {shorten(', '.join(names), 200)}")
    images: dict[str, str] = {}
    for number, row in enumerate(reader, start=1):
        if None in row:
            raise FileFault(f"{path}, row {number}: more cells than columns; quotes are not closed, or not doubled")
        values = {name: value for name, value in row.items() if value is not None}
        if delimiter == "\t" and {"index", "image"} <= values.keys():
            # VLMEvalKit writes an image once; further rows name the index of the one that holds it.
            values["image"] = images.get(values["image"], values["image"])
            images[values["index"]] = values["image"]
        yield Numbered(number, values)


def _parquet(path: Path, under: str) -> Iterator[Numbered]:
    number = 0
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=256):
            for row in batch.to_pylist():
                number += 1
                yield Numbered(number, row)


def _mappings(path: Path, numbered: Iterable[tuple[int, Any]]) -> Iterator[Numbered]:
    for number, values in numbered:
        if not isinstance(values, dict):
            raise FileFault(f"{path}, row {number}: got a {type(values).__name__}, expected an object")
        yield Numbered(number, values)


def hub_rows(name: str, revision: str, subset: str, split: str) -> Iterator[Numbered]:
    """The rows of a data set on the Hub, images as bytes. Raises FileFault where it does not give them."""
    import datasets  # here, because a folder needs no Hub client

    try:
        table = datasets.load_dataset(name, subset or None, split=split, revision=revision or None)
    except (
        Exception
    ) as error:  # a boundary: the client raises dozens of kinds, all of which mean the same to the reader
        raise FileFault(f"the Hub does not give {name}: {shorten(str(error), 300)}") from error
    for column, feature in table.features.items():
        if isinstance(feature, datasets.Image):
            table = table.cast_column(column, datasets.Image(decode=False))
    yield from (Numbered(number, dict(row)) for number, row in enumerate(table, start=1))


# Ending of a file of rows -> its reader.
READERS: dict[str, Callable[[Path, str], Iterator[Numbered]]] = {
    ".json": _json, ".jsonl": _json_lines, ".csv": _table, ".tsv": _table, ".parquet": _parquet,
}  # fmt: skip
