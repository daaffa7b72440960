"""Grades the log of another trainer with a reward of ours, and tells where the two pay differently.

A log has rows of JSON lines or of a Parquet file, such as the dumps of verl (`trainer.rollout_data_dir`) and TRL
(`log_completions`): the question (or prompt), the completion, the options, the right answer, and what the other trainer
paid. Nothing in it is believed but that: the completion is read and paid as in a run of ours.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from rewards.adapters.one_reward import ANSWER_NAMES, Group, OneReward
from rewards.adapters.trl import completion_text, prompt_text
from rewards.contract import RewardError
from rollouts.records import BadSample, Outcome, Sample
from rollouts.texts.reading import TextFault, decode, file_lines, parse_object, quote

# Names under which trainers log the same thing; the first that is there counts.
QUESTIONS = ("question", "prompt", "problem", "query", "input")
COMPLETIONS = ("completion", "response", "output", "generation", "prediction")
GOLDS = (*ANSWER_NAMES, "gold", "target", "label", "gts")
OPTIONS = ("options", "choices")
REWARDS = ("reward", "rewards", "score", "scores")
# Amounts that differ by less are the same: logs round.
SAME = 1e-4


class LogRow(NamedTuple):
    """One completion of the log, and what was paid for it there."""

    line: int
    sample: Sample
    completion: str
    finish_reason: str
    amount: float


@dataclass(frozen=True)
class Difference:
    """A completion that is paid differently here; `here` None = the reward has no value, and `reason` says why."""

    line: int
    there: float
    here: float | None
    reason: str
    gold: str
    completion: str


@dataclass(frozen=True)
class Comparison:
    """What grading a log gave: `num_rows` graded, of which `num_same` are paid the same."""

    reward: str
    num_rows: int
    num_same: int
    # (paid there, paid here) -> how many, the most frequent first; here None = no value.
    pairs: list[tuple[float, float | None, int]]
    differences: list[Difference]
    # "line 3: reason" of each line that could not be graded.
    unread: list[str]

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return dataclasses.asdict(self)


def read_log(path: str, one: OneReward, paid: str | None) -> tuple[list[LogRow], list[str]]:
    """The rows of a log, and "line N: reason" of those that cannot be used.

    `paid`: the name of the reward in the log that `one` is compared with; None = the only one there is. Raises
    RewardError where the file cannot be opened or holds no row that can be graded.
    """
    rows: list[LogRow] = []
    unread: list[str] = []
    for number, raw in _raw_rows(path):
        try:
            rows.append(_row(number, parse_object(decode(raw)) if isinstance(raw, bytes) else raw, one, paid))
        except (TextFault, BadSample, RewardError) as error:
            unread.append(f"line {number}: {error}")
    if not rows:
        first = unread[0] if unread else "it is empty"
        raise RewardError(f"--log {path} holds no row that can be graded: {first}")
    return rows, unread


def _raw_rows(path: str) -> list[tuple[int, Any]]:
    """Number and content of each row: bytes of a line, or the fields of a row of a table."""
    try:
        if Path(path).suffix == ".parquet":
            import pyarrow.parquet as pq  # here, because a log of lines needs none

            return list(enumerate(pq.read_table(path).to_pylist(), start=1))
        return list(file_lines(Path(path)))
    except (OSError, ValueError) as error:
        raise RewardError(f"--log {path}: {error}; expected a file of JSON lines, or FILE.parquet") from error


def _row(number: int, row: Mapping[str, Any], one: OneReward, paid: str | None) -> LogRow:
    question = prompt_text(_field(row, QUESTIONS, "the question"))
    known: dict[str, Any] = {**row, "answer": _field(row, GOLDS, "the right answer"), "question": question}
    if "options" not in row and "choices" in row:
        known["options"] = row["choices"]
    return LogRow(
        number,
        one.sample(known, source="log"),
        completion_text(_field(row, COMPLETIONS, "the completion")),
        str(row.get("finish_reason") or "stop"),
        _amount_of(row, paid),
    )


def _field(row: Mapping[str, Any], names: Sequence[str], what: str) -> Any:
    for name in names:
        if row.get(name) is not None:
            return row[name]
    raise RewardError(f"{what} is missing: expected a field {', '.join(names)}, got {sorted(row)}")


def _amount_of(row: Mapping[str, Any], name: str | None) -> float:
    """What the row says was paid under this name: a field of its own, or an entry of `rewards`."""
    if name is not None and name in row:
        value = row[name]
    else:
        value = _field(row, REWARDS, "what was paid")
        if isinstance(value, Mapping):
            if name is None and len(value) != 1:
                raise RewardError(f"the row was paid for {sorted(value)}: say which with --paid NAME")
            if name is not None and name not in value:
                raise RewardError(f"nothing was paid for {name!r}, only for {sorted(value)}")
            value = value[name] if name is not None else next(iter(value.values()))
        elif name is not None:
            raise RewardError(f"there is no field {name!r}; the row has {sorted(row)}")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise RewardError(f"what was paid is {quote(value)}, expected a number")
    return float(value)


def compare(one: OneReward, rows: Sequence[LogRow], unread: Sequence[str]) -> Comparison:
    """Grade the rows and set what is paid here beside what was paid there. Raises RewardError for a reward that
    compares a group, since a log does not say which rows are one."""
    if one.is_group:
        raise RewardError(f"reward {one.name!r} compares the completions of a group, which a log does not tell")
    outcomes = one.score([Group(row.sample, [row.completion], finish_reasons=[row.finish_reason]) for row in rows])
    pairs: Counter[tuple[float, float | None]] = Counter()
    differences = []
    for row, outcome in zip(rows, outcomes, strict=True):
        pairs[(row.amount, outcome.value)] += 1
        if outcome.value is None or abs(outcome.value - row.amount) > SAME:
            differences.append(_difference(row, outcome))
    table = [(there, here, count) for (there, here), count in pairs.most_common()]
    return Comparison(one.name, len(rows), len(rows) - len(differences), table, differences, list(unread))


def _difference(row: LogRow, outcome: Outcome) -> Difference:
    reason = outcome.reason if outcome.status == "ok" else f"{outcome.status}: {outcome.reason}"
    return Difference(row.line, row.amount, outcome.value, reason, row.sample.gold_text, row.completion)
