"""Which completions a replay scores again: those that a search finds (rollouts/page/query.py), with their groups."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rollouts.page.index import Index
from rollouts.page.listing import counts, find_groups
from rollouts.store.layout import StepFiles, StoreError
from rollouts.store.reader import Problem, choose_steps, read_table

_COLUMNS = ("prompt_id", "answer_type")


class ReplayError(ValueError):
    """A replay that cannot be done as it was asked for: what was got, what was expected, how to mend it."""


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
    # Completions that are found; their whole groups are scored, because an advantage is relative to its group.
    num_passing: int = 0
    answer_types: set[str] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)

    @property
    def num_completions(self) -> int:
        return sum(one.num_completions for one in self.steps)


def choose(run_dir: Path, only: Sequence[str], *, whole_steps: bool = False) -> Choice:
    """The groups with a completion that all searches of `only` find; none = all groups. `whole_steps`: where the groups
    of a step share a statistic, take all of them.

    A step that cannot be read is a problem of the choice, not an error. Raises NotARun, BadQuery for a search that
    cannot be read, and ReplayError where nothing is found.
    """
    passing, there = _search(run_dir, " ".join(only)) if only else (None, "")
    choice = Choice()
    for files in choose_steps(run_dir, None):
        try:
            rows = read_table(files, _COLUMNS).to_pylist()
        except StoreError as error:
            choice.problems.append(Problem(files.step, str(error)))
            continue
        prompts = {row["prompt_id"] for row in rows if passing is None or (files.step, row["prompt_id"]) in passing}
        if not prompts:
            continue
        members = rows if whole_steps else [row for row in rows if row["prompt_id"] in prompts]
        prompt_ids = None if len(members) == len(rows) else frozenset(prompts)
        choice.steps.append(ChosenStep(files, prompt_ids, len(members)))
        choice.num_passing += len(rows) if passing is None else sum(passing[files.step, prompt] for prompt in prompts)
        choice.answer_types |= {row["answer_type"] for row in members}
    if not choice.steps:
        lines = [f"  {problem.text}" for problem in choice.problems[:5]]
        nothing = (
            f"no completion of {run_dir} passes --only {' --only '.join(only)}. There are {there}."
            if there
            else (f"no completion of {run_dir} can be read:" if lines else f"{run_dir} holds no completion yet")
        )
        raise ReplayError("\n".join([nothing, *lines]))
    return choice


def _search(run_dir: Path, text: str) -> tuple[dict[tuple[int, str], int], str]:
    """(step, prompt id) -> completions found; and what there is to be found, in words ("" = nothing)."""
    index = Index([run_dir])
    try:
        index.refresh()
        passing = find_groups(index, text)
        known = counts(index)
    finally:
        index.close()
    facets = {name: {one["value"]: one["num"] for one in known["facets"][name]} for name in ("modality", "type")}
    statuses: Counter[str] = Counter()
    for by_status in known["statuses"].values():
        statuses.update(by_status)
    words = {name: ", ".join(f"{value} ({num})" for value, num in values.items()) for name, values in facets.items()}
    words["status"] = ", ".join(f"{value} ({num})" for value, num in statuses.most_common())
    return passing, "; ".join(f"{name}: {text}" for name, text in words.items()) if statuses else ""
