"""Masks written in every way, on the grid of their image or refused; and the cases of media that are masks."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset

from rollouts.imaging.ask import Ask
from rollouts.imaging.masks.outline import mask_png, outline
from rollouts.imaging.masks.pixels import marked_pixels, marked_values
from rollouts.imaging.masks.reader import Mask, read_mask
from rollouts.records import BadSample
from tests.rollouts.imaging.test_media_cases import KNOWN, found

MASKS = [case for case in KNOWN if case["kind"] == "mask"]
# A square of 9 pixels in the upper right of a picture of 12 x 12.
SPOT = np.zeros((12, 12), bool)
SPOT[1:4, 8:11] = True
# [x, y, z] to the right, front, head: the patient's left, front, upper eighth.
VOLUME = np.zeros((8, 6, 6), np.uint8)
VOLUME[0:3, 4:6, 4:6] = 1
RAS = np.diag([2.0, 2.0, 5.0, 1.0])


def saved(image: Image.Image, form: str = "PNG", **settings: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=form, **settings)
    return buffer.getvalue()


def palette(indices: np.ndarray) -> Image.Image:
    """Index 1 is black and 0 white, so that the colours say the opposite of the indices."""
    image = Image.fromarray(indices.astype(np.uint8)).convert("P")
    image.putdata(indices.ravel().astype(int).tolist())
    image.putpalette([255, 255, 255, 0, 0, 0, 9, 9, 9])
    return image


def with_alpha(alpha: np.ndarray, colour: np.ndarray | None = None) -> Image.Image:
    shown = np.full((12, 12, 4), 255, np.uint8)
    if colour is not None:
        shown[..., :3] = colour[..., None] * 255
    shown[..., 3] = alpha
    return Image.fromarray(shown)


GREY = np.where(SPOT, 255, 0).astype(np.uint8)
BLUE = np.stack([GREY * 0, GREY * 0, GREY], axis=-1)
WRITTEN = {
    "0 and 1": saved(Image.fromarray(SPOT.astype(np.uint8))),
    "0 and 255": saved(Image.fromarray(GREY)),
    "0 and 7": saved(Image.fromarray(SPOT.astype(np.uint8) * 7)),
    "16 bits": saved(Image.fromarray(SPOT.astype(np.uint16) * 65535)),
    "one bit": saved(Image.fromarray(SPOT)),
    "floats": saved(Image.fromarray(SPOT.astype(np.float32)), "TIFF"),
    "blue": saved(Image.fromarray(BLUE)),
    "palette": saved(palette(SPOT)),
    "alpha": saved(with_alpha(GREY)),
    "colour, opaque": saved(with_alpha(np.full((12, 12), 255), SPOT.astype(np.uint8))),
    "JPEG": saved(Image.fromarray(np.kron(GREY, np.ones((8, 8), np.uint8))), "JPEG", quality=60),
    "JPEG in colour": saved(Image.fromarray(np.kron(BLUE, np.ones((8, 8, 1), np.uint8))), "JPEG", quality=95),
    "soft edge": saved(Image.fromarray(GREY).resize((120, 120), Image.Resampling.BILINEAR)),
    "labels 1 and 2": saved(Image.fromarray(np.where(SPOT, np.arange(12) % 2 + 1, 0).astype(np.uint8))),
}  # fmt: skip


@pytest.mark.parametrize("name", WRITTEN)
def test_one_spot_in_every_way_to_write_it(name: str) -> None:
    marked = marked_pixels(WRITTEN[name], 0, None).pixels
    scale = marked.shape[0] // 12
    assert (marked[scale // 2 :: scale, scale // 2 :: scale] == SPOT).all()
    assert abs(marked.sum() - 9 * scale * scale) <= (0.06 * marked.sum() if scale > 1 else 0)


def test_a_label_is_chosen_by_its_value() -> None:
    values = np.array([[0, 1, 2], [2, 2, 3]])
    assert marked_values(values, 2).pixels.tolist() == [[False, False, True], [True, True, False]]
    assert marked_values(values, None).pixels.sum() == 5, "all that are not 0"
    absent = marked_values(values, 7)
    assert not absent.pixels.any() and absent.notes == ("label 7 does not occur; there are 1, 2, 3",)
    with pytest.raises(BadSample, match="label 1 is the number of a value, and this mask is coloured"):
        marked_pixels(WRITTEN["blue"], 0, 1)
    with pytest.raises(BadSample, match="cannot be told in a JPEG"):
        marked_pixels(WRITTEN["JPEG"], 0, 1)


def test_what_is_no_mask_or_several_is_refused() -> None:
    with pytest.raises(BadSample, match='holds the values 0, 128, 255; choose one with "label"'):
        marked_values(np.array([[0, 128, 255]]), None)
    assert marked_values(np.array([[0, 128, 255]]), 128).pixels.tolist() == [[False, True, False]]
    with pytest.raises(BadSample, match="holds values down to -1000: not a mask"):
        marked_values(np.array([[-1000, 0, 40]]), None)
    with pytest.raises(BadSample, match="900 different values: not a mask, but perhaps the image itself"):
        marked_values(np.arange(900).reshape(30, 30), None)
    with pytest.raises(BadSample, match=r"holds fractions up to 17\.5"):
        marked_values(np.array([[0.0, 17.5]]), None)
    halves = marked_values(np.array([[0.0, 0.4, 0.6, np.nan]]), None)
    assert halves.pixels.tolist() == [[False, False, True, False]]


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    values = (np.arange(VOLUME.size).reshape(VOLUME.shape) % 100).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(values, RAS), tmp_path / "scan.nii.gz")
    return tmp_path / "scan.nii.gz"


def nifti(path: Path, values: np.ndarray = VOLUME, affine: np.ndarray = RAS, axes: str = "RAS") -> Path:
    image = nibabel.Nifti1Image(values, affine)
    wanted = nibabel.orientations.axcodes2ornt(axes)
    have = nibabel.io_orientation(affine)
    nibabel.save(image.as_reoriented(nibabel.orientations.ornt_transform(have, wanted)), path)
    return path


@pytest.mark.parametrize("axes", ["RAS", "LPS", "PIR", "SAL"])
def test_mask_and_image_may_be_stored_along_other_axes(tmp_path: Path, scan: Path, axes: str) -> None:
    mask = read_mask(nifti(tmp_path / "m.nii.gz", axes=axes), scan, Ask("volume", max_frames=2, window="auto"))
    assert mask.area == 12 and mask.axes == "LPS" and mask.marked.shape == (6, 6, 8)
    place = mask.place()
    assert place is not None
    assert (place.patient_side, place.image_side) == ("left", "right")
    assert (place.height, place.depth) == ("upper", "front")
    assert mask.cut([0, 3, 4, 5]) == 2, "slices 4 and 5 of 6 hold it"


@pytest.mark.parametrize("plane", ["coronal", "sagittal", "axial"])
def test_the_mask_follows_the_plane_of_its_image(tmp_path: Path, scan: Path, plane: Any) -> None:
    mask = read_mask(nifti(tmp_path / "m.nii"), scan, Ask("volume", plane=plane))
    place = mask.place()
    assert place is not None and mask.area == 12
    assert (place.patient_side, place.height, place.depth) == ("left", "upper", "front")
    # Sagittal frames show the front on the left and say nothing of the patient's sides by their columns.
    assert place.image_side == ("left" if plane == "sagittal" else "right")


@pytest.mark.parametrize(
    ("values", "affine", "told"),
    [
        (VOLUME[:4, :3], RAS, r"another grid \(4 x 3 x 6 against 8 x 6 x 6\); resample it onto the image"),
        (VOLUME, RAS * [[1], [1], [1.1], [1]], "another grid: its pixels lie up to 2.5 mm"),
        (VOLUME, RAS + [[0, 0, 0, 1], [0] * 4, [0] * 4, [0] * 4], "another grid: its pixels lie up to 1 mm"),
    ],
)
def test_another_grid_is_refused(tmp_path: Path, scan: Path, values: np.ndarray, affine: np.ndarray, told: str) -> None:
    with pytest.raises(BadSample, match=rf"mask m\.nii: {told}"):
        read_mask(nifti(tmp_path / "m.nii", values, affine), scan, Ask("volume"))


def test_a_hair_of_rounding_is_no_other_grid(tmp_path: Path, scan: Path) -> None:
    assert read_mask(nifti(tmp_path / "m.nii", affine=RAS + 1e-3 * np.eye(4, k=3)), scan, Ask("volume")).area == 12


def test_pictures_are_masks_of_pictures_and_of_slices(tmp_path: Path) -> None:
    Image.new("L", (12, 12), 90).save(tmp_path / "photo.png")
    (tmp_path / "m.png").write_bytes(WRITTEN["0 and 255"])
    mask = read_mask(tmp_path / "m.png", tmp_path / "photo.png", Ask("image", modality="dermoscopy"))
    place = mask.place()
    assert place is not None and (place.image_side, place.patient_side, place.height) == ("right", None, "upper")
    for folder, picture in (("slices", WRITTEN["soft edge"]), ("masks", WRITTEN["soft edge"])):
        (tmp_path / folder).mkdir()
        for number in (1, 2, 10):
            data = picture if number == 10 or folder == "slices" else saved(Image.new("L", (120, 120)))
            (tmp_path / folder / f"s{number}.png").write_bytes(data)
    stacked = read_mask(tmp_path / "masks", tmp_path / "slices", Ask("volume"))
    assert [bool(frame.any()) for frame in stacked.marked] == [False, False, True], "by the numbers in the names"


def test_another_size_is_refused_and_nothing_is_stretched(tmp_path: Path) -> None:
    Image.new("L", (24, 24)).save(tmp_path / "photo.png")
    (tmp_path / "m.png").write_bytes(WRITTEN["0 and 255"])
    with pytest.raises(BadSample, match=r"mask m\.png: 12 x 12, the image is 24 x 24"):
        read_mask(tmp_path / "m.png", tmp_path / "photo.png", Ask("image"))
    (tmp_path / "t.png").write_text("spot: upper right")
    with pytest.raises(BadSample, match=r"mask t\.png: not a mask: expected NIfTI"):
        read_mask(tmp_path / "t.png", tmp_path / "photo.png", Ask("image"))
    with pytest.raises(BadSample, match=r"mask gone\.png: there is no such file"):
        read_mask(tmp_path / "gone.png", tmp_path / "photo.png", Ask("image"))


def test_nothing_marked_is_told_and_has_no_place(tmp_path: Path) -> None:
    Image.new("L", (12, 12)).save(tmp_path / "photo.png")
    mask = read_mask(tmp_path / "photo.png", tmp_path / "photo.png", Ask("image"))
    assert mask.place() is None and mask.area == 0 and "empty: nothing is marked" in mask.notes


def test_masks_of_frames_are_as_large_as_the_frames() -> None:
    mask = Mask(np.stack([SPOT, ~SPOT]), "", "")
    pngs = mask.pngs([1, 0], [(12, 24), (12, 12)])
    shown = [np.asarray(Image.open(io.BytesIO(png))) for png in pngs]
    assert (shown[0][::2] == np.where(SPOT, 0, 255)).all() and (shown[1] == GREY).all()
    assert np.asarray(Image.open(io.BytesIO(mask_png(SPOT, (6, 6))))).shape == (6, 6)


def test_the_outline_is_the_edge_and_nothing_else() -> None:
    square = np.zeros((7, 7), bool)
    square[1:6, 1:6] = True
    assert outline(square).sum() == 16 and not outline(square)[2:5, 2:5].any()  # 5 x 5 less 3 x 3
    assert outline(np.ones((3, 3), bool)).sum() == 8, "the picture's edge is an edge"
    assert not outline(np.zeros((3, 3), bool)).any()


def series(folder: Path, count: int = 5) -> Path:
    """Axial CT slices of 6 rows x 8 columns, 5 mm apart, feet first at z = 10."""
    folder.mkdir()
    for index in range(count):
        item = FileDataset("", {}, file_meta=meta("1.2.840.10008.5.1.4.1.1.2"), preamble=b"\0" * 128)
        item.SOPClassUID, item.SOPInstanceUID = item.file_meta.MediaStorageSOPClassUID, f"1.2.3.{index + 1}"
        item.SeriesInstanceUID, item.Modality, item.InstanceNumber = "1.2.4", "CT", index + 1
        item.Rows, item.Columns, item.PixelSpacing, item.SliceThickness = 6, 8, [2, 3], 5
        item.ImagePositionPatient, item.ImageOrientationPatient = [-10, -20, 10 + 5 * index], [1, 0, 0, 0, 1, 0]
        item.SamplesPerPixel, item.PhotometricInterpretation = 1, "MONOCHROME2"
        item.BitsAllocated = item.BitsStored = 16
        item.HighBit, item.PixelRepresentation = 15, 1
        item.PixelData = (np.arange(48, dtype="<i2") + 48 * index).tobytes()
        pydicom.dcmwrite(folder / f"{index}.dcm", item, enforce_file_format=True)
    return folder


def meta(sop_class: str) -> FileMetaDataset:
    found = FileMetaDataset()
    found.MediaStorageSOPClassUID, found.MediaStorageSOPInstanceUID = sop_class, "1.2.3.99"
    found.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    return found


def segmentation(
    path: Path, frames: list[tuple[float, int, np.ndarray]], orientation: list[float], origin: Any
) -> Path:
    """Frames of (z, segment, bool [rows, columns]); `origin` gives the first pixel's x and y."""
    item = FileDataset("", {}, file_meta=meta("1.2.840.10008.5.1.4.1.1.66.4"), preamble=b"\0" * 128)
    item.SOPClassUID, item.SOPInstanceUID, item.Modality = item.file_meta.MediaStorageSOPClassUID, "1.2.3.99", "SEG"
    item.SegmentationType, item.NumberOfFrames = "BINARY", len(frames)
    item.Rows, item.Columns = frames[0][2].shape
    item.SamplesPerPixel, item.PhotometricInterpretation = 1, "MONOCHROME2"
    item.BitsAllocated = item.BitsStored = 1
    item.HighBit = item.PixelRepresentation = 0
    shared, measures, plane = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [2, 3], 5
    plane.ImageOrientationPatient = orientation
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [plane]
    item.SharedFunctionalGroupsSequence = [shared]
    groups = []
    for z, number, _ in frames:
        group, position, segment = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient, segment.ReferencedSegmentNumber = [*origin, z], number
        group.PlanePositionSequence, group.SegmentIdentificationSequence = [position], [segment]
        groups.append(group)
    item.PerFrameFunctionalGroupsSequence = groups
    bits = np.packbits(np.stack([marked for _, _, marked in frames]).ravel(), bitorder="little").tobytes()
    item.PixelData = bits + b"\0" * (len(bits) % 2)
    pydicom.dcmwrite(path, item, enforce_file_format=True)
    return path


