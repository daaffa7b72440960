"""Opens picture files: one picture, pages or a folder of slices as a volume, an animation or a folder of frames as a
video.

Pixels are those of `rollouts.imaging.pictures`, whoever asks: values deeper than 8 bits get one linear window, that of
all frames together. A window of centre and width, or in Hounsfield units, is used instead where a row asks for it.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rollouts.imaging import greys, pictures
from rollouts.imaging.ask import Ask
from rollouts.imaging.cache import hash_files
from rollouts.imaging.flat.chunks import GIF, PNG, TIFF
from rollouts.imaging.notes import Provenance
from rollouts.imaging.source import Source, refuse_unused
from rollouts.imaging.video.shown import Shown, part_of
from rollouts.imaging.windows import Greys, sampled, steps
from rollouts.records import BadSample
from rollouts.texts.reading import shorten

if TYPE_CHECKING:
    import numpy as np

_STARTS = (
    PNG,
    *GIF,
    b"\xff\xd8\xff",
    *TIFF,
    b"BM",
    b"\0\0\0\x0cjP  \r\n\x87\n",
    b"\xff\x4f\xff\x51",
)
# As the table of readers calls it.
NAME = "a picture (PNG, JPEG, TIFF, ..)"
# Frames of an animation that name so few seconds, or none, are shown this long, as browsers do.
_SHORTEST, _INSTEAD = 0.011, 0.1


class _Place(NamedTuple):
    """One frame: which file, and which of its frames or pages."""

    path: Path
    page: int


class _Looked(NamedTuple):
    """What the files told before they are shown."""

    places: list[_Place]
    # Over all of them, where they are deeper than 8 bits.
    extremes: greys.Extremes | None
    # Of the upright pictures.
    sizes: set[tuple[int, int]]
    notes: tuple[str, ...]


def begins(head: bytes) -> bool:
    """Whether a file's first bytes are those of a picture that is read."""
    if head[:4] == b"RIFF":
        return head[8:12] == b"WEBP"
    if head[4:8] == b"ftyp":
        return head[8:12] in (b"avif", b"avis")
    return head.startswith(_STARTS) or re.match(rb"P[1-6][\s#]", head) is not None


def open_source(paths: Sequence[Path], ask: Ask) -> Source:
    """The reader of the table in `rollouts/imaging/read.py`. Raises BadSample."""
    refuse_unused(ask, "picture files", "series", "where", "plane", "volume_index")
    if ask.kind != "image":
        refuse_unused(ask, f"a {ask.kind}, all of whose pages are read", "page")
    if len(paths) > 1 and ask.kind == "image":
        raise BadSample(f"{len(paths)} pictures; give one of them")
    paths = in_order(paths)
    looked = _look(paths, ask)
    places, part = looked.places, _times(paths, looked.places, ask)
    if part is not None:
        chosen, part = part_of(part, ask)
        places = [places[index] for index in chosen]
    elif ask.kind == "video":
        refuse_unused(ask, "frames that have no times", "start", "end")
    windowed = looked.extremes is not None and ask.window not in ("auto", "dicom")
    scale = None if looked.extremes is None or windowed else greys.scale_of(looked.extremes)
    notes = looked.notes if part is None else (*looked.notes, *part.notes)
    if scale is not None:
        notes = (*notes, f"more than 8 bits: black is {scale.black:g}, white is {scale.white:g}")
    several = len(paths) > 1
    return Source(
        count=len(places),
        load=lambda wanted: _load([places[index] for index in wanted], scale, windowed, several),
        provenance=Provenance(
            format=pictures.format_of(paths[0].read_bytes()),
            source_sha256=hash_files(paths),
            decoder="Pillow",
            notes=notes,
        ),
        greys=Greys(sample=lambda: _sample(places, several), modality=ask.modality) if windowed else None,
        times=None if part is None else part.times,
        end=None if part is None else part.end,
        size=next(iter(looked.sizes)) if len(looked.sizes) == 1 else None,
    )


def in_order(paths: Sequence[Path]) -> list[Path]:
    """Files of a folder by the numbers in their names: slice2 before slice10."""
    return sorted(paths, key=lambda path: _by_numbers(str(path)))


def _look(paths: Sequence[Path], ask: Ask) -> _Looked:
    places: list[_Place] = []
    notes: dict[str, None] = {}
    ranges: list[greys.Extremes | None] = []
    sizes: set[tuple[int, int]] = set()
    for path in paths:
        with _named(path, len(paths) > 1):
            data = path.read_bytes()
            pages = _pages(data, ask)
            places += [_Place(path, page) for page in pages]
            ranges.append(pictures.extremes(data, pages))
            sizes |= pictures.sizes(data, pages)
            notes.update(dict.fromkeys(pictures.notes(data)))
    if len(sizes) > 1:
        notes["frames are of several sizes"] = None
    if len({one is None for one in ranges}) > 1:
        raise BadSample("some of the frames have 8 bits and some more: there is no one scale for them")
    return _Looked(places, greys.join(ranges), sizes, tuple(notes))


def _pages(data: bytes, ask: Ask) -> range:
    """Which frames or pages of a file are read. Raises BadSample."""
    count = pictures.num_frames(data)
    if ask.kind != "image":
        return range(count)
    if ask.page is None:
        if count > 1:
            raise BadSample(pictures.several_frames(data, count))
        return range(1)
    if ask.page >= count:
        raise BadSample(f"page is {ask.page}, and there are {count}: 0 to {count - 1}")
    return range(ask.page, ask.page + 1)


def _times(paths: Sequence[Path], places: Sequence[_Place], ask: Ask) -> Shown | None:
    """When the frames of one animation are shown; None for all that has no times. Raises BadSample."""
    if ask.kind != "video" or len(paths) > 1 or len(places) < 2:
        return None
    lasts = pictures.durations(paths[0].read_bytes())
    if lasts is None:
        return None
    lasts = [last if last >= _SHORTEST else _INSTEAD for last in lasts]
    times = [sum(lasts[:index]) for index in range(len(lasts))]
    return Shown(tuple(times), times[-1] + lasts[-1])


def _load(places: Sequence[_Place], scale: greys.Scale | None, windowed: bool, several: bool) -> Iterator[np.ndarray]:
    import numpy

    for path, run in itertools.groupby(places, key=lambda place: place.path):
        pages = [place.page for place in run]
        with _named(path, several):
            data = path.read_bytes()
            if windowed:
                yield from (pictures.values(data, page) for page in pages)
            else:
                yield from (numpy.asarray(image) for image in pictures.several(data, pages, scale))


def _sample(places: Sequence[_Place], several: bool) -> np.ndarray:
    import numpy

    first = next(_load(places[:1], None, True, several))
    frame_step, step, _ = steps((len(places), *first.shape))
    frames = _load(places[::frame_step], None, True, several)
    return numpy.concatenate([sampled(values, step) for values in frames])


@contextmanager
def _named(path: Path, several: bool) -> Iterator[None]:
    """Says which of several files is meant."""
    try:
        yield
    except BadSample as error:
        if not several:
            raise
        raise BadSample(f"{shorten(path.name)} {error}") from error


def _by_numbers(name: str) -> list[tuple[int, str]]:
    """slice2 before slice10: digits compare as numbers, the rest as text."""
    return [(int(part), "") if part.isdecimal() else (-1, part.lower()) for part in re.split(r"([0-9]+)", name) if part]
