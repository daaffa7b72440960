"""The made-up hospital's files show what was drawn, whatever their order, orientation and polarity; its tables and
documents name every patient once."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from examples.hospital.files import write
from examples.hospital.make import caption_rows, document_rows, places, with_thoughts, write_studies
from examples.hospital.patients import MODALITIES, NUM_CLIP_FRAMES, study
from rl.config import MediaConfig
from rl.data.documents.rows import read_documents
from rl.data.media.reader import MediaReader
from rl.run.progress import Display
from rollouts.imaging.ask import Ask
from rollouts.imaging.read import read


def read_back(folder: Path, modality: str, number: int) -> tuple[np.ndarray, np.ndarray, str]:
    """What was drawn and what is shown of it, both as greys [F, 64, 64], and the key of the patient."""
    one = study(modality, number, seed=0)
    [(kind, name), *_] = write(one, folder, number).items()
    found = read(folder / name, Ask(kind, max_frames=8, modality=modality, patient_salt="salt"))  # type: ignore[arg-type]
    shown = np.stack([np.asarray(frame)[..., 0] for frame in found.images()]).astype(float)
    return one.frames[..., 0].astype(float), shown, found.media().patient


@pytest.mark.parametrize(
    ("modality", "number"),
    # Feet first; head first; feet first and turned; NIfTI; head first and turned.
    [("CT", 0), ("CT", 1), ("CT", 2), ("CT", 3), ("MR", 5), ("radiograph", 0), ("ultrasound", 0)],
)
def test_files_show_what_was_drawn(modality: str, number: int, tmp_path: Path) -> None:
    drawn, shown, patient = read_back(tmp_path, modality, number)
    assert shown.shape == drawn.shape
    for one, other in zip(drawn, shown, strict=True):
        assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.99
    # Each slice is itself and none of its neighbours, or its mirror image.
    if modality in ("CT", "MR"):
        near = [[np.abs(_flat(one) - _flat(other)).mean() for other in shown] for one in drawn]
        assert [int(np.argmin(row)) for row in near] == [0, 1, 2]
    if modality == "ultrasound":
        assert len(shown) == NUM_CLIP_FRAMES
    assert not patient.startswith("P")  # a hash, never the number


def _flat(picture: np.ndarray) -> np.ndarray:
    return (picture - picture.mean()) / picture.std()


def test_a_radiograph_is_monochrome1_and_a_series_runs_against_its_names(tmp_path: Path) -> None:
    write(study("radiograph", 0, seed=0), tmp_path, 0)
    assert dcmread(tmp_path / "P00000.dcm").PhotometricInterpretation == "MONOCHROME1"
    orders = set()
    for number in range(4):
        folder = tmp_path / write(study("MR", number, seed=0), tmp_path, number)["volume"]
        files = [dcmread(path) for path in sorted(folder.iterdir())]
        orders.add(tuple(float(file.ImagePositionPatient[2]) for file in files))
        orders.add(tuple(int(file.InstanceNumber) for file in files))
    assert len(orders) > 4


def test_a_normal_study_has_no_mask_and_others_have_one_on_their_grid(tmp_path: Path) -> None:
    kinds = {study("CT", number, 0).finding == "normal": number for number in range(3, 60, 4)}
    for is_normal, number in kinds.items():
        row = write(study("CT", number, 0), tmp_path, number)
        assert ("mask" in row) != is_normal
    assert len(kinds) == 2


def test_a_thought_says_what_the_study_shows_and_then_the_answer() -> None:
    rows = [{"volume": "studies/P1", "caption": "a nodule on the left", "label": "nodule"}]
    asked = [
        {"id": "a", "volume": "studies/P1", "options": ["cyst", "nodule"], "answer": "B"},
        {"id": "b", "volume": "studies/P1", "answer": "nodule"},
    ]
    thought = "I see a nodule on the left, so the answer is nodule"
    assert [one["think"] for one in with_thoughts(asked, rows)] == [f"{thought} B.", f"{thought}."]


def test_captions_and_documents_tell_every_patient_once_and_can_be_read(tmp_path: Path) -> None:
    with Display() as display:
        rows = write_studies(tmp_path, 2, 0, display)
    captions, documents = list(caption_rows(rows)), list(document_rows(rows, 0))
    assert len(captions) == 2 * len(MODALITIES) and len(documents) == len(MODALITIES)
    told = sorted(name for row in documents for name in row["id"].split("+"))
    assert told == sorted(row["patient"] for row in rows) == sorted(row["id"] for row in captions)
    for form, lines in (("captions", captions), ("interleaved", documents)):
        path = tmp_path / f"{form}.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        settings = MediaConfig(max_frames=3, cache_dir=str(tmp_path / "cache"), workers=1)
        found = read_documents(path, form, MediaReader(tmp_path, settings))
        assert found.bad_rows == [] and len(found.documents) == len(lines)


def test_a_stage_that_is_left_out_is_told_no_place() -> None:
    everything = [one.partition("=")[0] for one in places(Path("h"))]
    assert everything == ["data.root", "data.media.cache_dir", "stages.interleaved.root", "stages.captions.root"]
    assert [one.partition("=")[0] for one in places(Path("h"), "stages.skip=[captions]")] == everything[:3]
