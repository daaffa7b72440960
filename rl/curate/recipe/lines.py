"""YAML as plain values, with the line on which each of them stands, so that an error about a recipe names its line.

Read strictly: no anchors (a few lines of them can stand for gigabytes), no tags, no key twice; `yes`, `no`, `on` and
`off` are words here, because labels are often called so.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from rollouts.texts.reading import TextFault, file_text, shorten

Place = tuple[object, ...]
_MOST_BYTES = 1_000_000
_DEEPEST = 12
_PLAIN = {"true": True, "True": True, "false": False, "False": False, "null": None, "~": None, "": None}
_WHOLE = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?")


class RecipeError(ValueError):
    """A recipe that cannot be carried out; the message names file and line, says what was got and what was expected."""


class Document:
    """The values of a YAML file and their lines."""

    def __init__(self, path: Path) -> None:
        """Raises RecipeError for what cannot be read."""
        self.path = path
        self._lines: dict[Place, int] = {}
        node = _node_of(path)
        if not isinstance(node, yaml.MappingNode):
            raise self.error((), "expected settings by name, such as `recipe: ward`; start from examples/curate")
        self.value = self._value(node, ())

    def line(self, place: Place) -> int:
        """The line of a value, or of the nearest value around it, from 1."""
        while place and place not in self._lines:
            place = place[:-1]
        return self._lines.get(place, 1)

    def error(self, place: Place, text: str) -> RecipeError:
        """An error about what stands at a place."""
        return RecipeError(f"{self.path}, line {self.line(place)}: {text}")

    def _value(self, node: yaml.Node, place: Place) -> Any:
        self._lines[place] = self._lines.get(place, node.start_mark.line + 1)
        if node.tag.startswith("!") or (isinstance(node, yaml.ScalarNode) and node.tag.endswith(":binary")):
            raise self.error(place, f"the tag {shorten(node.tag)} has no meaning in a recipe; leave it out")
        if isinstance(node, yaml.MappingNode):
            return dict(self._pairs(node, place))
        if isinstance(node, yaml.SequenceNode):
            return [self._value(item, (*place, index)) for index, item in enumerate(node.value)]
        return node.value if getattr(node, "style", None) else self._scalar(node.value, place)

    def _pairs(self, node: yaml.MappingNode, place: Place) -> Iterator[tuple[str, Any]]:
        seen: dict[str, int] = {}
        for key, item in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise RecipeError(f"{self.path}, line {line}: a name must be a word")
            name = str(key.value)
            if name in seen:
                raise RecipeError(
                    f"{self.path}, line {line}: {shorten(name)!r} stands there twice, first on line {seen[name]}"
                )
            seen[name] = self._lines[(*place, name)] = line
            yield name, self._value(item, (*place, name))

    def _scalar(self, text: str, place: Place) -> Any:
        if text in _PLAIN:
            return _PLAIN[text]
        if _WHOLE.fullmatch(text):
            return int(text)
        if _FLOAT.fullmatch(text):
            number = float(text)
            if not math.isfinite(number):
                raise self.error(place, f"the number {shorten(text)} is too large")
            return number
        return text


def _node_of(path: Path) -> yaml.Node | None:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise RecipeError(f"{path}: {path.stat().st_size:,} bytes are no recipe; at most {_MOST_BYTES:,} are read")
        text = file_text(path)
    except TextFault as error:
        raise RecipeError(f"{path}: {error}") from error
    except OSError as error:
        raise RecipeError(f"{path}: the recipe cannot be read: {error.strerror}") from error
    try:
        depth = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _DEEPEST:  # before anything is built of it: the parser takes minutes for some thousand brackets
                raise RecipeError(f"{path}: nested deeper than {_DEEPEST} levels")
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                line = event.start_mark.line + 1  # type: ignore[union-attr]  # events of a text have marks
                raise RecipeError(f"{path}, line {line}: anchors (& and *) are not read; write the value out")
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        problem = str(getattr(error, "problem", None) or error)
        raise RecipeError(f"{path}{where}: not YAML: {shorten(problem, 200)}") from error
