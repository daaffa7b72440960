"""The door of the configuration and the home of Hydra: command-line arguments in, one checked and frozen `Config` out.

Hydra composes the YAML groups of `conf/` over the defaults of `rl/config/schema.py`; `rl/config/build.py` turns the
result into dataclasses and `rl/config/rules.py` checks them. Every fault is found before any is told, so that one run
of a command shows them all.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rl.config import Config, ModelConfig
from rl.config.build import Leaf, build, carried_over, is_mapping, leaves, sections, unknown_setting, value_at
from rl.config.controls import with_control
from rl.config.files import APPENDED_GROUP, COMMAND_LINE, CONF_DIR, LISTED_GROUP, origin
from rl.config.help import help_text
from rl.config.rules import problems
from rollouts.annotations import type_name
from rollouts.nearest import did_you_mean
from rollouts.terminal import CANNOT, complain

OVERRIDE = re.compile(r"(?P<prefix>\+\+|\+|~)?(?P<path>[A-Za-z_][\w./:-]*)(?:=(?P<value>.*))?", re.DOTALL)
# A reward in a file as a name under a mapping, with the name of an argument behind it or not; Hydra would take it apart
# at its dots.
FILE_NAME = re.compile(r"(?P<name>.+\.py:\w+)(?:\.(?P<inner>\w+))?")

# Short names of settings of evaluations. conf/benchmark holds cards, which are no group of Hydra's.
ALIASES = {"benchmark": "eval.benchmarks", "benchmark_root": "eval.benchmark_root", "probes": "eval.probes"}

# The embedded policy as a wheel brings it; in a checkout a link to examples/tiny/model.
EMBEDDED_MODEL = Path(__file__).resolve().parent.parent / "policy" / "tiny"


class ConfigError(ValueError):
    """The configuration cannot be used. `problems` holds every fault as one sentence; the text shows them all on one
    screen."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        count = f"{len(self.problems)} problem{'' if len(self.problems) == 1 else 's'}"
        super().__init__(
            "\n".join([f"{count} in the configuration:", *(f"  - {problem}" for problem in self.problems)])
        )


class Override(NamedTuple):
    """One argument of the command line, taken apart."""

    prefix: str
    path: str
    value: str | None


class Request(NamedTuple):
    """The parts of a command line: what Hydra gets, what the user set, and the faults so far."""

    hydra_overrides: list[str]
    explicit: set[str]
    faults: list[str]
    # What the user set under names that Hydra cannot hold: path of names -> value.
    under_files: dict[tuple[str, ...], Any]


def groups() -> dict[str, list[str]]:
    """The groups of `conf/` and the options of each, sorted by name."""
    folders = sorted(
        path
        for path in CONF_DIR.iterdir()
        if path.is_dir() and not path.name.startswith("_") and path.name not in ALIASES
    )
    return {folder.name: sorted(file.stem for file in folder.glob("*.yaml")) for folder in folders}


def compose(argv: Sequence[str]) -> Config:
    """The configuration that the arguments ask for, such as `["+experiment=med_grpo", "grpo.beta=0.02"]`.

    Raises:
        ConfigError: any number of unknown settings or group options, wrong types, values out of range, impossible
            combinations, missing files, and settings without effect, all at once.
    """
    request = read_arguments(argv)
    values, choices = run_hydra(request.hydra_overrides, request.faults)
    _put_under_files(values, request)
    config, faults = build(values, lambda path: origin(path, choices, request.explicit))
    config = with_control(_without_instruction(_locate_model(_expand_home(config))))
    faults = request.faults + faults
    more = problems(config, request.explicit)
    faults += [fault for fault in more if fault.split(":")[0] not in paths_of(faults)]
    if faults:
        raise ConfigError(faults)
    return config


def apply_request(values: dict[str, Any], request: Request) -> dict[str, Any]:
    """The values of a whole tree, changed by the settings of a request as Hydra would. Ignores the request's groups."""
    tree = OmegaConf.create(values)
    for text in request.hydra_overrides:
        override = OverridesParser.create().parse_override(text)
        place, _, name = override.key_or_group.rpartition(".")
        if override.is_delete():
            OmegaConf.select(tree, place).pop(name)
        elif override.is_force_add():
            OmegaConf.update(tree, override.key_or_group, override.value(), merge=True, force_add=True)
    plain: dict[str, Any] = OmegaConf.to_container(tree, resolve=True)  # type: ignore[assignment]
    _put_under_files(plain, request)
    return plain


def _put_under_files(values: dict[str, Any], request: Request) -> None:
    for names, value in request.under_files.items():
        place = values
        for name in names[:-1]:
            place = place.setdefault(name, {})
        place[names[-1]] = value


