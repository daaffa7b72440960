"""DICOM that is no picture, contradicts itself or is hostile is refused; no name leaves a file."""

from __future__ import annotations

import json
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.datadict import dictionary_VR, keyword_dict
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEGBaseline8Bit, JPEGExtended12Bit, RLELossless

from rollouts.imaging.ask import Ask
from rollouts.imaging.read import read
from rollouts.records import BadSample
from tests.fakes import dicoms

ONE = np.arange(24, dtype=np.uint16).reshape(4, 6)


def refused(path: Path, kind: str = "image", **more: Any) -> str:
    with pytest.raises(BadSample) as told:
        list(read(path, Ask(kind, **more)).images())  # type: ignore[arg-type]
    return str(told.value)


def test_pixel_data_and_number_of_frames_must_agree(tmp_path: Path) -> None:
    four = np.stack([ONE] * 4)
    for said in (3, 5, 0):
        path = dicoms.write(tmp_path / f"{said}", four, NumberOfFrames=said)
        told = refused(path, "volume")
        assert f"says {said} frames" in told or "is cut" in told, told
    assert "4 frames" in refused(dicoms.write(tmp_path / "none", four, NumberOfFrames=None), "volume")
    damaged = dicoms.write(tmp_path / "text", four)
    data = damaged.read_bytes()
    assert data.count(b"\x28\x00\x08\x00IS\x02\x004 ") == 1
    damaged.write_bytes(data.replace(b"\x28\x00\x08\x00IS\x02\x004 ", b"\x28\x00\x08\x00IS\x02\x004A"))
    assert "NumberOfFrames is damaged" in refused(damaged, "volume")
    compressed = dicoms.dataset(four)
    compressed.compress(RLELossless)
    compressed.NumberOfFrames = 3
    assert "the pixel data hold 4" in refused(dicoms.save(tmp_path / "rle", compressed, RLELossless), "volume")


def test_a_missing_decoder_and_damage_are_told_apart(tmp_path: Path) -> None:
    extended = dicoms.dataset(ONE, BitsStored=12, HighBit=11, PixelData=encapsulate([b"\xff\xd8\xff\xd9"]))
    told = refused(dicoms.save(tmp_path / "a", extended, JPEGExtended12Bit))
    assert told.endswith("needs a decoder: pip install pylibjpeg pylibjpeg-libjpeg (GPL-3)")
    rubbish = dicoms.dataset(ONE.astype(np.uint8), PixelData=encapsulate([b"\xff\xd8" + b"rubbish" * 9]))
    told = refused(dicoms.save(tmp_path / "b", rubbish, JPEGBaseline8Bit))
    assert "cannot be decoded as JPEG Baseline" in told


@pytest.mark.parametrize(
    ("elements", "told"),
    [
        ({"Modality": "SR", "PixelData": None}, "a structured report (SR): holds no picture"),
        ({"Modality": "SEG"}, 'a segmentation; give it as "mask"'),
        ({"Modality": "RTDOSE"}, "a dose (RTDOSE): holds no picture"),
        ({"PixelData": None}, "CT holds no pixel data: not an image"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]}, "a Siemens mosaic of tiles"),
        ({"Rows": 0}, "Rows or Columns is missing or 0"),
        ({"Rows": 60_000, "Columns": 60_000}, "has 60000 x 60000 pixels"),
        ({"Rows": 400}, "the file is cut: 48 of 4,800 bytes"),
        ({"PhotometricInterpretation": "SECRET"}, "PhotometricInterpretation is none of"),
        ({"ImageOrientationPatient": [1, 0, 0, 0, 0.5, 0]}, "ImageOrientationPatient is damaged"),
        ({"ImagePositionPatient": [1, 0]}, "ImagePositionPatient is damaged: 2 numbers, expected 3"),
    ],
)
def test_what_is_no_picture_or_contradicts_itself_is_refused(
    tmp_path: Path, elements: dict[str, Any], told: str
) -> None:
    assert told in refused(dicoms.write(tmp_path / "a", ONE, **elements))


def test_a_deflated_bomb_is_refused_before_it_is_inflated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = dicoms.save(
        tmp_path / "a", dicoms.dataset(np.zeros((2000, 2000), np.uint16)), DeflatedExplicitVRLittleEndian
    )
    assert path.stat().st_size < 100_000
    monkeypatch.setattr("rollouts.imaging.dicom.files._INFLATED_BYTES", 4 << 20)
    assert "it inflates to more than 4 MB" in refused(path)


