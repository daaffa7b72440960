"""Opens a mask beside its image: both on one grid in the patient's axes, or refused with both grids."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rollouts.imaging import pictures
from rollouts.imaging.ask import Ask
from rollouts.imaging.dicom import reader as dicom
from rollouts.imaging.dicom.segments import read_segments
from rollouts.imaging.flat import reader as flat
from rollouts.imaging.geometry import PLANES, Places, plane_of
from rollouts.imaging.masks.outline import mask_png
from rollouts.imaging.masks.pixels import Marked, marked_pixels, marked_values
from rollouts.imaging.masks.places import Place, place_of
from rollouts.imaging.nifti import reader as nifti
from rollouts.imaging.read import files_of, format_of, open_source
from rollouts.imaging.source import Source
from rollouts.records import BadSample
from rollouts.texts.reading import shorten

if TYPE_CHECKING:
    import numpy as np

# Voxels of mask and image may lie so far apart, as a share of the smaller side of a pixel.
_SAME_WITHIN = 0.02
# An axis of the patient, by the letters of its two ends.
_AXIS = {"L": 0, "R": 0, "P": 1, "A": 1, "S": 2, "I": 2}


@dataclass(frozen=True)
class Mask:
    """What is marked on a medium, on the grid of its frames."""

    # bool [frames, rows, columns]: all frames of the source, along the plane that was asked for, as they are stored.
    marked: np.ndarray
    # Where columns, rows and frames run to; "" = unknown.
    axes: str
    # The image's modality, as its file or the ask says.
    modality: str
    notes: tuple[str, ...] = ()

    @property
    def area(self) -> int:
        """Pixels or voxels that are marked."""
        return int(self.marked.sum())

    def place(self, organ: Mask | None = None) -> Place | None:
        """Where the marked part lies; None where nothing is marked. `organ`: halves and thirds are those of its box.
        Raises BadSample where the organ's mask has another size or is empty."""
        flat_mask = self.marked[0] if len(self.marked) == 1 else self.marked
        box = None if organ is None else (organ.marked[0] if len(organ.marked) == 1 else organ.marked)
        return place_of(flat_mask, self.axes, organ=box, modality=self.modality)

    def cut(self, indices: Sequence[int]) -> int:
        """How many of these frames of the source hold a marked pixel."""
        return sum(bool(self.marked[index].any()) for index in indices)

    def pngs(self, indices: Sequence[int], sizes: Sequence[tuple[int, int]]) -> list[bytes]:
        """The mask of each of these frames as a PNG of 0 and 255 as large as the frame is shown (width, height)."""
        return [mask_png(self.marked[index], size) for index, size in zip(indices, sizes, strict=True)]


def read_mask(mask: Path | str, image: Path | str, ask: Ask, *, label: int | None = None, name: str = "") -> Mask:
    """The mask of a medium.

    Args:
        mask: a NIfTI file, a DICOM segmentation, a picture file, or a folder of one for each slice.
        image: the file or folder of the medium it belongs to.
        ask: how the medium is read; its plane is the mask's.
        label: the value or the segment that is meant; None = all that are marked.
        name: what errors call it; "" = the last part of its path.

    Raises:
        BadSample: the mask cannot be read, is none, or lies on another grid than the image.
    """
    mask, image = Path(mask), Path(image)
    with _named(f"mask {name or shorten(mask.name)}"):
        mask_files = files_of(mask, Ask("volume"))
        source = open_source(files_of(image, ask), _whole(ask))
        marks = _read(mask_files, source, label)
    axes = source.axes or _axes_of_picture(source.provenance.patient_orientation)
    marked, notes = marks.pixels, marks.notes
    if source.axes and ask.plane != "native" and PLANES[ask.plane] != source.axes:
        marked, axes = _turned(marked, source.axes, PLANES[ask.plane]), PLANES[ask.plane]
    if not marked.any():
        notes = (*notes, "empty: nothing is marked")
    elif marked.all():
        notes = (*notes, "everything is marked")
    modality = source.provenance.modality or ask.modality
    return Mask(marked, axes, modality, notes)


def _whole(ask: Ask) -> Ask:
    """The same medium with all frames as they were acquired, whatever is shown of it."""
    return dataclasses.replace(ask, window="auto", plane="native", max_frames=None, slices=None)


def _read(files: Sequence[Path], source: Source, label: int | None) -> Marked:
    kind = format_of(files[0])
    if kind == dicom.NAME:
        return _of_segments(files, source, label)
    if kind == nifti.NAME:
        if len(files) > 1:
            raise BadSample(f"{len(files)} NIfTI files; give one of them")
        return _of_volume(files[0], source, label)
    if kind == flat.NAME:
        return _of_pictures([path for path in files if format_of(path) == kind], source, label)
    raise BadSample("not a mask: expected NIfTI, a DICOM segmentation, or pictures such as PNG")


def _of_pictures(files: Sequence[Path], source: Source, label: int | None) -> Marked:
    import numpy

    pages: list[Marked] = []
    for path in flat.in_order(files):
        data = path.read_bytes()
        pages += [marked_pixels(data, page, label) for page in range(pictures.num_frames(data))]
    if len({one.pixels.shape for one in pages}) > 1:
        raise BadSample("its pictures are of several sizes")
    notes = dict.fromkeys(note for one in pages for note in one.notes)
    _refuse_shape((len(pages), *pages[0].pixels.shape), source)
    return Marked(numpy.stack([one.pixels for one in pages]), tuple(notes))


