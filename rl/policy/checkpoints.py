"""Checkpoints that survive a kill at any moment: safetensors and JSON, a manifest of sizes and hashes written last, one
rename.

`step_000010.tmp/` is filled and flushed to disk, then renamed to `step_000010/`. A folder without a manifest, or one
whose files do not match it, is not a checkpoint; the loader says so and takes the one before. No pickle anywhere.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from rollouts.store.disk import sha256_file, sync_files, sync_folder

TENSORS, STATE, MANIFEST = "state.safetensors", "state.json", "MANIFEST.json"
FORMAT_VERSION = 1
log = logging.getLogger(__name__)


class CheckpointError(RuntimeError):
    """A checkpoint could not be written, or none that is there can be trusted."""


@dataclass(frozen=True)
class Checkpoint:
    """One that was read and verified."""

    path: Path
    step: int
    tensors: dict[str, Tensor]
    # Whatever JSON `save` was given: counters, position, versions.
    state: dict[str, Any]
    # Newer folders that did not verify, with the reason.
    rejected: tuple[str, ...] = ()


def save(
    root: Path, step: int, tensors: Mapping[str, Tensor], state: Mapping[str, Any], keep: int | None = None
) -> Path:
    """Write checkpoint number `step` under `root`, then remove all but the newest `keep` (None = keep all).

    Raises:
        CheckpointError: the disk is full or not writable; nothing half-written stays behind, older checkpoints are
            untouched.
    """
    final = root / f"step_{step:06d}"
    partial = final.with_suffix(".tmp")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, partial / TENSORS)
        (partial / STATE).write_text(json.dumps({**state, "step": step}, indent=1, sort_keys=True, allow_nan=False))
        files = {name: _fingerprint(partial / name) for name in (TENSORS, STATE)}
        sync_files([partial / name for name in files])
        (partial / MANIFEST).write_text(json.dumps({"format": FORMAT_VERSION, "step": step, "files": files}, indent=1))
        sync_files([partial / MANIFEST])
        sync_folder(partial)
        if final.exists():  # a resumed run writes this step again
            shutil.rmtree(final)
        partial.rename(final)
        sync_folder(root)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise CheckpointError(
            f"checkpoint {final} could not be written: {error}; free space or set out_dir elsewhere"
        ) from error
    for old in _folders(root)[keep:] if keep is not None else []:
        shutil.rmtree(old, ignore_errors=True)
    return final


def load_latest(root: Path) -> Checkpoint | None:
    """The newest checkpoint under `root` whose manifest verifies; None where none was ever finished. Damaged ones are
    named in the log.

    Raises:
        CheckpointError: there are checkpoints, and all of them are damaged.
    """
    rejected: list[str] = []
    for path in _folders(root):
        fault = verify(path)
        if fault is None:
            state = json.loads((path / STATE).read_text())
            return Checkpoint(path, state["step"], load_file(path / TENSORS), state, tuple(rejected))
        rejected.append(f"{path.name}: {fault}")
        log.warning("checkpoint %s is damaged (%s); going back to the one before", path, fault)
    if rejected:
        raise CheckpointError(
            f"no checkpoint under {root} can be trusted: {'; '.join(rejected)}; start again in a new out_dir"
        )
    return None


def verify(path: Path) -> str | None:
    """Why this folder cannot be trusted; None when every file has the size and the hash its manifest names."""
    try:
        manifest = json.loads((path / MANIFEST).read_text())
        if manifest["format"] != FORMAT_VERSION:
            return f"format {manifest['format']}, expected {FORMAT_VERSION}"
        for name, expected in manifest["files"].items():
            if _fingerprint(path / name) != expected:
                return f"{name} is not the file that was written"
    except FileNotFoundError as error:
        return f"{Path(str(error.filename)).name} is missing"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{MANIFEST} cannot be read: {error}"
    return None


def _folders(root: Path) -> list[Path]:
    """Finished checkpoint folders, newest first."""
    return sorted((path for path in root.glob("step_*") if path.is_dir() and path.suffix != ".tmp"), reverse=True)


def _fingerprint(path: Path) -> dict[str, int | str]:
    return {"bytes": path.stat().st_size, "sha256": sha256_file(path)}
