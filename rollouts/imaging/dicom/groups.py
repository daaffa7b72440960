"""Frames of a file with what their own functional groups say, else the shared one, else the file (PS3.3, C.7.6.16)."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from rollouts.imaging.dicom.elements import image_tags, number, numbers, text, voi, whole
from rollouts.imaging.dicom.headers import FileHead, Slice
from rollouts.records import BadSample


def slices_of(head: FileHead, dataset: Any) -> list[Slice]:
    """Every frame of a data set. Raises BadSample where its numbers are damaged or contradict each other."""
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence")
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [None])[0]
    if per_frame is not None and len(per_frame) != head.frames:
        raise BadSample(f"{head.frames} frames and {len(per_frame)} functional groups; nobody can say which is right")
    if head.frames == 1 and per_frame is None:
        return [_slice(head, 0, (dataset,))]
    if per_frame is None:  # frames of one time after the other, or of places that nothing tells
        one = _slice(head, 0, (shared, dataset) if shared is not None else (dataset,))
        head = _with_times(head, _times(dataset, head.frames))
        place = {"position": None, "orientation": None, "instance_number": None}
        return [dataclasses.replace(one, head=head, frame=index, **place) for index in range(head.frames)]  # type: ignore[arg-type]
    slices = [
        _slice(head, index, tuple(level for level in (group, shared, dataset) if level is not None))
        for index, group in enumerate(per_frame)
    ]
    if any(item.position is not None for item in slices):
        return slices
    head = _with_times(head, _times(dataset, head.frames))
    return [dataclasses.replace(item, head=head) for item in slices]


def _with_times(head: FileHead, times: tuple[float, ...] | None) -> FileHead:
    return head if times is None else dataclasses.replace(head, times=times[:-1], end=times[-1])


def _times(dataset: Any, frames: int) -> tuple[float, ...] | None:
    """Seconds at which each frame of a cine appears, and the end after them; None = no rate is told."""
    steps = numbers(dataset, "FrameTimeVector", forgiving=True)
    if steps and len(steps) == frames and all(step > 0 for step in steps[1:]):
        steps = [*steps[1:], steps[-1]]
    else:
        step = number(dataset, "FrameTime") or 0.0
        for keyword in ("CineRate", "RecommendedDisplayFrameRate"):
            rate = number(dataset, keyword) or 0.0
            step = step or (1000 / rate if rate > 0 else 0.0)
        if not step > 0:
            return None
        steps = [step] * frames
    times = [0.0]
    for step in steps:
        times.append(times[-1] + step / 1000)
    return tuple(times)


def _slice(head: FileHead, index: int, levels: tuple[Any, ...]) -> Slice:
    """One frame: what its own group says, else the shared one, else the file."""

    def holder(keyword: str, sequence: str = "") -> Any:
        """The data set that holds a keyword, at the level nearest to the frame; None = none does."""
        for level in levels:
            inner = (level.get(sequence) or [None])[0] if sequence else None
            for place in (inner, level):
                if place is not None and keyword in place and place.get(keyword) not in (None, ""):
                    return place
        return None

    def values(keyword: str, sequence: str, count: int) -> tuple[float, ...] | None:
        place = holder(keyword, sequence)
        got = numbers(place, keyword) if place is not None else None
        if got is not None and len(got) != count:
            raise BadSample(f"{keyword} is damaged: {len(got)} numbers, expected {count}")
        return None if got is None else tuple(got)

    values_in = "PixelValueTransformationSequence"
    slope, intercept = values("RescaleSlope", values_in, 1), values("RescaleIntercept", values_in, 1)
    if slope == (0.0,):
        raise BadSample("RescaleSlope is 0: every value would be the same")
    spacing = values("PixelSpacing", "PixelMeasuresSequence", 2) or values("ImagerPixelSpacing", "", 2)
    relative = None if spacing else values("PixelAspectRatio", "", 2)
    window, window_note = voi(holder, head)
    return Slice(
        head=head,
        frame=index,
        instance_number=whole(levels[-1], "InstanceNumber") if head.frames == 1 else None,
        position=values("ImagePositionPatient", "PlanePositionSequence", 3),  # type: ignore[arg-type]
        orientation=_directions(values("ImageOrientationPatient", "PlaneOrientationSequence", 6)),
        spacing=spacing if spacing and min(spacing) > 0 else None,  # type: ignore[arg-type]
        aspect=relative[0] / relative[1] if relative and min(relative) > 0 else 1.0,
        thickness=(values("SliceThickness", "PixelMeasuresSequence", 1) or (None,))[0],
        slope=slope[0] if slope else 1.0,
        intercept=intercept[0] if intercept else 0.0,
        in_hounsfield=_in_hounsfield(head, holder("RescaleType", values_in), intercept),
        window=window,
        window_note=window_note,
        tags=image_tags(holder),
    )


def _directions(values: tuple[float, ...] | None) -> Any:
    if values is None:
        return None
    row, column = values[:3], values[3:]
    lengths = [math.hypot(*row), math.hypot(*column)]
    across = sum(one * other for one, other in zip(row, column, strict=True))
    if any(abs(length - 1) > 0.01 for length in lengths) or abs(across) > 0.01:
        raise BadSample("ImageOrientationPatient is damaged: expected two directions at a right angle, of length 1")
    return values


def _in_hounsfield(head: FileHead, place: Any, intercept: tuple[float, ...] | None) -> bool | None:
    if head.modality_table is not None:
        return None
    kind = text(place, "RescaleType").upper() if place is not None else ""
    if kind:
        return True if kind == "HU" else (None if head.modality == "CT" else False)
    if head.modality != "CT":
        return False if head.modality else None
    return True if intercept and intercept[0] < -200 else None
