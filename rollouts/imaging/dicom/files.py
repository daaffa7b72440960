"""Reads DICOM files: headers, pixels as they are stored, bytes of a video. The only file that imports pydicom.

No text of a file leaves it: neither pydicom's warnings and errors, which quote values, nor any element that is no
number and no word of a list.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import logging
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rollouts.imaging.dicom import headers, streams
from rollouts.imaging.dicom.elements import largest_colour, number, table, text, texts, whole
from rollouts.imaging.dicom.groups import slices_of
from rollouts.imaging.dicom.headers import FileHead, Slice
from rollouts.imaging.pictures import MAX_PIXELS
from rollouts.records import BadSample, patient_key

if TYPE_CHECKING:
    import numpy as np

# Files up to this size are read whole; larger ones frame by frame.
_WHOLE_BYTES = 256 << 20
_FRAME_BY_FRAME_BYTES = 16 << 20
_MAX_FRAMES = 100_000
# What a deflated file may grow to.
_INFLATED_BYTES = 512 << 20
_PIXELS = {"PixelData": 0x7FE00010, "FloatPixelData": 0x7FE00008, "DoubleFloatPixelData": 0x7FE00009}
# Pixels of a segmentation, which are held in memory at once.
_MAX_SEGMENT_PIXELS = 400_000_000
_UNDEFINED = 0xFFFFFFFF
_MEDIA_STORAGE_DIRECTORY = "1.2.840.10008.1.3.10"
_WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
_DEFLATED = "1.2.840.10008.1.2.1.99"
_JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
# MPEG-2, MPEG-4 and HEVC inside DICOM.
_VIDEO = tuple(f"1.2.840.10008.1.2.4.{number}" for number in range(100, 109))
# Numbers of a patient that stand for nobody.
_NOBODY = frozenset(("", "0", "anon", "anonymous", "anonymized", "anonymised", "none", "unknown", "patient", "test"))


@cache
def _pydicom() -> Any:
    """pydicom, told to keep quiet: its warnings quote what stands in the file."""
    import pydicom
    import pydicom.encaps
    import pydicom.pixels

    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
    return pydicom


@contextmanager
def _quietly(what: str) -> Iterator[None]:
    """Whatever pydicom or a decoder says becomes words of ours."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (BadSample, OSError, MemoryError):
        raise
    except Exception as error:  # a boundary: damaged files raise anything, with the file's text in it
        raise BadSample(f"{what} ({type(error).__name__})") from None


def read_file(path: Path, salt: str = "") -> list[Slice]:
    """Every frame of a file, without its pixels; one `Slice` with `head.refusal` where it holds no picture.

    Raises:
        BadSample: the file is damaged, cut, or its numbers contradict each other.
    """
    with _quietly("the DICOM header is damaged"):
        dataset = _dataset(path)
        refusal = _refusal(dataset)
        modality = headers.word_of(text(dataset, "Modality"), headers.PICTURES | headers.NO_PICTURES.keys())
        if refusal:
            return [Slice(FileHead(path, refusal=refusal, modality=modality))]
        head = _head(path, dataset, modality, salt)
        return slices_of(head, dataset)


def _dataset(path: Path) -> Any:
    pydicom = _pydicom()
    with path.open("rb") as file:
        if file.read(132)[128:] != b"DICM":
            raise BadSample("a DICOM file without its header (no DICM at byte 128): write it again with one")
        meta = pydicom.filereader.read_file_meta_info(path)
        if str(meta.get("TransferSyntaxUID", "")) == _DEFLATED:
            _refuse_bomb(file)
    defer = None if path.stat().st_size <= _WHOLE_BYTES else _WHOLE_BYTES
    return pydicom.dcmread(path, defer_size=defer)


def _refuse_bomb(file: Any) -> None:
    """A deflated file is inflated whole when it is read, so its size is looked at first. Raises BadSample."""
    # (0002,0000), the length of the file's own header, comes first: tag, VR, length of 4, value.
    start = file.read(12)
    if start[:4] != b"\x02\x00\x00\x00" or len(start) < 12:
        raise BadSample("the DICOM header is damaged (no length)")
    file.seek(144 + int.from_bytes(start[8:12], "little"))
    inflate, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
    while chunk := file.read(1 << 16):
        while chunk:
            size += len(inflate.decompress(chunk, 1 << 20))
            if size > _INFLATED_BYTES:
                raise BadSample(f"it inflates to more than {_INFLATED_BYTES >> 20} MB")
            chunk = inflate.unconsumed_tail


