"""What can go wrong with a worker, and the last thing it said."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

NUM_LOG_LINES = 15


class WorkerFailed(RuntimeError):
    """A worker died, or gave no answer in time. Names the worker and ends with its last log lines."""

    exit_code = 1  # ours: rollouts.terminal.FAILED


class ClusterUnavailable(RuntimeError):
    """Ray could not be started or joined, or has too few CPUs or GPUs for what the configuration asks."""


def last_log_lines(files: Iterable[Path], num_lines: int = NUM_LOG_LINES) -> str:
    """The end of what a worker printed, for an error message; says so where there is nothing to read."""
    lines = [
        line
        for file in files
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines()
        if line.strip()
    ]
    if not lines:
        return "  (no log of this worker on this machine)"
    return "\n".join(f"  | {line[:300]}" for line in lines[-num_lines:])
