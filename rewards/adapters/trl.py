"""Rewards both ways between this project and TRL; nothing of TRL is imported.

    from rewards.adapters.trl import as_trl_reward
    GRPOTrainer(..., reward_funcs=[as_trl_reward("format"), as_trl_reward("option_match")])

and in a configuration here `weights: {"trl:path/to/file.py:function": 1.0}` for a reward function that was written for TRL.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from judges import Judge
from rewards.adapters.one_reward import Group, OneReward
from rewards.contract import Member, RewardError
from rollouts.records import Outcome, Sample

# What TRL hands to reward functions and a stored group does not have.
NEVER_THERE = frozenset({"completion_ids", "environments"})
COLUMNS = {"solution": "gold_text", "answer": "gold_text", "ground_truth": "gold_text"}


class TrlReward:
    """A reward of this project as a reward function of TRL; made by `as_trl_reward`."""

    def __init__(self, one: OneReward, num_generations: int | None) -> None:
        if one.is_group and not num_generations:
            raise RewardError(f"reward {one.name!r} compares the completions of a group: give num_generations, as in GRPOConfig")
        self.one = one
        self.num_generations = num_generations or 1
        self.__name__ = one.name  # what TRL logs it under

    def __call__(self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float | None]:
        """One value a completion; None where there is none (error, timeout, abstain), which TRL leaves out."""
        size = self.num_generations
        if len(completions) % size:
            raise RewardError(f"{len(completions)} completions are no whole groups of num_generations={size}")
        groups: list[Group] = []
        for start in range(0, len(completions), size):
            here = slice(start, start + size)
            if any(prompt != prompts[start] for prompt in prompts[here]):
                raise RewardError(
                    f"rows {start} to {start + size - 1} are not one prompt: is num_generations={size} GRPOConfig's?"
                )
            row = {name: values[start] for name, values in columns.items() if _is_column(values, len(completions))}
            sample = self.one.sample(row, question=_asked(prompts[start]))
            ids = columns.get("completion_ids")
            num_tokens = [len(one) for one in ids[here]] if ids is not None else None
            groups.append(Group(sample, [_said(completion) for completion in completions[here]], num_tokens))
        outcomes = self.one.score(groups)
        self._log(outcomes, columns)
        return [outcome.value for outcome in outcomes]

    def _log(self, outcomes: Sequence[Outcome], columns: Mapping[str, Any]) -> None:
        if log_extra := columns.get("log_extra"):
            log_extra(f"{self.one.name} reason", [f"{outcome.status}: {outcome.reason}" for outcome in outcomes])
        if log_metric := columns.get("log_metric"):
            for status in ("ok", "abstain", "error", "timeout"):
                share = sum(outcome.status == status for outcome in outcomes) / len(outcomes)
                log_metric(f"reward_status/{self.one.name}/{status}", share)


def as_trl_reward(
    spec: str,
    *,
    judge: Judge | None = None,
    num_generations: int | None = None,
    prefill: str = "",
    label_free: bool = False,
    timeout_seconds: float = 900.0,
    **arguments: Any,
) -> TrlReward:
    """A reward of this project for `GRPOTrainer(reward_funcs=..)`: called with prompts, completions (texts or messages) and columns.

    The columns `question`, `answer` (or `solution`, `ground_truth`), `options`, `answer_type`, `boxes` and so on make the sample, as in
    `data=jsonl`; others are left alone. `num_generations`: needed for rewards that compare a group, whose rows TRL keeps together. A failure is None
    and never a number; TRL counts a None as no reward, so with several reward functions the others still pay such a completion. Raises RewardError.
    """
    one = OneReward(spec, arguments, judge, prefill=prefill, label_free=label_free, timeout_seconds=timeout_seconds)
    return TrlReward(one, num_generations)


def from_trl(function: Callable[..., Any]) -> Callable[..., Any]:
    """A reward function of TRL as a group-level reward of this project; `trl:FILE:FUNCTION` in a configuration does this.

    It gets prompts, completions and columns as lists, one entry a member: every field of `Sample`, its tags, `solution`, `answer` and
    `ground_truth` (the gold text), and what the argument `columns` maps to a field (`gold_letter` is the single letter). The argument
    `conversational`: completions are message lists (TRL's form for chat data), or plain texts. None becomes an abstention, NaN an error.
    Raises RewardError for a function that asks for what is never there.
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
            p.name for p in parameters if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD and p.name not in given
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


def _columns(group: Sequence[Member], sample: Sample, conversational: bool, columns: Mapping[str, str]) -> dict[str, Any]:
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


def _is_column(values: Any, num_rows: int) -> bool:
    return isinstance(values, (list, tuple)) and len(values) == num_rows


def _asked(prompt: Any) -> str:
    """The text of the last message of a user, or the prompt itself."""
    if isinstance(prompt, str):
        return prompt
    spoken = [message for message in prompt if message.get("role") == "user"] or list(prompt)
    return _text(spoken[-1].get("content")) if spoken else ""


def _said(completion: Any) -> str:
    """The text of the last message of the assistant, or the completion itself."""
    if isinstance(completion, str):
        return completion
    spoken = [message for message in completion if message.get("role", "assistant") == "assistant"]
    return _text(spoken[-1].get("content")) if spoken else ""


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "".join(part.get("text") or "" for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", type(function).__name__)
