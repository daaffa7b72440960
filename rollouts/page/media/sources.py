"""All slices of a volume or frames of a video that a question was asked of, read from its own file when somebody looks.

A run keeps what its model saw and no path. The reader of the page names the data file (`--sources FILE.jsonl`): the row
of that id names the medium, and it is shown only where its content is that of the run's record.
"""

from __future__ import annotations

import io
import json
import threading
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rollouts.imaging.ask import Ask
from rollouts.imaging.frames import Frames
from rollouts.imaging.notes import Provenance
from rollouts.imaging.read import read
from rollouts.imaging.windows import PRESETS
from rollouts.records import BadSample
from rollouts.store.codec import Row
from rollouts.store.folder import Refused
from rollouts.texts.reading import TextFault, decode, file_lines, parse_object

# Sources kept open at once.
_MOST_OPEN = 4
# What a row may say of its medium that the run's record does not repeat.
_OF_THE_ROW = ("series", "where", "volume_index", "start", "end")


class NoSource(Refused):
    """The source of a medium cannot be shown; the message says why."""


class _Given(NamedTuple):
    """A medium as a row of the data file gives it."""

    kind: str
    path: str
    options: Mapping[str, Any]


class Sources:
    """The volumes and videos of a data file by the ids of its rows. Threads may share it."""

    def __init__(self, data_file: Path) -> None:
        """Raises OSError where there is no such file, NoSource where it is no file of JSON lines."""
        if data_file.is_dir():
            raise NoSource(f"--sources {data_file} is a folder; give the run's data file (data.root), a .jsonl")
        self._root = data_file.parent
        self._given: dict[str, list[_Given]] = {}
        self._open: OrderedDict[tuple[str, int], Frames] = OrderedDict()
        self._lock = threading.Lock()
        try:
            for number, line in file_lines(data_file):
                self._add(number, parse_object(decode(line)))
        except TextFault as error:
            raise NoSource(f"{data_file}: {error}") from error

    def _add(self, number: int, row: Mapping[str, Any]) -> None:
        name = f"line-{number}" if row.get("id") is None else str(row["id"]).strip()
        media = []
        for kind in ("volume", "video"):
            value = row.get(kind)
            fields = value if isinstance(value, dict) else {"path": value}
            path = fields.get("path")
            if isinstance(path, str):
                kept = {key: fields[key] for key in _OF_THE_ROW if fields.get(key) is not None}
                media.append(_Given(kind, path, kept))
        if media:
            self._given[name] = media

    def has(self, sample_id: str, medium: Row) -> bool:
        """Whether the data file names this medium and its file is there."""
        given = self._of(sample_id, medium)
        return given is not None and (self._root / given.path).exists()

    def png(self, sample_id: str, medium: Row, index: int) -> bytes:
        """One slice or frame, counted from 0 in the source, shown as those of the record are. Raises NoSource."""
        with self._lock:
            frames = self._frames(sample_id, medium)
            if not 0 <= index < len(frames):
                raise NoSource(f"the source has {len(frames)} frames, there is no {index}")
            try:
                image = frames.image(index)
            except BadSample as error:
                raise NoSource(str(error)) from error
        buffer = io.BytesIO()
        image.save(buffer, format="PNG", compress_level=1)
        return buffer.getvalue()

    def _of(self, sample_id: str, medium: Row) -> _Given | None:
        return next((one for one in self._given.get(sample_id, ()) if one.kind == medium["kind"]), None)

    def _frames(self, sample_id: str, medium: Row) -> Frames:
        key = (sample_id, hash(medium["sha256"]))
        if key in self._open:
            self._open.move_to_end(key)
            return self._open[key]
        given = self._of(sample_id, medium)
        if given is None:
            raise NoSource("the data file names no such medium")
        try:
            frames = read(self._root / given.path, _ask(given, medium), name=given.path)
        except BadSample as error:
            raise NoSource(str(error)) from error
        if frames.provenance.source_sha256 != medium.get("source_sha256"):
            raise NoSource(f"{given.kind} {given.path}: its content is not what the model saw; the file has changed")
        self._open[key] = frames
        while len(self._open) > _MOST_OPEN:
            self._open.popitem(last=False)
        return frames


def _ask(given: _Given, medium: Row) -> Ask:
    """All frames, shown as those of the record. Raises NoSource where the record does not say how."""
    try:
        read_as = Provenance.from_dict(json.loads(medium.get("provenance") or "{}"))
    except (TypeError, ValueError) as error:
        raise NoSource("the record does not say how the medium was read") from error
    window: Any = "auto" if read_as.colour or not read_as.window else read_as.window
    if window not in ("auto", "dicom", "rgb3", *PRESETS) and len(read_as.window_bounds) == 1:
        low, high = read_as.window_bounds[0]
        window = ((low + high) / 2 + 0.5, high - low + 1)
    plane: Any = (
        read_as.plane if given.kind == "volume" and read_as.plane in ("axial", "coronal", "sagittal") else "native"
    )
    cut: Any = {"on_cut": "note"} if given.kind == "video" else {}  # it was read once; what there is, is shown
    return Ask(given.kind, window=window, plane=plane, modality=read_as.modality, **cut, **given.options)  # type: ignore[arg-type]