def from_command_line(argv: Sequence[str], command: str, purpose: str) -> Config:
    """`compose` for a command: `--help` and `--cfg` print and end with DONE, faults print and end with CANNOT.

    Args:
        argv: the arguments without the program's name.
        command: how the command is called, such as `python -m rl.train`.
        purpose: one sentence on what it does, for the help.
    """
    if {"--help", "-h"} & set(argv):
        print(help_text(command, purpose, groups()))
        sys.exit(0)
    try:
        config = compose([argument for argument in argv if argument != "--cfg"])
    except ConfigError as error:
        leave(str(error), hint=f"{command} --help lists every setting.")
    if "--cfg" in argv:
        print(to_yaml(config), end="")
        sys.exit(0)
    return config


def leave(message: str, *, hint: str = "", code: int = CANNOT) -> NoReturn:
    """Print an error for people on stderr and end the process."""
    complain("\n".join(part for part in (message, hint) if part))
    sys.exit(code)


def load(path: Path | str) -> Config:
    """The configuration that a run stored as config.yaml, by this version or an earlier one. Raises ConfigError for
    unknown names and wrong types, FileNotFoundError."""
    values = OmegaConf.to_container(OmegaConf.load(path))
    config, faults = build(carried_over(values) if isinstance(values, Mapping) else {}, lambda _: str(path))
    if faults:
        raise ConfigError(faults)
    return config


def to_yaml(config: Config) -> str:
    """The whole resolved tree as YAML, in the order of rl/config/schema.py; `load` reads it back."""
    return yaml.safe_dump(dataclasses.asdict(config), sort_keys=False, allow_unicode=True, width=10_000)


def config_hash(*parts: Any) -> str:
    """Twelve hexadecimal digits that depend on the values of the given sections (or plain values) alone, not on the
    order of dictionaries."""
    plain = [
        dataclasses.asdict(part) if dataclasses.is_dataclass(part) and not isinstance(part, type) else part
        for part in parts
    ]
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:12]


# Settings that name a file or folder of this machine; `~` at their beginning is the user's home.
_PLACES = {
    "": ("out_dir",),
    "model": ("path",),
    "data": ("root",),
    "data.media": ("cache_dir",),
    "sft": ("checkpoint", "cache_dir"),
    "stages.interleaved": ("root",),
    "stages.captions": ("root",),
    "judge": ("cache", "calibration", "canaries"),
    "eval": ("benchmark_root",),
    "metric": ("python", "model_dir"),
}


def _expand_home(config: Config) -> Config:
    """Write the home folder out where a path begins with `~`: behind a `=` no shell does it, and a folder named `~`
    would be made."""
    for section, names in _PLACES.items():
        part: Any = value_at(config, section) if section else config
        homes: dict[str, Any] = {
            name: str(Path(value).expanduser())
            for name in names
            if isinstance(value := getattr(part, name), str) and value.startswith("~")
        }
        if homes:
            config = _with_part(config, section, homes)
    return config


def _with_part(record: Any, section: str, changes: dict[str, Any]) -> Any:
    """The record with changes in the section of that dotted name."""
    if not section:
        return dataclasses.replace(record, **changes)
    first, _, rest = section.partition(".")
    return dataclasses.replace(record, **{first: _with_part(getattr(record, first), rest, changes)})


def _without_instruction(config: Config) -> Config:
    """Instruction tuning that is left out by its name is left out by its own switch, so that there is one to read."""
    if "instruction" not in config.stages.skip:
        return config
    return dataclasses.replace(config, sft=dataclasses.replace(config.sft, enabled=False))


def _locate_model(config: Config) -> Config:
    """Make the model's path absolute where it exists only relative to the repository, so commands work from any
    folder. Outside a checkout the embedded model is a folder of the package."""
    beside_conf = CONF_DIR.parent / config.model.path
    places = [beside_conf, *([EMBEDDED_MODEL] if config.model.path == ModelConfig().path else [])]
    place = next((place for place in places if place.exists()), None)
    if Path(config.model.path).exists() or place is None:
        return config
    return dataclasses.replace(config, model=dataclasses.replace(config.model, path=str(place)))


def paths_of(faults: Sequence[str]) -> set[str]:
    """Settings that have a fault already. Further sentences about them would be noise."""
    return {re.split(r"[ :]", fault, maxsplit=1)[0] for fault in faults}


def read_arguments(argv: Sequence[str]) -> Request:
    """Read the arguments. Faults go into `faults`; nothing is raised."""
    request = Request([], set(), [], {})
    for argument in argv:
        match = OVERRIDE.fullmatch(argument)
        if match is None or (match["value"] is None and match["prefix"] != "~"):
            request.faults.append(
                f"{argument!r} ({COMMAND_LINE}): expected GROUP=OPTION or SETTING=VALUE, such as model=tiny or"
                " grpo.beta=0.02"
            )
            continue
        override = _without_alias(Override(match["prefix"] or "", match["path"], match["value"]))
        if override.path in groups():
            _read_group(override, request)
        else:
            _read_setting(override, request)
    return request


