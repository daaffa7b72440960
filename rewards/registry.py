"""The one registry of rewards: `@reward("name")` on a function, found by name, by `path/to/file.py:function`, or as an
installed entry point.

A reward asks for what it needs by naming it as a parameter. Of one completion: `parsed` (Parsed), `completion` (str,
the raw text), `num_tokens` (int, completion tokens), `finish_reason` (str: stop, length, abort). Of a whole group:
`group` (Sequence[Member], in no meaningful order), then it returns a list with one result a member. Either kind may
name `sample` (Sample), `group_key` (str) and `judge` (Judge; then it must be `async def`). Any further parameter is an
argument of the reward and comes from the configuration or its default. A result is a finite number or an Outcome.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from rewards.contract import SHIPPED_FOLDER, Member, Reward, RewardError, Source, describe_function, home_of
from rollouts.nearest import did_you_mean

__all__ = [
    "ENTRY_POINTS",
    "Member",
    "Reward",
    "RewardError",
    "Source",
    "describe_function",
    "find",
    "get",
    "home_of",
    "names",
    "reward",
]

# The group of entry points under which an installed package offers rewards: NAME = "package.module:function".
ENTRY_POINTS = "rounds.rewards"
# Before a file and a function: the function was written for TRL.
TRL = "trl:"
_REGISTRY: dict[str, Reward] = {}


def reward(
    name: str, *, by_answer: bool = False, isolate: bool = True, ready: Callable[..., None] | None = None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function as the reward `name`.

    `by_answer`: completions of one sample with the same answer get the same outcome, so it is asked once a group.
    `isolate`: a reward that is not shipped with the project runs in child processes; False runs it where the scorer
    runs, which only helps a reward that must see this process's own objects, and has no effect on one that is found by
    its file or entry point. `ready`: called with the reward's arguments before a run starts; it raises RewardError
    where the reward could not work, as without a file or a program that it needs. Raises RewardError for a second
    reward of that name, naming both homes, and for a signature that cannot be called.
    """

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        entry = dataclasses.replace(describe_function(name, function, by_answer), ready=ready)
        if name in _REGISTRY and _REGISTRY[name].home != entry.home:
            raise RewardError(f"two rewards are named {name!r}: {_REGISTRY[name].home} and {entry.home}. Rename one.")
        path = Path(entry.home.rpartition(":")[0])
        if isolate and SHIPPED_FOLDER not in path.resolve().parents:
            entry = dataclasses.replace(entry, source=Source(str(path), None, name))
        _REGISTRY[name] = entry
        return function

    return register


def names() -> tuple[str, ...]:
    """The registered names, sorted."""
    return tuple(sorted(_REGISTRY))


def get(name: str) -> Reward:
    """The reward registered in this process under that name. Raises RewardError with the nearest and all available
    names."""
    if name not in _REGISTRY:
        known = sorted({*names(), *(point.name for point in _installed(tuple(sys.path)))})
        hint = did_you_mean(name, known, ".")
        how = "A reward of your own is named as path/to/file.py:function."
        raise RewardError(f"there is no reward named {name!r}{hint} Available: {', '.join(known)}. {how}")
    return _REGISTRY[name]


def find(spec: str) -> Reward | Source:
    """The shipped reward of a name; or where a child process finds the one of a name, a `path/to/file.py:function` or
    an entry point. With `trl:` before the file or a module, the function is one of TRL's kind.

    Raises RewardError for a name that nobody has or two have, and for a file that is not there.
    """
    path, colon, attribute = spec.removeprefix(TRL).rpartition(":")
    if colon and path.endswith(".py"):
        return dataclasses.replace(_in_file(spec, path, attribute), is_trl=spec.startswith(TRL))
    if spec.startswith(TRL):
        if not colon or not path or not attribute.isidentifier():
            raise RewardError(
                f"reward {spec!r} names no function of TRL's kind; write trl:path/to/file.py:FUNCTION or"
                " trl:MODULE:FUNCTION"
            )
        return Source(None, path, attribute, is_trl=True)
    points = [point for point in _installed(tuple(sys.path)) if point.name == spec]
    homes = sorted({point.value for point in points} | ({_REGISTRY[spec].home} if spec in _REGISTRY else set()))
    if len(homes) > 1:
        raise RewardError(
            f"two rewards are named {spec!r}: {' and '.join(homes)}. Rename one, or uninstall its package."
        )
    if points:
        return Source(None, points[0].module, points[0].attr, spec)
    entry = get(spec)
    if entry.source is None:
        return entry
    if not os.path.isfile(entry.source.path or "") or "<locals>" in getattr(entry.function, "__qualname__", "<locals>"):
        how = "move it to the top level of a file, or register it with isolate=False"
        raise RewardError(f"reward {spec!r} ({entry.home}) cannot be found by a child process: {how}")
    return entry.source


def _in_file(spec: str, path: str, attribute: str) -> Source:
    file = Path(path).expanduser().absolute()
    if not attribute.isidentifier() and attribute not in _REGISTRY and not attribute.strip():
        raise RewardError(f"reward {spec!r} names no function; write {path}:FUNCTION")
    if not file.is_file():
        raise RewardError(f"reward {spec!r}: there is no file {file}")
    return Source(str(file), None, attribute)


@lru_cache(maxsize=8)
def _installed(search_path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """What installed packages offer; looked up once for a search path, because it opens a file of every installed
    package."""
    return tuple(entry_points(group=ENTRY_POINTS))
