"""Calls a reward and reads what it returned. It may not fail silently: an exception, None, NaN, another type or a list of the wrong length
becomes Outcomes with status "error" or "timeout", never a number, and the traceback stands in their evidence."""

from __future__ import annotations

import inspect
import math
import numbers
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from judges import Judge
from rewards import registry
from rewards.registry import Member, Reward, RewardError
from rollouts.records import Outcome, Sample

# Characters of a traceback that are kept: its end, which names the line that failed.
MAX_TRACEBACK = 4_000


@dataclass(frozen=True)
class BoundReward:
    """A reward with its arguments, ready to be called on one completion or, for a group-level reward, on all of a group."""

    reward: Reward
    judge: Judge | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def _call(self, sample: Sample, members: Sequence[Member]) -> Any:
        offered: dict[str, Any] = {"sample": sample, "judge": self.judge, "group": tuple(members)}
        if not self.reward.is_group:
            (member,) = members
            offered |= vars(member)
        if "num_tokens" in self.reward.supplied and offered["num_tokens"] is None:
            raise RewardError("the number of completion tokens is not known here, only the text is")
        assert self.reward.function is not None
        return self.reward.function(**{name: offered[name] for name in self.reward.supplied}, **self.arguments)

    def now(self, sample: Sample, members: Sequence[Member]) -> list[Outcome]:
        """One outcome a member, in order, of a reward that needs no waiting. A reward of one completion takes exactly one member."""
        began = time.perf_counter()
        try:
            result = self._call(sample, members)
        except Exception as error:  # the boundary to code of others: a failure of ours is no wrong answer of the model
            return [failed(error, time.perf_counter() - began)] * len(members)
        return self._read(result, len(members), time.perf_counter() - began)

    async def later(self, sample: Sample, members: Sequence[Member]) -> list[Outcome]:
        """The same of an asynchronous reward."""
        began = time.perf_counter()
        try:
            result = await self._call(sample, members)
        except Exception as error:  # the same boundary
            return [failed(error, time.perf_counter() - began)] * len(members)
        return self._read(result, len(members), time.perf_counter() - began)

    def _read(self, result: Any, num_members: int, seconds: float) -> list[Outcome]:
        if not self.reward.is_group:
            return [as_outcome(result, seconds)]
        return as_outcomes(result, num_members, seconds)


def bind(spec: str, arguments: Mapping[str, Any] | None = None, judge: Judge | None = None) -> BoundReward:
    """A reward with its arguments. Raises RewardError for unknown or missing arguments and for a judge that is needed and not there."""
    found, given = registry.find(spec), dict(arguments or {})
    unknown = sorted(set(given) - set(found.arguments))
    if unknown:
        raise RewardError(f"reward {spec!r} has no argument {unknown[0]!r}; it takes {sorted(found.arguments) or 'none'}")
    missing = [key for key, default in found.arguments.items() if default is inspect.Parameter.empty and key not in given]
    if missing:
        raise RewardError(f"reward {spec!r} needs the argument {missing[0]!r}")
    if "judge" in found.supplied and judge is None:
        raise RewardError(f"reward {spec!r} asks a judge and none is configured; use judge=rules or judge=openai")
    return BoundReward(found, judge, given)


def failed(error: BaseException, seconds: float = 0.0) -> Outcome:
    """The outcome of a reward that raised: kind, message and the line where, with the traceback as evidence."""
    where = traceback.extract_tb(error.__traceback__)
    place = f" ({where[-1].filename}:{where[-1].lineno})" if where else ""
    text = "".join(traceback.format_exception(error))[-MAX_TRACEBACK:] if where else ""
    reason = f"{type(error).__name__}: {error}"[:300] + place
    return Outcome(
        None,
        "timeout" if isinstance(error, TimeoutError) else "error",
        reason,
        evidence={"traceback": text} if text else None,
        seconds=seconds,
    )


def as_outcome(result: Any, seconds: float = 0.0) -> Outcome:
    """What a reward returned as an Outcome: a finite number is ok, everything else that is no Outcome is an error."""
    if isinstance(result, Outcome):
        wrong = {name: part for name, part in result.parts.items() if number(part) is None}
        if wrong:
            return Outcome(None, "error", f"the parts of an Outcome are finite numbers, got {str(wrong)[:60]}", seconds=seconds)
        return replace(result, seconds=result.seconds or seconds)
    value = number(result)
    if value is not None:
        return Outcome(value, seconds=seconds)
    if inspect.iscoroutine(result):
        result.close()
    said = f"{type(result).__name__} {str(result)[:60]!r}"
    return Outcome(None, "error", f"the reward returned {said}, expected a finite number or an Outcome", seconds=seconds)


def as_outcomes(result: Any, num_members: int, seconds: float = 0.0) -> list[Outcome]:
    """What a group-level reward returned: one entry a member. Anything else fails for all: one value is never spread over a group."""
    entries = result.tolist() if hasattr(result, "tolist") and getattr(result, "ndim", 0) == 1 else result
    if not isinstance(entries, (list, tuple)) or len(entries) != num_members:
        length = f" of {len(entries)}" if isinstance(entries, (list, tuple)) else f" {str(result)[:60]!r}"
        said = f"{type(result).__name__}{length}"
        reason = f"the reward returned a {said} for a group of {num_members}, expected a list with one number or Outcome a member"
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
