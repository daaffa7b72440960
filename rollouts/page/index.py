"""The light columns of one or two runs in DuckDB. Lists, charts and filters ask them; `refresh` follows a run that
grows.

pyarrow reads the files, a batch at a time and only the columns needed; DuckDB itself may open no file. Heavy columns
(token ids, log-probs, transcripts) are read when a group is opened, see rollouts/page/group.py. A step that cannot be
read becomes an entry of `problems`; the others are shown.
"""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from rollouts.page.labels import label_key, read_labels
from rollouts.page.schema import GROUPS_OF_STEP, LIGHT, ROWS_OF_BATCH, TABLES
from rollouts.records import ACCURACY, SCHEMA_VERSION
from rollouts.store import codec
from rollouts.store.codec import KEY_COLUMNS, SCHEMA
from rollouts.store.folder import inside, read_at_most
from rollouts.store.layout import JSONL, MANIFEST, PARQUET, NewerSchema, StepFiles, list_steps

# Memory of DuckDB; beyond it tables go to the temporary folder.
_MEMORY = "160MB"
_BATCH_ROWS = 2048
# What the light columns of one step may unpack to: 20 times the largest step measured. A file that says more is no step
# of a run.
_MAX_UNPACKED_BYTES = 4_000_000_000
_MAX_MANIFEST_BYTES = 64_000_000


class Read(NamedTuple):
    """How far one step was read. It shows whether the step changed, and where a growing JSONL goes on."""

    finished: bool
    size: int
    modified_ns: int
    # Bytes of JSONL read so far, whole lines only; 0 for a finished step.
    offset: int


