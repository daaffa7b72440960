"""What every source of data gives: rows for SFT, the RL set, held-out items and a list of the rows that could not be
used.

A source is a module with `load(data: DataConfig) -> DataSplits` whose `rl` is the whole training pool;
`rl/data/load.py` draws the RL set.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from rl.config import DataConfig
from rollouts.records import Sample
from rollouts.texts.reading import shorten

# Characters of a reason on the screen, and in the file of all bad rows.
_MOST_SHOWN, _MOST_WRITTEN = 300, 2_000


@dataclass(frozen=True)
class SftRow:
    """One row of the SFT corpus: the question, and the whole response the model should learn
    (`rollouts.prompt.messages.response`)."""

    sample: Sample
    response: str


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be asked or graded."""

    # Line of the file, counted from 1; for a file that is one JSON list, the position in the list, counted from 1; None
    # = the fault was seen after the file was read, and the id says which row it is.
    line: int | None
    # Id of the row where it has one that can be read; "" otherwise.
    id: str
    # Any text: where it is printed and written it is cut and made printable.
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


class UnusableData(ValueError):
    """What `data.root` and the other settings of `data` name cannot make a run; the message says what to change. Raised
    before anything starts."""


class BadRows(UnusableData):
    """Rows that cannot be used, all of them, told on one screen. Raised before anything starts."""

    def __init__(self, source: str, rows: Sequence[BadRow], list_path: str | None = None, hint: str = "") -> None:
        self.source = source
        self.rows = tuple(rows)
        super().__init__(bad_rows_table(source, self.rows, list_path, hint))


def bad_rows_table(
    source: str, rows: Sequence[BadRow], list_path: str | None = None, hint: str = "", *, num_shown: int = 20
) -> str:
    """The first `num_shown` bad rows as lines `line  id  reason`, how many more there are, and what to do."""
    lines = [("" if row.line is None else f"line {row.line:>6}", shorten(row.id[:24]), row) for row in rows[:num_shown]]
    width = max((len(name) for _, name, _ in lines), default=0)
    shown = [f"  {line:<11}  {name:<{width}}  {shorten(row.reason, _MOST_SHOWN)}" for line, name, row in lines]
    more = [f"  and {len(rows) - num_shown} more"] if len(rows) > num_shown else []
    where = [f"  all of them are listed in {list_path}"] if list_path else []
    head = f"{source}: {len(rows)} row{'' if len(rows) == 1 else 's'} cannot be used"
    fix = "Correct these rows, or set data.on_bad_row=skip to go on without them (they are recorded)."
    return "\n".join([head, *shown, *more, *where, fix, *([hint] if hint else [])])


def refuse_bad_rows(data: DataConfig, rows: Sequence[BadRow], hint: str = "") -> None:
    """Stop before anything starts when a source has bad rows and `data.on_bad_row` is "raise"; all of them go into a
    file beside the data. `hint`: a setting that would mend them, beside those that always would.

    Raises:
        BadRows: there are some, and they are not to be skipped.
    """
    if not rows or data.on_bad_row == "skip":
        return
    root = Path(str(data.root))
    beside = root if root.is_dir() else root.parent
    try:
        if data.root is None or not beside.is_dir():  # made-up data, and data from the Hub, lie in no folder
            raise FileNotFoundError
        where = write_bad_rows(beside / "bad_rows.jsonl", rows)
    except OSError:  # the data may lie in a folder that cannot be written to
        where = write_bad_rows(Path(tempfile.mkdtemp(prefix="rounds-bad-rows-")) / "bad_rows.jsonl", rows)
    raise BadRows(f"data={data.name} data.root={data.root}", rows, str(where), hint)


def write_bad_rows(path: Path, rows: Sequence[BadRow]) -> Path:
    """One JSON object a line: line, id, reason, cut and made printable: a bad row of any size and with any character
    must not break the report of bad rows. Raises OSError."""
    kept = (replace(row, id=shorten(row.id, _MOST_WRITTEN), reason=shorten(row.reason, _MOST_WRITTEN)) for row in rows)
    path.write_text("".join(json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in kept), encoding="utf-8")
    return path


def repeated_ids(named: Sequence[tuple[int | None, Sample]]) -> list[BadRow]:
    """The rows, given as line and sample, whose id an earlier one has: two of one id would share their rollouts."""
    first: dict[str, int | None] = {}
    bad = []
    for line, sample in named:
        if sample.id in first:
            where = "another row" if first[sample.id] is None else f"line {first[sample.id]}"
            bad.append(BadRow(line, sample.id, f"the id is taken by {where}"))
        first.setdefault(sample.id, line)
    return bad
