"""Frames that were read once, kept as PNG files under the hash of their source and of what was asked.

`FOLDER/frames/<source>-<ask>/000012.png` and `read.json` beside them. An entry is written to a temporary folder and
renamed, so it is there whole or not at all; two processes may write the same one. Hashes of sources are remembered by
the files' names, sizes and times, under `FOLDER/sources/`, so that a second read does not read the source again. No
name of a file stands in the cache.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from rollouts.imaging.ask import Ask
from rollouts.imaging.notes import READER_VERSION, Provenance

_RECORD = "read.json"
# A file changed within this many seconds may change again within the clock's tick: its hash is not remembered.
SETTLED_AFTER = 2.0


class Entry(NamedTuple):
    """Frames in the cache."""

    provenance: Provenance
    files: tuple[Path, ...]


class Cache:
    """Frames under one folder, which is made when the first entry is kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def key(self, paths: Sequence[Path], ask: Ask) -> str:
        """The name of an entry: of the bytes of all files, in no order, and of the ask. Raises OSError."""
        digest = hashlib.sha256(f"{READER_VERSION}\n{ask.key()}".encode()).hexdigest()
        return f"{self._source(paths)}-{digest}"

    def find(self, key: str) -> Entry | None:
        """The entry of that name; None where there is none, or where one of its files is gone or cut."""
        folder = self.folder / "frames" / key
        try:
            record = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
            provenance = Provenance.from_dict(record["provenance"])
            files = tuple(folder / name for name in record["files"])
            whole = [os.stat(path).st_size for path in files] == list(record["files"].values())
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None
        return Entry(provenance, files) if whole and len(files) == len(provenance.indices) else None

    def keep(self, key: str, provenance: Provenance, images: Iterable[Image.Image]) -> Entry:
        """Write the frames of an entry, one at a time. Raises OSError, and BadSample where a frame cannot be decoded;
        then nothing is kept."""
        final = self.folder / "frames" / key
        final.parent.mkdir(parents=True, exist_ok=True)
        writing = Path(tempfile.mkdtemp(prefix=".writing-", dir=final.parent))
        try:
            sizes: dict[str, int] = {}
            for index, image in zip(provenance.indices, images, strict=True):
                name = f"{index:06d}.png"
                image.save(writing / name, compress_level=1)
                sizes[name] = (writing / name).stat().st_size
                provenance = provenance.with_size(image.size)
            record = {"provenance": provenance.to_dict(), "files": sizes}
            (writing / _RECORD).write_text(json.dumps(record), encoding="utf-8")
            self._place(writing, final)
        finally:
            shutil.rmtree(writing, ignore_errors=True)
        return Entry(provenance, tuple(final / name for name in sizes))

    def _place(self, writing: Path, final: Path) -> None:
        try:
            writing.rename(final)
        except OSError:
            if self.find(final.name) is None:  # not another process' entry, but a damaged one
                shutil.rmtree(final, ignore_errors=True)
                writing.rename(final)

    def _source(self, paths: Sequence[Path]) -> str:
        stats = [(str(path.absolute()), path.stat()) for path in paths]
        listing = "\n".join(f"{name}\t{stat.st_size}\t{stat.st_mtime_ns}\t{stat.st_ino}" for name, stat in stats)
        remembered = self.folder / "sources" / hashlib.sha256(listing.encode(errors="surrogateescape")).hexdigest()
        with contextlib.suppress(OSError):
            if len(known := remembered.read_text(encoding="ascii").strip()) == 64:
                return known
        source = hash_files(paths)
        if time.time() - max(stat.st_mtime for _, stat in stats) > SETTLED_AFTER:
            remembered.parent.mkdir(parents=True, exist_ok=True)
            writing = remembered.with_suffix(f".{os.getpid()}")
            writing.write_text(source, encoding="ascii")
            writing.replace(remembered)
        return source


def hash_files(paths: Sequence[Path]) -> str:
    """SHA-256 of one file's bytes; of several, of their hashes in sorted order, whatever the files are called. Raises
    OSError."""
    digests = []
    for path in paths:
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(sorted(digests)).encode()).hexdigest()
