"""Reads many media in processes of their own, a few at a time; a file that brings one down or holds it up is one fault,
and the others are read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from threading import Event, Lock

from rl.data.media.remembered import Task, media_of
from rollouts import children
from rollouts.records import Media

# Longest wait for one medium: an hour of video takes some minutes.
SECONDS = 900.0
_COMMAND = (sys.executable, "-m", "rl.data.media.worker")


def read_all(
    tasks: Mapping[str, Task], workers: int, advance: Callable[[int], None] = lambda _: None, seconds: float = SECONDS
) -> dict[str, Media | str]:
    """Key -> the medium, or why it cannot be read. `tasks`: see `rl.data.media.worker.read_task`. `advance` is told of
    each that is done; Ctrl-C ends the processes, and what they have read stays in the cache."""
    waiting, lock, stop = iter(tasks.items()), Lock(), Event()
    results: dict[str, Media | str] = {}

    def next_task() -> tuple[str, Task] | None:
        with lock:
            return None if stop.is_set() else next(waiting, None)

    def work() -> None:
        reader = _Reader(seconds, stop)
        try:
            while (item := next_task()) is not None:
                result = reader.read(item[1])
                with lock:
                    results[item[0]] = result
                    advance(1)
        finally:
            reader.close()

    with ThreadPoolExecutor(max(1, min(workers, len(tasks)))) as threads:
        running = [threads.submit(work) for _ in range(min(workers, len(tasks)))]
        try:
            for one in as_completed(running):
                one.result()
        finally:
            stop.set()
    return results


class _Reader:
    """One process, started when it is needed and started again when it has died."""

    def __init__(self, seconds: float, stop: Event) -> None:
        self._seconds, self._stop = seconds, stop
        self._process: subprocess.Popen[bytes] | None = None

    def read(self, task: Task) -> Media | str:
        what = f"{task['ask']['kind']} {task['name']}"
        if self._process is None:
            self._process = _start()
        try:
            line = children.ask(self._process, json.dumps(task).encode() + b"\n", self._seconds, self._stop.is_set)
        except TimeoutError:
            self.close()
            return f"{what}: was not read within {self._seconds:.0f} s; leave it out, or make it smaller"
        except (OSError, EOFError):
            children.wait(self._process, 5.0)
            how = children.how_it_ended(self._process) or "stopped answering"
            self.close()
            return f"{what}: the process that read it {how}; the file is damaged, or needs more memory than there is"
        reply = json.loads(line)
        return media_of(reply["media"]) if "media" in reply else str(reply["fault"])

    def close(self) -> None:
        """End the process. A later `read` starts another."""
        if self._process is not None:
            children.close(self._process)
            self._process = None


def _start() -> subprocess.Popen[bytes]:
    return children.start(
        _COMMAND,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "OMP_NUM_THREADS": "1"},
    )
