"""Reads the rollouts of a run that is finished, still runs, or was killed at any moment."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import orjson
import pyarrow as pa
import pyarrow.json
import pyarrow.parquet as pq

from rollouts.records import SCHEMA_VERSION, Media, Rollout
from rollouts.store.codec import KEY_COLUMNS, SCHEMA, Row, conform, rollout_from_row, told_of_media
from rollouts.store.layout import (
    JSONL,
    MANIFEST,
    PARQUET,
    DamagedStore,
    NewerSchema,
    NotARun,
    StepFiles,
    StoreError,
    list_steps,
    media_path,
)


class Problem(NamedTuple):
    """One part of a run that cannot be read, in words."""

    # None = not of one step.
    step: int | None
    text: str


def read_rollouts(run_dir: Path | str, step: int | None = None) -> Iterator[Rollout]:
    """The rollouts of a run in order of step (of one step only, where `step` is given), a step that is being written
    included.

    An image comes as the path of its file, a volume or video as those of its frames, whether the files are there or
    not.

    Raises:
        NotARun: no rollouts there, or no such step. NewerSchema: written by a later version. DamagedStore: a file
            cannot be read.
    """
    return (rollout for stored in choose_steps(run_dir, step) for rollout in read_step(run_dir, stored))


def read_step(run_dir: Path | str, stored: StepFiles) -> Iterator[Rollout]:
    """The rollouts of one step; see read_rollouts."""
    open_media = media_opener(run_dir)
    for row in read_rows(stored):
        try:
            yield rollout_from_row(row, open_media)
        except (KeyError, TypeError, ValueError) as error:
            raise DamagedStore(f"{stored.folder}: a row cannot be read as a rollout: {error!r}") from error


def problems(run_dir: Path | str) -> list[Problem]:
    """Quick check: steps that cannot be read (manifest, Parquet footer, lines) and images that are missing.

    A Parquet file that is damaged inside shows only when it is read, see `readable`; `rollouts.check` compares
    every hash.

    Raises:
        NotARun: the folder holds no rollouts.
    """
    problems: list[Problem] = []
    images: set[str] = set()
    for stored in list_steps(run_dir):
        try:
            images |= set(_look_at(stored))
        except StoreError as error:
            problems.append(Problem(stored.step, str(error)))
    folder = Path(run_dir) / "media"
    there = {entry.name for entry in os.scandir(folder)} if folder.is_dir() else set()
    missing = sorted(name for name in images if f"{name}.png" not in there)
    return problems + [Problem(None, f"image {name} is missing from {folder}") for name in missing]


def _look_at(stored: StepFiles) -> Iterable[str]:
    """The names of a step's images. Checks the size of its files and the number of its rows."""
    if not stored.finished:
        return [name for row in read_rows(stored) for medium in row["media"] for name in files_of(medium)]
    manifest, path = read_manifest(stored.folder), stored.folder / PARQUET
    try:
        num_rows, size = pq.read_metadata(path).num_rows, path.stat().st_size
        expected = manifest["num_rollouts"], manifest["files"][PARQUET]["bytes"]
        names = list(manifest["media"])
    except (OSError, pa.ArrowException, KeyError, TypeError) as error:
        raise DamagedStore(f"{path} cannot be read: {error!r}") from error
    if (num_rows, size) != expected:
        raise DamagedStore(
            f"{path} has {num_rows} rows in {size} bytes, its manifest says {expected[0]} in {expected[1]}"
        )
    return names


def readable(
    run_dir: Path | str, report: Callable[[Problem], None], step: int | None = None
) -> Iterator[tuple[StepFiles, list[Rollout]]]:
    """Each step that can be read, with its rollouts; `report` is called with the problem of each other.

    Raises:
        NotARun: no rollouts there, or no such step. NewerSchema: no step is of a version that can be read.
    """
    chosen = choose_steps(run_dir, step)
    newer: list[NewerSchema] = []
    for stored in chosen:
        try:
            yield stored, list(read_step(run_dir, stored))
        except StoreError as error:
            newer += [error] if isinstance(error, NewerSchema) else []
            if len(newer) == len(chosen):
                raise
            report(Problem(stored.step, str(error)))


def read_rows(stored: StepFiles) -> list[Row]:
    """The rows of one step as they are stored (see codec.SCHEMA), sorted by key."""
    if (lines := _unfinished_rows(stored)) is not None:
        return lines
    rows: list[Row] = _read_parquet(stored, None).to_pylist()
    return rows


