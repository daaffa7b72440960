"""The operating system's view of a run: which processes Ray started for it, and making sure that none is left.

Not `rollouts.children`, which knows the processes that it started itself: these are Ray's, in sessions of Ray's
making, some of them orphans by now, and have to be found before they can be ended.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable

import psutil

GRACE_SECONDS = 5.0
# Set to Ray's session folder while Ray starts, so that everything Ray starts carries it and nothing else of ours does.
MARK = "ROUNDS_RAY_FOLDER"


def processes_of(folder: str, pids: Iterable[int] = ()) -> list[psutil.Process]:
    """Our children whose command line names `folder` (Ray's session), everything below them, and the given pids where
    they still run."""
    ours: dict[int, psutil.Process] = {}
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if any(folder in part for part in child.cmdline()):
                ours |= {process.pid: process for process in (child, *child.children(recursive=True))}
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            ours.setdefault(pid, psutil.Process(pid))
    ours.pop(os.getpid(), None)
    return list(ours.values())


def with_mark(folder: str) -> list[psutil.Process]:
    """Whoever carries the mark of this session, orphans included: what a dying Ray still started has no parent that
    leads to us."""
    ours = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid != os.getpid() and _is_of(process, folder):
                ours.append(process)
    return ours


def _is_of(process: psutil.Process, folder: str) -> bool:
    if process.environ().get(MARK) == folder:
        return True
    # Ray's agents write their title over their environment; their logs lie in the folder.
    return process.name().startswith("ray::") and any(one.path.startswith(folder) for one in process.open_files())


def end(processes: Iterable[psutil.Process]) -> None:
    """Wait a little for processes that were told to stop, then kill the rest."""
    _, alive = psutil.wait_procs(list(processes), timeout=GRACE_SECONDS)
    for process in alive:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(alive, timeout=GRACE_SECONDS)
