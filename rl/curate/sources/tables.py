"""Rows of a table: CSV or TSV with a header, JSON lines, or one JSON list; every value as text."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rollouts.texts.reading import TextFault, decode, file_lines, file_text, is_missing, parse, parse_object, shorten

ENDINGS = (".csv", ".tsv", ".jsonl", ".json")
_LONGEST_FIELD = 1_000_000


class TableRow(NamedTuple):
    """One row: its line (or place in the list), and column -> text; a list stays a list of texts."""

    number: int
    values: dict[str, str | list[str]]


class TableFault(ValueError):
    """A table that cannot be read; the message names line and reason, not the file."""


def read_table(path: Path) -> list[TableRow]:
    """All rows, in order. Raises TableFault, and OSError."""
    ending = path.suffix.lower()
    try:
        if ending in (".csv", ".tsv"):
            return list(_separated(path, "\t" if ending == ".tsv" else ","))
        if ending == ".jsonl":
            return [TableRow(number, _texts(number, _object(number, raw))) for number, raw in file_lines(path)]
        whole = parse(file_text(path), whole_file=True)
    except TextFault as error:
        raise TableFault(str(error)) from error
    if not isinstance(whole, list) or not all(isinstance(row, dict) for row in whole):
        raise TableFault("expected one JSON list of objects")
    return [TableRow(number, _texts(number, row)) for number, row in enumerate(whole, start=1)]


def _object(number: int, raw: bytes) -> dict[str, Any]:
    try:
        return parse_object(decode(raw))
    except TextFault as error:
        raise TableFault(f"line {number}: {error}") from error


def _separated(path: Path, delimiter: str) -> Iterator[TableRow]:
    text = file_text(path)
    csv.field_size_limit(_LONGEST_FIELD)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        if len(set(header)) < len(header) or not all(header):
            twice = next((name for name in header if header.count(name) > 1), "")
            raise TableFault(f"line 1: the column {shorten(twice)!r} stands there twice, or has no name")
        if len(header) < 2 and ";" in "".join(header):
            raise TableFault("line 1: one column only; the table seems to be separated by semicolons, expected commas")
        line = reader.line_num + 1
        for row in reader:
            if any(cell.strip() for cell in row):
                if len(row) != len(header):
                    raise TableFault(f"line {line}: {len(row)} cells for {len(header)} columns")
                yield TableRow(line, _texts(line, dict(zip(header, row, strict=True))))
            line = reader.line_num + 1
    except csv.Error as error:
        raise TableFault(f"line {reader.line_num}: {error}") from error


def _texts(number: int, row: Mapping[str, Any]) -> dict[str, str | list[str]]:
    """Every value as text; what stands for a missing one is left out. Objects are written as JSON."""
    values: dict[str, str | list[str]] = {}
    for name, value in row.items():
        if isinstance(value, list) and all(isinstance(one, (str, int, float)) for one in value):
            values[name] = [str(one).strip() for one in value]
        elif isinstance(value, (dict, list)):
            try:
                values[name] = json.dumps(value, ensure_ascii=False, sort_keys=True)
            except RecursionError:
                raise TableFault(f"line {number}: {shorten(name)!r} is nested too deeply") from None
        elif value is not None and not is_missing(str(value)) and str(value).strip():
            values[name] = str(value).strip()
    return values
