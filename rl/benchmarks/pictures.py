"""The images of a benchmark: found by name below its folders, or held by the row itself; what is not there is listed
and nothing is put in its place."""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rl.benchmarks.archives import Archives
from rl.config import MediaConfig
from rollouts.imaging import pictures
from rollouts.imaging.ask import Ask
from rollouts.imaging.read import read
from rollouts.media import evenly_spaced, with_hash
from rollouts.records import BadSample, Media
from rollouts.texts.reading import quote, shorten

# Names that stand in no image column but are no image either.
_NOTHING = ("", "nan", "none", "null")


@dataclass
class Pictures:
    """Finds each image once."""

    # Where names are looked for, in this order.
    folders: Sequence[Path]
    # How volumes and videos are read (`data.media` of the configuration), and what the card says they are.
    settings: MediaConfig = field(default_factory=MediaConfig)
    modality: str = ""
    # Roles whose files are not opened, because only their names count: volumes and videos of a training part.
    names_only: Sequence[str] = ()
    # Name -> why there is no such image.
    missing: dict[str, str] = field(default_factory=dict)
    _seen: dict[str, Media] = field(default_factory=dict)
    # Folder -> its files by their names in small letters.
    _listed: dict[Path, dict[str, Path]] = field(default_factory=dict)
    _archives: Archives | None = None

    @property
    def num_images(self) -> int:
        """Different images that rows named."""
        return len(self._seen)

    def media(self, value: Any, role: str = "images") -> tuple[Media, ...]:
        """The images, volumes or videos that a cell holds: a name, base64, bytes, or a list of these. Raises BadSample
        for what is none; one that is not there comes without a hash, and stands in `missing`."""
        return tuple(self._one(part, role) for part in _parts(value))

    def _one(self, value: Any, role: str) -> Media:
        if isinstance(value, Mapping):
            value = value.get("bytes") or value.get("image_path") or value.get("path") or value.get("image")
        if isinstance(value, (bytes, bytearray)):
            return self._held(bytes(value))
        if not isinstance(value, str):
            raise BadSample(f"image is {quote(value)}, expected a file's name, bytes or base64")
        if len(value) > 260 and "." not in value[-6:]:
            return self._held(_decoded(value))
        return self._named(value.strip(), role)

    def _held(self, data: bytes) -> Media:
        name = hashlib.sha256(data).hexdigest()
        if name not in self._seen:
            if fault := pictures.fault(data):
                raise BadSample(f"the image in the row {fault}")
            self._seen[name] = Media(kind="image", data=data, sha256=name)
        return self._seen[name]

    def _named(self, name: str, role: str) -> Media:
        if name not in self._seen and role in self.names_only:
            self._seen[name] = Media(kind="image", path=name)
        if name not in self._seen:
            self._seen[name] = self._sequence(name, role) if role in ("volume", "video") else self._image(name)
        return self._seen[name]

    def _sequence(self, name: str, role: str) -> Media:
        """Evenly spaced frames of a volume or a video in one file or folder, through the one reader of media."""
        path = self.path_of(name) or self._folder(name)
        if path is None:
            self.missing[name] = "is not there"
            return Media(kind="image", path=name)
        if path.suffix.lower() == ".npy":
            return self._array(path)
        ask = Ask(
            "volume" if role == "volume" else "video", max_frames=self.settings.max_frames, modality=self.modality
        )
        try:
            return with_hash(read(path, ask, name=name, cache=Path(self.settings.cache_dir)).media())
        except BadSample as error:
            self.missing[name] = shorten(str(error), 200)
            return Media(kind="image", path=name)

    def _folder(self, name: str) -> Path | None:
        """A folder of slices or frames of this name."""
        if name.startswith("/") or ".." in Path(name).parts or "\0" in name:
            return None
        return next((folder / name for folder in self.folders if (folder / name).is_dir()), None)

    def _image(self, name: str) -> Media:
        # PathVQA's own files name images without an ending.
        endings = ("",) if Path(name).suffix else ("", ".jpg", ".png", ".jpeg")
        path = next((path for ending in endings if (path := self.path_of(f"{name}{ending}"))), None)
        if path is None:
            self.missing[name] = "is not there"
            return Media(kind="image", path=name)
        try:
            data = path.read_bytes()
        except OSError as error:
            self.missing[name] = f"cannot be read: {error.strerror}"
            return Media(kind="image", path=name)
        if fault := pictures.fault(data):
            self.missing[name] = fault
            return Media(kind="image", path=name)
        return Media(kind="image", path=str(path), sha256=hashlib.sha256(data).hexdigest())

    def path_of(self, name: str) -> Path | None:
        """The file of this name; where there is none, the one whose name differs in capitals only, "a.JPG" for "a.jpg",
        or one in a zip file beside the rows. None = there is none. A name that leads out of the folders is none."""
        if (
            name.startswith("/")
            or ".." in Path(name).parts
            or len(name.encode(errors="replace")) > 4000
            or "\0" in name
        ):
            return None
        for folder in self.folders:
            if (path := folder / name).is_file():
                return path
        for folder in self.folders:
            inside = (folder / name).parent
            if inside not in self._listed:
                there = inside.iterdir() if inside.is_dir() else ()
                self._listed[inside] = {one.name.lower(): one for one in there if one.is_file()}
            if other := self._listed[inside].get(Path(name).name.lower()):
                return other
        if self._archives is None:
            self._archives = Archives(self.folders, Path(self.settings.cache_dir))
        return self._archives.path_of(name)

    def _array(self, path: Path) -> Media:
        """A volume saved by NumPy (M3D): evenly spaced slices along its first axis that is longer than one, on one
        grey scale."""
        try:
            with open(path, "rb") as file:
                voxels = np.load(file, allow_pickle=False)
            slices = np.squeeze(voxels).astype(np.float32)
        except (OSError, ValueError, EOFError) as error:
            raise BadSample(f"volume {shorten(path.name)} cannot be read: {shorten(str(error), 200)}") from None
        if slices.ndim != 3 or not np.isfinite(slices).all():
            raise BadSample(
                f"volume {shorten(path.name)} has the shape {voxels.shape}, expected finite slices x height x width"
            )
        low, high = float(slices.min()), float(slices.max())
        chosen = evenly_spaced(len(slices), self.settings.max_frames)
        grey = ((slices[list(chosen)] - low) * (255.0 / (high - low) if high > low else 0.0)).round().astype(np.uint8)
        frames = tuple(_png(one) for one in grey)
        whole = hashlib.sha256(path.read_bytes()).hexdigest()
        return Media(kind="volume", frames=frames, frame_indices=chosen, sha256=whole)


def _parts(value: Any) -> Iterator[Any]:
    """What a cell of images holds, without what says that there is none."""
    for part in value if isinstance(value, (list, tuple)) else [value]:
        if part is not None and not (isinstance(part, str) and part.strip().casefold() in _NOTHING):
            yield part


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text.partition("base64,")[2] or text, validate=True)
    except (binascii.Error, ValueError):
        raise BadSample(f"image is {shorten(text)}, which is neither a file's name nor base64") from None


def _png(grey: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()