def read_table(stored: StepFiles, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of one step as a table with the types of codec.SCHEMA, sorted by key; all columns, or those asked for in
    that order.

    A column that a run of an older version lacks is null. Raises DamagedStore or NewerSchema.
    """
    names = list(columns or SCHEMA.names)
    schema = pa.schema([SCHEMA.field(name) for name in names], metadata=SCHEMA.metadata)
    lines = _unfinished_rows(stored)
    try:
        if lines is not None:
            return pa.Table.from_pylist(lines, schema=schema)
        table = _read_parquet(stored, names)
        return conform(table, names)
    except pa.ArrowException as error:
        raise DamagedStore(f"{stored.folder}: the rows are not those of rollouts: {error}") from error


def _unfinished_rows(stored: StepFiles) -> list[Row] | None:
    """The rows of a step that is being written; None where it is finished."""
    if stored.finished or (stored.folder / MANIFEST).exists():
        return None
    try:
        return sort_rows(read_jsonl(stored.folder / JSONL))
    except FileNotFoundError:
        # Between two looks the writer may have finished the step, or may not have written its first group.
        return None if (stored.folder / MANIFEST).exists() else []


def _read_parquet(stored: StepFiles, columns: Sequence[str] | None) -> pa.Table:
    manifest, path = read_manifest(stored.folder), stored.folder / PARQUET
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            there = file.schema_arrow.names
            table = file.read([name for name in there if columns is None or name in columns])
    except (OSError, pa.ArrowException) as error:
        raise DamagedStore(f"{path} cannot be read: {error}") from error
    if len(table) != manifest["num_rollouts"]:
        raise DamagedStore(f"{path} holds {len(table)} rollouts, its manifest says {manifest['num_rollouts']}")
    return table


def read_manifest(folder: Path) -> Row:
    """The manifest of a finished step. Raises DamagedStore or NewerSchema."""
    try:
        manifest: Row = json.loads((folder / MANIFEST).read_bytes())
        _check_schema(manifest["schema_version"], folder)
    except (OSError, json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise DamagedStore(f"{folder / MANIFEST} cannot be read: {error!r}") from error
    return manifest


def choose_steps(run_dir: Path | str, step: int | None) -> list[StepFiles]:
    """All stored steps, or the one that is asked for. Raises NotARun, which says which steps there are."""
    steps = list_steps(run_dir)
    if not steps:
        raise NotARun(
            f"{run_dir} holds no step yet: its first group is stored when the first step has drawn and scored it"
        )
    if step is None:
        return steps
    chosen = [stored for stored in steps if stored.step == step]
    if not chosen:
        raise NotARun(f"{run_dir} has no step {step}; it has steps {steps[0].step} to {steps[-1].step}")
    return chosen


def _check_schema(version: int, where: Path) -> None:
    if version > SCHEMA_VERSION:
        raise NewerSchema(
            f"{where} was written with schema version {version}, this version reads up to {SCHEMA_VERSION}: update"
            " rounds-rl"
        )


def read_jsonl(jsonl: Path) -> Iterator[Row]:
    """The rows of a step that is being written; a torn last line, which a killed writer leaves, is passed over."""
    lines = jsonl.read_bytes().split(b"\n")
    for number, line in enumerate(lines, start=1):
        try:
            row: Row = orjson.loads(line)
            _check_schema(row["schema_version"], jsonl)
            _ = [row[name] for name in KEY_COLUMNS]
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
            if number == len(lines):
                return
            raise DamagedStore(f"{jsonl}, line {number}: {error}") from error
        yield row


def whole_table(jsonl: Path) -> pa.Table:
    """The rows of a step whose lines are all written as a table of codec.SCHEMA, sorted by key. No number becomes a
    Python object on the way. Raises DamagedStore."""
    # One block, because a line must lie in one and may be as long as the file; Arrow's largest is 2 GiB.
    one_block = pyarrow.json.ReadOptions(block_size=min(jsonl.stat().st_size + 1, 2**31 - 1))
    known = pyarrow.json.ParseOptions(explicit_schema=SCHEMA, unexpected_field_behavior="error")
    try:
        table = pyarrow.json.read_json(jsonl, one_block, known)
    except pa.ArrowException as error:
        raise DamagedStore(f"{jsonl} cannot be read: {error}") from error
    return (
        table.select(SCHEMA.names)
        .replace_schema_metadata(SCHEMA.metadata)
        .sort_by([(n, "ascending") for n in KEY_COLUMNS])
    )


def sort_rows(rows: Iterable[Row]) -> list[Row]:
    """Rows in the order of their keys."""
    return sorted(rows, key=lambda row: tuple(row[name] for name in KEY_COLUMNS))


def files_of(medium: Row) -> list[str]:
    """The names (hashes) of the files of one stored medium, its mask's behind them, in order."""
    shown: list[str] = medium["frames"] if medium["frames"] is not None else [medium["sha256"]]
    return [*shown, *(medium.get("mask") or ())]


def media_opener(run_dir: Path | str) -> Callable[[Row], Media]:
    """A function from a stored medium to a Media record: the path of an image, the paths of a volume's or video's
    frames. No file is opened."""
    return functools.partial(_open_media, Path(run_dir))


def _open_media(run_dir: Path, medium: Row) -> Media:
    more = told_of_media(medium)
    if medium.get("mask"):
        more["mask_files"] = tuple(str(media_path(run_dir, name)) for name in medium["mask"])
    if medium["frames"] is None:
        return Media(medium["kind"], path=str(media_path(run_dir, medium["sha256"])), **more)
    return Media(medium["kind"], frame_files=tuple(str(media_path(run_dir, name)) for name in medium["frames"]), **more)
