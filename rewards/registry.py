"""The one registry of rewards: `@reward("name")` on a function, found by name, called by what its parameters are called.

A reward asks for what it needs by naming it as a parameter. Of one completion: `parsed` (Parsed), `completion` (str, the raw text), `num_tokens`
(int, completion tokens), `finish_reason` (str: stop, length, abort). Of a whole group: `group` (Sequence[Member], in no meaningful order), then it
returns a list with one result a member. Either kind may name `sample` (Sample) and `judge` (Judge; then it must be `async def`). Any further
parameter is an argument of the reward and comes from the configuration or its default. A result is a finite number or an Outcome.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rollouts.records import Parsed

OF_ONE = frozenset({"parsed", "completion", "num_tokens", "finish_reason"})
SUPPLIED = OF_ONE | {"sample", "judge", "group"}
# Rewards whose file lies here are shipped with the project and trusted: they run where the scorer runs. All others run in child processes.
SHIPPED_FOLDER = Path(__file__).resolve().parent


class RewardError(ValueError):
    """A reward or a rubric that cannot work; found before the first rollout."""


@dataclass(frozen=True)
class Member:
    """One completion as a reward sees it; a group-level reward sees all of its prompt."""

    parsed: Parsed
    # The raw text, tags and thoughts included.
    completion: str
    # Completion tokens as the policy drew them; None = only the text is known (a stored text file, a case file).
    num_tokens: int | None = None
    # "stop", "length" (cut at the limit) or "abort" (the engine gave up).
    finish_reason: str = "stop"


@dataclass(frozen=True)
class Reward:
    """A reward as it was found."""

    name: str
    # None = it lives in child processes only, which find it by `spec`.
    function: Callable[..., Any] | None
    # Parameters it takes beside the supplied ones -> default; inspect.Parameter.empty = must be given.
    arguments: Mapping[str, Any]
    supplied: frozenset[str]
    # Two completions of one sample with the same answer get the same outcome: asked once per group.
    by_answer: bool = False
    is_async: bool = False
    # File and line of the function, for messages.
    home: str = ""
    # How a child process finds it; None = shipped, it runs where the scorer runs.
    spec: str | None = None

    @property
    def is_group(self) -> bool:
        return "group" in self.supplied


_REGISTRY: dict[str, Reward] = {}


def reward(name: str, *, by_answer: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function as the reward `name`.

    `by_answer`: completions of one sample with the same answer get the same outcome, so it is asked once a group.
    Raises RewardError for a second reward of that name, naming both homes, and for a signature that cannot be called.
    """

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        found = described(name, function, by_answer)
        if name in _REGISTRY and _REGISTRY[name].home != found.home:
            raise RewardError(f"two rewards are named {name!r}: {_REGISTRY[name].home} and {found.home}. Rename one.")
        _REGISTRY[name] = found
        return function

    return register


def described(name: str, function: Callable[..., Any], by_answer: bool = False) -> Reward:
    """What the signature of a function says of it as a reward. Raises RewardError, with file and line, where it cannot be one."""
    home = home_of(function)
    parameters = inspect.signature(function).parameters.values()
    supplied = frozenset(p.name for p in parameters if p.name in SUPPLIED)
    is_async = inspect.iscoroutinefunction(function)
    if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD, p.POSITIONAL_ONLY) for p in parameters):
        raise RewardError(
            f"reward {name!r} takes *args, **kwargs or positional-only parameters; name each parameter instead ({home})"
        )
    if "group" in supplied and (both := sorted(supplied & OF_ONE)):
        raise RewardError(
            f"reward {name!r} asks for the group and for {both[0]!r} of one completion; read it from the members ({home})"
        )
    if not supplied & (OF_ONE | {"group"}):
        wanted = ", ".join(sorted(OF_ONE))
        raise RewardError(f"reward {name!r} sees no completion: name one of the parameters {wanted}, or group ({home})")
    if "judge" in supplied and not is_async:
        raise RewardError(f"reward {name!r} asks the judge, so it must be `async def` and await the answer ({home})")
    arguments = {p.name: p.default for p in parameters if p.name not in SUPPLIED}
    return Reward(name, function, arguments, supplied, by_answer, is_async, home)


def home_of(function: Callable[..., Any]) -> str:
    """Where a function is written, as `path:line`."""
    plain = inspect.unwrap(function)
    code = getattr(plain, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else f"{getattr(plain, '__module__', '?')}.{plain!r}"


def names() -> tuple[str, ...]:
    """The registered names, sorted."""
    return tuple(sorted(_REGISTRY))


def find(spec: str) -> Reward:
    """The reward of a name. Raises RewardError with the nearest and all available names."""
    if spec not in _REGISTRY:
        near = difflib.get_close_matches(spec, names(), 1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise RewardError(f"there is no reward named {spec!r}.{hint} Available: {', '.join(names())}")
    return _REGISTRY[spec]
