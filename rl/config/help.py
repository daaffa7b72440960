"""The `--help` of every command, made from the dataclasses themselves (`rl/config/schema.py`, `judges/settings.py`):
names, types and defaults from the fields, words from the comments above them."""

from __future__ import annotations

import ast
import inspect
import shutil
import textwrap
from collections.abc import Mapping, Sequence
from typing import get_type_hints

import judges.settings
from rl.config import media, schema
from rl.config.build import Leaf, leaves
from rollouts.annotations import type_name

# Column at which the meaning of a setting begins.
INDENT = 58

HEAD = """\
{command} [GROUP=OPTION ...] [SETTING=VALUE ...]

{purpose}

  {command} +experiment=med_grpo   # the embedded model and data, nothing else needed
  {command} +experiment=med_grpo data=vqa_rad data.root=PATH judge=rules grpo.num_steps=20
  {command} ... --cfg   # print the settings of this run and stop

Groups (files of conf/; the command line wins over the experiment, the experiment over the other files, those over the
defaults below)
{groups}

Settings (type = default)
{settings}"""


def comments() -> dict[str, str]:
    """Class name or `Class.field` -> the comment that stands above it (or the class's docstring), on one line."""
    return {
        name: words
        for module in (schema, media, judges.settings)
        for name, words in _comments_of(inspect.getsource(module)).items()
    }


def _comments_of(source: str) -> dict[str, str]:
    lines = source.splitlines()
    texts: dict[str, str] = {}
    for node in ast.parse(source).body:
        if not isinstance(node, ast.ClassDef):
            continue
        texts[node.name] = " ".join((ast.get_docstring(node) or "").split())
        for item in node.body:
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                texts[f"{node.name}.{item.target.id}"] = _comment_above(lines, item.lineno - 1)
    return texts


def _comment_above(lines: Sequence[str], index: int) -> str:
    words: list[str] = []
    while index > 0 and lines[index - 1].lstrip().startswith("#"):
        index -= 1
        words.insert(0, lines[index].strip().lstrip("# "))
    return " ".join(words)


def help_text(command: str, purpose: str, groups: Mapping[str, Sequence[str]]) -> str:
    """The help of one command: how it is called, the groups with their options, every setting with type, default and
    meaning."""
    words = comments()
    width = min(shutil.get_terminal_size((130, 24)).columns, 160)
    known = leaves()
    lines: list[str] = []
    for section in dict.fromkeys(path.rpartition(".")[0] for path in known):
        record = _record_of(section)
        lines += textwrap.wrap(f"{section or 'run'}: {words[record.__name__]}", width, subsequent_indent="    ")
        for path, leaf in known.items():
            if path.rpartition(".")[0] == section:
                lines += _setting(leaf, _meaning(record, path.rpartition(".")[2], words), width)
    options = [f"  {name}={' | '.join(names)}" for name, names in groups.items()]
    return HEAD.format(command=command, purpose=purpose, groups="\n".join(options), settings="\n".join(lines))


def _record_of(section: str) -> type:
    """The dataclass of a section, "" = the whole tree."""
    record: type = schema.Config
    for name in section.split(".") if section else ():
        record = get_type_hints(record)[name]
    return record


def _meaning(record: type, name: str, words: Mapping[str, str]) -> str:
    """The comment above a field: where the record inherits it, or states another default without a word, its base's."""
    texts = (words.get(f"{one.__name__}.{name}", "") for one in record.__mro__)
    return next((text for text in texts if text), "")


def _setting(leaf: Leaf, meaning: str, width: int) -> list[str]:
    """One setting: name, type and default on the left, the meaning beside it, or below where the left is long."""
    default = leaf.default
    if isinstance(default, dict):
        default = ", ".join(f"{name}: {value}" for name, value in default.items())
    left = f"  {leaf.path}  {type_name(leaf.annotation)} = {'null' if default is None else default}"
    words = textwrap.wrap(meaning, width - INDENT)
    if len(left) > INDENT - 2:
        return [*textwrap.wrap(left, width, subsequent_indent="    "), *(" " * INDENT + line for line in words)]
    return [f"{left:<{INDENT}}{words[0] if words else ''}".rstrip(), *(" " * INDENT + line for line in words[1:])]
