"""A patient's name stands in tags, file names and folder names of what is read, and in nothing that a run, its page or
an export leaves or sends."""

from __future__ import annotations

import dataclasses
import json
import os
import urllib.parse
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from PIL import Image, PngImagePlugin
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from rl.config import MediaConfig
from rl.data.jsonl import rows as jsonl
from rl.data.media.reader import MediaReader
from rollouts.page.export import export_page
from rollouts.store.reader import read_rollouts
from rollouts.store.writer import RunWriter
from tests.fakes import fake_rollouts
from tests.fakes.view_server import viewing

NAME = "Qwertyzky"
# Every way in which a text may stand in bytes: as it is, as UTF-16, in small letters, escaped in an address.
FORMS = [
    NAME.encode(),
    NAME.lower().encode(),
    NAME.upper().encode(),
    NAME.encode("utf-16-le"),
    NAME.encode("utf-16-be"),
]


def write_slice(path: Path, number: int, series: str) -> None:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    dataset.Modality, dataset.SeriesInstanceUID, dataset.StudyInstanceUID = "CT", series, series
    for tag in ("PatientName", "PatientID", "SeriesDescription", "StudyDescription", "InstitutionName", "OperatorsName",
                "ReferringPhysicianName", "ProtocolName", "PatientComments", "StationName", "ManufacturerModelName",
                "ImageComments", "BodyPartExamined", "AccessionNumber", "Manufacturer"):  # fmt: skip
        setattr(dataset, tag, NAME[:16].upper() if tag == "BodyPartExamined" else NAME)
    dataset.Rows = dataset.Columns = 16
    dataset.InstanceNumber, dataset.ImagePositionPatient = number, [0, 0, 5.0 * number]
    dataset.ImageOrientationPatient, dataset.PixelSpacing, dataset.SliceThickness = [1, 0, 0, 0, 1, 0], [1, 1], 5
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation, dataset.SamplesPerPixel = 15, 1, 1
    dataset.PhotometricInterpretation, dataset.RescaleSlope, dataset.RescaleIntercept = "MONOCHROME2", 1, -1024
    dataset.PixelData = np.full((16, 16), 100 * number, np.int16).tobytes()
    dataset.save_as(path, enforce_file_format=True)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four questions: a series, one slice as an image, a NIfTI volume with a mask, a PNG with the name in its
    text; everything lies in folders and files of that name."""
    root = tmp_path_factory.mktemp("planted")
    home = root / f"data-{NAME}"
    (home / NAME).mkdir(parents=True)
    series = generate_uid()
    for number in range(6):
        write_slice(home / NAME / f"{NAME}-{number}.dcm", number, series)
    header = nibabel.Nifti1Header()
    header["descrip"], header["db_name"] = NAME.encode(), NAME.encode()
    ramp = np.arange(8 * 8 * 5, dtype=np.int16).reshape(8, 8, 5)
    nibabel.save(nibabel.Nifti1Image(ramp, np.eye(4), header), home / f"{NAME}.nii.gz")
    nibabel.save(nibabel.Nifti1Image((ramp > 100).astype(np.uint8), np.eye(4), header), home / f"{NAME}-mask.nii")
    text = PngImagePlugin.PngInfo()
    text.add_text("Patient", NAME)
    Image.new("L", (8, 8), 90).save(home / f"{NAME}.png", pnginfo=text)
    rows = [
        {"volume": NAME}, {"image": f"{NAME}/{NAME}-3.dcm"}, {"volume": f"{NAME}.nii.gz", "mask": f"{NAME}-mask.nii"},
        {"image": f"{NAME}.png"},
    ]  # fmt: skip
    (home / "rows.jsonl").write_text(
        "\n".join(
            json.dumps(
                {"id": f"q{n}", "question": "What?", "answer": "there", "patient": NAME if n > 1 else None, **row}
            )
            for n, row in enumerate(rows)
        )
    )
    for path in home.rglob("*"):
        os.utime(path, (1e9, 1e9))  # what changed a moment ago is not written down for the next start
    settings = MediaConfig(cache_dir=str(root / "cache"), frame_labels=True, workers=1)
    lines, bad_rows = jsonl.read_lines(home / "rows.jsonl", MediaReader(home, settings))
    assert bad_rows == [] and len(lines) == 4
    writer = RunWriter(root / "run")
    for line in lines:
        writer.append_group([fake_rollouts.rollout(dataclasses.replace(line.sample, answer_type="open"))])
    writer.finish_step(1)
    return root / "run"


def holds_the_name(data: bytes) -> bool:
    decoded = urllib.parse.unquote_to_bytes(data)
    return any(form in part for part in (data, decoded) for form in FORMS)


def test_the_name_stands_in_what_is_read_or_this_test_proves_nothing(run: Path) -> None:
    home = run.parent / f"data-{NAME}"
    assert all(holds_the_name(path.read_bytes()) for path in (home / NAME).iterdir())
    assert str(pydicom.dcmread(home / NAME / f"{NAME}-0.dcm").PatientName) == NAME


def test_no_file_of_the_run_and_of_the_cache_holds_the_name(run: Path) -> None:
    # The cache of a plain PNG is the file itself, which the run then copies without its text.
    files = [path for folder in (run, run.parent / "cache") for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 20 and len(list((run.parent / "cache" / "read").iterdir())) == 3
    for path in files:
        assert not holds_the_name(path.read_bytes()), path
        assert NAME.lower() not in str(path.relative_to(run.parent)).lower()


def test_what_a_stored_rollout_says_holds_no_name(run: Path) -> None:
    media = [medium for one in read_rollouts(run) for medium in one.sample.media]
    # The series and its slice say their patient themselves, the other rows do.
    assert len(media) == 4 and all(len(medium.patient) == 24 for medium in media)
    assert media[0].patient == media[1].patient and media[2].patient == media[3].patient
    assert media[0].provenance["modality"] == "CT" and NAME.lower() not in repr(media).lower()


def test_page_and_export_send_no_name(run: Path) -> None:
    viewer = viewing(run)
    try:
        sent = [json.dumps(viewer.overview("")), export_page(viewer, "", "step", 10).decode()]
        for number in range(4):
            page = viewer.group(1, f"q{number}")
            sent.append(json.dumps(page))
            for medium in page["media"]:
                for frame in medium["frames"]:
                    assert not holds_the_name(viewer.images.png(frame["sha256"]))
                    assert not holds_the_name(viewer.images.thumbnail(frame["sha256"]))
        assert any("CT" in text for text in sent)
        assert not any(holds_the_name(text.encode()) for text in sent)
    finally:
        viewer.close()


def test_errors_of_reading_hold_no_more_than_the_row_says(run: Path, tmp_path: Path) -> None:
    """Two series in one folder are told by their modality and number, not by their description."""
    for number in range(4):
        write_slice(tmp_path / f"{number}.dcm", number, generate_uid() if number % 2 else "1.2.3")
    path = tmp_path / "rows.jsonl"
    rows = [{"volume": "."}, {"image": {"path": "0.dcm", "page": 9}}, {"volume": {"path": ".", "series": "9.9"}}]
    path.write_text("\n".join(json.dumps({"question": "Q?", "answer": "there", **row}) for row in rows))
    settings = MediaConfig(cache_dir=str(tmp_path / "cache"), workers=1)
    lines, bad_rows = jsonl.read_lines(path, MediaReader(tmp_path, settings))
    assert lines == [] and len(bad_rows) == 3
    assert not any(holds_the_name(row.reason.encode()) for row in bad_rows)
