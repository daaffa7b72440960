"""Which file of `conf/` states which setting, and which command makes what such a file names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

import conf

CONF_DIR = Path(conf.__file__).parent
COMMAND_LINE = "command line"
# The one group that is not in the defaults list of conf/config.yaml. Its file overrides all others.
APPENDED_GROUP = "experiment"
# The one group of which a run takes any number of options; none by default.
LISTED_GROUP = "stage"

# What files of conf/ name that is not there before a command has written it; a name that ends in "/" is a folder.
MADE_BY = {
    "runs/hospital/": "python -m examples.hospital.make",
    "runs/real_model/pubmedqa.jsonl": "python -m examples.real_model.data",
    "runs/real_model/smollm2_135m": "python -m examples.real_model.prepare",
}


def how_to_make(path: str) -> str:
    """What to run where a path of `conf/` is not there, to be set behind a sentence; "" for a path of one's own."""
    commands = [one for name, one in MADE_BY.items() if path == name or (name.endswith("/") and path.startswith(name))]
    return f"; write it with `{commands[0]}`" if commands else ""


def card_names() -> list[str]:
    """The cards of conf/benchmark by name, which are no group of settings."""
    return sorted(path.stem for path in (CONF_DIR / "benchmark").glob("*.yaml"))


def table_names() -> list[str]:
    """The tables of papers in conf/benchmark/tables by name, each a list of cards."""
    return sorted(path.stem for path in (CONF_DIR / "benchmark" / "tables").glob("*.yaml"))


def settings_by_file(choices: Mapping[str, str]) -> dict[str, Mapping[str, Any]]:
    """File name -> settings, for each file that is chosen; later files override earlier ones. `choices`: group ->
    option."""
    files = [("", CONF_DIR / "config.yaml")]
    files += [
        (group, CONF_DIR / group / f"{option}.yaml") for group, option in choices.items() if group != APPENDED_GROUP
    ]
    files += [("", CONF_DIR / APPENDED_GROUP / f"{choices[APPENDED_GROUP]}.yaml")] if APPENDED_GROUP in choices else []
    return {
        f"conf/{file.relative_to(CONF_DIR)}": settings_in(file.read_text(encoding="utf-8"), group)
        for group, file in files
    }


def settings_in(text: str, group: str) -> Mapping[str, Any]:
    """The settings in the text of a file of `group`, under their sections."""
    values = yaml.safe_load(text) or {}
    return {group: values} if group and "@package _global_" not in text else values


def origin(path: str, choices: Mapping[str, str], explicit: set[str]) -> str:
    """Where the value of a setting comes from: the command line, else the last file that states it."""
    if path in explicit or any(item.startswith(path + ".") for item in explicit):
        return COMMAND_LINE
    stating = [name for name, values in settings_by_file(choices).items() if _at(values, path) is not _NOTHING]
    return stating[-1] if stating else "conf/"


_NOTHING = object()


def _at(values: Any, path: str) -> Any:
    """What stands at a dotted path; _NOTHING where nothing does."""
    for name in path.split("."):
        if not isinstance(values, Mapping) or name not in values:
            return _NOTHING
        values = values[name]
    return values
