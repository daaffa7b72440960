"""A reward function that was written for TRL as a reward of this project: `weights: {"trl:path/to/file.py:function":
1.0}`."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from rewards.contract import Member, RewardError
from rollouts.records import Outcome, Sample

# What TRL hands to reward functions and a stored group does not have.
NEVER_THERE = frozenset({"completion_ids", "environments"})
COLUMNS = {"solution": "gold_text", "answer": "gold_text", "ground_truth": "gold_text"}


def from_trl(function: Callable[..., Any]) -> Callable[..., Any]:
    """A reward function of TRL as a group-level reward of this project; `trl:FILE:FUNCTION` in a configuration does
    this.

    It gets prompts, completions and columns as lists, one entry a member: every field of `Sample`, its tags,
    `solution`, `answer` and `ground_truth` (the gold text), and what the argument `columns` maps to a field
    (`gold_letter` is the single letter). The argument `conversational`: completions are message lists (TRL's form for
    chat data), or plain texts. None becomes an abstention, NaN an error. Raises RewardError for a function that asks
    for what is never there.
    """
    parameters = inspect.signature(function).parameters.values()
    if missing := sorted(p.name for p in parameters if p.name in NEVER_THERE and p.default is p.empty):
        raise RewardError(f"the TRL reward {_name(function)!r} asks for {missing[0]}, which is not known here")
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters)
    names = {p.name for p in parameters}

    def offered(
        group: Sequence[Member], sample: Sample, conversational: bool, columns: Mapping[str, str] | None
    ) -> dict[str, Any]:
        everything = _columns(group, sample, conversational, columns or {})
        given = everything if open_ended else {name: value for name, value in everything.items() if name in names}
        lacking = [
            p.name
            for p in parameters
            if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD and p.name not in given
        ]
        if lacking:
            raise RewardError(
                f"the TRL reward {_name(function)!r} needs the column {lacking[0]!r}; map it with the argument columns"
            )
        return given

    async def asynchronous(
        group: Sequence[Member], sample: Sample, conversational: bool = True, columns: Mapping[str, str] | None = None
    ) -> Any:
        return _results(await function(**offered(group, sample, conversational, columns)))

    def synchronous(
        group: Sequence[Member], sample: Sample, conversational: bool = True, columns: Mapping[str, str] | None = None
    ) -> Any:
        return _results(function(**offered(group, sample, conversational, columns)))

    calls = function if inspect.isfunction(function) else getattr(function, "__call__", function)  # noqa: B004
    return asynchronous if inspect.iscoroutinefunction(calls) else synchronous


def _columns(
    group: Sequence[Member], sample: Sample, conversational: bool, columns: Mapping[str, str]
) -> dict[str, Any]:
    values = {field.name: getattr(sample, field.name) for field in fields(Sample)}
    values["gold_letter"] = sample.gold_letters[0] if sample.gold_letters and len(sample.gold_letters) == 1 else None
    if unknown := sorted(set(columns.values()) - set(values)):
        raise RewardError(f"columns name the field {unknown[0]!r}; there are {sorted(values)}")
    row = {**sample.tags, **values, **{name: values[field] for name, field in {**COLUMNS, **columns}.items()}}
    texts = [member.completion for member in group]
    repeated: dict[str, Any] = {name: [value] * len(group) for name, value in row.items()}
    prompt = [{"role": "user", "content": sample.question}] if conversational else sample.question
    spoken = [[{"role": "assistant", "content": text}] for text in texts] if conversational else texts
    nothing = {"trainer_state": None, "log_extra": lambda column, entries: None, "log_metric": lambda name, value: None}
    return {**repeated, **nothing, "prompts": [prompt] * len(group), "completions": spoken}


def _results(returned: Any) -> Any:
    if not isinstance(returned, (list, tuple)):
        return returned  # the caller says what it is and what was expected
    none = Outcome(None, "abstain", "the TRL reward returned None")
    nan = Outcome(None, "error", "the TRL reward returned NaN")
    return [none if one is None else nan if isinstance(one, float) and math.isnan(one) else one for one in returned]


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", type(function).__name__)
