"""From the slices of a folder or a file to one stack in order: group, drop doubles, sort along the normal, refuse.

Pure: it works on `Slice` records without any file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any

from rollouts.imaging.ask import Ask
from rollouts.imaging.dicom.headers import TELLING_APART, Slice
from rollouts.records import BadSample

if TYPE_CHECKING:
    import numpy as np

# Slices nearer than this, in mm, lie at one place; directions within this many degrees are one.
_SAME_PLACE = 0.01
_SAME_DIRECTION = 1.0
# A step longer than this share of the median is a gap, in noise of the last digits an uneven step.
_GAP = 1.5
_UNEVEN = 0.05
# Slices move by more than this many mm a step across their normal: the gantry was tilted.
_TILT = 0.5


@dataclass(frozen=True)
class Stack:
    """Slices of one series in order; `places` are mm along their normal, rising, None = unknown."""

    slices: tuple[Slice, ...]
    places: tuple[float, ...] | None
    notes: tuple[str, ...] = ()

    @property
    def step(self) -> float:
        """Median mm between neighbours; of a single slice its thickness, or 1."""
        if self.places is not None and len(self.places) > 1:
            return median(steps_of(self.places))
        return self.slices[0].thickness or 1.0


def stack(slices: Sequence[Slice], ask: Ask) -> Stack:
    """One stack of the slices that the ask means. Raises BadSample: several series, sizes, directions or images at one
    place, with the field of the row that chooses."""
    chosen = _choose_series(slices, ask.series)
    chosen = _where(chosen, ask)
    chosen, doubles = _without_doubles(chosen)
    notes = [f"{doubles} {'copy' if doubles == 1 else 'copies'} of a slice left out"] if doubles else []
    known = [item for item in chosen if item.position is not None and item.orientation is not None]
    if 0 < len(known) < len(chosen):
        raise BadSample(
            f"{len(chosen) - len(known)} of {len(chosen)} images have no place in the patient (screen captures or"
            " projections); take them out of the folder"
        )
    _refuse_mixed(chosen)
    if not known:
        ordered, order = _by_number(chosen)
        return Stack(tuple(ordered), None, (*notes, *([order] if len(ordered) > 1 else [])))
    _refuse_directions(known)
    places = [place_of(item) for item in known]
    ordered_pairs = sorted(zip(places, known, strict=True), key=lambda pair: pair[0])
    rising = tuple(place for place, _ in ordered_pairs)
    ordered = [item for _, item in ordered_pairs]
    _refuse_shared_places(ordered, rising)
    notes += _steps_told(ordered, rising, ask)
    return Stack(tuple(ordered), rising, tuple(notes))


def series_of(slices: Sequence[Slice]) -> list[tuple[str, list[Slice]]]:
    """Series with their slices, sorted by SeriesNumber, then UID."""
    groups: dict[str, list[Slice]] = {}
    for item in slices:
        groups.setdefault(item.head.series_uid, []).append(item)

    def order(pair: tuple[str, list[Slice]]) -> tuple[float, str]:
        number = pair[1][0].head.series_number
        return (float("inf") if number is None else number, pair[0])

    return sorted(groups.items(), key=order)


def series_line(number: int, uid: str, slices: Sequence[Slice]) -> str:
    """One series in a line, as refusals list it."""
    first = slices[0]
    words = [first.head.modality or "images", f"{len(slices)} slice{'s' if len(slices) > 1 else ''}"]
    words.append(f"{first.head.columns} x {first.head.rows}")
    words += ["localizer"] if "LOCALIZER" in first.tags.get("ImageType", "") else []
    return f'{number}: {" ".join(words)}, "series": "{uid}"'


def _choose_series(slices: Sequence[Slice], wanted: str) -> list[Slice]:
    groups = series_of(slices)
    for number, (uid, items) in enumerate(groups, start=1):
        if wanted and wanted in (uid, str(number)):
            return items
    if len(groups) == 1 and not wanted:
        return groups[0][1]
    lines = "; ".join(series_line(number, uid, items) for number, (uid, items) in enumerate(groups[:12], start=1))
    more = f"; and {len(groups) - 12} more" if len(groups) > 12 else ""
    problem = f"there is no such series among {len(groups)}" if wanted else f"{len(groups)} series (SeriesInstanceUID)"
    raise BadSample(f"{problem}; name one by its number or UID; {lines}{more}")


def _where(slices: list[Slice], ask: Ask) -> list[Slice]:
    for keyword, value in ask.where.items():
        if keyword not in TELLING_APART and keyword != "ImageType":
            raise BadSample(f'"where" knows no {keyword}, expected one of ImageType, {", ".join(TELLING_APART)}')
        there = sorted({item.tags.get(keyword, "") for item in slices} - {""}, key=_as_number)
        slices = [item for item in slices if item.tags.get(keyword, "") == value or _equal(item, keyword, value)]
        if not slices:
            raise BadSample(f'"where" asks for {keyword} {value!r}, and there is {", ".join(there[:20]) or "none"}')
    return slices


def _equal(item: Slice, keyword: str, value: str) -> bool:
    try:
        return float(item.tags[keyword]) == float(value)
    except (KeyError, ValueError):
        return False


def _without_doubles(slices: Sequence[Slice]) -> tuple[list[Slice], int]:
    """Without copies: one SOPInstanceUID at one place, or the same pixels at one place; and how many were left out."""
    seen: set[Any] = set()
    kept: list[Slice] = []
    for item in slices:
        place = item.position and tuple(round(value, 3) for value in item.position)
        head = item.head
        keys: set[Any] = {("pixels", head.pixel_sha256, item.frame, place, tuple(sorted(item.tags.items())))}
        if head.sop_uid:
            keys.add(("uid", head.sop_uid, item.frame, place if place else head.pixel_sha256))
        if place is None and not head.sop_uid:
            keys = {("file", head.path, item.frame)}
        if not keys & seen:
            kept.append(item)
        seen |= keys
    return kept, len(slices) - len(kept)


def _refuse_mixed(slices: Sequence[Slice]) -> None:
    for what, of in (
        ("size", lambda item: f"{item.head.columns} x {item.head.rows}"),
        ("colour model", lambda item: _shown_kind(item)),
        ("PixelSpacing", lambda item: _spacing_told(item, slices[0])),
    ):
        counts = _counted(slices, of)
        if len(counts) > 1:
            each = ", ".join(f"{value}: {count}" for value, count in sorted(counts.items(), key=str)[:6])
            raise BadSample(f"images of one series differ in {what} ({each}); they are no stack, give them as images")


def _shown_kind(item: Slice) -> str:
    return "colour" if item.head.is_colour else item.head.photometric


def _spacing_told(item: Slice, first: Slice) -> str:
    """Millimetres between rows and columns; those of the first slice where they differ by less than 1 %."""
    if item.spacing is None:
        return "none"
    near = first.spacing and all(abs(a - b) <= 0.01 * b for a, b in zip(item.spacing, first.spacing, strict=True))
    return " x ".join(f"{value:.4g}" for value in (first.spacing if near and first.spacing else item.spacing))


def _counted(slices: Sequence[Slice], of: Callable[[Slice], Any]) -> dict[Any, int]:
    counts: dict[Any, int] = {}
    for item in slices:
        counts[of(item)] = counts.get(of(item), 0) + 1
    return counts


def _refuse_directions(slices: Sequence[Slice]) -> None:
    import numpy

    groups: list[np.ndarray] = []
    limit = float(numpy.cos(numpy.radians(_SAME_DIRECTION)))
    for item in slices:
        axes = numpy.asarray(item.orientation).reshape(2, 3)
        if not any((known * axes).sum(axis=1).min() >= limit for known in groups):
            groups.append(axes)
    if len(groups) > 1:
        raise BadSample(
            f"slices are not parallel ({len(groups)} orientations: projections or localizers); give them as images"
        )


def place_of(item: Slice) -> float:
    """Millimetres along the slice's normal."""
    import numpy

    axes = numpy.asarray(item.orientation, dtype=numpy.float64).reshape(2, 3)
    return float(numpy.cross(axes[0], axes[1]) @ numpy.asarray(item.position))