def _of_volume(path: Path, source: Source, label: int | None) -> Marked:
    import numpy

    plane = plane_of(source.axes) or "native"
    volume = nifti.read_volume(path, Ask("volume", plane=plane))  # type: ignore[arg-type]
    if volume.values.ndim != 3:
        raise BadSample("a volume of colours: not a mask")
    _refuse_shape(volume.values.shape, source)
    notes: tuple[str, ...] = ()
    if volume.places is None or source.places is None:
        notes = ("sizes are equal; places in the patient could not be compared",)
    else:
        _refuse_grid(volume.places, source.places, volume.values.shape)
    values = numpy.stack([nifti.scaled(volume, index) for index in range(len(volume.values))])
    marks = marked_values(values, label)
    return Marked(marks.pixels, (*notes, *marks.notes))


def _of_segments(files: Sequence[Path], source: Source, label: int | None) -> Marked:
    """Frames of a segmentation stand where the image's frames do; those without a mark are often left out."""
    import numpy

    segments = read_segments(files, label)
    if source.places is None or source.size is None:
        raise BadSample("a segmentation belongs to places in the patient, and the image has none")
    frames, rows, columns = segments.marked.shape
    if segments.axes != source.axes or source.size != (columns, rows):
        raise BadSample(
            f"another grid ({columns} x {rows}, {segments.axes} against {source.size[0]} x {source.size[1]},"
            f" {source.axes}); resample it onto the image"
        )
    marked = numpy.zeros((source.count, rows, columns), bool)
    origins = numpy.asarray(source.places.origins)
    apart = numpy.linalg.norm(origins[None] - numpy.asarray(segments.places.origins)[:, None], axis=2)
    notes: tuple[str, ...] = ()
    chosen = range(frames)
    if source.count == 1 and frames > 1:  # of a whole series, and the image is one of its slices
        chosen = range(int(apart.argmin()), int(apart.argmin()) + 1)
        notes = (f"{frames - 1} frames of the segmentation lie at other slices",)
    for frame in chosen:
        nearest = int(apart[frame].argmin())
        beside = Places((segments.places.origins[frame],), segments.places.to_column, segments.places.to_row)
        _refuse_grid(beside, source.places._replace(origins=(source.places.origins[nearest],)), (1, rows, columns))
        marked[nearest] |= segments.marked[frame]
    absent = label is not None and label not in segments.there
    holds = ", ".join(str(number) for number in segments.there[:8]) or "none"
    return Marked(marked, (*notes, f"segment {label} does not occur; there are {holds}") if absent else notes)


def _refuse_shape(shape: tuple[int, ...], source: Source) -> None:
    frames, rows, columns = shape
    if source.count != frames or (source.size is not None and source.size != (columns, rows)):
        raise BadSample(_differs(shape, source))


def _refuse_grid(mask: Places, image: Places, shape: tuple[int, ...]) -> None:
    """Refuse a mask whose pixels lie elsewhere in the patient than the image's. Raises BadSample."""
    import numpy

    side = min(float(numpy.linalg.norm(step)) for step in (image.to_column, image.to_row))
    apart = 0.0
    for one, other in ((mask.origins[0], image.origins[0]), (mask.origins[-1], image.origins[-1])):
        for row in (0, shape[1] - 1):
            for column in (0, shape[2] - 1):
                places = [
                    numpy.asarray(origin) + column * numpy.asarray(grid.to_column) + row * numpy.asarray(grid.to_row)
                    for origin, grid in ((one, mask), (other, image))
                ]
                apart = max(apart, float(numpy.linalg.norm(places[0] - places[1])))
    if apart > _SAME_WITHIN * side:
        raise BadSample(
            f"another grid: its pixels lie up to {apart:.3g} mm from the image's; resample it onto the image"
        )


def _differs(shape: tuple[int, ...], source: Source) -> str:
    """What a mask of another size is told; width first for pictures, as everywhere."""
    frames, rows, columns = shape
    if source.count == 1 and frames == 1 and source.size is not None:
        return (
            f"{columns} x {rows}, the image is {source.size[0]} x {source.size[1]}: another size; it is not stretched"
        )
    width, height = source.size or (0, 0)
    image = f"{width} x {height} x {source.count}" if source.size else f"{source.count} frames"
    return f"another grid ({columns} x {rows} x {frames} against {image}); resample it onto the image"


def _turned(marked: np.ndarray, axes: str, wanted: str) -> np.ndarray:
    """[frames, rows, columns] along the axes "LPS" as [frames, rows, columns] along others."""
    have = [_AXIS[letter] for letter in axes[::-1]]
    order = [have.index(_AXIS[letter]) for letter in wanted[::-1]]
    turned = marked.transpose(order)
    flips = [axes[::-1][source] != letter for source, letter in zip(order, wanted[::-1], strict=True)]
    return turned[tuple(slice(None, None, -1) if flip else slice(None) for flip in flips)]


def _axes_of_picture(patient_orientation: str) -> str:
    """Axes of a flat picture by DICOM's PatientOrientation ("L\\F": columns to the left, rows to the feet); "" where it
    is not said or slanted."""
    letters = [part[:1] for part in patient_orientation.replace("/", "\\").split("\\")]
    axes = "".join({"H": "S", "F": "I"}.get(letter, letter) for letter in letters)
    known = len(axes) == 2 and all(letter in _AXIS for letter in axes)
    return axes if known and _AXIS[axes[0]] != _AXIS[axes[1]] else ""


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Puts the mask's name before what is wrong; a file that cannot be read is a BadSample too."""
    try:
        yield
    except BadSample as error:
        raise BadSample(f"{name}: {error}") from error
    except OSError as error:
        raise BadSample(f"{name}: cannot be read: {error.strerror or type(error).__name__}") from error