def _refusal(dataset: Any) -> str:
    """Why a data set is no picture; "" = it is one."""
    sop_class = str(dataset.get("SOPClassUID", "") or dataset.file_meta.get("MediaStorageSOPClassUID", ""))
    modality = text(dataset, "Modality").upper()
    if sop_class == _MEDIA_STORAGE_DIRECTORY or "DirectoryRecordSequence" in dataset:
        return "a list of files (DICOMDIR), not an image; give the folder of one series"
    if modality in headers.NO_PICTURES:
        kind = headers.NO_PICTURES[modality]
        return kind if modality == "SEG" else f"{kind}: holds no picture"
    if sop_class == _WHOLE_SLIDE:
        return "a whole-slide image; cut out the part that is asked about as PNG"
    if "MOSAIC" in [word.upper() for word in texts(dataset, "ImageType")]:
        return "a Siemens mosaic of tiles (MOSAIC); convert it to slices first"
    if not any(keyword in dataset for keyword in _PIXELS):
        known = modality if modality in headers.PICTURES else "it"
        return f"{known} holds no pixel data: not an image"
    return ""


def _head(path: Path, dataset: Any, modality: str, salt: str) -> FileHead:
    rows, columns = whole(dataset, "Rows"), whole(dataset, "Columns")
    frames = whole(dataset, "NumberOfFrames") if "NumberOfFrames" in dataset else 1
    if not rows or not columns or rows < 1 or columns < 1:
        raise BadSample("Rows or Columns is missing or 0")
    if rows * columns > MAX_PIXELS:
        raise BadSample(f"has {columns} x {rows} pixels, at most {MAX_PIXELS:,} are read")
    if frames is None or not 0 <= frames <= _MAX_FRAMES:
        raise BadSample(f"NumberOfFrames is damaged: expected a number from 1 to {_MAX_FRAMES:,}")
    syntax = str(dataset.file_meta.get("TransferSyntaxUID", ""))
    bits = whole(dataset, "BitsAllocated") or (32 if "FloatPixelData" in dataset else 64)
    patient = text(dataset, "PatientID").strip()
    photometric = text(dataset, "PhotometricInterpretation").upper()
    if photometric not in ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB") and not photometric.startswith("YBR_"):
        raise BadSample("PhotometricInterpretation is none of MONOCHROME1, MONOCHROME2, RGB, YBR, PALETTE COLOR")
    head = FileHead(
        path=path,
        modality=modality,
        sop_uid=headers.uid_of(text(dataset, "SOPInstanceUID")),
        series_uid=headers.uid_of(text(dataset, "SeriesInstanceUID")),
        series_number=whole(dataset, "SeriesNumber"),
        patient="" if patient.casefold() in _NOBODY else patient_key(patient, salt),
        frames=max(1, frames),
        rows=rows,
        columns=columns,
        bits_allocated=bits,
        bits_stored=whole(dataset, "BitsStored") or bits,
        high_bit=(whole(dataset, "HighBit") or (whole(dataset, "BitsStored") or bits) - 1),
        signed=whole(dataset, "PixelRepresentation") == 1,
        photometric=photometric,
        syntax=syntax,
        syntax_name=_syntax_name(syntax),
        pixel_sha256=_pixel_hash(path, dataset),
        padding=_padding(dataset, bits),
        modality_table=table(dataset, "ModalityLUTSequence", whole(dataset, "PixelRepresentation") == 1),
        is_video=syntax in _VIDEO,
        body_part=headers.word_of(text(dataset, "BodyPartExamined"), headers.BODY_PARTS),
        manufacturer=headers.manufacturer_of(text(dataset, "Manufacturer")),
        laterality=_laterality(dataset),
        view=headers.word_of(text(dataset, "ViewPosition"), headers.VIEWS),
        patient_orientation=headers.orientation_of(texts(dataset, "PatientOrientation")),
        overlay_in_pixels=any((whole(dataset, (group, 0x0102)) or 0) > 0 for group in _overlays(dataset)),
        notes=tuple(_notes(dataset)),
    )
    _refuse_samples(head, dataset)
    return head if head.is_video else _checked(head, dataset, frames)


