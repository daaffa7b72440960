"""Compressed pixel data that say something else than the header: the right colours with a note, or a refusal."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit

from rollouts.imaging.ask import Ask
from rollouts.imaging.dicom.streams import Coded, coded
from rollouts.imaging.read import read
from rollouts.records import BadSample
from tests.fakes import dicoms

RED, BLUE = (200, 30, 40), (20, 40, 220)
COLOUR = np.zeros((32, 48, 3), np.uint8)
COLOUR[:, :16], COLOUR[:, 16:] = RED, BLUE
GREY = COLOUR[..., 0].copy()


def stream(picture: np.ndarray, form: str = "JPEG", **settings: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, form, **settings)
    return buffer.getvalue() + b"\0" * (buffer.tell() % 2)


def without_jfif(jpeg: bytes) -> bytes:
    """A JPEG without the marker that says that it holds YCbCr."""
    rest = jpeg[:2] + jpeg[4 + int.from_bytes(jpeg[4:6], "big") :]
    return rest + b"\0" * (len(rest) % 2)


JPEG = stream(COLOUR, quality=95)
J2K = stream(COLOUR, "JPEG2000", irreversible=False, no_jp2=True, mct=1)
PLAIN_J2K = stream(COLOUR, "JPEG2000", irreversible=False, no_jp2=True, mct=0)
UNTRANSFORMED = stream(COLOUR, quality=95, keep_rgb=True)


def written(path: Path, data: bytes, photometric: str, pixels: np.ndarray = COLOUR, **elements: Any) -> Path:
    found = dicoms.dataset(pixels, PhotometricInterpretation=photometric, Modality="US", **elements)
    found.PixelData = encapsulate([data])
    return dicoms.save(path, found, JPEGBaseline8Bit if data[:2] == b"\xff\xd8" else JPEG2000Lossless)


@pytest.mark.parametrize(
    ("data", "photometric", "noted"),
    [
        (JPEG, "YBR_FULL_422", False),
        (JPEG, "RGB", False),  # JFIF says what it is
        (without_jfif(JPEG), "RGB", True),  # colour stored coarser than brightness is no RGB
        (UNTRANSFORMED, "RGB", False),
        (J2K, "YBR_RCT", False),
        (J2K, "YBR_FULL", True),  # its own transform gives RGB
        (PLAIN_J2K, "RGB", False),
    ],
)
def test_colours_are_those_of_the_data_where_the_header_cannot_be_right(
    tmp_path: Path, data: bytes, photometric: str, noted: bool
) -> None:
    frames = read(written(tmp_path / "a", data, photometric), Ask("image"))
    shown = np.asarray(frames.image(0)).astype(int)
    assert abs(shown[8, 4] - RED).max() <= 3 and abs(shown[8, 40] - BLUE).max() <= 3
    assert any(f"contradict {photometric}" in note for note in frames.provenance.notes) == noted


def test_colour_stored_whole_under_a_coarser_name_is_read(tmp_path: Path) -> None:
    whole = np.asarray(Image.fromarray(COLOUR).convert("YCbCr"))
    path = dicoms.write(tmp_path / "a", whole, PhotometricInterpretation="YBR_FULL_422", Modality="US")
    frames = read(path, Ask("image"))
    assert abs(np.asarray(frames.image(0)).astype(int)[8, 4] - RED).max() <= 3
    assert any("colour is stored as fine as brightness" in note for note in frames.provenance.notes)


@pytest.mark.parametrize(
    ("data", "photometric", "pixels", "told"),
    [
        (JPEG, "MONOCHROME2", GREY, "its compressed picture has 3 values a pixel, the header says 1"),
        (stream(GREY), "RGB", COLOUR, "its compressed picture has 1 values a pixel, the header says 3"),
        (
            stream(COLOUR[:16]),
            "YBR_FULL_422",
            COLOUR,
            "its compressed picture decodes to 48 x 16, the header says 48 x 32",
        ),
        (J2K, "MONOCHROME2", GREY, "its compressed picture has 3 values a pixel, the header says 1"),
    ],
)
def test_another_picture_than_the_header_says_is_refused(
    tmp_path: Path, data: bytes, photometric: str, pixels: np.ndarray, told: str
) -> None:
    with pytest.raises(BadSample, match=told):
        read(written(tmp_path / "a", data, photometric, pixels), Ask("image"))


def test_samples_that_the_colour_model_does_not_have_are_refused(tmp_path: Path) -> None:
    path = dicoms.write(tmp_path / "a", COLOUR, PhotometricInterpretation="MONOCHROME2")
    with pytest.raises(BadSample, match="SamplesPerPixel is 3, and MONOCHROME2 has 1: the header contradicts itself"):
        read(path, Ask("image"))


def test_heads_of_streams_are_read_and_damage_is_none() -> None:
    assert coded(JPEG) == Coded(32, 48, 3, subsampled=True, tells_colour=True)
    assert coded(stream(GREY)) == Coded(32, 48, 1, tells_colour=True)
    assert coded(J2K) == Coded(32, 48, 3, transformed=True) and coded(PLAIN_J2K) == Coded(32, 48, 3)
    in_a_box = stream(COLOUR, "JPEG2000", irreversible=False, mct=1)
    assert coded(in_a_box) == coded(J2K)
    for data in (b"", JPEG[:20], J2K[:20], b"\xff\xd8" + b"\xff" * 50, b"rubbish"):
        assert coded(data) is None
