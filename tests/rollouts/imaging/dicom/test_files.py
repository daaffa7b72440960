"""One DICOM file: its values, colours, frames and tables; what contradicts itself is refused; no name leaves it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    JPEG2000Lossless,
    RLELossless,
)

from rollouts.imaging.ask import Ask
from rollouts.imaging.dicom import files
from rollouts.imaging.dicom.files import read_file
from rollouts.imaging.dicom.reader import fetch
from rollouts.imaging.frames import Frames
from rollouts.imaging.read import read
from rollouts.records import BadSample
from tests.fakes import dicoms

ONE = np.arange(24, dtype=np.uint16).reshape(4, 6)


def words(*numbers: int) -> bytes:
    return np.array(numbers, np.uint16).tobytes()


def image(path: Path, **more: Any) -> Frames:
    return read(path, Ask("image", **more))


def values(path: Path) -> np.ndarray:
    """Real values of the one frame of a file."""
    return next(fetch(read_file(path)))


def shown(path: Path, **more: Any) -> np.ndarray:
    return np.asarray(image(path, **more).image(0))[..., 0]


def refused(path: Path, kind: str = "image", **more: Any) -> str:
    with pytest.raises(BadSample) as told:
        list(read(path, Ask(kind, **more)).images())  # type: ignore[arg-type]
    return str(told.value)


def test_unsigned_storage_with_a_negative_intercept_gives_hounsfield_units(tmp_path: Path) -> None:
    path = dicoms.write(tmp_path / "a", ONE, RescaleSlope=2, RescaleIntercept=-1024)
    assert values(path)[0].tolist() == [-1024, -1022, -1020, -1018, -1016, -1014]
    # A slope alone: the intercept is 0; an intercept alone: the slope is 1.
    assert values(dicoms.write(tmp_path / "b", ONE, RescaleSlope=0.5))[0, :3].tolist() == [0, 0.5, 1]
    assert values(dicoms.write(tmp_path / "c", ONE, RescaleIntercept=-5))[0, :3].tolist() == [-5, -4, -3]
    assert "RescaleSlope is 0" in refused(dicoms.write(tmp_path / "d", ONE, RescaleSlope=0))


def test_padding_is_no_value_whichever_sign_it_was_written_with(tmp_path: Path) -> None:
    stored = np.array([[-2000, 10], [20, 30]], np.int16)
    found = dicoms.dataset(stored)
    found.add_new("PixelPaddingValue", "US", 65536 - 2000)
    one = values(dicoms.save(tmp_path / "a", found))
    assert np.isnan(one[0, 0]) and np.isfinite(one[0, 1])
    ranged = dicoms.write(tmp_path / "b", stored, PixelPaddingValue=-2000, PixelPaddingRangeLimit=10)
    assert np.isnan(values(ranged)).tolist() == [[True, True], [False, False]]
    assert shown(ranged, window=(25, 11)).tolist()[0] == [0, 0]


def test_a_modality_table_stands_in_for_slope_and_intercept(tmp_path: Path) -> None:
    # Stored 2, 3, 4 become 100, 50, 7; below and above the first and the last.
    table = dicoms.items({"LUTDescriptor": [3, 2, 16], "LUTData": words(100, 50, 7)})
    path = dicoms.write(tmp_path / "a", ONE, ModalityLUTSequence=table)
    assert values(path)[0].tolist() == [100, 100, 100, 50, 7, 7]
    short = dicoms.items({"LUTDescriptor": [4, 2, 16], "LUTData": words(100, 50, 7)})
    assert "ModalityLUTSequence is damaged: its data are not the 4 entries of 16 bits" in refused(
        dicoms.write(tmp_path / "b", ONE, ModalityLUTSequence=short)
    )


def test_the_first_window_of_the_file_is_used_with_its_function(tmp_path: Path) -> None:
    path = dicoms.write(tmp_path / "a", ONE, WindowCenter=[2.5, 99], WindowWidth=[4, 9])
    # Black up to 2.5 - 0.5 - 1.5 = 0.5, white from 3.5: 0, (1 - 0.5) / 3 = 42.5, 127.5, 212.5, 255.
    assert shown(path, window="dicom")[0].tolist() == [0, 42, 128, 212, 255, 255]
    exact = dicoms.write(tmp_path / "b", ONE, WindowCenter=2, WindowWidth=4, VOILUTFunction="LINEAR_EXACT")
    assert shown(exact, window="dicom")[0].tolist() == [0, 64, 128, 191, 255, 255]
    sigmoid = dicoms.write(tmp_path / "c", ONE, WindowCenter=2, WindowWidth=4, VOILUTFunction="SIGMOID")
    # 255 / (1 + exp(-(x - 2))): 30.4, 68.6, 127.5, ..
    assert shown(sigmoid, window="dicom")[0, :3].tolist() == [30, 69, 128]
    table = dicoms.items({"LUTDescriptor": [3, 1, 8], "LUTData": words(0, 255, 51)})
    tabled = dicoms.write(tmp_path / "d", ONE, VOILUTSequence=table)
    assert shown(tabled, window="dicom")[0].tolist() == [0, 0, 255, 51, 51, 51]


@pytest.mark.parametrize(
    ("elements", "note"),
    [
        ({}, "the file has no window"),
        ({"WindowCenter": 0, "WindowWidth": 0}, "WindowWidth is 0, which says nothing"),
        ({"WindowCenter": 0, "WindowWidth": -4}, "WindowWidth is -4, which says nothing"),
        ({"WindowCenter": 0, "WindowWidth": 4, "VOILUTFunction": "CUBIC"}, "VOILUTFunction is none of"),
    ],
)
def test_a_window_that_says_nothing_falls_back_with_a_note(tmp_path: Path, elements: dict[str, Any], note: str) -> None:
    frames = image(dicoms.write(tmp_path / "a", ONE, **elements), window="dicom")
    assert any(note in one for one in frames.provenance.notes)
    assert "shown by the automatic scale" in frames.provenance.notes
    assert frames.provenance.window == "auto"


def test_slices_with_windows_of_their_own_are_shown_on_one_scale(tmp_path: Path) -> None:
    each = [{"WindowCenter": 10, "WindowWidth": 20}, {"WindowCenter": 30, "WindowWidth": 40}]
    frames = read(dicoms.series(tmp_path, [0, 5], each), Ask("volume", window="dicom"))
    # 10/20 is 0..19, 30/40 is 10..49: together 0..49.
    assert frames.provenance.window_bounds == ((0.0, 49.0),)
    assert any("2 windows of their own" in note for note in frames.provenance.notes)


def test_monochrome1_is_inverted_once_and_last(tmp_path: Path) -> None:
    path = dicoms.write(
        tmp_path / "a",
        ONE,
        PhotometricInterpretation="MONOCHROME1",
        PresentationLUTShape="INVERSE",
        Modality="CR",
        WindowCenter=3,
        WindowWidth=5,
    )
    # Black to white is 0.5 to 4.5, inverted: 255, 255 - 32, 255 - 96, ..
    assert shown(path, window="dicom")[0].tolist() == [255, 223, 159, 96, 32, 0]
    assert image(path).provenance.inverted is True and not any("Shape" in note for note in image(path).provenance.notes)
    contradicting = dicoms.write(tmp_path / "b", ONE, PresentationLUTShape="INVERSE", Modality="CR")
    assert image(contradicting).provenance.inverted is False
    assert (
        "PresentationLUTShape INVERSE contradicts MONOCHROME2, which is followed"
        in image(contradicting).provenance.notes
    )


def test_unused_bits_hold_an_overlay_or_count(tmp_path: Path) -> None:
    stored = ONE | 0x1000  # bit 12, above the 12 bits stored
    overlay = dicoms.dataset(stored, BitsStored=12, HighBit=11)
    overlay.add_new(0x60000010, "US", 4)
    overlay.add_new(0x60000102, "US", 12)
    path = dicoms.save(tmp_path / "a", overlay)
    assert np.array_equal(values(path), ONE)
    assert "1 overlay not drawn" in image(path).provenance.notes
    # Old files keep the pixel in the upper bits.
    high = dicoms.write(tmp_path / "b", (ONE << 4).astype(np.uint16), BitsStored=12, HighBit=15)
    assert np.array_equal(values(high), ONE)
    # A signed pixel of 12 bits whose upper bits are 0: 0xFFF is -1.
    signed = dicoms.write(tmp_path / "c", np.full((4, 6), 0xFFF, np.int16), BitsStored=12, HighBit=11)
    assert (values(signed) == -1).all()


def test_colour_keeps_its_colours_and_is_never_windowed(tmp_path: Path) -> None:
    rgb = np.zeros((4, 6, 3), np.uint8)
    rgb[..., 0], rgb[0, 0] = 200, (1, 2, 3)
    path = dicoms.write(tmp_path / "a", rgb, Modality="ES")
    frames = image(path)
    assert np.array_equal(np.asarray(frames.image(0)), rgb)
    assert frames.provenance.window == ""
    assert "this is colour, which is never windowed" in refused(path, window=(40, 400))
    planar = dicoms.dataset(rgb, PlanarConfiguration=1, PixelData=np.moveaxis(rgb, -1, 0).tobytes())
    assert np.array_equal(np.asarray(image(dicoms.save(tmp_path / "b", planar)).image(0)), rgb)


@pytest.mark.parametrize("shift", [8, 0])
def test_palettes_of_16_bits_are_not_black(tmp_path: Path, shift: int) -> None:
    # Index 0 is red, 1 green, 2 blue; written as 255 << 8, or with the eight bits in the lower byte.
    tables = {
        "Red": [255 << shift, 0, 0],
        "Green": [0, 255 << shift, 0],
        "Blue": [0, 0, 255 << shift],
    }
    elements: dict[str, Any] = {}
    for name, table in tables.items():
        elements[f"{name}PaletteColorLookupTableDescriptor"] = [3, 0, 16]
        elements[f"{name}PaletteColorLookupTableData"] = np.array(table, np.uint16).tobytes()
    stored = np.array([[0, 1, 2, 2]] * 2, np.uint8)
    path = dicoms.write(tmp_path / "a", stored, PhotometricInterpretation="PALETTE COLOR", Modality="US", **elements)
    assert np.asarray(image(path).image(0))[0, :3].tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]


def test_a_dark_frame_is_dark_by_the_whole_palette(tmp_path: Path) -> None:
    # Entries of 16 bits: 200 is almost black, whichever entries the picture uses.
    elements: dict[str, Any] = {}
    for name in ("Red", "Green", "Blue"):
        elements[f"{name}PaletteColorLookupTableDescriptor"] = [2, 0, 16]
        elements[f"{name}PaletteColorLookupTableData"] = words(200, 65280)
    stored = np.zeros((2, 4), np.uint8)
    path = dicoms.write(tmp_path / "a", stored, PhotometricInterpretation="PALETTE COLOR", Modality="US", **elements)
    assert np.asarray(image(path).image(0)).max() == 0


def test_a_file_of_several_frames_is_no_image_unless_one_is_taken(tmp_path: Path) -> None:
    three = np.stack([ONE, ONE + 50, ONE + 100]).astype(np.uint16)
    path = dicoms.write(tmp_path / "a", three, Modality="XA", FrameTime=100)
    assert 'give it as "volume" or "video", or take one with "page"' in refused(path)
    assert "page is 3, and there are 3 frames: 0 to 2" in refused(path, page=3)
    assert shown(path, page=1, window=(62, 24))[0, 0] == 0
    video = read(path, Ask("video"))
    assert video.times == pytest.approx((0, 0.1, 0.2))
    part = read(path, Ask("video", start=0.1, end=0.2))
    assert part.times == pytest.approx((0.1,)) and len(part) == 1
    with pytest.raises(BadSample, match=r"the video ends at 0\.30 s"):
        read(path, Ask("video", start=2))
    stack = read(path, Ask("volume"))
    assert stack.times is None
    assert "order: as in the file; places in the patient are unknown" in stack.provenance.notes
    vector = dicoms.write(tmp_path / "b", three, Modality="XA", FrameTimeVector=[0, 100, 700])
    # Frames at 0, 0.1 and 0.8 s, the last as long as the one before it: 0.375 and 1.125 s show the second and third.
    assert read(vector, Ask("video", max_frames=2)).indices == (1, 2)


def enhanced(path: Path, **frame_elements: Any) -> Path:
    three = np.stack([ONE, ONE + 50, ONE + 100]).astype(np.uint16)
    frames = [
        {"PlanePositionSequence": dicoms.items({"ImagePositionPatient": [0, 0, place]}), **frame_elements}
        for place in (10, 0, 5)
    ]
    shared = {
        "PlaneOrientationSequence": dicoms.items({"ImageOrientationPatient": dicoms.AXIAL}),
        "PixelMeasuresSequence": dicoms.items({"PixelSpacing": [1, 1], "SliceThickness": 5}),
        "PixelValueTransformationSequence": dicoms.items(
            {"RescaleSlope": 1, "RescaleIntercept": -1024, "RescaleType": "HU"}
        ),
        "FrameVOILUTSequence": dicoms.items({"WindowCenter": -960, "WindowWidth": 129}),
    }
    return dicoms.write(
        path,
        three,
        SharedFunctionalGroupsSequence=dicoms.items(shared),
        PerFrameFunctionalGroupsSequence=dicoms.items(*frames),
    )


def test_functional_groups_give_values_order_and_window(tmp_path: Path) -> None:
    frames = read(enhanced(tmp_path / "a"), Ask("volume", window="dicom"))
    assert frames.positions == (0, 5, 10)
    # Window -960/129 is -1024.5..-896.5; the first pixels in order are -974, -924, -1024 HU.
    first = [int(np.asarray(one)[0, 0, 0]) for one in frames.images()]
    assert first == [round((50.5) / 128 * 255), round(100.5 / 128 * 255), round(0.5 / 128 * 255)]
    assert frames.provenance.window_bounds == ((-1024.5, -896.5),)
    per_frame = dicoms.items({"RescaleSlope": 2, "RescaleIntercept": 0})
    own = enhanced(tmp_path / "b", PixelValueTransformationSequence=per_frame)
    assert next(fetch(read_file(own)))[0, :3].tolist() == [0, 2, 4]


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_other_encodings_give_the_same_pixels(tmp_path: Path, syntax: Any) -> None:
    plain = dicoms.write(tmp_path / "plain", ONE * 100)
    other = dicoms.dataset(ONE * 100)
    if syntax == RLELossless:
        other.compress(syntax)
    elif syntax == JPEG2000Lossless:
        from PIL import Image

        Image.fromarray(ONE * 100).save(tmp_path / "one.jp2", irreversible=False, no_jp2=True)
        other.PixelData = encapsulate([(tmp_path / "one.jp2").read_bytes()])
    elif syntax == ExplicitVRBigEndian:
        other.PixelData = (ONE * 100).astype(">u2").tobytes()
    path = dicoms.save(tmp_path / "other", other, syntax)
    assert np.array_equal(values(path), values(plain))


def test_a_single_slice_lies_in_the_patient_as_its_series_does(tmp_path: Path) -> None:
    turned = {
        "ImagePositionPatient": [5, 3, 7],
        "ImageOrientationPatient": [-1, 0, 0, 0, -1, 0],
        "PixelSpacing": [1, 2],
    }
    path = dicoms.write(tmp_path / "a", ONE, **turned)
    frames = image(path, window=(12, 24), square_pixels=False)
    assert frames.axes == "LPS"
    assert np.array_equal(
        np.asarray(frames.image(0))[..., 0],
        shown(dicoms.write(tmp_path / "b", ONE[::-1, ::-1].copy()), window=(12, 24)),
    )
    # Pixels are 2 mm wide and 1 mm high: the frame is twice as wide.
    assert image(path).image(0).size == (12, 4)
    assert "is cut out of a stack, and this is one slice" in refused(path, plane="coronal")


def test_a_radiograph_is_never_turned(tmp_path: Path) -> None:
    path = dicoms.write(tmp_path / "a", ONE, Modality="DX", PatientOrientation=["R", "F"], ViewPosition="PA")
    frames = image(path)
    assert frames.provenance.patient_orientation == "R\\F"
    assert frames.provenance.view == "PA"
    assert frames.axes == ""
    grey = np.asarray(frames.image(0))[..., 0]
    assert grey[0, 0] < grey[-1, -1]


def test_what_a_scanner_fills_in_outside_sets_no_scale(tmp_path: Path) -> None:
    # 1,000 values of 0..999 HU, and as many of -3024, which no header names.
    stored = np.concatenate([np.arange(1000), np.full(1000, -3024)]).astype(np.int16).reshape(40, 50)
    path = dicoms.write(tmp_path / "a", stored, RescaleIntercept=0)
    # Percentiles 0.5 and 99.5 of 0..999: 4.995 and 994.005.
    assert image(path).provenance.window_bounds[0] == pytest.approx((4.995, 994.005), abs=0.01)
    assert shown(path)[-1].tolist() == [0] * 50


def test_fractions_and_pixels_of_other_shapes_are_shown(tmp_path: Path) -> None:
    found = dicoms.dataset(ONE, PixelData=None, BitsAllocated=32, Modality="MR")
    found.FloatPixelData = (ONE / 10).astype(np.float32).tobytes()
    assert values(dicoms.save(tmp_path / "a", found))[0, :3] == pytest.approx([0, 0.1, 0.2])
    wide = dicoms.write(tmp_path / "b", ONE, Modality="US", PixelAspectRatio=[1, 2])
    assert image(wide).image(0).size == (12, 4)
    assert image(wide).provenance.spacing is None
    absurd = dicoms.write(tmp_path / "c", ONE, PixelSpacing=[1e9, 1])
    assert "the spacing is damaged" in refused(absurd)
    assert image(absurd, square_pixels=False).image(0).size == (6, 4)


def test_the_rows_modality_counts_where_the_file_says_none(tmp_path: Path) -> None:
    stored = (ONE * 100).astype(np.int16) - 1000
    silent = dicoms.write(tmp_path / "a", stored, Modality="")
    assert image(silent, modality="CT", window="lung").provenance.modality == "CT"
    assert "values of MR" in refused(silent, modality="MR", window="lung")
    other = dicoms.write(tmp_path / "b", stored, Modality="CT")
    assert "the row says MR, the file CT" in image(other, modality="MR").provenance.notes


def test_frames_with_groups_and_no_places_are_a_cine(tmp_path: Path) -> None:
    three = np.stack([ONE, ONE + 50, ONE + 100]).astype(np.uint16)
    groups = dicoms.items(*[{"FrameVOILUTSequence": dicoms.items({"WindowCenter": 50, "WindowWidth": 99})}] * 3)
    path = dicoms.write(
        tmp_path / "a", three, Modality="XA", PerFrameFunctionalGroupsSequence=groups, RecommendedDisplayFrameRate=5
    )
    assert read(path, Ask("video", window="dicom")).times == pytest.approx((0, 0.2, 0.4))
    short = dicoms.write(tmp_path / "b", three, PerFrameFunctionalGroupsSequence=dicoms.items({}, {}))
    assert "3 frames and 2 functional groups" in refused(short, "volume")


def test_a_single_image_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = dicoms.write(tmp_path / "a", ONE)
    opened = []
    stored = files.stored
    monkeypatch.setattr(files, "stored", lambda head, frames: opened.append(head) or stored(head, frames))
    shown(path)
    assert len(opened) == 1