class Index:
    """Tables `rows` (completions) and `groups` of the runs given, `side` 0 for the first and 1 for the second. Threads
    may share it."""

    def __init__(self, runs: Sequence[Path]) -> None:
        self.runs = tuple(runs)
        # Counts up whenever something changed; the page asks for it every few seconds.
        self.version = 0
        self.ready = threading.Event()
        # (side, step) -> why it is not shown. Step -1: the run as a whole.
        self.problems: dict[tuple[int, int], str] = {}
        # (side, step, prompt id) -> where its lines are in the JSONL of an unfinished step: (offset, length) each.
        self.lines: dict[tuple[int, int, str], list[tuple[int, int]]] = {}
        self.steps: dict[tuple[int, int], StepFiles] = {}
        # Name of the outcome that says right or wrong: "accuracy", or where a run has none, the one that weighs most.
        self.main_reward: str | None = None
        self._read: dict[tuple[int, int], Read] = {}
        self._labels: dict[str, str] | None = None
        self._lock = threading.Lock()
        self._folder = tempfile.TemporaryDirectory(prefix="rounds-view-")
        self._database = _open_database(self._folder.name)
        for statement in TABLES:
            self._database.execute(statement)

    def ask(self, sql: str, values: Sequence[Any] | dict[str, Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of one query. Each call has a cursor of its own, so threads may share the index."""
        with self._database.cursor() as cursor:
            return cursor.execute(sql, values).fetchall()

    def ask_named(self, sql: str, values: Sequence[Any] | dict[str, Any] = ()) -> list[dict[str, Any]]:
        """The same, each row by column name."""
        with self._database.cursor() as cursor:
            result = cursor.execute(sql, values)
            names = [column[0] for column in result.description or ()]
            return [dict(zip(names, row, strict=True)) for row in result.fetchall()]

    def refresh(self) -> bool:
        """Read what is new or changed in the folders. Returns whether anything was. Raises NotARun if the first folder
        holds no rollouts."""
        with self._lock:
            before = self.version
            for side, run_dir in enumerate(self.runs):
                self._refresh_side(side, run_dir)
            self._refresh_labels()
            self.ready.set()
            return self.version != before

    def close(self) -> None:
        """Free the memory and remove the temporary folder."""
        self._database.close()
        self._folder.cleanup()

    def _refresh_side(self, side: int, run_dir: Path) -> None:
        stored = {one.step: one for one in list_steps(run_dir)}
        for key in [key for key in self.steps if key[0] == side and key[1] not in stored]:
            # A resumed run sets the steps aside that it does again.
            self._forget(key)
        for one in stored.values():
            key = (side, one.step)
            try:
                self._refresh_step(key, run_dir, one)
            except FileNotFoundError:
                # Between two looks the writer finished the step, or it has not begun its first group: the next look
                # sees it.
                continue
            except (
                Exception
            ) as error:  # the boundary to files of a stranger: whatever is wrong with a step, the others are shown
                self._forget(key)
                self.steps[key] = one
                self._problem(key, f"step {one.step} is not shown: {_first_line(error)}")

    def _refresh_step(self, key: tuple[int, int], run_dir: Path, one: StepFiles) -> None:
        side, step = key
        folder = ("rollouts", one.folder.name)
        path = inside(run_dir, *folder, PARQUET if one.finished else JSONL)
        about = path.stat()
        known = self._read.get(key)
        now = Read(one.finished, about.st_size, about.st_mtime_ns, 0)
        if known is not None and known[:3] == now[:3]:
            return
        # A file that only grew is read on from where it ended.
        grew = known is not None and not (one.finished or known.finished) and now.size >= known.offset
        if not grew:
            self._forget(key)
        self._read[key] = now
        self.steps[key] = one
        if one.finished:
            manifest = json.loads(read_at_most(inside(run_dir, *folder, MANIFEST), _MAX_MANIFEST_BYTES))
            check_version(manifest["schema_version"])
            count = sum(self._insert(side, batch) for batch in parquet_batches(path, LIGHT))
            if count != manifest["num_rollouts"]:
                raise ValueError(
                    f"{PARQUET} holds {count} rollouts, its manifest says {manifest['num_rollouts']!r:.20}"
                )
        else:
            self._read[key] = now._replace(
                offset=self._read_on(side, step, path, known.offset if known and grew else 0)
            )
        with self._database.cursor() as cursor:
            cursor.execute("DELETE FROM groups WHERE side = ? AND step = ?", [side, step])
            cursor.execute(GROUPS_OF_STEP, {"side": side, "step": step})
        self.version += 1

    def _read_on(self, side: int, step: int, path: Path, offset: int) -> int:
        """Insert the whole lines after `offset`; returns where they end. A torn last line is left for the next look."""
        rows: list[dict[str, Any]] = []
        with open(path, "rb") as file:
            file.seek(offset)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                row = json.loads(line)
                if not isinstance(row, dict) or not isinstance(row.get("prompt_id"), str):
                    raise ValueError(f"the line at byte {offset:,} of {path.name} is no rollout")
                check_version(row.get("schema_version"))
                self.lines.setdefault((side, step, row["prompt_id"]), []).append((offset, len(line)))
                offset += len(line)
                rows.append({name: row.get(name) for name in LIGHT})
                if len(rows) == _BATCH_ROWS:
                    self._insert(side, pa.Table.from_pylist(rows, schema=_light_schema()))
                    rows = []
        if rows:
            self._insert(side, pa.Table.from_pylist(rows, schema=_light_schema()))
        return offset

    def _insert(self, side: int, batch: pa.Table) -> int:
        if self.main_reward is None:
            self.main_reward = _main_reward(batch)
        with self._database.cursor() as cursor:
            cursor.register("batch", batch)
            cursor.execute(ROWS_OF_BATCH, {"side": side, "main": self.main_reward})
            cursor.unregister("batch")
        return len(batch)

    def _forget(self, key: tuple[int, int]) -> None:
        for table in ("rows", "groups"):
            self.ask(f"DELETE FROM {table} WHERE side = ? AND step = ?", key)
        for known in [known for known in self.lines if known[:2] == key]:
            del self.lines[known]
        self.problems.pop(key, None)
        self._read.pop(key, None)
        if self.steps.pop(key, None):
            self.version += 1

    def _problem(self, key: tuple[int, int], text: str) -> None:
        # Remembered with the file's state, so that a damaged step is not read again at every look.
        self.problems[key] = text
        one = self.steps[key]
        try:
            about = (one.folder / (PARQUET if one.finished else JSONL)).lstat()
            self._read[key] = Read(one.finished, about.st_size, about.st_mtime_ns, 0)
        except OSError:
            return
        self.version += 1

    def _refresh_labels(self) -> None:
        try:
            labels = read_labels(self.runs[0])
            self.problems.pop((0, -1), None)
        except (OSError, ValueError) as error:
            labels = {}
            self.problems[(0, -1)] = f"labels cannot be read: {_first_line(error)}"
        if labels != self._labels:
            self._labels = labels
            table = pa.table(
                {"key": pa.array(list(labels), pa.string()), "expected": pa.array(list(labels.values()), pa.string())}
            )
            with self._database.cursor() as cursor:
                cursor.register("found", table)
                cursor.execute("DELETE FROM labels")
                cursor.execute("INSERT INTO labels SELECT * FROM found")
            self.version += 1

    def label(self, step: int, prompt_id: str, sample_index: int) -> str | None:
        """The label of a completion of the first run, or None."""
        return (self._labels or {}).get(label_key(step, prompt_id, sample_index))


def parquet_batches(path: Path, names: Sequence[str]) -> Iterator[pa.Table]:
    """The columns asked for, a bounded number of rows at a time, in the types of codec.SCHEMA; a column that an older
    run lacks is null."""
    with pq.ParquetFile(path) as file:
        check_unpacked(file.metadata)
        stored = set(file.schema_arrow.names)
        there = [name for name in names if name in stored]
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=there):
            yield conform(pa.Table.from_batches([batch]), names)


def conform(table: pa.Table, names: Sequence[str]) -> pa.Table:
    """The columns `names` in the order and types of codec.SCHEMA. Raises pa.ArrowException where a type does not fit,
    ValueError where a column is missing without which a row is no rollout."""
    for name in names:
        if name in KEY_COLUMNS and name not in table.column_names:
            raise ValueError(f"there is no column {name!r}: this is not the rollouts of a run")
    return codec.conform(table, names)


def check_unpacked(metadata: pq.FileMetaData) -> None:
    """Raise ValueError for a file that unpacks to more than a step of a run can be: a few kilobytes may claim
    terabytes."""
    unpacked = sum(metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups))
    if unpacked > _MAX_UNPACKED_BYTES:
        raise ValueError(f"it unpacks to {unpacked:,} bytes, at most {_MAX_UNPACKED_BYTES:,} are read")


def check_version(version: Any) -> None:
    """Raise NewerSchema for what a later version of this package wrote."""
    if not isinstance(version, int) or version > SCHEMA_VERSION:
        raise NewerSchema(
            f"it has schema version {version!r:.20}, this version reads up to {SCHEMA_VERSION}: update rounds-rl"
        )


def _light_schema() -> pa.Schema:
    return pa.schema([SCHEMA.field(name) for name in LIGHT])


def _main_reward(batch: pa.Table) -> str | None:
    for weights in batch.column("weights").slice(0, 1).to_pylist():
        named = {weight["name"]: abs(weight["value"] or 0.0) for weight in weights or ()}
        return ACCURACY if ACCURACY in named else max(named, key=lambda name: named[name], default=None)
    return None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def _open_database(folder: str) -> duckdb.DuckDBPyConnection:
    """A database in memory that may spill into `folder` and open nothing else, load no extension and change none of
    this."""
    settings: dict[str, Any] = {
        "memory_limit": _MEMORY,
        "threads": 2,
        "temp_directory": folder,
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "python_enable_replacements": False,
    }
    database = duckdb.connect(":memory:", config=settings)
    database.execute("SET enable_external_access = false")
    database.execute("SET lock_configuration = true")
    return database
