"""What is kept of how a medium was read, in plain values: a fixed list of fields, never a name, a date or free text.

What a file says of itself is kept only where it is a word of a list or a number, because any text of a file may hold a
name. Notes are sentences of ours with numbers in them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Written into every provenance and into the names of cached frames: another version reads again.
READER_VERSION = "3"
_CHECKSUMS = {
    "CRC-32": "proved by the CRC-32 of the format",
    "none": "not proved: the format has no checksum, so a flipped bit in the pixels would not be seen",
}


@dataclass(frozen=True)
class Provenance:
    """How one medium was read. JSON-ready through `to_dict`."""

    # "DICOM", "NIfTI", "MP4", ..
    format: str
    reader: str = READER_VERSION
    # SHA-256 of the source, whatever was shown of it; of a series: of its slices' pixels, in no order.
    source_sha256: str = ""
    # What proves that no bit of the pixels was flipped: "CRC-32" of the format itself, "none"; "" = not looked at.
    checksum: str = ""
    # Salted hash of the patient's number; "" = unknown.
    patient: str = ""
    # Of the file: words of known lists only; "" = not said.
    modality: str = ""
    body_part: str = ""
    manufacturer: str = ""
    laterality: str = ""
    view: str = ""
    patient_orientation: str = ""
    photometric: str = ""
    # Name of the compression and of what decoded it.
    encoding: str = ""
    decoder: str = ""
    # Frames or slices of the source along the plane shown.
    source_frames: int = 0
    # Millimetres between frames, rows, columns of the source; None = unknown.
    spacing: tuple[float, float, float] | None = None
    # Where columns, rows and frames run to ("LPS"); "" = unknown, then nothing may be said of the patient's sides.
    axes: str = ""
    plane: str = ""
    # Of the frames shown, in order: index in the source, place along the plane's axis in mm, seconds, InstanceNumber.
    indices: tuple[int, ...] = ()
    positions: tuple[float, ...] | None = None
    times: tuple[float, ...] | None = None
    instance_numbers: tuple[int, ...] | None = None
    # Width and height of the frames shown, and of the source's.
    size: tuple[int, int] | None = None
    source_size: tuple[int, int] | None = None
    # "soft", "auto", "dicom", "row", "rgb3"; "" = colour, which is never windowed. Black and white of each channel.
    window: str = ""
    window_bounds: tuple[tuple[float, float], ...] = ()
    window_function: str = ""
    inverted: bool = False
    colour: bool = False
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; fields that say nothing are left out."""
        plain = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        return {name: _listed(value) for name, value in plain.items() if value not in ("", None, ())}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Provenance:
        """What `to_dict` gave. Raises TypeError for fields of another version."""
        return cls(**{name: _tupled(value) for name, value in values.items()})

    def with_size(self, size: tuple[int, int]) -> Provenance:
        """With the size of the frames shown, where it is not known yet."""
        return self if self.size is not None else dataclasses.replace(self, size=size)

    def line(self, frame: int) -> str:
        """One frame in a line: `CT axial, soft 40/400, slice 13 of 40, z -12.5 mm`."""
        return ", ".join(part for part in (self._what(), self._window(), *self._where(frame)) if part)

    def words(self) -> list[tuple[str, str]]:
        """Everything kept, as pairs of a name and words for a reader."""
        spacing = self.spacing and " x ".join(f"{value:g}" for value in self.spacing) + " mm (frames, rows, columns)"
        pairs = [
            ("read as", f"{self.format}{f', {self.encoding}' if self.encoding else ''}"),
            ("decoded by", self.decoder),
            ("shows", self._what()),
            ("manufacturer", self.manufacturer),
            ("frames", f"{len(self.indices)} of {self.source_frames}"),
            ("indices", _few(self.indices)),
            ("positions", f"{_few(self.positions)} mm" if self.positions else ""),
            ("times", f"{_few(self.times)} s" if self.times else ""),
            ("spacing", spacing or "unknown"),
            ("axes", f"{self.axes} (columns, rows, frames run to these)" if self.axes else "unknown"),
            ("size", self._sizes()),
            ("window", self._window() or "none: colour" if self.colour else self._window()),
            ("polarity", "inverted: the lowest value is white" if self.inverted else ""),
            ("source", f"sha256 {self.source_sha256[:16]}.." if self.source_sha256 else ""),
            ("bytes", _CHECKSUMS.get(self.checksum, "")),
            *(("note", note) for note in self.notes),
        ]
        return [(name, text) for name, text in pairs if text]

    def _what(self) -> str:
        return " ".join(
            word for word in (self.modality, self.body_part, self.view, self.laterality, self.plane) if word
        )

    def _window(self) -> str:
        if not self.window:
            return ""
        if len(self.window_bounds) != 1:
            return self.window + "".join(f" {low:g}..{high:g}" for low, high in self.window_bounds)
        low, high = self.window_bounds[0]
        if self.window == "auto":
            return f"auto {low:.5g}..{high:.5g}"
        if self.window_function == "LINEAR":
            numbers = f"{(low + high) / 2 + 0.5:g}/{high - low + 1:g}"
            return numbers if self.window == "row" else f"{self.window} {numbers}"
        return f"{self.window} {low:g}..{high:g}"

    def _where(self, frame: int) -> list[str]:
        name = "frame" if self.times is not None else "slice"
        parts = [f"{name} {self.indices[frame] + 1} of {self.source_frames}"] if self.source_frames > 1 else []
        if self.positions is not None:
            axis = {"axial": "z", "coronal": "y", "sagittal": "x"}.get(self.plane, "position")
            parts.append(f"{axis} {self.positions[frame]:g} mm")
        if self.times is not None:
            parts.append(f"{self.times[frame]:.2f} s")
        if self.instance_numbers is not None:
            parts.append(f"IM {self.instance_numbers[frame]}")
        return parts

    def _sizes(self) -> str:
        if self.size is None:
            return ""
        was = (
            f", from {self.source_size[0]} x {self.source_size[1]}" if self.source_size not in (None, self.size) else ""
        )
        return f"{self.size[0]} x {self.size[1]}{was}"


def _few(values: tuple[float, ...] | None) -> str:
    texts = [f"{round(value, 3):g}" for value in values or ()]
    return ", ".join(texts if len(texts) <= 20 else [*texts[:9], "..", *texts[-9:]])


def _listed(value: Any) -> Any:
    return [_listed(one) for one in value] if isinstance(value, (tuple, list)) else value


def _tupled(value: Any) -> Any:
    return tuple(_tupled(one) for one in value) if isinstance(value, list) else value