def test_no_text_of_a_file_leaves_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    # The planted name in every element that may hold text, UIDs and numbers in text included.
    planted = "SECRETNAME"
    folder = dicoms.series(tmp_path / "scan", [0, 5])
    keep = {"Modality", "PhotometricInterpretation"}
    for path in folder.iterdir():
        found = dicoms.dataset(ONE, ImagePositionPatient=[0, 0, 5 * (path.name == "IM0001")], SeriesNumber=1)
        found.ImageOrientationPatient, found.PixelSpacing = dicoms.AXIAL, [1, 1]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for keyword, tag in keyword_dict.items():
                texty = dictionary_VR(tag) in (
                    "PN",
                    "LO",
                    "SH",
                    "CS",
                    "LT",
                    "ST",
                    "UT",
                    "UC",
                    "UR",
                    "DA",
                    "TM",
                    "DT",
                    "AS",
                    "AE",
                )
                if texty and keyword not in keep and keyword not in found and 0x0008 <= tag >> 16 < 0x5000:
                    setattr(found, keyword, planted)
            found.PatientName = found.PatientID = planted
        dicoms.save(path, found)
    with caplog.at_level(logging.DEBUG):
        frames = read(folder, Ask("volume", window="dicom"), cache=tmp_path / "cache")
    media = frames.media()
    left = [json.dumps(frames.provenance.to_dict()), repr(media), *map(frames.provenance.line, range(2))]
    left += [f"{name} {text}" for name, text in frames.provenance.words()]
    left += [str(path) for path in (tmp_path / "cache").rglob("*")]
    left += [path.read_bytes().decode("latin-1") for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    left += [refused(folder, "volume", where={"EchoNumbers": "1"}), refused(folder, "volume", series="9")]
    left += [caplog.text, *capfd.readouterr()]
    assert planted.casefold() not in "\n".join(left).casefold()
    assert len(media.patient) == 24
    salted = read(folder, Ask("volume", patient_salt="salt")).provenance.patient
    assert salted not in ("", media.patient)


def test_numbers_written_as_text_are_never_repeated(tmp_path: Path) -> None:
    path = dicoms.write(tmp_path / "a", ONE, ImagePositionPatient=[11111111, 22222222, 33333333])
    data = path.read_bytes()
    assert b"11111111" in data
    path.write_bytes(data.replace(b"11111111", b"SECRETNM"))
    told = refused(path)
    assert told == "image a: ImagePositionPatient is damaged: expected numbers"


def test_patients_without_a_number_have_no_key(tmp_path: Path) -> None:
    for index, number in enumerate(("", "ANONYMOUS", "0")):
        assert read(dicoms.write(tmp_path / f"{index}", ONE, PatientID=number), Ask("image")).provenance.patient == ""


def test_series_whose_ids_are_no_ids_stay_two(tmp_path: Path) -> None:
    dicoms.series(tmp_path / "a", [0, 5], SeriesInstanceUID="SECRET one")
    dicoms.series(tmp_path / "b", [0, 5], SeriesInstanceUID="SECRET two")
    told = refused(tmp_path, "volume")
    assert "2 series" in told
    assert "SECRET" not in told


def test_a_data_set_without_the_header_of_a_file_is_told(tmp_path: Path) -> None:
    whole = dicoms.write(tmp_path / "a", ONE).read_bytes()
    (tmp_path / "c").write_bytes(b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100" + whole[400:])
    assert "a DICOM file without its header (no DICM at byte 128); write it again" in refused(tmp_path / "c")


def test_what_is_wrong_with_a_frame_names_the_file_though_it_is_read_later(tmp_path: Path) -> None:
    rubbish = dicoms.dataset(ONE.astype(np.uint8), PixelData=encapsulate([b"\xff\xd8" + b"rubbish" * 9]))
    frames = read(
        dicoms.save(tmp_path / "a", rubbish, JPEGBaseline8Bit), Ask("image", window=(40, 400)), name="x/a.dcm"
    )
    with pytest.raises(BadSample, match=r"^image x/a\.dcm: the pixel data cannot be decoded"):
        frames.image(0)
