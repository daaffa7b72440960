"""Answers of a finished benchmark whose judge failed are judged again where they lie: the model is not asked, and what
has a verdict keeps it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pyarrow as pa

from rewards.rubric import Scored
from rewards.scorer import Scorer
from rl.evaluate.suite.asking import Where
from rollouts.prompt.prefill import prefill_of
from rollouts.records import ACCURACY
from rollouts.store.codec import KEY_COLUMNS, SAMPLE_COLUMNS, SCHEMA, SCORED_COLUMNS, Row, sample_from_row, scored_row
from rollouts.store.disk import sha256_file
from rollouts.store.layout import MANIFEST, StepFiles, list_steps, media_path
from rollouts.store.reader import media_opener, read_table
from rollouts.store.writer import write_step

_READ = (*KEY_COLUMNS, *SAMPLE_COLUMNS, "prompt_text", "completion", "finish_reason", "token_ids", "outcomes")


def failed(stored: StepFiles) -> list[int]:
    """The rows of a finished benchmark that a judge was asked about in vain. Raises StoreError."""
    rows: list[Row] = read_table(stored, ("finish_reason", "outcomes")).to_pylist()
    return [number for number, row in enumerate(rows) if _has_failed(row)]


def num_failed(folder: Path) -> int:
    """How many completions of a folder's finished benchmarks have no verdict because a judge failed. Raises
    StoreError."""
    return sum(len(failed(stored)) for stored in list_steps(folder) if stored.finished)


def judge_again(
    folder: Path, stored: StepFiles, numbers: Sequence[int], scorer: Scorer, where: Where, advance: Callable[[], None]
) -> int:
    """Judge these rows once more and store the benchmark with what came out. Returns how many have a verdict now.

    Raises StoreError, DiskFull: the rows that are there stay.
    """
    table = read_table(stored)
    rows: list[Row] = table.select(_READ).to_pylist()
    open_media, chosen = media_opener(folder), frozenset(numbers)
    waiting: dict[int, Future[Scored]] = {}
    for name, group in itertools.groupby(range(len(rows)), key=lambda number: rows[number]["prompt_id"]):
        members = list(group)
        wanted = [number for number in members if number in chosen]
        # A reward that compares the completions of a group needs all of them.
        batch = members if wanted and scorer.rubric.has_group_rewards else wanted
        for number in batch:
            row = rows[number]
            waiting[number] = scorer.submit(
                sample_from_row(row, open_media), row["completion"], f"{where.run}/{where.step}/{name}",
                row["finish_reason"], num_tokens=len(row["token_ids"]), group_size=len(batch),
                prefill=prefill_of(row["prompt_text"] or ""),
            )  # fmt: skip
    scored = {}
    for number in numbers:
        scored[number] = waiting[number].result()
        advance()
    # Without a manifest the benchmark is unfinished and asked anew, with a wrong one it would be damaged.
    (stored.folder / MANIFEST).unlink()
    write_step(folder, stored.step, _with_scores(table, rows, scored), lambda name: _hash_of(folder, name))
    return sum(one.outcomes[ACCURACY].value is not None for one in scored.values())


def _has_failed(row: Row) -> bool:
    """Whether its verdict is missing because of the judge: not because the engine gave up, or the judge was unsure."""
    outcome = next((one for one in row["outcomes"] or () if one["name"] == ACCURACY), None)
    return row["finish_reason"] != "abort" and outcome is not None and outcome["status"] in ("error", "timeout")


def _with_scores(table: pa.Table, rows: Sequence[Row], scored: dict[int, Scored]) -> pa.Table:
    """The table with new scores in the rows that have some."""
    old = table.select([*SCORED_COLUMNS, "not_finite"]).to_pylist()
    for number, one in scored.items():
        valid = one.valid and rows[number]["finish_reason"] != "abort"
        old[number] |= scored_row(one.parsed, one.outcomes, one.weights, one.total, valid, None)
        old[number]["not_finite"] = [name for name in old[number]["not_finite"] if name not in SCORED_COLUMNS]
    names = [*SCORED_COLUMNS, "not_finite"]
    new = pa.Table.from_pylist(old, schema=pa.schema([SCHEMA.field(name) for name in names]))
    columns: dict[str, Any] = {name: new[name] for name in names}
    return pa.table([columns.get(name, table[name]) for name in SCHEMA.names], schema=SCHEMA).combine_chunks()


def _hash_of(folder: Path, name: str) -> str | None:
    path = media_path(folder, name)
    return sha256_file(path) if path.is_file() else None
