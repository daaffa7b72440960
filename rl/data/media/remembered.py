"""Media that were read at an earlier start, found again by one small file each: no source, header or mask is opened.

`FOLDER/read/<hash>.json` holds the record of a medium under the hash of what was asked and of the names, sizes and
times of the files it was read from. What is not there, or whose frames are gone or cut, is read again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rollouts.imaging.ask import Ask
from rollouts.imaging.cache import SETTLED_AFTER
from rollouts.imaging.notes import READER_VERSION
from rollouts.imaging.read import files_of, whole_of
from rollouts.records import BadSample, Media, to_dict
from rollouts.store.disk import write_atomically

Task = Mapping[str, Any]
# Fields of a record that are several files.
_FILES = ("frame_files", "mask_files")


def find(task: Task) -> Media | None:
    """The medium of a task (`rl.data.media.worker.read_task`) as it was read before; None = it must be read."""
    try:
        entry, _ = _entry(task)
        with open(entry, encoding="utf-8") as file:
            kept = json.load(file)
        if all(os.stat(name).st_size == size for name, size in kept["sizes"].items()):
            return media_of(kept["media"])
    except (BadSample, OSError, ValueError, TypeError, KeyError, AttributeError):
        pass
    return None


def keep(task: Task, media: Media) -> None:
    """Write down what was read. What changed a moment ago may change again within the clock's tick: it is not kept."""
    with contextlib.suppress(BadSample, OSError):
        entry, newest = _entry(task)
        if time.time() - newest < SETTLED_AFTER:
            return
        files = [name for field in _FILES for name in getattr(media, field) or ()]
        record = {"media": to_dict(media), "sizes": {name: os.stat(name).st_size for name in files}}
        os.makedirs(os.path.dirname(entry), exist_ok=True)
        write_atomically(Path(entry), json.dumps(record).encode(), durable=False)


def media_of(fields: Mapping[str, Any]) -> Media:
    """The record of what `to_dict` made of it. Raises BadSample."""
    made: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
    return Media(**made)


def _entry(task: Task) -> tuple[str, float]:
    """The file of a task's record, and when the newest of its sources changed. Raises BadSample, OSError."""
    sources = list(_sources(task))
    key = json.dumps([READER_VERSION, task, [place[:-1] for place in sources]], sort_keys=True)
    name = hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()
    return os.path.join(task["cache"], "read", f"{name}.json"), max(place[-1] for place in sources)


def _sources(task: Task) -> Iterator[tuple[str, int, int, int, float]]:
    """Name, size, time and number of each file that the medium and its mask are read from; its time in seconds."""
    kinds = [(task["path"], task["ask"]["kind"])] + ([(task["mask"]["path"], "volume")] if task["mask"] else [])
    for place, kind in kinds:
        for file in whole_of(files_of(Path(place), Ask(kind))):
            stat = os.stat(file)
            yield str(file), stat.st_size, stat.st_mtime_ns, stat.st_ino, stat.st_mtime
