"""Opens a NIfTI file: any orientation becomes the patient's axes by turning, and nothing is guessed of left and right.

A file without orientation codes, or whose two orientations contradict each other, can be read; then no side is known.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rollouts.imaging.ask import Ask
from rollouts.imaging.cache import hash_files
from rollouts.imaging.geometry import Arrangement, Places, arrange, places_of
from rollouts.imaging.nifti import stored
from rollouts.imaging.notes import Provenance
from rollouts.imaging.source import Source, refuse_unused
from rollouts.imaging.windows import Greys, Window, sampled, steps
from rollouts.records import BadSample

if TYPE_CHECKING:
    import numpy as np

_HEADER_BYTES = {1: 348, 2: 540}
# As the table of readers calls it.
NAME = "NIfTI"
# The kinds of values that are read, by NIfTI's codes.
_COLOUR = {128: 3, 2304: 4}
_NO_GREYS = {
    0: "of no kind",
    1: "single bits",
    32: "complex numbers",
    1536: "128-bit floats",
    1792: "complex numbers",
    2048: "complex numbers",
}
# Code of the unit of length -> millimetres; an unknown unit is taken as millimetres, as every tool does.
_MILLIMETRES = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
# One axis is that of the slices where its step is longer than the next by this factor.
_THICKER = 1.05
# An sform and a qform within so many degrees, and so much of a step's length, are one.
_SAME_DIRECTION, _SAME_STEP = 1.0, 0.01


class Volume(NamedTuple):
    """One volume of a file, turned to the plane asked for, not yet scaled."""

    # [frame, row, column], or [frame, row, column, 3 or 4] for colour: a view of the bytes in the file.
    values: np.ndarray
    arrangement: Arrangement
    # Where the frames' pixels lie; None = unknown.
    places: Places | None
    slope: float
    intercept: float
    # The file's own black and white value; None = it has none.
    shown_range: tuple[float, float] | None
    # The bytes behind the first frame's are another's: "1 of 20 volumes".
    notes: tuple[str, ...]
    version: int


def begins(head: bytes) -> bool:
    """Whether a file begins as NIfTI or Analyze, plain or gzip."""
    return _version(stored.first_bytes(head, 540)) is not None


def open_source(paths: Sequence[Path], ask: Ask) -> Source:
    """The reader of the table in `rollouts/imaging/read.py`. Raises BadSample."""
    refuse_unused(ask, "NIfTI", "series", "where", "page", "start", "end")
    if len(paths) > 1:
        raise BadSample(f"{len(paths)} NIfTI files; give one of them")
    volume = read_volume(paths[0], ask)
    if ask.kind == "image" and len(volume.values) > 1:
        raise BadSample(f'a volume of {len(volume.values)} slices; give it as "volume"')
    if ask.kind == "video":
        raise BadSample('a volume, not a video; give it as "volume"')
    colour = volume.values.ndim == 4
    arrangement = volume.arrangement
    frames, rows, columns = volume.values.shape[:3]
    notes = volume.notes
    if colour and volume.values.shape[3] == 4 and (volume.values[..., 3] < 255).any():
        notes = (*notes, "transparent where nothing is: shown on black")
    return Source(
        count=frames,
        load=lambda wanted: (_frame(volume, index) for index in wanted),
        provenance=Provenance(
            format="NIfTI" if volume.version == 1 else "NIfTI-2",
            source_sha256=hash_files(parts_of(paths[0])),
            decoder="nibabel",
            notes=notes,
        ),
        greys=None if colour else _greys(volume, ask),
        axes=arrangement.axes if volume.places is not None else "",
        spacing=arrangement.spacing,
        positions=arrangement.positions if volume.places is not None else None,
        places=volume.places,
        size=(columns, rows),
    )


def read_volume(path: Path, ask: Ask) -> Volume:
    """The volume that `ask.volume_index` names, along `ask.plane`; masks and pictures are made of it.

    Raises BadSample for what is damaged or says nothing sure, OSError.
    """
    import numpy

    header, version = _header(path)
    shape, index, count = _choose(header, ask)
    stored_type, channels = _values_of(header)
    voxels = shape[0] * shape[1] * shape[2]
    length = voxels * stored_type.itemsize * channels
    data, start = _data_file(path, header, version)
    needed = start + length * count
    stored.refuse_size(data, needed, length)
    raw, more = stored.volume_bytes(data, start + index * length, length, needed)
    values = numpy.asarray(raw).view(stored_type)
    values = values.reshape((channels, *shape), order="F") if channels > 1 else values.reshape(shape, order="F")
    if channels > 1:
        values = numpy.moveaxis(values, 0, -1)
    affine, known, notes = _orientation(header)
    arrangement = arrange(affine, shape, ask.plane, _slice_axis(header, affine, known))
    if count > 1:
        notes = (*notes, f"volume {index + 1} of {count}")
    if more and data.suffix != ".img":
        notes = (*notes, "the file holds more than its header asks for")
    if version == 1 and int(header["sizeof_hdr"]) != 348:
        notes = (*notes, "the header's size is not 348")
    return Volume(
        values=arrangement.turn(values),
        arrangement=arrangement,
        places=places_of(affine, shape, arrangement) if known else None,
        slope=_slope(header)[0],
        intercept=_slope(header)[1],
        shown_range=_shown_range(header),
        notes=(*notes, *arrangement.notes),
        version=version,
    )


def scaled(volume: Volume, index: int) -> np.ndarray:
    """One frame's values, float32 [rows, columns]; NaN where there is no number."""
    import numpy

    with numpy.errstate(over="ignore", invalid="ignore"):
        values = volume.values[index].astype(numpy.float64 if volume.values.dtype.itemsize > 4 else numpy.float32)
        if (volume.slope, volume.intercept) != (1.0, 0.0):
            values = values * values.dtype.type(volume.slope) + values.dtype.type(volume.intercept)
        values = values.astype(numpy.float32)
    values[~numpy.isfinite(values)] = numpy.nan
    return values


