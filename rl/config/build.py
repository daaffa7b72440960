"""Plain values in, the frozen dataclass tree out: every leaf is checked against its annotation, and all faults are told
at once.

Nothing is converted silently except a whole number where a float is asked. The field tree is read from
`rl/config/schema.py` itself.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import operator
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from rl.config import Config

# Path of a setting -> where its value comes from, in words ("command line", "conf/model/tiny.yaml").
Origin = Callable[[str], str]


class Leaf(NamedTuple):
    """One setting: its dotted path, its annotation and the default of the dataclass."""

    path: str
    annotation: Any
    default: Any


def leaves(cls: type = Config, prefix: str = "") -> dict[str, Leaf]:
    """Every setting of the tree by its dotted path, in the order of the file."""
    found: dict[str, Leaf] = {}
    hints = get_type_hints(cls)
    for item in dataclasses.fields(cls):
        path = prefix + item.name
        if dataclasses.is_dataclass(hints[item.name]):
            found |= leaves(hints[item.name], path + ".")
        else:
            default = item.default_factory() if item.default_factory is not dataclasses.MISSING else item.default
            found[path] = Leaf(path, hints[item.name], default)
    return found


def value_at(config: Config, path: str) -> Any:
    """The setting at a dotted path."""
    return operator.attrgetter(path)(config)


def sections() -> list[str]:
    """Names of the nested dataclasses: model, data, sft, ..."""
    return list(dict.fromkeys(path.split(".")[0] for path in leaves() if "." in path))


def is_mapping(annotation: Any) -> bool:
    """Whether the setting is a dictionary, so that the names under it are the user's own."""
    return get_origin(annotation) is dict


def type_name(annotation: Any) -> str:
    """An annotation as a reader would write it: `float | None`, `cpu | cuda`, `float by name`."""
    origin = get_origin(annotation)
    if origin is Literal:
        return " | ".join(get_args(annotation))
    if origin in (types.UnionType, Union):
        return " | ".join(type_name(part) for part in get_args(annotation))
    if origin is dict:
        return f"{type_name(get_args(annotation)[1])} by name"
    if annotation is Any:
        return "value"
    return "null" if annotation is type(None) else annotation.__name__


def nearest(path: str, known: Iterable[str]) -> str | None:
    """The known path that was most likely meant: the same last name elsewhere first, then the closest spelling; None =
    nothing is close."""
    known = list(known)
    last_names = {name: name.rsplit(".", 1)[-1] for name in known}
    same_last = [name for name in known if last_names[name] == path.rsplit(".", 1)[-1]]
    if same_last:
        return difflib.get_close_matches(path, same_last, n=1, cutoff=0.0)[0]
    whole = difflib.get_close_matches(path, known, n=1, cutoff=0.6)
    if whole:
        return whole[0]
    last = difflib.get_close_matches(path.rsplit(".", 1)[-1], list(last_names.values()), n=1, cutoff=0.6)
    return next((name for name in known if last and last_names[name] == last[0]), None)


def unknown_setting(path: str, origin: str, groups: Iterable[str] = ()) -> str:
    """What to tell whoever wrote a setting that does not exist; `groups` may have been meant as well."""
    near = nearest(path, [*leaves(), *groups])
    hint = f"the nearest is {near}" if near else f"the sections are {', '.join(sections())}; --help lists every setting"
    return f"{path} ({origin}): there is no such setting; {hint}"


def check_value(value: Any, annotation: Any) -> tuple[Any, str | None]:
    """The value as the annotation wants it, and None; or the value as it came and what was expected instead."""
    origin = get_origin(annotation)
    if annotation is Any:
        return value, None
    if origin in (types.UnionType, Union):
        results = [check_value(value, part) for part in get_args(annotation)]
        return next((result for result in results if result[1] is None), (value, type_name(annotation)))
    if origin is Literal:
        good = isinstance(value, str) and value in get_args(annotation)
        return value, None if good else f"one of {', '.join(get_args(annotation))}"
    if origin is dict:
        return _check_mapping(value, get_args(annotation)[1])
    if dataclasses.is_dataclass(annotation):
        return _check_record(value, annotation)  # type: ignore[arg-type]
    if annotation is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value), None
    if annotation is float and isinstance(value, float) and not math.isfinite(value):
        return value, "a finite number"
    return value, None if type(value) is annotation else type_name(annotation)


def _check_mapping(value: Any, annotation: Any) -> tuple[Any, str | None]:
    if not isinstance(value, Mapping):
        return value, f"a mapping of names to {type_name(annotation)}"
    checked = {name: check_value(item, annotation) for name, item in value.items()}
    record = dataclasses.is_dataclass(annotation)
    wrong = [
        f"{fault if record else type_name(annotation)} under {name!r} (got {item!r})"
        for name, (item, fault) in checked.items()
        if fault
    ]
    wrong += [f"a text as name (got {name!r})" for name in checked if not isinstance(name, str)]
    return {name: item for name, (item, _) in checked.items()}, "; ".join(wrong) or None


def _check_record(value: Any, cls: type) -> tuple[Any, str | None]:
    """A mapping's value that is a record of its own, such as a member of judge.panel."""
    hints = get_type_hints(cls)
    expected = f"settings among {', '.join(hints)}"
    if not isinstance(value, Mapping):
        return value, expected
    checked = {name: check_value(item, hints[name]) for name, item in value.items() if name in hints}
    wrong = [f"{expected} (got {name!r})" for name in value if name not in hints]
    wrong += [f"{fault} as {name} (got {item!r})" for name, (item, fault) in checked.items() if fault]
    return (value, "; ".join(wrong)) if wrong else (cls(**{name: item for name, (item, _) in checked.items()}), None)


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
            checked, expected = check_value(value, annotation)
            if expected is None:
                arguments[name] = checked
            else:
                faults.append(f"{path} ({origin(path)}): got {value!r} ({type(value).__name__}), expected {expected}")
        elif isinstance(value, Mapping):
            arguments[name], nested = _build(annotation, value, path + ".", origin)  # type: ignore[arg-type]
            faults += nested
        else:
            example = f"{path}.{_first_field(annotation)}"
            faults.append(f"{path} ({origin(path)}): got {value!r}, expected a section with settings such as {example}")
    return cls(**arguments), faults


def _first_field(cls: Any) -> str:
    return dataclasses.fields(cls)[0].name
