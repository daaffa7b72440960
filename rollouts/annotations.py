"""The one checker of plain values, from YAML or JSON, against type annotations.

Settings, the arguments of rewards and the messages of child processes all pass through `read`. It is strict: it
converts a whole number where a float is wanted, a list where a tuple is wanted and a mapping where a record is wanted,
and nothing else. A schema library would need JSON text for these three conversions, and it cannot read attached bytes.
"""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Callable, Iterable, Mapping, MutableMapping, MutableSequence, Sequence
from functools import cache
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

# Reads values of one more type; raises Misfit.
Readers = Mapping[Any, Callable[[Any], Any]]
_PLAIN = (str, int, bool, type(None))
_MAPPINGS = (dict, Mapping, MutableMapping)
_SEQUENCES = (list, tuple, Sequence, MutableSequence)


class Fault(NamedTuple):
    """One value of the wrong type. `place` leads to it from the whole value: names of mappings, indices of lists."""

    place: tuple[object, ...]
    got: Any
    expected: str

    def __str__(self) -> str:
        where = f" under {'.'.join(map(str, self.place))!r}" if self.place else ""
        return f"got {self.got!r:.200} ({type(self.got).__name__}), expected {self.expected}{where}"


class Misfit(ValueError):
    """A value that its annotation does not allow; `faults` holds every wrong place."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(map(str, self.faults)))


class NotPlain(TypeError):
    """An annotation that no plain value can be checked against, such as Path or a class without fields."""


def type_name(annotation: Any) -> str:
    """An annotation as a reader would write it: `float | null`, `cpu | cuda`, `float by name`, `list of str`."""
    kind, inner = get_origin(annotation), get_args(annotation)
    if kind is Literal:
        return " | ".join(map(str, inner))
    if kind in (types.UnionType, Union):
        return " | ".join(map(type_name, inner))
    if kind in _MAPPINGS and inner:
        return f"{type_name(inner[1])} by name"
    if kind in _SEQUENCES and inner:
        return f"list of {', '.join(type_name(part) for part in inner if part is not ...)}"
    if annotation in (None, type(None)):
        return "null"
    return "value" if annotation is Any else getattr(annotation, "__name__", str(annotation))


def read(annotation: Any, value: Any, readers: Readers = types.MappingProxyType({})) -> Any:
    """The value as the annotation wants it: floats, tuples and records made from what stands for them.

    Numbers must be finite. `readers`: how values of further types are read, by type. Raises Misfit with all wrong
    places, and NotPlain where the value's validity hangs on a type that is neither plain nor in `readers`.
    """
    kind, inner = _parts(annotation)
    if (type(value) is kind and kind in _PLAIN) or kind in (Any, object):
        return value
    if kind in readers:
        return readers[kind](value)
    if kind in (types.UnionType, Union):
        return _read_union(annotation, value, readers)
    if kind is Literal and any(value == one and type(value) is type(one) for one in inner):
        return value
    if kind is float and type(value) in (int, float):
        return _read_float(value)
    if kind in _MAPPINGS and isinstance(value, Mapping):
        return _read_mapping(inner, value, readers)
    if kind in _SEQUENCES and isinstance(value, (list, tuple)):
        return _read_sequence(annotation, value, readers)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return _read_record(kind, value, readers)
    raise _misfit(annotation, value)


@cache
def _parts(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    """Origin and arguments: `list` and (str,) of `list[str]`, `int` and () of `int`."""
    return type(None) if annotation is None else get_origin(annotation) or annotation, get_args(annotation)


def _misfit(annotation: Any, value: Any) -> Misfit | NotPlain:
    kind, inner = _parts(annotation)
    if kind is Literal:
        return Misfit([Fault((), value, f"one of {', '.join(map(str, inner))}")])
    if kind in (*_PLAIN, float, *_MAPPINGS, *_SEQUENCES, types.UnionType, Union):
        return Misfit([Fault((), value, type_name(annotation))])
    return NotPlain(f"cannot check a plain value against {annotation}")


def _read_float(value: int | float) -> float:
    try:
        number = float(value)
    except OverflowError:  # a whole number beyond the largest float
        number = math.inf
    if not math.isfinite(number):
        raise Misfit([Fault((), value, "a finite number")])
    return number


def _read_union(annotation: Any, value: Any, readers: Readers) -> Any:
    """What the first part that fits makes of the value; NotPlain where none fits and one cannot be checked."""
    unknown: NotPlain | None = None
    for part in _parts(annotation)[1]:
        try:
            return read(part, value, readers)
        except Misfit:
            continue
        except NotPlain as error:
            unknown = error
    raise unknown or _misfit(annotation, value)


def _read_all(parts: Iterable[tuple[object, Any, Any]], readers: Readers) -> dict[Any, Any]:
    """Place -> value read, of (place, annotation, value); the faults of all parts are raised together."""
    good: dict[Any, Any] = {}
    faults: list[Fault] = []
    for place, annotation, value in parts:
        try:
            good[place] = read(annotation, value, readers)
        except Misfit as error:
            faults += [fault._replace(place=(place, *fault.place)) for fault in error.faults]
    if faults:
        raise Misfit(faults)
    return good


def _read_mapping(inner: tuple[Any, ...], value: Mapping[Any, Any], readers: Readers) -> dict[Any, Any]:
    keys, values = inner or (Any, Any)
    if keys is not str or not all(type(key) is str for key in value):
        _read_all(((key, keys, key) for key in value), readers)
    return _read_all(((key, values, item) for key, item in value.items()), readers)


def _read_sequence(annotation: Any, value: Sequence[Any], readers: Readers) -> list[Any] | tuple[Any, ...]:
    kind, inner = _parts(annotation)
    if kind is not tuple or not inner or inner[1:] == (...,):
        inner = (inner[0] if inner else Any,) * len(value)
    if len(inner) != len(value):
        raise Misfit([Fault((), value, f"{len(inner)} values, {type_name(annotation)}")])
    return (tuple if kind is tuple else list)(
        _read_all(zip(range(len(value)), inner, value, strict=True), readers).values()
    )


@cache
def _fields(record: type) -> dict[str, Any]:
    return get_type_hints(record)


def _read_record(record: Any, value: Any, readers: Readers) -> Any:
    """A record from a mapping of its fields. What the record itself refuses, a missing field too, is a Misfit."""
    hints = _fields(record)
    unknown = [name for name in value if name not in hints] if isinstance(value, Mapping) else [value]
    if unknown:
        raise Misfit([Fault((), one, f"settings among {', '.join(hints)}") for one in unknown])
    arguments = _read_all(((name, hints[name], part) for name, part in value.items()), readers)
    try:
        return record(**arguments)
    except (TypeError, ValueError) as error:
        raise Misfit([Fault((), value, f"a {record.__name__} ({error})")]) from None
