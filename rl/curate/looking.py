"""Looks once at the media of each item: readable, how large, how even, whose, and what it resembles. What was seen is
kept in a file, so that a run that was stopped goes on where it was."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rl.curate.items import Item
from rl.curate.recipe.schema import Source
from rollouts.texts.reading import shorten

# Part of the key of what was seen: another version looks again.
VERSION = "1"


@dataclass(frozen=True)
class Look:
    """What was seen of an item's media. JSON-ready."""

    # Why they cannot be used; "" = they can.
    fault: str = ""
    # SHA-256 over the sources of all media, whatever was shown of them.
    source_sha256: str = ""
    # SHA-256 of each medium's source.
    media_sha256: tuple[str, ...] = ()
    # Of the smallest frame, in pixels.
    width: int = 0
    height: int = 0
    # Standard deviation of the greys (0 to 255) of the most uneven frame.
    deviation: float = 0.0
    # Difference hashes of each medium's middle frame (`rl.curate.leaks.copies`).
    hashes: tuple[tuple[int, ...], ...] = ()
    # Salted hash of the patient as the file names him; "" = it does not.
    patient: str = ""
    # Where columns, rows and frames of the (first) medium run to; "" = unknown.
    axes: str = ""
    # What the file says the modality is (a DICOM code); "" = nothing.
    modality: str = ""
    # Frames shown, of how many; 0 = not counted.
    num_frames: int = 0
    num_source_frames: int = 0
    # Why the mask cannot be used; "" = it can, or there is none.
    mask_fault: str = ""
    # Frames shown that the mask cuts; -1 = no mask.
    num_cut: int = -1
    # Where the mask lies, as plain values (`rollouts.imaging.masks.places.Place`); None = nowhere, or no mask.
    place: Mapping[str, Any] | None = None
    # Words on the picture are possible: BurnedInAnnotation, or a secondary capture.
    may_hold_text: bool = False

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Look:
        """What `dataclasses.asdict` and JSON made of it. Raises TypeError for fields of another version."""
        given = dict(values)
        given["media_sha256"] = tuple(given.get("media_sha256", ()))
        given["hashes"] = tuple(tuple(one) for one in given.get("hashes", ()))
        return cls(**given)


# (root, source of the recipe, item) -> what is to be seen; raises nothing.
Looker = Callable[[Path, Source, Item], Look]


class Looked:
    """The file of what was seen, one JSON object a line; a line that was cut by a kill is passed over."""

    def __init__(self, path: Path) -> None:
        """Raises OSError where the file cannot be made."""
        self._known: dict[str, Look] = {}
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            for line in path.read_bytes().splitlines():
                try:
                    kept = json.loads(line)
                    self._known[kept["key"]] = Look.from_json(kept["look"])
                except (ValueError, KeyError, TypeError):
                    continue
        self._file = path.open("ab")
        if self._file.tell() and not path.read_bytes().endswith(b"\n"):
            self._file.write(b"\n")

    def look(self, root: Path, source: Source, item: Item, looker: Looker) -> Look:
        """What was seen of an item, from the file or now."""
        key = _key(root, source, item)
        if key not in self._known:
            look = looker(root, source, item)
            self._known[key] = look
            line = json.dumps({"key": key, "look": dataclasses.asdict(look)}, ensure_ascii=True)
            self._file.write(line.encode("ascii") + b"\n")
            self._file.flush()
        return self._known[key]

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._file.close()


def _key(root: Path, source: Source, item: Item) -> str:
    """Changes where a file, the settings of its reading, or this code's version do."""
    paths = [path for _, path in item.media] + [path for path in (item.mask, item.organ_mask) if path]
    parts = [
        VERSION,
        item.id,
        source.media,
        source.rules.get("place"),
        item.modality,
        [_state(root / path) for path in paths],
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:24]


def _state(path: Path) -> list[object]:
    """Size and time of a file, or of the files of a folder."""
    try:
        if path.is_dir():
            with os.scandir(path) as entries:
                inside = sorted((entry.name, entry.stat().st_size, entry.stat().st_mtime_ns) for entry in entries)
            return [hashlib.sha256(repr(inside).encode()).hexdigest()]
        status = path.stat()
    except OSError as error:
        return [shorten(str(error.strerror))]
    return [status.st_size, status.st_mtime_ns]


def faults_of(items: Sequence[Item], looks: Mapping[str, Look]) -> list[tuple[int, str]]:
    """(line, reason) of the items whose media or mask cannot be read."""
    faults = []
    for item in items:
        look = looks[item.id]
        if fault := look.fault or look.mask_fault:
            faults.append((item.number, fault))
    return faults