def _refuse_samples(head: FileHead, dataset: Any) -> None:
    samples = whole(dataset, "SamplesPerPixel")
    if samples not in (None, head.samples):
        raise BadSample(
            f"SamplesPerPixel is {samples}, and {head.photometric} has {head.samples}: the header contradicts itself"
        )


def _laterality(dataset: Any) -> str:
    word = (text(dataset, "ImageLaterality") or text(dataset, "Laterality")).upper()
    return word if word in ("L", "R", "B", "U") else ""


def _overlays(dataset: Any) -> list[int]:
    return [group for group in range(0x6000, 0x6020, 2) if (group, 0x0010) in dataset]


def _notes(dataset: Any) -> Iterator[str]:
    if count := len(_overlays(dataset)):
        yield f"{count} overlay{'s' if count > 1 else ''} not drawn"
    if text(dataset, "BurnedInAnnotation").upper() == "YES":
        yield "text may be burned into the picture"
    if text(dataset, "LossyImageCompression") == "01":
        yield "compressed with loss"
    shape, polarity = text(dataset, "PresentationLUTShape").upper(), text(dataset, "PhotometricInterpretation").upper()
    if (shape, polarity) in (("INVERSE", "MONOCHROME2"), ("IDENTITY", "MONOCHROME1")):
        yield f"PresentationLUTShape {shape} contradicts {polarity}, which is followed"
    if "PixelPaddingValue" in dataset and number(dataset, "PixelPaddingValue") is None:
        yield "PixelPaddingValue is damaged and left aside"


def _padding(dataset: Any, bits: int) -> tuple[float, float] | None:
    first = number(dataset, "PixelPaddingValue")
    if first is None:
        return None
    last = number(dataset, "PixelPaddingRangeLimit")
    signed = whole(dataset, "PixelRepresentation") == 1
    # Some files write the bits of a signed value as an unsigned one, or the other way round.
    both = [_in_range(value, bits, signed) for value in (first, first if last is None else last)]
    return min(both), max(both)


def _in_range(value: float, bits: int, signed: bool) -> float:
    if signed and value >= 2 ** (bits - 1):
        return value - 2**bits
    return value + 2**bits if not signed and value < 0 else value


def _pixel_hash(path: Path, dataset: Any) -> str:
    for tag in _PIXELS.values():
        if (raw := dataset.get_item(tag)) is not None:
            if isinstance(raw.value, bytes):
                return hashlib.sha256(raw.value).hexdigest()
            with path.open("rb") as file:  # too large to be held
                return hashlib.file_digest(file, "sha256").hexdigest()
    return ""


