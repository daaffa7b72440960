"""Studies as the files that a hospital keeps: DICOM series in several orders and orientations, NIfTI with a mask,
clips, radiographs in MONOCHROME1, photographs as JPEG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import nibabel
import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    MRImageStorage,
    generate_uid,
)

from examples.hospital.patients import Study

# Millimetres between slices, and between pixels.
SPACING, PIXEL = 6.0, 3.0
# Of greys to what a scanner stores.
_HU_A_GREY, _LEAST_HU = 4, -400
_CLASSES: dict[str, UID] = {
    "CT": CTImageStorage,
    "MR": MRImageStorage,
    "radiograph": DigitalXRayImageStorageForPresentation,
}


def write(study: Study, folder: Path, number: int) -> dict[str, str]:
    """Write a study into the folder; returns the fields of its row: what is read, and its mask where there is one.
    `number` decides order and orientation."""
    if study.modality == "radiograph":
        return {"image": _radiograph(study, folder / f"{study.patient}.dcm").name}
    if study.modality == "dermoscopy":
        path = folder / f"{study.patient}.jpg"
        Image.fromarray(study.frames[0]).save(path, quality=95, subsampling=0)
        return {"image": path.name}
    if study.modality == "ultrasound":
        return {"video": _clip(study, folder / f"{study.patient}.mp4").name}
    if study.modality == "CT" and number % 4 == 3:
        return _nifti(study, folder)
    return {"volume": _series(study, folder / study.patient, number).name}


def _dataset(study: Study, stored: np.ndarray, series: str, index: int) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = _CLASSES[study.modality]
    uid = generate_uid(entropy_srcs=[series, str(index)])
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid
    dataset.StudyInstanceUID = generate_uid(entropy_srcs=[study.patient])
    dataset.SeriesInstanceUID = generate_uid(entropy_srcs=[study.patient, "series"])
    dataset.Modality = {"radiograph": "DX"}.get(study.modality, study.modality)
    dataset.PatientID = study.patient
    dataset.Rows, dataset.Columns = stored.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    dataset.PixelData = stored.astype("<u2").tobytes()
    dataset["PixelData"].VR = "OW"
    return dataset


def _radiograph(study: Study, path: Path) -> Path:
    """Low values are bright: MONOCHROME1, as many detectors write it."""
    dataset = _dataset(study, 4095 - study.frames[0, ..., 0].astype(np.uint16) * 16, study.patient, 0)
    dataset.PhotometricInterpretation, dataset.PresentationLUTShape = "MONOCHROME1", "INVERSE"
    dataset.save_as(path, enforce_file_format=True)
    return path


def _series(study: Study, folder: Path, number: int) -> Path:
    """One file a slice. Names never follow the places; every other series runs from head to feet, and every third was
    written turned by half a circle."""
    folder.mkdir(exist_ok=True)
    turned = number % 3 == 2
    order = range(len(study.frames))[:: -1 if number % 2 else 1]
    for index, place in enumerate(order):
        stored = study.frames[place, ..., 0].astype(np.uint16) * _HU_A_GREY
        stored = stored[::-1, ::-1] if turned else stored
        dataset = _dataset(study, np.ascontiguousarray(stored), study.patient, place)
        extent = PIXEL * (stored.shape[0] - 1)
        corner = [extent, extent] if turned else [0.0, 0.0]
        dataset.ImagePositionPatient = [*corner, SPACING * place]
        dataset.ImageOrientationPatient = [-1, 0, 0, 0, -1, 0] if turned else [1, 0, 0, 0, 1, 0]
        dataset.PixelSpacing, dataset.SliceThickness, dataset.InstanceNumber = [PIXEL, PIXEL], SPACING, index + 1
        if study.modality == "CT":
            dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = 1, _LEAST_HU, "HU"
        name = (7 * place + 5 * number) % 11  # another order than places and numbers have
        dataset.save_as(folder / f"IM{name:02d}{place}", enforce_file_format=True)
    return folder


def _nifti(study: Study, folder: Path) -> dict[str, str]:
    """Voxels as columns, rows and slices in RAS: columns run to the patient's left and rows to the back, so both are
    negative there; the mask lies on the same grid."""
    affine = np.diag([-PIXEL, -PIXEL, SPACING, 1.0])
    names: dict[str, str] = {}
    values = study.frames[..., 0].astype(np.int16) * _HU_A_GREY + _LEAST_HU
    for name, voxels in (("volume", values), ("mask", study.masks.astype(np.uint8))):
        if name == "mask" and not study.masks.any():
            continue
        path = folder / f"{study.patient}{'-mask' if name == 'mask' else ''}.nii.gz"
        nibabel.save(nibabel.Nifti1Image(voxels.transpose(2, 1, 0), affine), path)
        names[name] = path.name
    return names


def _clip(study: Study, path: Path) -> Path:
    """An H.264 clip of ten frames a second."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=10, options={"crf": "12", "threads": "1"})
        stream.height, stream.width = study.frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in study.frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path
