"""DICOM files made for tests: one image, a series, several frames in one file; any element can be set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, generate_uid

AXIAL = [1, 0, 0, 0, 1, 0]


def dataset(pixels: np.ndarray, **elements: Any) -> Dataset:
    """A CT image of stored values [rows, columns], or [frames, rows, columns], or [.., 3] of uint8 for colour."""
    colour = pixels.shape[-1] == 3 and pixels.dtype == np.uint8
    shape = pixels.shape[:-1] if colour else pixels.shape
    found = Dataset()
    found.file_meta = FileMetaDataset()
    found.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    found.SOPClassUID = CTImageStorage
    found.SOPInstanceUID = generate_uid()
    found.SeriesInstanceUID = "1.2.3"
    found.Modality = "CT"
    found.PatientID = "PID-4711"
    found.PatientName = "SECRET^NAME"
    found.Rows, found.Columns = shape[-2:]
    if len(shape) == 3:
        found.NumberOfFrames = shape[0]
    found.SamplesPerPixel = 3 if colour else 1
    found.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        found.PlanarConfiguration = 0
    bits = pixels.dtype.itemsize * 8
    found.BitsAllocated, found.BitsStored, found.HighBit = bits, bits, bits - 1
    found.PixelRepresentation = int(pixels.dtype.kind == "i")
    found.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    found["PixelData"].VR = "OB" if bits == 8 else "OW"
    for keyword, value in elements.items():
        if value is None:
            delattr(found, keyword)
        else:
            setattr(found, keyword, value)
    return found


def items(*each: dict[str, Any]) -> Items:
    """A sequence of items with these elements."""
    found = []
    for elements in each:
        item = Dataset()
        for keyword, value in elements.items():
            setattr(item, keyword, value)
        found.append(item)
    return Items(found)


def save(path: Path, found: Dataset, syntax: UID = ExplicitVRLittleEndian) -> Path:
    """Write a data set as a file."""
    found.file_meta.TransferSyntaxUID = syntax
    found.file_meta.MediaStorageSOPClassUID = found.SOPClassUID
    found.file_meta.MediaStorageSOPInstanceUID = found.SOPInstanceUID
    path.parent.mkdir(parents=True, exist_ok=True)
    found.save_as(path, enforce_file_format=True)
    return path


def write(path: Path, pixels: np.ndarray, **elements: Any) -> Path:
    """A file with one image, or with several frames."""
    return save(path, dataset(pixels, **elements))


def series(
    folder: Path,
    places: Sequence[float],
    each: Sequence[dict[str, Any]] | None = None,
    *,
    shape: tuple[int, int] = (4, 6),
    **elements: Any,
) -> Path:
    """Axial slices at these heights, whose stored values are 1000 + their index in `places`; the names of the files run
    against the order of the places."""
    for index, place in enumerate(places):
        own = each[index] if each else {}
        pixels = np.full(shape, 1000 + index, np.uint16)
        given = {
            "ImagePositionPatient": [0, 0, place],
            "ImageOrientationPatient": AXIAL,
            "PixelSpacing": [1, 1],
            "InstanceNumber": len(places) - index,
            **elements,
            **own,
        }
        write(folder / f"IM{len(places) - index:04d}", pixels, **given)
    return folder
