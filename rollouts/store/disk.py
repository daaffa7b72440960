"""Files that are whole or not there: written beside their name, synced, renamed; a full disk leaves nothing
half-written."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# No space left, quota exceeded, file larger than the limit of the process.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class DiskFull(OSError):
    """There is no room for a file of the run. What was written before is whole; the message says what to do."""

    exit_code = 1  # ours: rollouts.terminal.FAILED


def _full(path: Path, size: int, error: OSError) -> DiskFull:
    try:
        free = f"{shutil.disk_usage(path.parent).free / 2**20:,.1f} MiB"
    except OSError:
        free = "an unknown amount"
    return DiskFull(
        f"the disk is full: {size:,} bytes of {path} could not be written ({os.strerror(error.errno or 0)}; {free} free"
        " there).\nNothing half-written was kept, and everything written before it is whole.\nFree some space (or"
        " choose another out_dir=), then start again with resume=true."
    )


def write_atomically(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write `path` so that it holds all of `data` or stays as it was, also when the process dies meanwhile; if
    `durable`, the machine too.

    Raises:
        DiskFull: there is no room; the unfinished file is removed.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(beside, "wb") as file:
            file.write(data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        if error.errno in _FULL:
            raise _full(path, len(data), error) from error
        raise


def replace_from(path: Path, write: Callable[[Path], None]) -> None:
    """The same for a writer that wants a file name: `write` gets a name beside `path`, which is synced and renamed
    afterwards."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(beside)
        with open(beside, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        size = beside.stat().st_size if beside.exists() else 0
        beside.unlink(missing_ok=True)
        if error.errno in _FULL:
            raise _full(path, size, error) from error
        raise


def append_whole(file: int, path: Path, data: bytes) -> None:
    """Append `data` to an open descriptor in one write; on a full disk the file is cut back to what it held before.

    Raises:
        DiskFull: there is no room.
    """
    before = os.fstat(file).st_size
    rest = memoryview(data)
    try:
        while rest:
            # A nearly full disk takes the first bytes and refuses the rest only at the next write.
            rest = rest[os.write(file, rest) :]
    except OSError as error:
        os.ftruncate(file, before)
        if error.errno in _FULL:
            raise _full(path, len(data), error) from error
        raise


def sync_files(paths: Iterable[Path]) -> None:
    """Make the contents of files durable, many at once: file systems answer them with one commit."""

    def sync(path: Path) -> None:
        with open(path, "rb+") as file:
            os.fsync(file.fileno())

    with ThreadPoolExecutor(max_workers=16) as pool:
        list(pool.map(sync, paths))


def sync_folder(folder: Path) -> None:
    """Make renames and removals inside a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