AXIAL = [1, 0, 0, 0, 1, 0]
MARK = np.zeros((6, 8), bool)
MARK[0:2, 5:8] = True


def test_a_segmentation_stands_where_its_frames_say(tmp_path: Path) -> None:
    scan = series(tmp_path / "ct")
    # Slices 4 and 3 of 0..4, in this order; segment 2 on slice 0.
    frames = [(30.0, 1, MARK), (25.0, 1, MARK), (10.0, 2, ~MARK)]
    seg = segmentation(tmp_path / "seg.dcm", frames, AXIAL, (-10, -20))
    mask = read_mask(seg, scan, Ask("volume"), label=1)
    assert [int(frame.sum()) for frame in mask.marked] == [0, 0, 0, 6, 6] and mask.modality == "CT"
    assert (mask.marked[4] == MARK).all()
    place = mask.place()
    assert place is not None and (place.patient_side, place.image_side, place.depth) == ("left", "right", "front")
    assert [int(frame.sum()) for frame in read_mask(seg, scan, Ask("volume")).marked] == [42, 0, 0, 6, 6]
    absent = read_mask(seg, scan, Ask("volume"), label=5)
    assert absent.area == 0 and "segment 5 does not occur; there are 1, 2" in absent.notes


def test_one_slice_takes_its_own_frame_of_a_segmentation(tmp_path: Path) -> None:
    scan = series(tmp_path / "ct")
    seg = segmentation(tmp_path / "seg.dcm", [(10.0, 1, ~MARK), (30.0, 1, MARK)], AXIAL, (-10, -20))
    mask = read_mask(seg, scan / "4.dcm", Ask("image"))
    assert (mask.marked[0] == MARK).all() and "1 frames of the segmentation lie at other slices" in mask.notes
    with pytest.raises(BadSample, match="another grid"):
        read_mask(seg, scan / "2.dcm", Ask("image"))