def _frame(volume: Volume, index: int) -> np.ndarray:
    import numpy

    if volume.values.ndim == 3:
        return scaled(volume, index)
    colour = volume.values[index]
    if colour.shape[-1] == 3:
        return numpy.ascontiguousarray(colour)
    shown = colour[..., :3].astype(numpy.float32) * (colour[..., 3:].astype(numpy.float32) / 255)
    return numpy.rint(shown).astype(numpy.uint8)


def _greys(volume: Volume, ask: Ask) -> Greys:
    import numpy

    def sample() -> np.ndarray:
        frame_step, step, _ = steps(volume.values.shape)
        samples = [sampled(scaled(volume, index), step) for index in range(0, len(volume.values), frame_step)]
        return numpy.concatenate(samples)

    own = None
    if volume.shown_range is not None:
        low, high = volume.shown_range
        own = Window((low + high) / 2, high - low, "LINEAR_EXACT")
    return Greys(sample=sample, modality=ask.modality, own=own)


def _version(head: bytes) -> int | None:
    """1 or 2 for NIfTI, 0 for Analyze, None for neither; `head` is what the file holds, inflated."""
    if head[344:348] in (b"n+1\0", b"ni1\0"):
        return 1
    if head[4:12] in (b"n+2\0\r\n\x1a\n", b"ni2\0\r\n\x1a\n"):
        return 2
    if len(head) < 348 or (little := head[:4] == b"\x5c\x01\0\0") == (head[:4] == b"\0\0\x01\x5c"):
        return None
    return 0 if 1 <= int.from_bytes(head[40:42], "little" if little else "big") <= 7 else None


def _header(path: Path) -> tuple[Any, int]:
    """nibabel's header and NIfTI's version. Raises BadSample."""
    import nibabel

    head = stored.read_head(path, 348)
    version = _version(head)
    if version is None:  # NIfTI-2, whose header is longer
        head = stored.read_head(path, 540)
        version = _version(head)
    if not version:
        raise BadSample("an Analyze 7.5 file, which does not say where left and right are; convert it to NIfTI")
    if version == 2:
        head = stored.read_head(path, 540)
    if len(head) < _HEADER_BYTES[version]:
        raise BadSample(f"the file ends inside its header, after {len(head)} of {_HEADER_BYTES[version]} bytes")
    kind = nibabel.Nifti1Header if version == 1 else nibabel.Nifti2Header
    try:
        # Not checked by nibabel: it mends some faults in silence and prints others; what is read here is checked here.
        return kind(head[: _HEADER_BYTES[version]], check=False), version
    except Exception as error:  # a boundary: nibabel's reader of a header that a stranger wrote
        raise BadSample(f"its header is damaged: {error}") from error


