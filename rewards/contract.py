"""What a reward is: the parameters it may ask for, what it sees of a completion, and what is known of it before it is
called."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

from rollouts.annotations import Misfit, NotPlain, read
from rollouts.nearest import did_you_mean
from rollouts.records import Parsed

OF_ONE = frozenset({"parsed", "completion", "num_tokens", "finish_reason"})
SUPPLIED = OF_ONE | {"sample", "judge", "group", "group_key"}
# Rewards whose file lies here are shipped with the project and trusted: they run where the scorer runs. All others run
# in child processes.
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
class Source:
    """How a child process finds a reward: in a file, or in an installed module."""

    # Absolute path of the file; None = `module` is imported by name.
    path: str | None
    module: str | None
    # The function's name in it, or the name it is registered under there.
    attribute: str
    # The name of the entry point, which then is the reward's; None = the registered name, else the function's.
    name: str | None = None
    # A reward function written for TRL, called through `rewards.adapters.trl.from_trl`.
    is_trl: bool = False

    def __str__(self) -> str:
        return f"{self.path or self.module}:{self.attribute}"


@dataclass(frozen=True)
class Reward:
    """A reward as it was found."""

    name: str
    # None = it lives in child processes only, which find it at `source`.
    function: Callable[..., Any] | None
    # Parameters it takes beside the supplied ones -> default; inspect.Parameter.empty = must be given.
    arguments: Mapping[str, Any]
    supplied: frozenset[str]
    # Two completions of one sample with the same answer get the same outcome: asked once per group.
    by_answer: bool = False
    is_async: bool = False
    # File and line of the function, for messages.
    home: str = ""
    # None = it runs where the scorer runs.
    source: Source | None = None
    # Called with the arguments before a run; raises RewardError where the reward could not work. None = never.
    ready: Callable[..., None] | None = None

    @property
    def is_group(self) -> bool:
        return "group" in self.supplied


def describe_function(name: str, function: Callable[..., Any], by_answer: bool = False) -> Reward:
    """What the signature of a function says of it as a reward. Raises RewardError, with file and line, where it cannot
    be one."""
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
            f"reward {name!r} asks for the group and for {both[0]!r} of one completion; read it from the members"
            f" ({home})"
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
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else repr(function)


def check_arguments(reward: Reward, given: Mapping[str, Any]) -> None:
    """Raise RewardError, with the reward's file and line, for an argument it does not know, one it lacks, or one of
    another type. An annotation that YAML cannot hold, such as Path, takes any value."""
    for name in given:
        if name not in reward.arguments:
            taken = f"it takes {sorted(reward.arguments) or 'none'}{did_you_mean(str(name), reward.arguments)}"
            raise RewardError(f"reward {reward.name!r} has no argument {name!r}; {taken} ({reward.home})")
    for name, default in reward.arguments.items():
        if default is inspect.Parameter.empty and name not in given:
            where = f"reward.arguments: {{{reward.name}: {{{name}: VALUE}}}}"
            raise RewardError(f"reward {reward.name!r} needs the argument {name!r}; give it in {where} ({reward.home})")
    try:
        hints = get_type_hints(reward.function)
    except (NameError, TypeError, AttributeError):  # annotations that only a type checker can read
        return
    for name in [name for name in given if name in hints]:
        try:
            with contextlib.suppress(NotPlain):
                read(hints[name], given[name])
        except Misfit as error:
            raise RewardError(f"reward {reward.name!r}: argument {name!r}: {error} ({reward.home})") from None


@dataclass(frozen=True)
class Limits:
    """What a reward in a child process may take."""

    # Wall seconds of one call, waiting for the judge not counted.
    timeout_seconds: float = 10.0
    # Address space of one child, in GiB.
    memory_gib: float = 4.0
    # Children of each such reward.
    workers: int = 2