def test_a_segmentation_may_run_the_other_way(tmp_path: Path) -> None:
    # Rows to the patient's right from the far end: first pixel at x = -10 + 7 x 3, y = -20 + 5 x 2.
    turned = segmentation(tmp_path / "seg.dcm", [(30.0, 1, MARK[::-1, ::-1])], [-1, 0, 0, 0, -1, 0], (11, -10))
    mask = read_mask(turned, series(tmp_path / "ct"), Ask("volume"))
    assert (mask.marked[4] == MARK).all() and mask.area == 6


def test_a_segmentation_beside_its_image_is_refused(tmp_path: Path) -> None:
    scan = series(tmp_path / "ct")
    for name, z, origin, told in (
        ("between.dcm", 12.5, (-10, -20), "its pixels lie up to 2.5 mm from the image's"),
        ("moved.dcm", 10.0, (-7, -20), "its pixels lie up to 3 mm from the image's"),
    ):
        with pytest.raises(BadSample, match=rf"mask {name}: another grid: {told}"):
            read_mask(segmentation(tmp_path / name, [(z, 1, MARK)], AXIAL, origin), scan, Ask("volume"))
    with pytest.raises(BadSample, match=r"mask 0\.dcm: a DICOM file, but no segmentation"):
        read_mask(scan / "0.dcm", scan, Ask("volume"))