def _choose(header: Any, ask: Ask) -> tuple[tuple[int, int, int], int, int]:
    """Shape of one volume, which one is read, and how many there are. Raises BadSample."""
    dims = [int(value) for value in header["dim"]]
    number = dims[0]
    if 3 < number <= 7:  # 0 volumes is one, as NIfTI's own library has it
        dims[4 : number + 1] = [value or 1 for value in dims[4 : number + 1]]
    shown = " x ".join(str(value) for value in dims[1 : 1 + max(1, min(number, 7))])
    if not 1 <= number <= 7 or any(value < 1 for value in dims[1 : number + 1]):
        raise BadSample(f"its header is damaged: {number} dimensions of {shown}")
    if number < 2:
        raise BadSample(f"holds one line of {dims[1]} values, which is no picture")
    x, y, z, *more = (dims[1 : number + 1] + [1, 1, 1])[: max(3, number)]
    count = 1
    for value in more:
        count *= value
    chosen = ask.volume_index
    if count > 1 and chosen is None:
        dimensions = 3 + len([value for value in more if value > 1])
        raise BadSample(f'{dimensions}D with {count} volumes of {x} x {y} x {z}; choose with "volume_index"')
    if chosen is not None and chosen >= count:
        raise BadSample(f"volume_index is {chosen}, and there are {count} volumes: 0 to {count - 1}")
    return (x, y, z), chosen or 0, count


def _values_of(header: Any) -> tuple[np.dtype, int]:
    """The stored type in the file's byte order, and channels a voxel. Raises BadSample for what is no grey and no
    colour."""
    import numpy

    code = int(header["datatype"])
    if code in _COLOUR:
        return numpy.dtype(numpy.uint8), _COLOUR[code]
    if code in _NO_GREYS:
        raise BadSample(
            f"its voxels are {_NO_GREYS[code]}, which are not read; convert it to integers or 32-bit floats"
        )
    try:
        stored_type = header.get_data_dtype()
    except Exception as error:  # a boundary: nibabel raises its own kinds for a code it does not know
        raise BadSample(f"its header is damaged: no kind of values has the code {code}") from error
    if int(header["bitpix"]) not in (0, 8 * stored_type.itemsize):
        bits = 8 * stored_type.itemsize
        raise BadSample(f"its header contradicts itself: values of {bits} bits that take {int(header['bitpix'])}")
    return stored_type, 1


def _data_file(path: Path, header: Any, version: int) -> tuple[Path, int]:
    """The file that holds the voxels and the byte at which they begin. Raises BadSample."""
    offset = float(header["vox_offset"])
    if bytes(header["magic"].item())[:2] == b"ni":
        image = _image_of(path)
        if image is None:
            raise BadSample(f"a header without its data: {path.name.removesuffix('.gz')[:-4]}.img is not beside it")
        least = 0
    else:
        image, least = path, {1: 352, 2: 544}[version]
        if offset == 0:
            offset = least
    if not least <= offset < 1 << 40 or offset != int(offset):
        raise BadSample(f"its header is damaged: the voxels begin at byte {offset:g}, expected {least} or more")
    return image, int(offset)


def _image_of(path: Path) -> Path | None:
    name = path.name.removesuffix(".gz")
    stem = name[:-4] if name.lower().endswith(".hdr") else name
    beside = (path.with_name(stem + end) for end in (".img", ".img.gz", ".IMG"))
    return next((file for file in beside if file.is_file()), None)


def header_of(path: Path) -> Path | None:
    """The header beside a pair's data file, which says nothing of itself; None for any other file."""
    name = path.name.removesuffix(".gz")
    if not name.lower().endswith(".img"):
        return None
    beside = (path.with_name(name[:-4] + end) for end in (".hdr", ".hdr.gz", ".HDR"))
    return next((file for file in beside if file.is_file()), None)


def parts_of(path: Path) -> list[Path]:
    """The file, and the data file beside it where it is the header of a pair."""
    image = _image_of(path) if path.name.lower().removesuffix(".gz").endswith(".hdr") else None
    return [path] if image is None else [path, image]


def _slope(header: Any) -> tuple[float, float]:
    """scl_slope and scl_inter; a slope of 0 or none means that the values are as stored."""
    import math

    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or not math.isfinite(slope):
        return 1.0, 0.0
    return slope, intercept if math.isfinite(intercept) else 0.0


def _shown_range(header: Any) -> tuple[float, float] | None:
    low, high = float(header["cal_min"]), float(header["cal_max"])
    return (low, high) if low < high and abs(low) + abs(high) < float("inf") else None


