"""Opens DICOM: one file or a series of files becomes a source of frames along the plane asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rollouts.imaging import windows
from rollouts.imaging.ask import Ask
from rollouts.imaging.dicom import files, series
from rollouts.imaging.dicom.grids import Grid, grid_of, places_of
from rollouts.imaging.dicom.headers import PICTURES, FileHead, Slice
from rollouts.imaging.dicom.values import values_of
from rollouts.imaging.notes import Provenance
from rollouts.imaging.source import Source, refuse_unused
from rollouts.imaging.video.shown import Shown, part_of
from rollouts.records import BadSample

if TYPE_CHECKING:
    import numpy as np

# As the table of readers calls it.
NAME = "DICOM"
# Air is -1024 HU; scanners fill what they have not seen with less, mostly without saying so.
_NO_TISSUE_BELOW = -1100.0
# Values of a medium that may stay in memory between measuring and showing: 64 MB.
_KEPT_VALUES = 16 << 20
_UNKNOWN_PLACE = "orientation unknown"


def open_source(paths: Sequence[Path], ask: Ask) -> Source:
    """Open one file, or the series that lies in several. Raises BadSample."""
    slices, notes = _read_all(paths, ask)
    if slices[0].head.is_video:
        return _video(slices[0].head, ask, notes)
    refuse_unused(ask, "DICOM", "volume_index", "on_cut")
    if len(slices) == 1 or ask.kind != "image":
        refuse_unused(ask, "DICOM with one frame" if len(slices) == 1 else f"a {ask.kind}", "page")
    if ask.kind == "image":
        slices = [_one(slices, ask)]
    stack = series.stack(slices, ask)
    grid = grid_of(stack, ask)
    if grid is not None:
        notes += list(grid.notes)
    elif ask.plane != "native":
        raise BadSample(f"plane {ask.plane} needs places in the patient, and the file has none; use plane=native")
    else:
        notes.append(_UNKNOWN_PLACE)
    file_modality, row_modality = slices[0].head.modality, ask.modality.upper()
    if file_modality and row_modality in PICTURES and file_modality != row_modality:
        notes.append(f"the row says {row_modality}, the file {file_modality}")
    return _source(stack, grid, ask, (*notes, *stack.notes))


def _read_all(paths: Sequence[Path], ask: Ask) -> tuple[list[Slice], list[str]]:
    """Frames of all files that hold pictures, and how many others there were. Raises BadSample."""
    slices: list[Slice] = []
    left_out: list[Slice] = []
    for number, path in enumerate(paths, start=1):
        try:
            read = files.read_file(path, ask.patient_salt)
        except BadSample as error:
            raise BadSample(f"{_file(number, paths)}{error}") from None
        (left_out if read[0].head.refusal else slices).extend(read)
    if not slices:
        others = sorted({item.head.refusal for item in left_out})
        raise BadSample(others[0] if len(others) == 1 else f"no picture among {len(paths)} files: {'; '.join(others)}")
    videos = {item.head.path for item in slices if item.head.is_video}
    if videos and len({item.head.path for item in slices}) > 1:
        raise BadSample(f"{len(videos)} videos beside other images; give one file")
    files_out = f"{len(left_out)} DICOM file{'s' if len(left_out) > 1 else ''}"
    return slices, [f"{files_out} without a picture left out"] if left_out else []


def _file(number: int, paths: Sequence[Path]) -> str:
    return f"file {number} of {len(paths)} by name: " if len(paths) > 1 else ""


def _one(slices: list[Slice], ask: Ask) -> Slice:
    count = len(slices)
    if count == 1:
        return slices[0]
    if ask.page is None:
        raise BadSample(f'{count} frames; give it as "volume" or "video", or take one with "page"')
    if ask.page >= count:
        raise BadSample(f"page is {ask.page}, and there are {count} frames: 0 to {count - 1}")
    return slices[ask.page]


def _video(head: FileHead, ask: Ask, notes: list[str]) -> Source:
    from rollouts.imaging.video.reader import open_bytes  # here, so that a series loads no reader of video

    if ask.kind != "video":
        raise BadSample('a video inside DICOM; give it as "video"')
    return open_bytes(files.video_bytes(head), ask, _provenance((Slice(head),), (*notes, *head.notes)))


def _provenance(slices: Sequence[Slice], notes: Sequence[str]) -> Provenance:
    head = slices[0].head
    pixels = sorted({item.head.pixel_sha256 for item in slices})
    patients = {item.head.patient for item in slices}
    if len(patients) > 1:
        raise BadSample(f"images of {len(patients)} patients in one series")
    return Provenance(
        format="DICOM",
        source_sha256=hashlib.sha256("\n".join(pixels).encode()).hexdigest(),
        patient=head.patient,
        modality=head.modality,
        body_part=head.body_part,
        manufacturer=head.manufacturer,
        laterality=head.laterality,
        view=head.view,
        patient_orientation=head.patient_orientation,
        photometric=head.photometric if head.photometric in ("MONOCHROME1", "MONOCHROME2", "RGB") else _colour(head),
        encoding=head.syntax_name,
        decoder=files.decoder_of(head),
        notes=tuple(dict.fromkeys(notes)),
    )


def _colour(head: FileHead) -> str:
    return "PALETTE COLOR" if head.photometric == "PALETTE COLOR" else "YBR"


def _source(stack: series.Stack, grid: Grid | None, ask: Ask, notes: Sequence[str]) -> Source:
    slices = stack.slices
    head = slices[0].head
    each = (note for item in {item.head.path: item for item in slices}.values() for note in item.head.notes)
    numbers = [item.instance_number for item in slices]
    own = grid is None or grid.is_native
    part = _part(stack, grid, ask)
    if part is not None:
        places, shown = part
        slices, notes = tuple(slices[place] for place in places), (*notes, *shown.notes)
    if grid is not None and own:
        numbers = [numbers[grid.slice_of(frame)] for frame in range(len(slices))]
    kept = Kept()
    return Source(
        count=len(slices) if grid is None else grid.count,
        load=lambda wanted: _load(slices, grid, wanted, kept.fetch),
        provenance=_provenance(slices, (*notes, *each)),
        greys=None if head.is_colour else _greys(stack, ask, kept),
        axes="" if grid is None else grid.arrangement.axes,
        spacing=_spacing(slices[0], grid),
        aspect=slices[0].aspect,
        positions=None if grid is None else grid.positions,
        places=None if grid is None else places_of(stack, grid),
        times=None if part is None else part[1].times,
        end=None if part is None else part[1].end,
        size=(head.columns, head.rows) if grid is None else grid.size,
        instance_numbers=None if None in numbers or not own else tuple(numbers),  # type: ignore[arg-type]
    )


def _part(stack: series.Stack, grid: Grid | None, ask: Ask) -> tuple[range, Shown] | None:
    """Which frames of a cine are asked for and when they are shown; None for what has no times. Raises BadSample."""
    head = stack.slices[0].head
    is_cine = ask.kind == "video" and grid is None and len(stack.slices) == head.frames
    if is_cine and head.times is not None and head.end is not None:
        return part_of(Shown(head.times, head.end), ask)
    if (ask.start, ask.end) != (None, None):
        raise BadSample("start and end are seconds, and its frames have no times; use slices")
    return None


def _spacing(item: Slice, grid: Grid | None) -> tuple[float, float, float] | None:
    if grid is not None:
        return grid.arrangement.spacing
    return None if item.spacing is None else (item.thickness or 1.0, *item.spacing)


def _load(
    slices: Sequence[Slice],
    grid: Grid | None,
    wanted: Sequence[int],
    fetch: Callable[[Sequence[Slice]], Iterator[np.ndarray]],
) -> Iterator[np.ndarray]:
    if grid is None:
        yield from fetch([slices[index] for index in wanted])
    elif grid.is_native:
        yield from (grid.turn(frame) for frame in fetch([slices[grid.slice_of(index)] for index in wanted]))
    else:
        yield from grid.cut(slices, wanted, fetch)


def fetch(slices: Sequence[Slice]) -> Iterator[np.ndarray]:
    """Frames as they lie in their files, in the order given: float32 [rows, columns], or uint8 [rows, columns, 3]."""
    start = 0
    while start < len(slices):
        head = slices[start].head
        behind = start
        while behind < len(slices) and slices[behind].head is head:
            behind += 1
        run = slices[start:behind]
        arrays = files.stored(head, [item.frame for item in run])
        for item, array in zip(run, arrays, strict=True):
            yield array if head.is_colour else values_of(item, array)
        start = behind


class Kept:
    """Values of the slices that were measured for the automatic scale, where they are few: they are decoded once."""

    def __init__(self) -> None:
        self._values: dict[int, np.ndarray] = {}

    def keep(self, slices: Sequence[Slice]) -> Iterator[np.ndarray]:
        """As `fetch`, and remembers them if they are few."""
        few = sum(item.head.rows * item.head.columns for item in slices) <= _KEPT_VALUES
        for item, values in zip(slices, fetch(slices), strict=True):
            if few:
                self._values[id(item)] = values
            yield values

    def fetch(self, slices: Sequence[Slice]) -> Iterator[np.ndarray]:
        """As the function `fetch`."""
        if all(id(item) in self._values for item in slices):
            yield from (self._values[id(item)] for item in slices)
        else:
            yield from fetch(slices)


def _greys(stack: series.Stack, ask: Ask, kept: Kept) -> windows.Greys:
    slices = stack.slices
    first = slices[0]
    modality = first.head.modality or ask.modality
    own, own_notes = _own_window(slices)
    flags = {item.in_hounsfield for item in slices}
    return windows.Greys(
        sample=lambda: _sample(slices, modality, kept),
        in_hounsfield=flags.pop() if len(flags) == 1 else None,
        modality=modality,
        own=own,
        own_notes=own_notes,
        inverted=first.head.photometric == "MONOCHROME1",
    )


def _own_window(slices: Sequence[Slice]) -> tuple[windows.Window | windows.Table | None, tuple[str, ...]]:
    """The file's own window; where slices have windows of their own, one from the lowest to the highest."""
    candidates = list(dict.fromkeys(item.window for item in slices))
    if None in candidates:
        if len(candidates) > 1:
            return None, ("some slices have no window",)
        return None, (slices[0].window_note,)
    if len(candidates) == 1:
        return candidates[0], ()
    if not all(isinstance(one, windows.Window) for one in candidates):
        return None, (f"slices have {len(candidates)} tables of their own",)
    lows, highs = zip(*(one.bounds for one in candidates if one is not None), strict=True)
    low, high = min(lows), max(highs)
    note = f"slices have {len(candidates)} windows of their own: shown from the lowest to the highest value of all"
    return windows.Window((low + high) / 2, high - low, "LINEAR_EXACT"), (note,)


def _sample(slices: Sequence[Slice], modality: str, kept: Kept) -> np.ndarray:
    import numpy

    head = slices[0].head
    frame_step, step, _ = windows.steps((len(slices), head.rows, head.columns))
    some = [windows.sampled(frame, step) for frame in kept.keep(slices[::frame_step])]
    sample = numpy.concatenate([one.ravel() for one in some])
    if modality == "CT" and (inside := sample >= _NO_TISSUE_BELOW).any():
        return sample[inside]
    return sample
