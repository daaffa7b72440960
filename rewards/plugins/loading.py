"""Loads a reward from its file or module, in the child process that runs it, and says why where that fails."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from rewards import registry
from rewards.contract import Reward, RewardError, Source, describe_function, home_of
from rewards.plugins.from_trl import from_trl
from rewards.plugins.handshake import Ready
from rollouts.nearest import did_you_mean

# The setting to raise where a reward runs out of memory.
ROOM = "reward.plugin_memory_gib"


def load(source: Source) -> Reward:
    """Import the file or module and find the reward in it. Raises RewardError, and whatever the import raises."""
    before = set(registry.names())  # the shipped ones, so that a second one of their name is noticed
    module = importlib.import_module(source.module or "") if source.path is None else _from_file(Path(source.path))
    function = getattr(module, source.attribute, None)
    if source.is_trl and callable(function):
        return dataclasses.replace(describe_function(source.attribute, from_trl(function)), home=home_of(function))
    registered = [registry.get(name) for name in registry.names()]
    match = next((r for r in registered if r.function is function and function is not None), None)
    if match is None and source.attribute in registry.names() and source.attribute not in before:
        match = registry.get(source.attribute)
    if match is not None and match.function is not None:
        return describe_function(source.name, match.function, match.by_answer) if source.name else match
    if not callable(function):
        offered = sorted(name for name, value in vars(module).items() if _is_own(value, module))
        hint = did_you_mean(source.attribute, offered, ".")
        raise RewardError(
            f"{source.path or source.module} has no function {source.attribute!r}{hint} It has {offered}."
        )
    return describe_function(source.name or source.attribute, function)


def _is_own(value: Any, module: ModuleType) -> bool:
    return callable(value) and getattr(value, "__module__", None) == module.__name__


def _from_file(path: Path) -> ModuleType:
    """Import a file as a module. What it imports is looked for in its folder, as for a script."""
    sys.path.insert(0, str(path.parent))
    name = f"rounds_plugin_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def why_not(error: BaseException, source: Source) -> str:
    """Say why a reward does not load: a RewardError in its own words, anything else with the end of its traceback."""
    if isinstance(error, RewardError):
        return str(error)
    trace = error.__traceback__
    while trace is not None and source.path is not None and trace.tb_frame.f_code.co_filename != source.path:
        trace = trace.tb_next  # the importing machinery is of no interest
    trace_lines = traceback.format_exception(type(error), error, trace)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == source.path]
    place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else str(source.path or source.module)
    if isinstance(error, SyntaxError):
        place = f"{error.filename}:{error.lineno}"
    last_lines = "".join(trace_lines).rstrip().splitlines()[-8:]
    last_lines += [f"{ROOM} is its limit"] if isinstance(error, MemoryError) else []
    return f"{place} does not import: {type(error).__name__}: {error}\n" + "\n".join(last_lines)


def ready(reward: Reward) -> Ready:
    """Return what the parent has to know of a reward that is loaded."""
    defaults = {name: repr(default) for name, default in reward.arguments.items()}
    return Ready(reward.name, defaults, tuple(sorted(reward.supplied)), reward.by_answer, reward.is_async, reward.home)
