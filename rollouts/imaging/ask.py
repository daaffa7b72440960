"""What is asked of a medium: which part of it, how grey values are shown, along which plane, how many frames."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from rollouts.imaging.windows import MODES, PRESETS
from rollouts.nearest import nearest
from rollouts.records import BadSample

AskKind = Literal["image", "volume", "video"]
Plane = Literal["native", "axial", "coronal", "sagittal"]
OnFault = Literal["note", "refuse"]


@dataclass(frozen=True)
class Ask:
    """How one medium is read. The same ask of the same source always gives the same frames; its `key` names them in the
    cache. Raises BadSample for a value that says nothing."""

    kind: AskKind
    # "auto" (percentiles 0.5 and 99.5 of the whole medium), "dicom" (the file's own first window), a preset in
    # Hounsfield units, "rgb3" (three windows in three channels), or centre and width.
    window: str | tuple[float, float] = "auto"
    # Planes other than the acquired one are cut out of the voxels, by turning and never by resampling.
    plane: Plane = "native"
    # At most so many frames, evenly spaced in place or time; None = all.
    max_frames: int | None = None
    # Only these frames of the source, in its order: the first, and the one behind the last; None = all.
    slices: tuple[int, int] | None = None
    # Which of several series: its SeriesInstanceUID, or its number in the list that the refusal prints.
    series: str = ""
    # Which of several images at each position: DICOM keyword -> value, as the refusal prints them.
    where: Mapping[str, str] = field(default_factory=dict)
    # Which volume of a 4D file, and which page or frame of a file with several, both counted from 0.
    volume_index: int | None = None
    page: int | None = None
    # A part of a video, in seconds.
    start: float | None = None
    end: float | None = None
    # Stretch rows or columns where pixels are no squares.
    square_pixels: bool = True
    # Larger frames are made smaller until their longer side has so many pixels; None = as they are.
    longest_side: int | None = None
    # What the row says the medium is ("CT"), where the file does not.
    modality: str = ""
    # Slices that are missing, and videos that are cut: read and noted, or refused.
    on_gap: OnFault = "note"
    on_cut: OnFault = "refuse"
    # Put before a patient's number when it is hashed, so that the hash cannot be guessed from outside.
    patient_salt: str = ""

    def __post_init__(self) -> None:
        _check(self)
        if not isinstance(self.window, str):
            object.__setattr__(self, "window", (float(self.window[0]), float(self.window[1])))
        object.__setattr__(self, "where", {str(key): str(value) for key, value in self.where.items()})

    def key(self) -> str:
        """All that is asked, as one line of text; equal for equal asks."""
        return json.dumps(self.to_dict(), sort_keys=True)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; `Ask(**fields)` gives it back."""
        return {**vars(self), "where": dict(self.where)}


def _check(ask: Ask) -> None:
    for name, allowed in (
        ("kind", get_args(AskKind)),
        ("plane", get_args(Plane)),
        ("on_gap", get_args(OnFault)),
        ("on_cut", get_args(OnFault)),
    ):
        if getattr(ask, name) not in allowed:
            raise BadSample(f"{name} is {getattr(ask, name)!r}, expected one of {', '.join(allowed)}")
    _check_window(ask.window)
    for name in ("max_frames", "longest_side"):
        _check_whole(name, getattr(ask, name), 1)
    for name in ("volume_index", "page"):
        _check_whole(name, getattr(ask, name), 0)
    _check_part(ask)


def _check_window(window: Any) -> None:
    if isinstance(window, str):
        known = (*MODES, *PRESETS)
        if window not in known:
            meant = nearest(window, known)
            raise BadSample(
                f"window is {window!r}{f' (did you mean {meant}?)' if meant else ''}, expected one of"
                f" {', '.join(known)}, or a centre and a width"
            )
        return
    numbers = list(window) if isinstance(window, (tuple, list)) else []
    if len(numbers) != 2 or not all(_is_number(value) for value in numbers) or numbers[1] <= 0:
        raise BadSample(f"window is {window!r}, expected a centre and a width above 0, such as [40, 400]")


def _check_whole(name: str, value: Any, least: int) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
        raise BadSample(f"{name} is {value!r}, expected a whole number of at least {least}")


def _check_part(ask: Ask) -> None:
    if ask.slices is not None:
        first, behind = (*ask.slices, None, None)[:2]
        _check_whole("slices", first, 0)
        _check_whole("slices", behind, 1)
        if len(ask.slices) != 2 or first >= behind:
            raise BadSample(
                f"slices is {list(ask.slices)}, expected the first and the one behind the last, as [10, 40]"
            )
        object.__setattr__(ask, "slices", tuple(ask.slices))
    for name in ("start", "end"):
        value = getattr(ask, name)
        if value is not None and (not _is_number(value) or value < 0):
            raise BadSample(f"{name} is {value!r}, expected seconds of at least 0")
    if ask.end is not None and ask.end <= (ask.start or 0.0):
        raise BadSample(f"the part of the video ends at {ask.end} s and starts at {ask.start or 0.0} s")
    if (ask.start, ask.end) != (None, None) and ask.kind != "video":
        raise BadSample(f"start and end are seconds of a video, and this is a {ask.kind}")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def budget(max_frames: int | None, room_tokens: int, tokens_per_frame: int) -> int:
    """Frames that fit: at most `max_frames`, at most what `room_tokens` (the context window less question and answer)
    holds at `tokens_per_frame` each.

    Raises:
        BadSample: not one frame fits.
    """
    fitting = room_tokens // tokens_per_frame
    if fitting < 1:
        raise BadSample(f"a frame takes {tokens_per_frame} tokens and {room_tokens} are left for frames: none fits")
    return fitting if max_frames is None else min(max_frames, fitting)