def test_a_nifti_mask_lies_on_a_dicom_series(tmp_path: Path) -> None:
    scan = series(tmp_path / "ct")
    values = np.zeros((8, 6, 5), np.uint8)  # columns, rows, slices along LPS
    values[5:8, 0:2, 3:5] = 1
    lps = np.array([[3.0, 0, 0, -10], [0, 2, 0, -20], [0, 0, 5, 10], [0, 0, 0, 1]])
    mask = read_mask(nifti(tmp_path / "m.nii", values, np.diag([-1, -1, 1, 1]) @ lps), scan, Ask("volume"))
    assert (mask.marked[4] == MARK).all() and mask.area == 12
    other = np.diag([-1, -1, 1, 1]) @ (lps + np.eye(4, k=3) * 0.5)
    with pytest.raises(BadSample, match="another grid"):
        read_mask(nifti(tmp_path / "n.nii", values, other), scan, Ask("volume"))


@pytest.mark.skipif(not MASKS, reason="no cases of media beside the repository")
@pytest.mark.parametrize("case", MASKS, ids=[case["id"] for case in MASKS])
def test_case_of_a_mask(case: dict[str, Any]) -> None:
    expect, files = case["expect"], [found(name) for name in case["files"]]
    volume = len(files) == 2 and files[0].name.endswith(".nii.gz")
    # Masks of pictures are listed without the pictures: each is a mask of itself.
    pairs = [tuple(files)] if "error" in expect or volume else [(file, file) for file in files]
    for image, file in pairs:
        ask = Ask("volume" if volume else "image", modality=expect.get("modality", ""))
        if "error" in expect:
            with pytest.raises(BadSample) as refused:
                read_mask(file, image, ask)
            assert re.search(expect["error"], str(refused.value))
            continue
        mask = read_mask(file, image, ask)
        place = mask.place()
        assert mask.area == expect.get("area", mask.area)
        assert not expect.get("note") or re.search(expect["note"], " ".join(mask.notes))
        assert (place is None) == (expect.get("answer", {}) is None)
        for name, word in (expect.get("answer") or {}).items():
            assert getattr(place, name) == word, name