def _checked(head: FileHead, dataset: Any, frames_told: int) -> FileHead:
    """Refuse pixel data that hold fewer or more frames than the header says, or of another size; with the colours that
    they prove where the header's cannot be. Raises BadSample."""
    raw = next(dataset.get_item(tag) for tag in _PIXELS.values() if tag in dataset)
    claim = f"NumberOfFrames says {frames_told} frame{'s' if frames_told != 1 else ''}"
    if _pydicom().uid.UID(head.syntax).is_encapsulated if head.syntax else False:
        if isinstance(raw.value, bytes):
            count = _encapsulated_frames(raw.value, head.frames)
            if count != head.frames:
                raise BadSample(f"{claim}, the pixel data hold {count}; nobody can say which is right")
            return _as_compressed(head, raw.value)
        return head
    bits = whole_bits = head.rows * head.columns * head.samples * head.bits_allocated
    bits = bits * 2 // 3 if head.photometric == "YBR_FULL_422" else bits
    actual = len(raw.value) if isinstance(raw.value, bytes) else raw.length
    expected = -(-bits * head.frames // 8)
    if bits < whole_bits and 0 <= actual - whole_bits * head.frames // 8 <= 1:
        return _with_colours(head, "YBR_FULL", "colour is stored as fine as brightness, though YBR_FULL_422 says not")
    if actual < expected:
        raise BadSample(f"the file is cut: {actual:,} of {expected:,} bytes of pixel data")
    if (actual - expected) * 8 >= bits:
        raise BadSample(f"{claim}, the pixel data hold {actual * 8 // bits} frames; nobody can say which is right")
    return head


def _as_compressed(head: FileHead, data: bytes) -> FileHead:
    """Refuse a first compressed frame that contradicts the header. Raises BadSample."""
    encaps, buffer = _pydicom().encaps, io.BytesIO(data)
    encaps.parse_basic_offsets(buffer)
    frame = streams.coded(next(encaps.generate_fragments(buffer), b""))
    if frame is None:
        return head
    if fault := streams.fault_of(frame, head.rows, head.columns, head.samples):
        raise BadSample(f"{fault}: nobody can say which is right")
    colours = streams.colours_of(frame, head.photometric)
    note = f"the compressed data contradict {head.photometric}: read as {colours}"
    return _with_colours(head, colours, note) if colours else head


def _with_colours(head: FileHead, colours: str, note: str) -> FileHead:
    return dataclasses.replace(head, colours=colours, notes=(*head.notes, note))


def _encapsulated_frames(data: bytes, frames: int) -> int:
    """Frames of compressed pixel data, by its table of offsets, else by the fragments that begin a picture."""
    encaps = _pydicom().encaps
    buffer = io.BytesIO(data)
    offsets = encaps.parse_basic_offsets(buffer)
    if offsets:
        return len(offsets)
    starts = total = 0
    for fragment in encaps.generate_fragments(buffer):
        total += 1
        starts += fragment[:2] in (b"\xff\xd8", b"\xff\x4f") or fragment[:8] == b"\x00\x00\x00\x0cjP  "
    if frames == 1 and starts <= 1 and total:
        return 1
    return starts or total


def _syntax_name(syntax: str) -> str:
    name = _pydicom().uid.UID(syntax).name if syntax else ""
    return name if name != syntax else ""


def stored(head: FileHead, frames: Sequence[int]) -> Iterator[np.ndarray]:
    """Pixels as they are stored, in the order asked: [rows, columns], or uint8 [rows, columns, 3] for colour.

    Raises:
        BadSample: no decoder is installed, or the data cannot be decoded.
    """
    import numpy

    _refuse_undecodable(head)
    kind = head.syntax_name or "an unknown transfer syntax"
    # Bits above BitsStored are looked at by `values`.
    options = {} if _pydicom().uid.UID(head.syntax).is_encapsulated else {"correct_unused_bits": head.signed}
    arrays = iter(_arrays(head, frames, options))
    while True:
        with _quietly(f"the pixel data cannot be decoded as {kind}: damaged or cut"):
            array = next(arrays, None)
        if array is None:
            return
        if array.shape[:2] != (head.rows, head.columns):
            raise BadSample(
                f"decodes to {array.shape[1]} x {array.shape[0]}, the header says {head.columns} x {head.rows}"
            )
        if not head.is_colour and array.ndim != 2:
            raise BadSample(f"{head.photometric} with {array.shape[2]} values a pixel: the header contradicts itself")
        yield _coloured(head, array) if head.is_colour else numpy.asarray(array)


def _arrays(head: FileHead, frames: Sequence[int], options: dict[str, Any]) -> Iterator[np.ndarray]:
    pydicom = _pydicom()
    palette = pydicom.dcmread(head.path, stop_before_pixels=True) if head.photometric == "PALETTE COLOR" else None
    # Out of a large file pydicom reads single frames; out of a data set it reads deflated and mixed-up files as well.
    small = head.path.stat().st_size <= _FRAME_BY_FRAME_BYTES
    source: Any = pydicom.dcmread(head.path) if small or head.colours or head.syntax == _DEFLATED else head.path
    if head.colours:
        source.PhotometricInterpretation = head.colours
    for array in pydicom.pixels.iter_pixels(source, indices=list(frames), **options):
        if palette is None:
            yield array
            continue
        colours = pydicom.pixels.apply_color_lut(array, palette)
        # 16-bit tables mostly repeat eight bits in the upper byte; some hold eight bits in the lower one.
        yield colours >> 8 if (largest_colour(palette) or colours.max(initial=0)) > 255 else colours


def _refuse_undecodable(head: FileHead) -> None:
    pydicom = _pydicom()
    syntax = f"{head.syntax_name or 'its transfer syntax'} ({head.syntax})"
    if head.syntax == _JPEG_EXTENDED and head.bits_stored > 8 and not find_spec("libjpeg"):
        raise BadSample(f"12-bit JPEG ({head.syntax}) needs a decoder: pip install pylibjpeg pylibjpeg-libjpeg (GPL-3)")
    try:
        decoder = pydicom.pixels.get_decoder(head.syntax)
    except NotImplementedError:
        raise BadSample(f"{syntax} can be decoded by nobody here; convert it to an uncompressed one") from None
    if not decoder.is_available:
        packages = "; or ".join(decoder.missing_dependencies)
        raise BadSample(f"{syntax} needs a decoder: {packages}")


def _coloured(head: FileHead, array: np.ndarray) -> np.ndarray:
    import numpy

    if array.ndim != 3 or array.shape[2] != 3:
        raise BadSample(f"is colour ({head.photometric}) with {array.ndim} axes, expected rows, columns and 3 channels")
    if array.dtype.kind != "u":
        raise BadSample("is colour with signed or fractional values, which nobody can show")
    if head.photometric == "PALETTE COLOR":
        return array.astype(numpy.uint8)
    return (array >> max(0, head.bits_stored - 8)).astype(numpy.uint8)


def video_bytes(head: FileHead) -> bytes:
    """The stream of a video inside DICOM. Raises BadSample."""
    pydicom = _pydicom()
    with _quietly("the video inside is damaged"):
        data = pydicom.dcmread(head.path).PixelData
        return b"".join(pydicom.encaps.generate_frames(data, number_of_frames=1))


def segmentation(path: Path) -> list[tuple[Slice, int | None, np.ndarray]]:
    """Each frame of a segmentation: its place, the segment it is of (None = its values are numbers of segments), and
    what it marks, [rows, columns]. Raises BadSample."""
    with _quietly("the segmentation is damaged or cut"):
        dataset = _dataset(path)
        if text(dataset, "Modality").upper() != "SEG":
            raise BadSample("a DICOM file, but no segmentation (SEG)")
        rows, columns, frames = (whole(dataset, name) or 0 for name in ("Rows", "Columns", "NumberOfFrames"))
        if not 0 < rows * columns * frames <= _MAX_SEGMENT_PIXELS:
            raise BadSample(f"{frames} frames of {columns} x {rows} pixels, at most {_MAX_SEGMENT_PIXELS:,} are read")
        slices = slices_of(FileHead(path, modality="SEG", frames=frames, rows=rows, columns=columns), dataset)
        pixels = dataset.pixel_array.reshape(-1, rows, columns)
        if len(pixels) != len(slices):
            raise BadSample(f"{len(slices)} frames by its header, {len(pixels)} by its data")
        kind = text(dataset, "SegmentationType").upper()
        if kind == "FRACTIONAL":
            pixels = pixels > (whole(dataset, "MaximumFractionalValue") or 255) / 2
        elif kind != "LABELMAP":
            pixels = pixels != 0
        numbers = [None] * frames if kind == "LABELMAP" else _segment_numbers(dataset, frames)
        return list(zip(slices, numbers, pixels, strict=True))


def _segment_numbers(dataset: Any, frames: int) -> list[int | None]:
    """ReferencedSegmentNumber of each frame, or the shared one. Raises BadSample where a frame has none."""
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [None])[0]
    groups = dataset.get("PerFrameFunctionalGroupsSequence") or [None] * frames
    segments: list[int | None] = []
    for group in groups:
        places = [(level.get("SegmentIdentificationSequence") or [None])[0] for level in (group, shared) if level]
        number = next((whole(place, "ReferencedSegmentNumber") for place in places if place is not None), None)
        if number is None:
            raise BadSample("a frame does not say which segment it is of (ReferencedSegmentNumber)")
        segments.append(number)
    return segments


def decoder_of(head: FileHead) -> str:
    """The package that decodes a file, in its order of preference; "" = pixels are not compressed."""
    uid = _pydicom().uid.UID(head.syntax)
    if not uid.is_encapsulated:
        return ""
    if head.is_video:
        return "av"
    try:
        return ", ".join(_pydicom().pixels.get_decoder(head.syntax).available_plugins)
    except NotImplementedError:
        return ""