def _without_alias(override: Override) -> Override:
    """`benchmark=slake_en` is eval.benchmarks=[slake_en]."""
    path = ALIASES.get(override.path, override.path)
    value = override.value or ""
    if path in ("eval.benchmarks", "eval.probes") and value != "null" and not value.startswith("["):
        return override._replace(path=path, value=f"[{value}]")
    return override._replace(path=path)


def _read_group(override: Override, request: Request) -> None:
    options = groups()[override.path]
    if override.path == LISTED_GROUP:
        names = [name.strip() for name in (override.value or "").strip("[]").split(",") if name.strip()]
        if all(name in options for name in names):
            request.hydra_overrides.append(f"{override.path}=[{','.join(names)}]")
            return
        override = override._replace(value=next(name for name in names if name not in options))
    if override.value in options:
        plus = "+" if override.path == APPENDED_GROUP else ""  # not in the defaults list of conf/config.yaml
        request.hydra_overrides.append(f"{plus}{override.path}={override.value}")
        return
    hint = did_you_mean(override.value or "", options, ";")
    other = "; to name a model folder or Hub id write model.path=..." if override.path == "model" else ""
    request.faults.append(
        f"{override.path}={override.value} ({COMMAND_LINE}): there is no such option{hint} available:"
        f" {', '.join(options)}{other}"
    )


def _read_setting(override: Override, request: Request) -> None:
    known = leaves()
    mapping = next(
        (path for path, leaf in known.items() if is_mapping(leaf.annotation) and override.path.startswith(path + ".")),
        None,
    )
    if override.prefix == "~":
        if mapping is None:
            request.faults.append(
                f"~{override.path} ({COMMAND_LINE}): only a name under a mapping can be removed, such as"
                " ~reward.routes.open"
            )
        else:
            request.hydra_overrides.append(f"~{override.path}")
            request.explicit.add(mapping)
        return
    if override.path not in known and override.path not in sections() and mapping is None:
        request.faults.append(unknown_setting(override.path, COMMAND_LINE, groups()))
        return
    value, fault = _read_value(override, known.get(override.path))
    if fault is not None:
        request.faults.append(fault)
        return
    if mapping is not None and (in_file := FILE_NAME.fullmatch(override.path.removeprefix(mapping + "."))):
        names = (*mapping.split("."), in_file["name"], *filter(None, (in_file["inner"],)))
        request.under_files[names] = OverridesParser.create().parse_override(f"value={value}").value()
    else:
        request.hydra_overrides.append(f"++{override.path}={value}")
    inside = {path for path in known if path.startswith(override.path + ".")}
    request.explicit.update(inside or {mapping or override.path})


def _read_value(override: Override, leaf: Leaf | None) -> tuple[str, str | None]:
    """The value as Hydra's grammar wants it. Texts are taken as they stand, so that a path needs no quotes of its
    own."""
    text = override.value or ""
    is_text = leaf is not None and leaf.annotation in (str, str | None)
    if is_text and text[:1] not in ("'", '"') and text != "null":
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"', None
    try:
        parsed = OverridesParser.create().parse_override(f"value={text}")
    except HydraException as error:
        why = str(error).splitlines()[0]
        return "", f"{override.path} ({COMMAND_LINE}): cannot read the value {text!r}: {why}; put it in quotes"
    if parsed.is_sweep_override():
        one = type_name(leaf.annotation) if leaf else "one value"
        return (
            "",
            (
                f"{override.path} ({COMMAND_LINE}): got several values {text!r}, expected one ({one}); a command is"
                " one run"
            ),
        )
    return text, None


def run_hydra(overrides: list[str], faults: Sequence[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """The composed plain values and the chosen option of each group. Faults of the files themselves are ConfigErrors at
    once."""
    defaults: dict[str, Any] = {}
    for path, leaf in leaves().items():
        section, _, name = path.rpartition(".")
        if not is_mapping(leaf.annotation):  # a reward file states its mappings whole; see conf/reward/med.yaml
            inside = defaults
            for one in section.split(".") if section else ():
                inside = inside.setdefault(one, {})
            inside[name] = leaf.default
    ConfigStore.instance().store(name="rounds_defaults", node=defaults)
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
            composed = hydra_compose("config", overrides, return_hydra_config=True)
        choices = {group: option for group, option in composed.hydra.runtime.choices.items() if "/" not in group}
        plain = OmegaConf.to_container(
            OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"]), resolve=True
        )
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError([*faults, " ".join(str(error).splitlines()[:2])]) from error
    return plain, choices  # type: ignore[return-value]
