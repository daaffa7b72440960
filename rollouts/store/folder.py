"""Opens files of a run folder that may come from a stranger: regular files inside it and nothing else, links never
followed."""

from __future__ import annotations

import stat
from pathlib import Path

from rollouts.store.layout import StoreError


class Refused(StoreError):
    """A file of the run is not opened: it is a link, leads out of the folder, or is no regular file."""


def inside(run_dir: Path, *parts: str) -> Path:
    """The path of a regular file of the run. Looks at every part of the path by itself, so it follows no link.

    Raises:
        Refused: a part is a link or names another folder, or the end is no regular file. FileNotFoundError: it is not
            there.
    """
    path = run_dir
    for number, part in enumerate(parts, start=1):
        if part in ("", ".", "..") or "/" in part or "\\" in part or "\0" in part:
            raise Refused(f"{part[:80]!r} is no name of a file of a run")
        path = path / part
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            raise Refused(f"{'/'.join(parts[:number])} is a link; links in a run folder are not followed")
        if not (stat.S_ISREG(mode) if number == len(parts) else stat.S_ISDIR(mode)):
            raise Refused(f"{'/'.join(parts[:number])} is no {'regular file' if number == len(parts) else 'folder'}")
    return path


def read_at_most(path: Path, max_bytes: int) -> bytes:
    """The bytes of a file. Raises Refused where it holds more than `max_bytes`."""
    with open(path, "rb") as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise Refused(f"{path.name} holds more than {max_bytes:,} bytes")
    return data
