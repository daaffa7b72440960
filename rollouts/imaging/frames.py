"""The frames of a medium as a model sees them: chosen, on one scale, with square pixels, made when asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from rollouts.imaging import windows
from rollouts.imaging.ask import Ask
from rollouts.imaging.geometry import plane_of
from rollouts.imaging.notes import Provenance
from rollouts.imaging.pick import evenly_in_time, evenly_spaced
from rollouts.imaging.pictures import MAX_PIXELS, to_png
from rollouts.imaging.source import Source, named
from rollouts.records import BadSample, Media, MediaKind

if TYPE_CHECKING:
    import numpy as np

# Pixels differ from squares where one side is longer by more than this share.
_SQUARE_WITHIN = 0.01


class Frames:
    """Chosen frames of one medium, upright RGB, in order. `image` and `images` read the source, or the cache where the
    frames lie there."""

    def __init__(
        self,
        kind: MediaKind,
        provenance: Provenance,
        *,
        name: str = "",
        source: Source | None = None,
        scale: windows.Scale | None = None,
        ask: Ask | None = None,
        files: tuple[Path, ...] | None = None,
    ) -> None:
        self.kind = kind
        self.provenance = provenance
        # PNG of each frame in the cache; None = not cached.
        self.files = files
        # What errors call it.
        self.name = name
        self._source, self._scale, self._ask = source, scale, ask

    def __len__(self) -> int:
        return len(self.provenance.indices)

    @property
    def indices(self) -> tuple[int, ...]:
        """Which frames of the source these are, counted from 0."""
        return self.provenance.indices

    @property
    def times(self) -> tuple[float, ...] | None:
        """Seconds at which each frame appears; None = not a video."""
        return self.provenance.times

    @property
    def positions(self) -> tuple[float, ...] | None:
        """Place of each frame along the plane's axis, in mm; None = unknown."""
        return self.provenance.positions

    @property
    def axes(self) -> str:
        """Where columns, rows and frames run to: "LPS"; "" = unknown, then nothing is known of the patient's sides."""
        return self.provenance.axes

    def image(self, index: int) -> Image.Image:
        """One frame, RGB. Raises BadSample where it cannot be decoded."""
        return next(self._images((index,)))

    def images(self) -> Iterator[Image.Image]:
        """All frames in order, in one pass over the source. Raises BadSample."""
        return self._images(range(len(self)))

    def media(self) -> Media:
        """The record that a sample carries: frames as files of the cache, or as bytes where there is no cache. Raises
        BadSample where a frame cannot be decoded."""
        known = self.provenance
        return Media(
            kind=self.kind,
            frames=None if self.files else tuple(to_png(image) for image in self.images()),
            frame_files=tuple(map(str, self.files)) if self.files else None,
            frame_indices=None if self.kind == "image" else self.indices,
            source_sha256=known.source_sha256,
            patient=known.patient,
            frame_times=known.times,
            positions=known.positions,
            axes=known.axes,
            provenance=known.to_dict(),
        )

    def _images(self, wanted: Sequence[int]) -> Iterator[Image.Image]:
        with named(self.name):
            if self.files is not None:
                for index in wanted:
                    with Image.open(self.files[index]) as image:
                        yield image.convert("RGB")
                return
            assert self._source is not None and self._ask is not None
            for values in self._source.load([self.indices[index] for index in wanted]):
                yield _shown(values, self._scale, self._source, self._ask)


def prepare(source: Source, ask: Ask, name: str = "") -> Frames:
    """Choose frames and one scale for all of them. Raises BadSample where the window does not fit the values, or the
    part asked for is empty."""
    chosen = choose_frames(source, ask)
    scale = windows.choose(ask.window, source.greys) if source.greys is not None else None
    if scale is None and ask.window not in ("auto", "dicom"):
        raise BadSample(f"window {ask.window} has no effect: this is colour, which is never windowed; use window=auto")
    known = source.provenance
    notes = (*known.notes, *(scale.notes if scale else ()))
    provenance = dataclasses.replace(
        known,
        modality=known.modality or (source.greys.modality if source.greys else ""),
        source_frames=source.count,
        spacing=source.spacing,
        axes=source.axes,
        plane=plane_of(source.axes),
        indices=chosen,
        positions=_of(source.positions, chosen),
        times=_of(source.times, chosen),
        instance_numbers=_of(source.instance_numbers, chosen),
        size=shown_size(*source.size, source, ask) if source.size else None,
        source_size=source.size,
        window=scale.name if scale else "",
        window_bounds=tuple(channel.bounds for channel in scale.channels) if scale else (),
        window_function=_function(scale),
        inverted=scale.inverted if scale else False,
        colour=scale is None,
        notes=notes,
    )
    return Frames(ask.kind, provenance, name=name, source=source, scale=scale, ask=ask)


def choose_frames(source: Source, ask: Ask) -> tuple[int, ...]:
    """Indices of the frames shown: inside `ask.slices`, at most `max_frames`, evenly in time where frames have times,
    else in place. Raises BadSample where `slices` lies outside the source."""
    first, behind = ask.slices or (0, source.count)
    if behind > source.count:
        raise BadSample(f"slices is [{first}, {behind}], and there are {source.count}: 0 to {source.count}")
    wanted = ask.max_frames or (behind - first)
    if source.times is not None and source.end is not None:
        end = source.end if behind == source.count else source.times[behind]
        return tuple(first + index for index in evenly_in_time(source.times[first:behind], end, wanted))
    return tuple(first + index for index in evenly_spaced(behind - first, wanted))


def _shown(values: np.ndarray, scale: windows.Scale | None, source: Source, ask: Ask) -> Image.Image:
    """One frame's values as the picture that everybody sees."""
    rgb = values if values.ndim == 3 else (scale or windows.Scale((), "")).show(values)
    image = Image.fromarray(rgb)
    size = shown_size(image.width, image.height, source, ask)
    return image if size == image.size else image.resize(size, Image.Resampling.BILINEAR)


def shown_size(width: int, height: int, source: Source, ask: Ask) -> tuple[int, int]:
    """Width and height of a frame as it is shown: rows or columns stretched until pixels are squares, then made smaller
    to `longest_side`. Raises BadSample where a wrong spacing would make it huge."""
    spacing = source.spacing
    if ask.square_pixels:
        known = spacing is not None and min(spacing[1:]) > 0
        ratio = spacing[1] / spacing[2] if spacing is not None and known else source.aspect  # a pixel's height / width
        if ratio > 1 + _SQUARE_WITHIN:
            height = round(height * ratio)
        elif ratio < 1 / (1 + _SQUARE_WITHIN):
            width = round(width / ratio)
        if width * height > MAX_PIXELS:
            raise BadSample(
                f"pixels {ratio:.3g} times as high as wide: the spacing is damaged, or use square_pixels=false"
            )
    longest = max(width, height)
    if ask.longest_side is not None and longest > ask.longest_side:
        width, height = (max(1, round(side * ask.longest_side / longest)) for side in (width, height))
    return width, height


def _function(scale: windows.Scale | None) -> str:
    if scale is None:
        return ""
    first = scale.channels[0]
    return first.function if isinstance(first, windows.Window) else "TABLE"


def _of(values: tuple | None, chosen: tuple[int, ...]) -> tuple | None:
    return None if values is None else tuple(values[index] for index in chosen)
