"""Reads the rollouts of a run, finished or still going on, whatever moment its writer was killed at."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from rollouts.codec import KEY_COLUMNS, Row, rollout_from_row
from rollouts.layout import JSONL, MANIFEST, PARQUET, DamagedStore, NewerSchema, NotARun, StepFiles, list_steps, media_path
from rollouts.records import SCHEMA_VERSION, Media, Rollout


def read_rollouts(run_dir: Path | str, step: int | None = None) -> Iterator[Rollout]:
    """The rollouts of a run in order of step (of one step only, where `step` is given), a step that is being written included.

    An image comes as the path of its file, a volume or video as its frames' bytes; a frame whose file is missing comes as b"".

    Raises:
        NotARun: no rollouts there, or no such step. NewerSchema: written by a later version. DamagedStore: a file cannot be read.
    """
    return (rollout for stored in chosen_steps(run_dir, step) for rollout in read_step(run_dir, stored))


def read_step(run_dir: Path | str, stored: StepFiles) -> Iterator[Rollout]:
    """The rollouts of one step; see read_rollouts."""
    # The rollouts of a group share their frames' bytes.
    open_media = functools.partial(_open_media, Path(run_dir), functools.lru_cache(maxsize=64)(_bytes_or_nothing))
    for row in read_rows(stored):
        try:
            yield rollout_from_row(row, open_media)
        except (KeyError, TypeError, ValueError) as error:
            raise DamagedStore(f"{stored.folder}: a row cannot be read as a rollout: {error!r}") from error


def read_rows(stored: StepFiles) -> list[Row]:
    """The rows of one step as they are stored (see codec.SCHEMA), sorted by key."""
    if not stored.finished and not (stored.folder / MANIFEST).exists():
        try:
            return sort_rows(read_jsonl(stored.folder / JSONL))
        except FileNotFoundError:
            # Between two looks the writer may have finished the step, or may not have written its first group.
            if not (stored.folder / MANIFEST).exists():
                return []
    manifest = read_manifest(stored.folder)
    try:
        table = pq.read_table(stored.folder / PARQUET, partitioning=None)
    except (OSError, pa.ArrowException) as error:
        raise DamagedStore(f"{stored.folder / PARQUET} cannot be read: {error}") from error
    if len(table) != manifest["num_rollouts"]:
        raise DamagedStore(f"{stored.folder / PARQUET} holds {len(table)} rollouts, its manifest says {manifest['num_rollouts']}")
    rows: list[Row] = table.to_pylist()
    return rows


def read_manifest(folder: Path) -> Row:
    """The manifest of a finished step. Raises DamagedStore or NewerSchema."""
    try:
        manifest: Row = json.loads((folder / MANIFEST).read_bytes())
        _check_schema(manifest["schema_version"], folder)
    except (OSError, json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise DamagedStore(f"{folder / MANIFEST} cannot be read: {error!r}") from error
    return manifest


def chosen_steps(run_dir: Path | str, step: int | None) -> list[StepFiles]:
    """All stored steps, or the one that is asked for. Raises NotARun, which says which steps there are."""
    steps = list_steps(run_dir)
    if not steps:
        raise NotARun(f"{run_dir} holds no step yet")
    if step is None:
        return steps
    chosen = [stored for stored in steps if stored.step == step]
    if not chosen:
        raise NotARun(f"{run_dir} has no step {step}; it has steps {steps[0].step} to {steps[-1].step}")
    return chosen


def _check_schema(version: int, where: Path) -> None:
    if version > SCHEMA_VERSION:
        raise NewerSchema(
            f"{where} was written with schema version {version}, this version reads up to {SCHEMA_VERSION}: update rounds-rl"
        )


def read_jsonl(jsonl: Path) -> Iterator[Row]:
    """The rows of a step that is being written; a torn last line, which a killed writer leaves, is passed over."""
    lines = jsonl.read_bytes().split(b"\n")
    for number, line in enumerate(lines, start=1):
        try:
            row: Row = json.loads(line)
            _check_schema(row["schema_version"], jsonl)
            _ = [row[name] for name in KEY_COLUMNS]
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
            if number == len(lines):
                return
            raise DamagedStore(f"{jsonl}, line {number}: {error}") from error
        yield row


def sort_rows(rows: Iterable[Row]) -> list[Row]:
    """Rows in the order of their keys."""
    return sorted(rows, key=lambda row: tuple(row[name] for name in KEY_COLUMNS))


def files_of(medium: Row) -> list[str]:
    """The names (hashes) of the files of one stored medium, in order."""
    return medium["frames"] if medium["frames"] is not None else [medium["sha256"]]


def _open_media(run_dir: Path, read_frame: Callable[[Path], bytes], medium: Row) -> Media:
    indices = None if medium["frame_indices"] is None else tuple(medium["frame_indices"])
    if medium["frames"] is None:
        return Media(
            medium["kind"], path=str(media_path(run_dir, medium["sha256"])), sha256=medium["sha256"], frame_indices=indices
        )
    frames = tuple(read_frame(media_path(run_dir, name)) for name in medium["frames"])
    return Media(medium["kind"], frames=frames, sha256=medium["sha256"], frame_indices=indices)


def _bytes_or_nothing(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
