"""Looks at every image of a data set before anything starts: present, an image, whole, one picture, and not too large
to open."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from rollouts.imaging import greys, pictures
from rollouts.imaging.cache import SETTLED_AFTER
from rollouts.imaging.flat import reader as flat
from rollouts.imaging.notes import READER_VERSION
from rollouts.imaging.read import HEAD, what_it_is
from rollouts.media import evenly_spaced
from rollouts.records import BadSample, Media
from rollouts.store.disk import write_atomically
from rollouts.texts.reading import shorten

# Read by `rollouts.imaging`, also where a row calls them an image.
_MEDICAL_SUFFIXES = (".dcm", ".dicom", ".ima", ".nii", ".nii.gz")
# The longest path that Linux opens; what is longer is no path but data.
_LONGEST_PATH = 4096
# How the usual pictures begin in base64: PNG, JPEG, GIF, WebP, BMP, TIFF.
_BASE64 = re.compile(r"data:|iVBORw0KGgo|/9j/|R0lGOD|UklGR|Qk[0-3]|SUkqA|TU0AK")


class Opened:
    """Pictures under one folder that an earlier start found whole: `CACHE/opened/<hash of the folder>.json` holds the
    SHA-256 of each under a hash of its path with the size, time and number of the file, because a path may name a
    patient. What changed is opened again."""

    def __init__(self, root: Path, cache: Path) -> None:
        self._file = cache / "opened" / f"{_digest(READER_VERSION, root.absolute())}.json"
        self._pictures: dict[str, str] = {}
        self._changed = False
        with contextlib.suppress(OSError, ValueError):
            pictures = json.loads(self._file.read_bytes())
            if isinstance(pictures, dict):
                self._pictures = {key: one for key, one in pictures.items() if isinstance(one, str)}

    def find(self, path: Path) -> str | None:
        """The SHA-256 of a picture that is as it was; None = it must be opened."""
        return self._pictures.get(_state(path, path.stat()))

    def add(self, path: Path, before: os.stat_result, sha256: str) -> None:
        """A picture that was opened, and what was known of its file before. What changed a moment ago may change again
        within the clock's tick: it is not kept."""
        if time.time() - before.st_mtime > SETTLED_AFTER:
            self._pictures[_state(path, before)] = sha256
            self._changed = True

    def write(self) -> None:
        """Write down what was added."""
        if self._changed:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._file, json.dumps(self._pictures).encode(), durable=False)
            self._changed = False


def _digest(*parts: object) -> str:
    return hashlib.sha256("\n".join(map(str, parts)).encode(errors="surrogateescape")).hexdigest()


def _state(path: Path, stat: os.stat_result) -> str:
    return _digest(path, stat.st_size, stat.st_mtime_ns, stat.st_ino)