def _orientation(header: Any) -> tuple[np.ndarray, bool, tuple[str, ...]]:
    """Affine to LPS millimetres, whether it may be believed, and notes.

    The sform is taken before the qform, as the standard's authors do. Where both are there and put an axis of the array
    elsewhere in the patient, nobody can say which is right: the sides are then unknown.
    """
    import numpy

    notes: tuple[str, ...] = ()
    affines = {}
    for name, code, get in (
        ("sform", int(header["sform_code"]), header.get_sform),
        ("qform", int(header["qform_code"]), header.get_qform),
    ):
        if code <= 0:
            continue
        try:
            affine = numpy.asarray(get(), dtype=numpy.float64)
        except Exception:  # a boundary: nibabel raises its own kinds for a damaged rotation
            affine = numpy.zeros((4, 4))
        if _is_sound(affine):
            affines[name] = affine
        else:
            notes = (*notes, f"its {name} is damaged and was not used")
    unit = int(header["xyzt_units"]) & 7
    to_lps = numpy.diag([-1.0, -1.0, 1.0, 1.0]) @ numpy.diag([*[_MILLIMETRES.get(unit, 1.0)] * 3, 1.0])
    if unit in (1, 3):
        notes = (*notes, f"lengths are stored in {'metres' if unit == 1 else 'micrometres'}")
    if not affines:
        return to_lps @ _by_spacing(header), False, (*notes, "orientation unknown: no side of the patient may be named")
    affine = next(iter(affines.values()))
    if len(affines) == 2:
        if _axes(affines["sform"]) != _axes(affines["qform"]):
            why = "orientation unknown, as sform and qform contradict each other: no side of the patient may be named"
            return to_lps @ affine, False, (*notes, why)
        notes = (*notes, *_differ(affines["sform"], affines["qform"]))
    return to_lps @ affine, True, notes


def _differ(sform: np.ndarray, qform: np.ndarray) -> Iterator[str]:
    """How far the qform lies from the sform, which is followed; nothing where they are one."""
    import numpy

    steps, others = (numpy.linalg.norm(one[:3, :3], axis=0) for one in (sform, qform))
    cosines = ((sform[:3, :3] / steps) * (qform[:3, :3] / others)).sum(axis=0)
    degrees = float(numpy.degrees(numpy.arccos(numpy.clip(cosines, -1, 1))).max())
    parts = [f"{degrees:.1f} degrees"] if degrees > _SAME_DIRECTION else []
    if float(numpy.abs(steps / others - 1).max()) > _SAME_STEP:
        parts.append(f"steps of {' x '.join(f'{value:.4g}' for value in others)} mm")
    if parts:
        yield f"the qform differs by {' and '.join(parts)} from the sform, which is followed"


def _is_sound(affine: np.ndarray) -> bool:
    import numpy

    lengths = numpy.linalg.norm(affine[:3, :3], axis=0)
    if not numpy.isfinite(affine).all() or (lengths < 1e-9).any():
        return False
    return abs(float(numpy.linalg.det(affine[:3, :3] / lengths))) > 1e-3


def _axes(affine: np.ndarray) -> tuple[str, ...]:
    import nibabel

    return tuple(nibabel.aff2axcodes(affine))


def _by_spacing(header: Any) -> np.ndarray:
    """RAS affine of a file that names no orientation: its steps only, x to the patient's left as Analyze had it."""
    import numpy

    steps_mm = [abs(float(value)) for value in header["pixdim"][1:4]]
    steps_mm = [value if 0 < value < float("inf") else 1.0 for value in steps_mm]
    return numpy.diag([-steps_mm[0], steps_mm[1], steps_mm[2], 1.0])


def _slice_axis(header: Any, affine: np.ndarray, known: bool) -> int:
    """The array's axis along which slices were acquired: the one with the longest step; where all are about alike, the
    one the header names, else the one that runs between feet and head."""
    import numpy

    lengths = [float(value) for value in numpy.linalg.norm(affine[:3, :3], axis=0)]
    order = sorted(range(3), key=lambda axis: -lengths[axis])
    if lengths[order[0]] > _THICKER * lengths[order[1]]:
        return order[0]
    named = header.get_dim_info()[2]
    if named is not None:
        return int(named)
    return int(numpy.argmax(numpy.abs(affine[2, :3]) / lengths)) if known else 2
