"""Which completions a replay scores again: filters such as `step=10..20`, `modality=CT,radiograph`, `status=error`,
`reward=..0.5`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from rollouts.nearest import did_you_mean
from rollouts.store.codec import Row
from rollouts.store.layout import StepFiles, StoreError
from rollouts.store.reader import Problem, chosen_steps, read_table

_COLUMNS = ("step", "prompt_id", "modality", "answer_type", "outcomes", "total")


class ReplayError(ValueError):
    """A replay that cannot be done as it was asked for: what was got, what was expected, how to mend it."""


class Filter(NamedTuple):
    """One --only; a completion passes when `keeps` holds for its row."""

    text: str
    keeps: Callable[[Row], bool]


@dataclass
class ChosenStep:
    """What is scored again of one stored step."""

    files: StepFiles
    # Prompts whose groups are scored; None = all of the step.
    prompt_ids: frozenset[str] | None
    num_completions: int


@dataclass
class Choice:
    """What is scored again of a run, and what was seen while looking."""

    steps: list[ChosenStep] = field(default_factory=list)
    # Completions that pass the filters; their whole groups are scored, because an advantage is relative to its group.
    num_passing: int = 0
    answer_types: set[str] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)

    @property
    def num_completions(self) -> int:
        return sum(one.num_completions for one in self.steps)


def _words(name: str) -> Callable[[str], Callable[[Row], bool]]:
    def read(values: str) -> Callable[[Row], bool]:
        wanted = frozenset(values.split(","))
        return lambda row: row[name] in wanted

    return read


def _statuses(values: str) -> Callable[[Row], bool]:
    wanted = frozenset(values.split(","))
    if unknown := sorted(wanted - {"ok", "abstain", "error", "timeout"}):
        raise ReplayError(
            f"--only status={values}: there is no status {unknown[0]!r}, expected ok, abstain, error or timeout"
        )
    return lambda row: any(outcome["status"] in wanted for outcome in row["outcomes"])


def _numbers(name: str, column: str) -> Callable[[str], Callable[[Row], bool]]:
    def bound(text: str, missing: float) -> float:
        try:
            return float(text) if text else missing
        except ValueError:
            raise ReplayError(
                f"--only {name}={text}: expected a number or a range such as {name}=2..5 (both ends included)"
            ) from None

    def read(values: str) -> Callable[[Row], bool]:
        ranges = []
        for part in values.split(","):
            low, dots, high = part.partition("..")
            ranges.append((bound(low, -math.inf), bound(high, math.inf) if dots else bound(low, math.inf)))
            if ranges[-1][0] > ranges[-1][1] or not part:
                raise ReplayError(
                    f"--only {name}={values}: {part!r} is no range, expected {name}=LOW..HIGH with LOW at most HIGH"
                )
        return lambda row: row[column] is not None and any(low <= row[column] <= high for low, high in ranges)

    return read


_FILTERS: dict[str, Callable[[str], Callable[[Row], bool]]] = {
    "step": _numbers("step", "step"),
    "modality": _words("modality"),
    "answer_type": _words("answer_type"),
    "status": _statuses,
    "reward": _numbers("reward", "total"),
}


def read_filter(text: str) -> Filter:
    """The filter that `NAME=VALUE[,VALUE..]` means. Raises ReplayError for an unknown name, with the nearest, and for
    values that cannot be read."""
    name, equals, values = text.partition("=")
    if name not in _FILTERS:
        hint = did_you_mean(name, _FILTERS, ".")
        raise ReplayError(f"--only {text}: there is no filter {name!r}{hint} There are {', '.join(_FILTERS)}.")
    if not equals or not values:
        raise ReplayError(f"--only {text}: expected {name}=VALUE or {name}=VALUE,VALUE")
    return Filter(text, _FILTERS[name](values))


def choose(run_dir: Path, filters: Sequence[Filter], *, whole_steps: bool = False) -> Choice:
    """The groups with a completion that passes all filters. `whole_steps`: where the groups of a step share a
    statistic, take all of them.

    A step that cannot be read is a problem of the choice, not an error. Raises NotARun, and ReplayError where nothing
    passes.
    """
    choice, seen = Choice(), {name: Counter[str]() for name in ("modality", "answer_type", "status")}
    for files in chosen_steps(run_dir, None):
        try:
            rows = read_table(files, _COLUMNS).to_pylist()
        except StoreError as error:
            choice.problems.append(Problem(files.step, str(error)))
            continue
        passing = [row for row in rows if all(one.keeps(row) for one in filters)]
        _see(rows, seen)
        if not passing:
            continue
        prompt_ids = frozenset(row["prompt_id"] for row in (rows if whole_steps else passing))
        members = [row for row in rows if row["prompt_id"] in prompt_ids]
        choice.steps.append(ChosenStep(files, None if len(members) == len(rows) else prompt_ids, len(members)))
        choice.num_passing += len(passing)
        choice.answer_types |= {row["answer_type"] for row in members}
    if not choice.steps:
        raise ReplayError(_nothing(run_dir, filters, choice.problems, seen))
    return choice


def _see(rows: Iterable[Row], seen: dict[str, Counter[Any]]) -> None:
    for row in rows:
        seen["modality"][row["modality"]] += 1
        seen["answer_type"][row["answer_type"]] += 1
        seen["status"].update(outcome["status"] for outcome in row["outcomes"])


def _nothing(
    run_dir: Path, filters: Sequence[Filter], problems: Sequence[Problem], seen: dict[str, Counter[str]]
) -> str:
    if filters and seen["status"]:
        there = "; ".join(
            f"{name}: {', '.join(f'{value} ({n})' for value, n in counts.most_common())}"
            for name, counts in seen.items()
        )
        return (
            f"no completion of {run_dir} passes --only {' --only '.join(one.text for one in filters)}. There are"
            f" {there}."
        )
    lines = [f"  {problem.text}" for problem in problems[:5]]
    return "\n".join(
        [f"no completion of {run_dir} can be read:" if lines else f"{run_dir} holds no completion yet", *lines]
    )