@dataclass
class ImageReader:
    """Opens images by path under one folder and remembers what it found, so that an image with ten questions is decoded
    once, and with a cache once for all starts."""

    # Relative paths of a data file start here.
    root: Path
    # Frames that are no PNG file of their own are kept under this folder; None = only images are read.
    cache: Path | None = None
    _seen: dict[Path, Media | str] = field(default_factory=dict)
    # Volumes and videos by kind, files and most frames, so that their frames lie in memory once.
    _sequences: dict[tuple[str, tuple[str, ...], int], Media] = field(default_factory=dict)

    @cached_property
    def opened(self) -> Opened | None:
        """What earlier starts opened; None = there is no cache."""
        return None if self.cache is None else Opened(self.root, self.cache)

    def image(self, name: str) -> Media:
        """The image with its SHA-256, decoded once to be sure. Raises BadSample with the reason."""
        path = self._path("image", name)
        if path not in self._seen:
            self._seen[path] = self._read(path, name)
        result = self._seen[path]
        if isinstance(result, str):
            raise BadSample(result)
        return result

    def sequence(self, kind: Literal["volume", "video"], names: Sequence[str], max_frames: int) -> Media:
        """A list of files in the order given; a file of several frames or pages gives all of them.

        At most `max_frames` are taken, evenly spaced; the chosen indices are recorded. Frames deeper than 8 bits share
        one grey scale, that of all frames together. A frame that is a PNG file already stays where it is, others become
        files of the cache. Raises BadSample.
        """
        names = tuple(names)
        if not names:
            raise BadSample(f"the {kind} has no frames: an empty list")
        known = (kind, names, max_frames)
        if known not in self._sequences:
            self._sequences[known] = self._sequence(kind, names, max_frames)
        return self._sequences[known]

    def _sequence(self, kind: Literal["volume", "video"], names: tuple[str, ...], max_frames: int) -> Media:
        files = {name: self._bytes(kind, name) for name in dict.fromkeys(names)}
        all_frames: list[tuple[str, int]] = []
        ranges = []
        for name in names:
            try:
                all_frames += [(name, index) for index in range(pictures.num_frames(files[name]))]
                ranges.append(pictures.extremes(files[name]))
            except BadSample as error:
                raise BadSample(f"image {shorten(name)} {error}") from error
        extremes = greys.join(ranges)
        scale = None if extremes is None else greys.scale_of(extremes)
        chosen = evenly_spaced(len(all_frames), max_frames)
        kept = []
        for name, index in (all_frames[place] for place in chosen):
            try:
                kept.append(self._kept(name, files[name], index, scale))
            except BadSample as error:
                raise BadSample(f"image {shorten(name)} {error}") from error
        digests = "".join(digest for _, digest in kept)
        sources = sorted(hashlib.sha256(data).hexdigest() for data in files.values())
        return Media(
            kind=kind,
            frame_files=tuple(str(path) for path, _ in kept),
            frame_indices=chosen,
            sha256=hashlib.sha256(digests.encode()).hexdigest(),
            source_sha256=hashlib.sha256("\n".join(sources).encode()).hexdigest() if len(sources) > 1 else sources[0],
            provenance={"format": "pictures", "source_frames": len(all_frames)},
        )

    def _kept(self, name: str, data: bytes, index: int, scale: greys.Scale | None) -> tuple[Path, str]:
        """The PNG file of one frame, and its hash."""
        if scale is None and pictures.is_plain_png(data):
            pictures.frame(data, index, scale)  # decoded once to be sure
            return self.root / name, hashlib.sha256(data).hexdigest()
        assert self.cache is not None, "volumes and videos need a cache"
        png = pictures.to_png(pictures.frame(data, index, scale))
        digest = hashlib.sha256(png).hexdigest()
        path = self.cache / "pictures" / f"{digest}.png"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            writing = path.with_suffix(f".{os.getpid()}")
            writing.write_bytes(png)
            writing.replace(path)
        return path, digest

    def holds(self, kind: str, name: str) -> bool:
        """Whether a path is for `image`: a picture; else it is for `rollouts.imaging`. Raises BadSample for what can be
        no path, and for a volume or a video that is not there."""
        path = self._path(kind, name)
        if kind != "image":
            if not path.exists():
                raise BadSample(f"{kind} {shorten(name)} does not exist")
            return False
        if not path.is_file():
            return True
        with path.open("rb") as file:
            return file.read(132)[128:] != b"DICM" and not name.lower().endswith(_MEDICAL_SUFFIXES)

    def _path(self, what: str, name: str) -> Path:
        """The path of a name from the data. Raises BadSample for what can be no path, such as the picture's own data,
        before the file system is asked."""
        if _BASE64.match(name) and len(name) > 100:
            raise BadSample(
                f"{what} is {shorten(name)}, which is the picture's own data (base64); expected a path: write the"
                " picture to a file and name that"
            )
        if len(name.encode(errors="replace")) > _LONGEST_PATH or "\0" in name:
            raise BadSample(f"{what} is {shorten(name)}, which is no path")
        path = self.root / name
        try:
            path.stat()
        except FileNotFoundError:
            pass  # told by whoever wanted it
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise BadSample(f"{what} {shorten(name)} cannot be read: {reason}") from error
        return path

    def _bytes(self, what: str, name: str) -> bytes:
        path = self._path(what, name)
        if path.is_dir():
            raise BadSample(
                f"image {shorten(name)} is a folder; give one file of it, or all of them as volume or video"
            )
        if not path.is_file():
            raise BadSample(f"image {shorten(name)} does not exist")
        try:
            return path.read_bytes()
        except OSError as error:
            raise BadSample(f"image {shorten(name)} cannot be read: {error.strerror}") from error

    def _read(self, path: Path, name: str) -> Media | str:
        opened = self.opened if path.is_file() else None
        if opened is not None and (known := opened.find(path)) is not None:
            return Media(kind="image", path=str(path), sha256=known)
        before = path.stat() if opened is not None else None
        try:
            data = self._bytes("image", name)
        except BadSample as error:
            return str(error)
        if data and not flat.begins(data[:HEAD]):
            return f"image {shorten(name)} does not open: it is {what_it_is(data[:HEAD])}"
        if fault := pictures.fault(data):
            return f"image {shorten(name)} {fault}"
        sha256 = hashlib.sha256(data).hexdigest()
        if opened is not None and before is not None:
            opened.add(path, before, sha256)
        return Media(kind="image", path=str(path), sha256=sha256)


def image_fault(data: bytes) -> str | None:
    """Why these bytes are no usable image, or None: what `rollouts.imaging.pictures.picture` would refuse."""
    return pictures.fault(data)
