"""What every source of data gives: rows for SFT, the RL set, held-out items and a list of the rows that could not be
used.

A source is a module with `load(data: DataConfig) -> DataSplits` whose `rl` is the whole training pool;
`rl/data/load.py` draws the RL set.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rl.config import DataConfig
from rollouts.records import Sample


@dataclass(frozen=True)
class SftRow:
    """One row of the SFT corpus: the question, and the whole response the model should learn
    (`rollouts.prompt.messages.response`)."""

    sample: Sample
    response: str


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be asked or graded."""

    # Line of the file, counted from 1; for a file that is one JSON list, the position in the list, counted from 1.
    line: int
    # Id of the row where it has one that can be read; "" otherwise.
    id: str
    reason: str


@dataclass(frozen=True)
class DataSplits:
    """One data set, ready for a run. No image of `eval` is in `sft` or `rl`; the two training parts may share images
    (Sec 3.2)."""

    sft: list[SftRow]
    rl: list[Sample]
    eval: list[Sample]
    bad_rows: list[BadRow] = field(default_factory=list)
    # What cleaning did -> how many rows it took away; told to the reader, no fault of anybody.
    notes: Mapping[str, int] = field(default_factory=dict)


class BadRows(ValueError):
    """Rows that cannot be used, all of them, told on one screen. Raised before anything starts."""

    def __init__(self, source: str, rows: Sequence[BadRow], list_path: str | None = None) -> None:
        self.source = source
        self.rows = tuple(rows)
        super().__init__(bad_rows_table(source, self.rows, list_path))


def bad_rows_table(source: str, rows: Sequence[BadRow], list_path: str | None = None, *, num_shown: int = 20) -> str:
    """The first `num_shown` bad rows as lines `line  id  reason`, how many more there are, and what to do."""
    width = max((len(row.id[:24]) for row in rows), default=0)
    shown = [f"  line {row.line:>6}  {row.id[:24]:<{width}}  {row.reason}" for row in rows[:num_shown]]
    more = [f"  and {len(rows) - num_shown} more"] if len(rows) > num_shown else []
    where = [f"  all of them are listed in {list_path}"] if list_path else []
    head = f"{source}: {len(rows)} row{'' if len(rows) == 1 else 's'} cannot be used"
    fix = "Correct these rows, or set data.on_bad_row=skip to go on without them (they are recorded)."
    return "\n".join([head, *shown, *more, *where, fix])


def refuse_bad_rows(data: DataConfig, rows: Sequence[BadRow]) -> None:
    """Stop before anything starts when a source has bad rows and `data.on_bad_row` is "raise"; all of them go into a
    file beside the data.

    Raises:
        BadRows: there are some, and they are not to be skipped.
    """
    if not rows or data.on_bad_row == "skip":
        return
    root = Path(str(data.root))
    beside = root if root.is_dir() else root.parent
    try:
        where = write_bad_rows(beside / "bad_rows.jsonl", rows)
    except OSError:  # the data may lie in a folder that cannot be written to
        where = write_bad_rows(Path(tempfile.mkdtemp(prefix="rounds-bad-rows-")) / "bad_rows.jsonl", rows)
    raise BadRows(f"data={data.name} data.root={data.root}", rows, str(where))


def write_bad_rows(path: Path, rows: Sequence[BadRow]) -> Path:
    """One JSON object a line: line, id, reason. Raises OSError."""
    path.write_text("".join(json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path
