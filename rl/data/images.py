"""Looks at every image of a data set before anything starts: present, an image, whole, and not too large to open."""

from __future__ import annotations

import hashlib
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from PIL import Image

from rollouts.media import MAX_PIXELS, evenly_spaced, frames, to_png
from rollouts.records import BadSample, Media

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"}
_VOLUME_SUFFIXES = (".nii", ".nii.gz", ".dcm", ".mha", ".nrrd", ".mp4", ".avi", ".mov", ".mkv")


@dataclass
class ImageReader:
    """Opens images by path under one folder and remembers what it found, so that an image with ten questions is decoded
    once."""

    # Relative paths of a data file start here.
    root: Path

    def __post_init__(self) -> None:
        self._seen: dict[Path, Media | str] = {}

    def image(self, name: str) -> Media:
        """The image with its SHA-256, decoded once to be sure. Raises BadSample with the reason."""
        path = self.root / name
        if path not in self._seen:
            self._seen[path] = self._read(path, name)
        found = self._seen[path]
        if isinstance(found, str):
            raise BadSample(found)
        return found

    def sequence(self, kind: Literal["volume", "video"], source: str | list[str], max_frames: int) -> Media:
        """A folder of slices or frames (in the order of the numbers in their names), or a list of files in the order
        given.

        At most `max_frames` of them are taken, evenly spaced; the chosen indices are recorded. Raises BadSample.
        """
        names = self._names_in_folder(kind, source) if isinstance(source, str) else source
        if not names:
            raise BadSample(f"the {kind} has no frames: an empty list")
        chosen = evenly_spaced(len(names), max_frames)
        pngs = tuple(to_png(frames(self.image(names[index]))[0]) for index in chosen)
        digests = "".join(hashlib.sha256(png).hexdigest() for png in pngs)
        return Media(kind=kind, frames=pngs, frame_indices=chosen, sha256=hashlib.sha256(digests.encode()).hexdigest())

    def _names_in_folder(self, kind: str, name: str) -> list[str]:
        folder = self.root / name
        if name.lower().endswith(_VOLUME_SUFFIXES):
            raise BadSample(
                f"{kind} {name} is one file; give a folder of its slices or frames as images, or a list of them"
            )
        if not folder.is_dir():
            raise BadSample(f"{kind} folder {name} does not exist")
        found = [path.name for path in folder.iterdir() if path.suffix.lower() in SUFFIXES]
        if not found:
            raise BadSample(f"{kind} folder {name} holds no images ({', '.join(sorted(SUFFIXES))})")
        return [f"{name}/{file}" for file in sorted(found, key=_by_numbers)]

    def _read(self, path: Path, name: str) -> Media | str:
        if not path.is_file():
            return f"image {name} does not exist"
        try:
            data = path.read_bytes()
        except OSError as error:
            return f"image {name} cannot be read: {error.strerror}"
        fault = image_fault(data)
        return (
            f"image {name} {fault}"
            if fault
            else Media(kind="image", path=str(path), sha256=hashlib.sha256(data).hexdigest())
        )


def image_fault(data: bytes) -> str | None:
    """Why these bytes are no usable image, or None. A JPEG is decoded at an eighth of its size, which reads the whole
    file all the same."""
    if not data:
        return "is an empty file"
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.width * image.height > MAX_PIXELS:
                return f"has {image.width} x {image.height} pixels, at most {MAX_PIXELS:,} are read"
            image.draft("RGB", (max(1, image.width // 8), max(1, image.height // 8)))
            image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        text = re.sub(r" ?<_io\.BytesIO object at 0x[0-9a-f]+>", "", str(error))
        return f"does not open: {text}"
    return None


def _by_numbers(name: str) -> list[tuple[int, str]]:
    """slice2 before slice10: digits compare as numbers, the rest as text."""
    return [(int(part), "") if part.isdigit() else (-1, part.lower()) for part in re.split(r"(\d+)", name) if part]
