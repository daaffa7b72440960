"""The arguments a reward is given: known names, none missing, and the types that its annotations ask for."""

from __future__ import annotations

import difflib
import inspect
import types
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from rewards.contract import Reward, RewardError

_PLAIN = (str, int, float, bool)


def check_arguments(reward: Reward, given: Mapping[str, Any]) -> None:
    """Raise RewardError, with the reward's file and line, for an argument it does not know, one it lacks, or one of
    another type."""
    for name in given:
        if name not in reward.arguments:
            near = difflib.get_close_matches(str(name), reward.arguments, 1)
            hint = f". Did you mean {near[0]!r}?" if near else ""
            taken = sorted(reward.arguments) or "none"
            raise RewardError(
                f"reward {reward.name!r} has no argument {name!r}; it takes {taken}{hint} ({reward.home})"
            )
    for name, default in reward.arguments.items():
        if default is inspect.Parameter.empty and name not in given:
            where = f"reward.arguments: {{{reward.name}: {{{name}: VALUE}}}}"
            raise RewardError(f"reward {reward.name!r} needs the argument {name!r}; give it in {where} ({reward.home})")
    hints = _hints(reward)
    for name, value in given.items():
        if name in hints and not fits(value, hints[name]):
            said = f"is {value!r} ({type(value).__name__}), expected {_told(hints[name])}"
            raise RewardError(f"reward {reward.name!r}: argument {name!r} {said} ({reward.home})")


def _hints(reward: Reward) -> dict[str, Any]:
    try:
        return get_type_hints(reward.function)
    except (NameError, TypeError, AttributeError):  # annotations that only a type checker can read
        return {}


def fits(value: Any, annotation: Any) -> bool:
    """Whether a value from YAML fits an annotation. A whole number is a float, a list is any sequence; what YAML cannot
    hold is not judged."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (types.UnionType, Union):
        return any(fits(value, part) for part in inner)
    if origin is Literal:
        return any(value == allowed and type(value) is type(allowed) for allowed in inner)
    if annotation is None or annotation is type(None):
        return value is None
    if annotation is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if annotation in _PLAIN:
        return type(value) is annotation
    kind = origin or annotation
    if isinstance(kind, type) and issubclass(kind, Mapping):
        keys, values = inner if len(inner) == 2 else (Any, Any)
        return isinstance(value, Mapping) and all(fits(k, keys) and fits(v, values) for k, v in value.items())
    if isinstance(kind, type) and issubclass(kind, Sequence):
        items = inner[0] if inner else Any
        uniform = kind is not tuple or inner[1:] == (...,)
        return isinstance(value, (list, tuple)) and (not uniform or all(fits(item, items) for item in value))
    return True


def _told(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return "one of " + ", ".join(map(repr, get_args(annotation)))
    return annotation.__name__ if isinstance(annotation, type) and not get_args(annotation) else str(annotation)
