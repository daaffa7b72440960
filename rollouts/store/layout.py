"""Paths of the files of a run, and the errors about them. Writer, reader, viewer and check all use these."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

JSONL, PARQUET, MANIFEST = "rollouts.jsonl", "rollouts.parquet", "manifest.json"
_STEP_FOLDER = re.compile(r"step_(\d{6,})")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class StoreError(ValueError):
    """Something about a stored run is not as it must be; the message says what, where and what to do."""


class NotARun(StoreError):
    """The folder holds no rollouts, or not the step that was asked for."""


class NewerSchema(StoreError):
    """The run was written by a later version of this package."""


class DuplicateRollout(StoreError):
    """A rollout with the same (run, step, prompt_id, sample_index) is stored already."""


class DamagedStore(StoreError):
    """A file of the run cannot be read. A torn last line of JSONL is no such damage."""


class StepFiles(NamedTuple):
    """One step of a stored run. `finished` = the Parquet file and its manifest are there."""

    step: int
    folder: Path
    finished: bool


def media_path(run_dir: Path | str, sha256: str) -> Path:
    """Where the image with this hash is kept. Raises StoreError for anything but a SHA-256, so that no other file can
    be named."""
    if not _SHA256.fullmatch(sha256):
        raise StoreError(f"media are named by 64 hexadecimal digits, got {sha256[:80]!r}")
    return Path(run_dir) / "media" / f"{sha256}.png"


def step_folder(run_dir: Path | str, step: int) -> Path:
    """The folder of one step."""
    return Path(run_dir) / "rollouts" / f"step_{step:06d}"


def list_steps(run_dir: Path | str) -> list[StepFiles]:
    """The stored steps in order, the one that is being written included.

    Raises:
        NotARun: the folder holds no rollouts.
    """
    root = Path(run_dir) / "rollouts"
    if not root.is_dir():
        raise NotARun(f"{run_dir} is not a run: it has no folder 'rollouts'. Give the out_dir of `python -m rl.train`.")
    steps = []
    for folder in root.iterdir():
        if (match := _STEP_FOLDER.fullmatch(folder.name)) and folder.is_dir():
            steps.append(StepFiles(int(match[1]), folder, (folder / MANIFEST).exists()))
    return sorted(steps)