def steps_of(places: Sequence[float]) -> list[float]:
    """Differences of neighbours."""
    return [after - before for before, after in pairwise(places)]


def _refuse_shared_places(slices: Sequence[Slice], places: Sequence[float]) -> None:
    groups: list[list[Slice]] = []
    for index, item in enumerate(slices):
        if index and places[index] - places[index - 1] < _SAME_PLACE:
            groups[-1].append(item)
        else:
            groups.append([item])
    if len(groups) == len(slices):
        return
    shared = [group for group in groups if len(group) > 1]
    telling = []
    for keyword in (*TELLING_APART, "ImageType"):
        each = [[item.tags.get(keyword, "") for item in group] for group in shared]
        if all(len(set(values)) == len(values) for values in each):
            telling.append((keyword, sorted({value for values in each for value in values}, key=_as_number)))
    many = f"{len(slices)} images at {len(groups)} positions"
    if not telling:
        varying = [
            keyword
            for keyword in (*TELLING_APART, "ImageType")
            if any(len({item.tags.get(keyword, "") for item in group}) > 1 for group in shared)
        ]
        tell = f'they differ in {", ".join(varying)}; choose with "where"' if varying else "no field tells them apart"
        raise BadSample(f"{many}; {tell}")
    keyword, values = telling[0]
    listed = ", ".join(value or "none" for value in values[:8]) + (", .." if len(values) > 8 else "")
    also = f" (also in {', '.join(name for name, _ in telling[1:4])})" if len(telling) > 1 else ""
    raise BadSample(
        f'{many}, they differ in {keyword} ({listed}){also}; choose with "where": {{"{keyword}": "{values[0]}"}}'
    )


