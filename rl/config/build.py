"""Builds the frozen dataclass tree from plain values and lists every fault at once.

`rollouts/annotations.py` checks each leaf against its annotation in `rl/config/schema.py`.
"""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, get_origin, get_type_hints

from rl.config import Config
from rollouts.annotations import Misfit, read
from rollouts.nearest import did_you_mean

# Path of a setting -> where its value comes from, in words ("command line", "conf/model/tiny.yaml").
Origin = Callable[[str], str]


class Leaf(NamedTuple):
    """One setting: its dotted path, its annotation and the default of the dataclass."""

    path: str
    annotation: Any
    default: Any


def leaves(cls: type = Config, prefix: str = "") -> dict[str, Leaf]:
    """Every setting of the tree by its dotted path, in the order of the file."""
    by_path: dict[str, Leaf] = {}
    hints = get_type_hints(cls)
    for item in dataclasses.fields(cls):
        path = prefix + item.name
        if dataclasses.is_dataclass(hints[item.name]):
            by_path |= leaves(hints[item.name], path + ".")
        else:
            default = item.default_factory() if item.default_factory is not dataclasses.MISSING else item.default
            by_path[path] = Leaf(path, hints[item.name], default)
    return by_path


def value_at(config: Config, path: str) -> Any:
    """The setting at a dotted path."""
    return operator.attrgetter(path)(config)


def sections() -> list[str]:
    """Names of the nested dataclasses: model, data, sft, ..."""
    return list(dict.fromkeys(path.split(".")[0] for path in leaves() if "." in path))


def is_mapping(annotation: Any) -> bool:
    """Whether the setting is a dictionary, so that the names under it are the user's own."""
    return get_origin(annotation) is dict


# What may be asked for by this part of a name and is not there, and why.
UNSUPPORTED = {
    "v2pe": "V2PE (Fleming-VL, Sec 3.1) counts a visual token as less than one position, and the engine (vLLM) knows"
    " integer positions only, so trainer and engine would place tokens differently: every token counts one here"
}
# Settings of earlier versions, and what to say of them.
RENAMED = {
    "sft.micro_batch_size": "sft.micro_batch_tokens, which counts tokens of a forward pass and not rows (4096 where"
    " nothing is said)",
}


# Settings of earlier versions that only moved: a stored value goes with them.
MOVED = {"data.max_frames": "data.media.max_frames"}
# What a run did whose stored settings do not name one yet, where that is not today's default.
MEANT = {"grpo.old_logprobs": "policy"}


def carried_over(values: Mapping[Any, Any]) -> dict[str, Any]:
    """Settings that a run of an earlier version stored, as this version says them: without those that it does not have
    any more, with those that moved where they are now, and with what was done where nothing could be said yet."""
    gone = {*RENAMED, *MOVED}
    kept = {
        str(section): {name: one for name, one in value.items() if f"{section}.{name}" not in gone}
        if isinstance(value, Mapping)
        else value
        for section, value in values.items()
    }
    for before, now in MOVED.items():
        section, name = before.split(".")
        if isinstance(values.get(section), Mapping) and name in values[section]:
            place: dict[str, Any] = kept
            *parents, last = now.split(".")
            for parent in parents:
                place = place.setdefault(parent, {})
            place.setdefault(last, values[section][name])
    for path, value in MEANT.items():
        section, name = path.split(".")
        if isinstance(kept.get(section), dict):
            kept[section].setdefault(name, value)
    return kept


def unknown_setting(path: str, origin: str, groups: Iterable[str] = ()) -> str:
    """The error for a setting that does not exist. It names the nearest setting, or the nearest of `groups`."""
    if why := next((why for part, why in UNSUPPORTED.items() if part in path.lower()), ""):
        return f"{path} ({origin}): there is no such setting: {why}"
    if path in RENAMED:
        return f"{path} ({origin}): there is no such setting any more; it is now {RENAMED[path]}"
    if path in MOVED:
        return f"{path} ({origin}): there is no such setting any more; it is now {MOVED[path]}"
    otherwise = f"; the sections are {', '.join(sections())}; --help lists every setting"
    return f"{path} ({origin}): there is no such setting{did_you_mean(path, [*leaves(), *groups], otherwise)}"


def build(values: Mapping[str, Any], origin: Origin) -> tuple[Config, list[str]]:
    """The configuration and its faults: unknown names, wrong types. A faulty leaf keeps its default, so that the other
    checks can go on."""
    return _build(Config, values, "", origin)


def _build(cls: type, values: Mapping[str, Any], prefix: str, origin: Origin) -> tuple[Any, list[str]]:
    hints = get_type_hints(cls)
    faults = [unknown_setting(f"{prefix}{name}", origin(f"{prefix}{name}")) for name in values if name not in hints]
    arguments: dict[str, Any] = {}
    for name, annotation in hints.items():
        if name not in values:
            continue
        path, value = prefix + name, values[name]
        if not dataclasses.is_dataclass(annotation):
            try:
                arguments[name] = read(annotation, value)
            except Misfit as error:
                faults += [f"{path} ({origin(path)}): {fault}" for fault in error.faults]
        elif isinstance(value, Mapping):
            arguments[name], nested = _build(annotation, value, path + ".", origin)  # type: ignore[arg-type]
            faults += nested
        else:
            example = f"{path}.{_first_field(annotation)}"
            faults.append(f"{path} ({origin(path)}): got {value!r}, expected a section with settings such as {example}")
    return cls(**arguments), faults


def _first_field(cls: Any) -> str:
    return dataclasses.fields(cls)[0].name
