"""The one registry of rewards: `@reward("name")` on a function, found by name, called by what its parameters are called.

A reward asks for what it needs by naming it as a parameter: `parsed` (Parsed), `sample` (Sample), `completion` (str, the raw text), `judge`
(Judge). Any further parameter is an argument of the reward and comes from the configuration or its default. It returns a number or an Outcome,
at once or as a coroutine. What it may not do is fail silently: an exception, None, NaN or another type becomes an Outcome with status "error",
never a number.
"""

from __future__ import annotations

import difflib
import inspect
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from judges import Judge
from rollouts.records import Outcome, Parsed, Sample

SUPPLIED = frozenset({"parsed", "sample", "completion", "judge"})


class RewardError(ValueError):
    """A reward or a rubric that cannot work; found before the first rollout."""


@dataclass(frozen=True)
class Reward:
    """A registered reward."""

    name: str
    function: Callable[..., Any]
    # Parameters it takes beside the supplied ones -> default; inspect.Parameter.empty = must be given.
    arguments: Mapping[str, Any]
    supplied: frozenset[str]
    # Two completions of one sample with the same answer get the same outcome: asked once per group.
    by_answer: bool = False

    @property
    def is_async(self) -> bool:
        return inspect.iscoroutinefunction(self.function)


_REGISTRY: dict[str, Reward] = {}


def reward(name: str, *, by_answer: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function as the reward `name`. Raises RewardError for a second one of that name, naming both homes."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        if name in _REGISTRY and _home(_REGISTRY[name].function) != _home(function):
            raise RewardError(
                f"two rewards are named {name!r}: {_home(_REGISTRY[name].function)} and {_home(function)}. Rename one."
            )
        parameters = inspect.signature(function).parameters.values()
        if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD, p.POSITIONAL_ONLY) for p in parameters):
            raise RewardError(f"reward {name!r} takes *args, **kwargs or positional-only parameters; name each parameter instead")
        arguments = {p.name: p.default for p in parameters if p.name not in SUPPLIED}
        supplied = frozenset(p.name for p in parameters if p.name in SUPPLIED)
        _REGISTRY[name] = Reward(name, function, arguments, supplied, by_answer)
        return function

    return register


def names() -> tuple[str, ...]:
    """The registered names, sorted."""
    return tuple(sorted(_REGISTRY))


def get(name: str) -> Reward:
    """The reward of that name. Raises RewardError with the nearest and all available names."""
    if name not in _REGISTRY:
        near = difflib.get_close_matches(name, names(), 1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise RewardError(f"there is no reward named {name!r}.{hint} Available: {', '.join(names())}")
    return _REGISTRY[name]


@dataclass(frozen=True)
class BoundReward:
    """A reward with its arguments, ready to be called."""

    reward: Reward
    judge: Judge | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def _call(self, parsed: Parsed, sample: Sample, completion: str) -> Any:
        offered = {"parsed": parsed, "sample": sample, "completion": completion, "judge": self.judge}
        return self.reward.function(**{name: offered[name] for name in self.reward.supplied}, **self.arguments)

    def now(self, parsed: Parsed, sample: Sample, completion: str) -> Outcome:
        """The outcome of a reward that needs no waiting."""
        began = time.perf_counter()
        try:
            result = self._call(parsed, sample, completion)
        except Exception as error:  # the boundary to code of others: a failure of ours is no wrong answer of the model
            result = failed(error)
        return as_outcome(result, time.perf_counter() - began)

    async def later(self, parsed: Parsed, sample: Sample, completion: str) -> Outcome:
        """The outcome of an asynchronous reward."""
        began = time.perf_counter()
        try:
            result = await self._call(parsed, sample, completion)
        except Exception as error:  # the same boundary
            result = failed(error)
        return as_outcome(result, time.perf_counter() - began)


def bind(name: str, arguments: Mapping[str, Any] | None = None, judge: Judge | None = None) -> BoundReward:
    """A reward with its arguments. Raises RewardError for unknown or missing arguments and for a judge that is needed and not there."""
    found, given = get(name), dict(arguments or {})
    unknown = sorted(set(given) - set(found.arguments))
    if unknown:
        raise RewardError(f"reward {name!r} has no argument {unknown[0]!r}; it takes {sorted(found.arguments) or 'none'}")
    missing = [key for key, default in found.arguments.items() if default is inspect.Parameter.empty and key not in given]
    if missing:
        raise RewardError(f"reward {name!r} needs the argument {missing[0]!r}")
    if "judge" in found.supplied and judge is None:
        raise RewardError(f"reward {name!r} asks a judge and none is configured; use judge=rules or judge=openai")
    return BoundReward(found, judge, given)


def failed(error: BaseException) -> Outcome:
    """The outcome of a reward that raised."""
    status = "timeout" if isinstance(error, TimeoutError) else "error"
    return Outcome(None, "timeout" if status == "timeout" else "error", f"{type(error).__name__}: {error}"[:300])


def as_outcome(result: Any, seconds: float = 0.0) -> Outcome:
    """What a reward returned as an Outcome: a finite number is ok, everything else that is no Outcome is an error."""
    if isinstance(result, Outcome):
        return Outcome(**{**vars(result), "seconds": result.seconds or seconds})
    if isinstance(result, (int, float)) and math.isfinite(result):
        return Outcome(float(result), seconds=seconds)
    if inspect.iscoroutine(result):
        result.close()
    return Outcome(
        None,
        "error",
        f"the reward returned {type(result).__name__} {str(result)[:60]!r}, expected a finite number or an Outcome",
        seconds=seconds,
    )


def _home(function: Callable[..., Any]) -> str:
    return f"{inspect.getsourcefile(function) or function.__module__}:{function.__qualname__}"