def _as_number(text: str) -> tuple[float, str]:
    try:
        return float(text), ""
    except ValueError:
        return float("inf"), text


def _steps_told(slices: Sequence[Slice], places: Sequence[float], ask: Ask) -> list[str]:
    steps = steps_of(places)
    if not steps:
        return []
    usual, notes = median(steps), []
    gaps = [(index, step) for index, step in enumerate(steps) if step > _GAP * usual]
    if gaps:
        each = ", ".join(f"{step:.4g} mm between slices {index + 1} and {index + 2}" for index, step in gaps[:5])
        text = f"gap: {each}{f', and {len(gaps) - 5} more' if len(gaps) > 5 else ''} (usual step {usual:.4g} mm)"
        if ask.on_gap == "refuse":
            raise BadSample(f"{text}; slices are missing (on_gap=note reads them all the same)")
        notes.append(text)
    elif max(steps) - min(steps) > max(_UNEVEN * usual, 2 * _SAME_PLACE):
        notes.append(f"uneven steps: {min(steps):.4g} to {max(steps):.4g} mm")
    if (tilt := tilt_of(slices)) > _TILT:
        notes.append(f"gantry tilt: slices shift by {tilt:.3g} mm a step")
    return notes


def tilt_of(slices: Sequence[Slice]) -> float:
    """The largest shift across the normal between neighbours, in mm."""
    import numpy

    axes = numpy.asarray(slices[0].orientation, dtype=numpy.float64).reshape(2, 3)
    points = numpy.asarray([item.position for item in slices], dtype=numpy.float64)
    across = numpy.diff(points @ axes.T, axis=0)
    return float(numpy.linalg.norm(across, axis=1).max(initial=0.0))


def _by_number(slices: Sequence[Slice]) -> tuple[list[Slice], str]:
    """Without places: frames of one file as they stand, files by InstanceNumber, else by name; and the note of it."""
    if len({item.head.path for item in slices}) == 1:
        return sorted(slices, key=lambda item: item.frame), "order: as in the file; places in the patient are unknown"
    numbers = [item.instance_number for item in slices]
    if None not in numbers and len(set(numbers)) == len(numbers):
        ordered = sorted(slices, key=lambda item: item.instance_number or 0)
        return ordered, "order: instance_number; places in the patient are unknown"
    # Files come sorted by the numbers in their names.
    return list(slices), "order: file names; places in the patient are unknown"
