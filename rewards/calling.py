"""Calls a reward and reads what it returned. It may not fail silently: an exception, None, NaN, another type or a list
of the wrong length becomes Outcomes with status "error" or "timeout", never a number, and the traceback stands in their
evidence."""

from __future__ import annotations

import inspect
import math
import numbers
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from judges import Judge
from rewards.contract import SHIPPED_FOLDER, Member, Reward
from rollouts.records import Outcome, Sample

# Characters of a traceback that are kept: its end, which names the line that failed.
MAX_TRACEBACK = 4_000


@dataclass(frozen=True)
class BoundReward:
    """A reward with its arguments, ready to be called on one completion or, for a group-level reward, on all of a
    group."""

    reward: Reward
    judge: Judge | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def waits(self) -> bool:
        """Whether it has to be waited for: it is asynchronous, or lives in child processes."""
        return self.reward.is_async or self.reward.source is not None

    @property
    def takes_time(self) -> bool:
        """Whether its outcome comes later than those of rules: it has to be waited for, and not on a judge that answers
        at once."""
        instant = self.judge is not None and self.judge.is_instant and "judge" in self.reward.supplied
        return self.waits and (self.reward.source is not None or not instant)

    def _call(self, sample: Sample, members: Sequence[Member], group_key: str | None) -> Any:
        offered: dict[str, Any] = {
            "sample": sample,
            "judge": self.judge,
            "group": tuple(members),
            "group_key": group_key,
        }
        if not self.reward.is_group:
            (member,) = members
            offered |= vars(member)
        assert self.reward.function is not None
        return self.reward.function(**{name: offered[name] for name in self.reward.supplied}, **self.arguments)

    def now(self, sample: Sample, members: Sequence[Member], group_key: str | None = None) -> list[Outcome]:
        """One outcome a member, in order, of a reward that needs no waiting. A reward of one completion takes exactly
        one member.

        `group_key`: what a reward that asks for it passes on to the judge, so that the judgements of a group share one
        deadline.
        """
        began = time.perf_counter()
        try:
            result = self._call(sample, members, group_key)
        except Exception as error:  # the boundary to code of others: a failure of ours is no wrong answer of the model
            return [failure_of(error, time.perf_counter() - began)] * len(members)
        return self._read(result, len(members), time.perf_counter() - began)

    async def later(self, sample: Sample, members: Sequence[Member], group_key: str | None = None) -> list[Outcome]:
        """The same of an asynchronous reward."""
        began = time.perf_counter()
        try:
            result = await self._call(sample, members, group_key)
        except Exception as error:  # the same boundary
            return [failure_of(error, time.perf_counter() - began)] * len(members)
        return self._read(result, len(members), time.perf_counter() - began)

    def _read(self, result: Any, num_members: int, seconds: float) -> list[Outcome]:
        if not self.reward.is_group:
            return [as_outcome(result, seconds)]
        return as_outcomes(result, num_members, seconds)


def failure_of(error: BaseException, seconds: float = 0.0) -> Outcome:
    """The outcome of a reward that raised: kind, message and the line where; the traceback, from the reward's own code
    on, is evidence."""
    trace = error.__traceback__
    while (
        trace is not None
        and trace.tb_next is not None
        and SHIPPED_FOLDER in Path(trace.tb_frame.f_code.co_filename).parents
    ):
        trace = trace.tb_next
    where = traceback.extract_tb(trace)
    place = f" ({where[-1].filename}:{where[-1].lineno})" if where else ""
    text = "".join(traceback.format_exception(type(error), error, trace))[-MAX_TRACEBACK:]
    status: Literal["timeout", "error"] = "timeout" if isinstance(error, TimeoutError) else "error"
    evidence = {"traceback": text} if where else None
    return Outcome(None, status, f"{type(error).__name__}: {error}"[:300] + place, evidence=evidence, seconds=seconds)


def as_outcome(result: Any, seconds: float = 0.0) -> Outcome:
    """What a reward returned as an Outcome: a finite number is ok, everything else that is no Outcome is an error."""
    if isinstance(result, Outcome):
        parts = {str(name): finite for name, part in result.parts.items() if (finite := number(part)) is not None}
        if len(parts) < len(result.parts):
            odd = {name: part for name, part in result.parts.items() if number(part) is None}
            return Outcome(
                None, "error", f"the parts of an Outcome are finite numbers, got {str(odd)[:60]}", seconds=seconds
            )
        return replace(result, parts=parts, seconds=result.seconds or seconds)
    value = number(result)
    if value is not None:
        return Outcome(value, seconds=seconds)
    if inspect.iscoroutine(result):
        result.close()
    text = f"{type(result).__name__} {str(result)[:60]!r}"
    return Outcome(
        None, "error", f"the reward returned {text}, expected a finite number or an Outcome", seconds=seconds
    )


def as_outcomes(result: Any, num_members: int, seconds: float = 0.0) -> list[Outcome]:
    """What a group-level reward returned: one entry a member. Anything else fails for all: one value is never spread
    over a group."""
    entries = result.tolist() if hasattr(result, "tolist") and getattr(result, "ndim", 0) == 1 else result
    if not isinstance(entries, (list, tuple)) or len(entries) != num_members:
        length = f" of {len(entries)}" if isinstance(entries, (list, tuple)) else f" {str(result)[:60]!r}"
        text = f"{type(result).__name__}{length}"
        reason = (
            f"the reward returned a {text} for a group of {num_members}, expected a list with one number or Outcome a"
            " member"
        )
        return [Outcome(None, "error", reason, seconds=seconds)] * num_members
    return [as_outcome(entry, seconds / num_members) for entry in entries]


def number(value: Any) -> float | None:
    """A finite real number, a NumPy or torch scalar included; None for anything else."""
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        value = value.item()
    try:
        return float(value) if isinstance(value, numbers.Real) and math.isfinite(value) else None
    except OverflowError:  # an integer beyond the largest float
        return None
