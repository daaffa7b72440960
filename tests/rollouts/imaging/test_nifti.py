"""NIfTI files of our making: any orientation, damaged heads, damaged gzip, and what they must not be taken for."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from rollouts.imaging.ask import Ask
from rollouts.imaging.frames import Frames
from rollouts.imaging.nifti import reader
from rollouts.imaging.read import read
from rollouts.records import BadSample

# [x, y, z] to the patient's right, front, head (RAS): every voxel has its own value, 0 .. 23.
VALUES = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
RAS = np.diag([1.0, 1.0, 3.0, 1.0])
# Shown: frames feet to head, rows front to back, columns right to left, so values run against x and y.
SHOWN = VALUES.transpose(2, 1, 0)[:, ::-1, ::-1]
# A window in which a value is its own grey: 0 is black, 255 white.
OWN = (128.0, 256.0)


def write(path: Path, values: np.ndarray = VALUES, affine: np.ndarray = RAS, **header: Any) -> Path:
    image = nibabel.Nifti1Image(values, affine)
    for name, value in header.items():
        image.header[name] = value
    nibabel.save(image, path)
    return path


def greys(frames: Frames) -> np.ndarray:
    """[frame, row, column], of a medium whose channels are equal."""
    return np.stack([np.asarray(image)[..., 0] for image in frames.images()]).astype(int)


def shown(path: Path, **ask: Any) -> np.ndarray:
    return greys(read(path, Ask("volume", **{"window": OWN, "square_pixels": False, **ask})))


def patched(path: Path, offset: int, form: str, *values: float) -> Path:
    """The file with some bytes of its header replaced."""
    data = bytearray(path.read_bytes())
    struct.pack_into(form, data, offset, *values)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("axes", ["RAS", "LPS", "LAS", "PIR", "ASL", "IRP", "SLA", "RSA"])
@pytest.mark.parametrize("end", [".nii", ".nii.gz"])
def test_every_orientation_of_one_patient_is_one_list_of_frames(tmp_path: Path, axes: str, end: str) -> None:
    orientation = nibabel.orientations.axcodes2ornt(axes)
    image = nibabel.Nifti1Image(VALUES, RAS)
    turned = image.as_reoriented(nibabel.orientations.ornt_transform(nibabel.io_orientation(RAS), orientation))
    nibabel.save(turned, tmp_path / f"v{end}")
    frames = read(tmp_path / f"v{end}", Ask("volume", window=OWN, square_pixels=False))
    assert (greys(frames) == SHOWN).all()
    assert frames.axes == "LPS" and frames.provenance.plane == "axial"
    assert frames.positions == (0.0, 3.0, 6.0, 9.0)


def test_planes_are_cut_by_turning(tmp_path: Path) -> None:
    path = write(tmp_path / "v.nii")
    # Coronal: frames front to back, rows head to feet, columns right to left.
    assert (shown(path, plane="coronal") == VALUES.transpose(1, 2, 0)[::-1, ::-1, ::-1]).all()
    # Sagittal: frames right to left, rows head to feet, columns front to back.
    assert (shown(path, plane="sagittal") == VALUES.transpose(0, 2, 1)[::-1, ::-1, ::-1]).all()


def test_the_plane_of_the_slices_is_kept(tmp_path: Path) -> None:
    thick = write(tmp_path / "sagittal.nii", affine=np.diag([5.0, 1.0, 1.0, 1.0]))
    assert read(thick, Ask("volume")).provenance.plane == "sagittal"
    even = write(tmp_path / "even.nii", affine=np.diag([1.0, 1.0, 1.0, 1.0]))
    assert read(even, Ask("volume")).provenance.plane == "axial"
    named = nibabel.Nifti1Image(VALUES, np.eye(4))
    named.header.set_dim_info(slice=0)
    nibabel.save(named, tmp_path / "named.nii")
    assert read(tmp_path / "named.nii", Ask("volume")).provenance.plane == "sagittal"


@pytest.mark.parametrize("form", ["<", ">"])
def test_byte_order_slope_and_intercept(tmp_path: Path, form: str) -> None:
    image = nibabel.Nifti1Image(VALUES.astype(f"{form}i2"), RAS, nibabel.Nifti1Header(endianness=form))
    image.header.set_slope_inter(2, 10)
    nibabel.save(image, tmp_path / "v.nii")
    patched(tmp_path / "v.nii", 112, f"{form}2f", 2.0, 10.0)
    assert (shown(tmp_path / "v.nii") == SHOWN * 2 + 10).all()


@pytest.mark.parametrize("slope", [0.0, float("nan"), float("inf")])
def test_no_slope_means_values_as_stored(tmp_path: Path, slope: float) -> None:
    path = patched(write(tmp_path / "v.nii"), 112, "<2f", slope, 99.0)
    assert (shown(path) == SHOWN).all()


def test_one_of_several_volumes_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "v.nii.gz", np.stack([VALUES, VALUES + 100], axis=-1))
    with pytest.raises(BadSample, match=r'v.nii.gz: 4D with 2 volumes of 2 x 3 x 4; choose with "volume_index"'):
        read(path, Ask("volume"))
    assert (shown(path, volume_index=1) == SHOWN + 100).all()
    with pytest.raises(BadSample, match="volume_index is 2, and there are 2 volumes: 0 to 1"):
        read(path, Ask("volume", volume_index=2))
    assert "volume 1 of 2" in read(path, Ask("volume", volume_index=0)).provenance.notes


def test_colour_is_kept_and_never_windowed(tmp_path: Path) -> None:
    rgb = np.zeros((2, 3, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    rgb["R"][1], rgb["B"][0] = 200, 100  # the patient's right red, left blue
    path = write(tmp_path / "v.nii", rgb)
    frame = np.asarray(read(path, Ask("volume", square_pixels=False)).image(0))
    assert frame[0].tolist() == [[200, 0, 0], [0, 0, 100]], "the image's left is the patient's right"
    with pytest.raises(BadSample, match="never windowed"):
        read(path, Ask("volume", window=OWN))


def test_numbers_that_are_none_are_black_and_set_no_scale(tmp_path: Path) -> None:
    values = VALUES.astype(np.float32)
    values[0, 0, 0], values[0, 0, 1], values[0, 0, 2] = np.nan, np.inf, -np.inf
    frames = greys(read(write(tmp_path / "v.nii", values), Ask("volume", square_pixels=False)))
    assert (frames[:3, -1, -1] == 0).all()
    assert frames.max() == 255 and len(np.unique(frames)) > 15


@pytest.mark.parametrize("kind", ["uint8", "int8", "uint16", "int32", "uint32", "int64", "float32", "float64"])
def test_every_kind_of_number(tmp_path: Path, kind: str) -> None:
    image = nibabel.Nifti1Image(VALUES.astype(kind), RAS, dtype=kind)
    nibabel.save(image, tmp_path / "v.nii")
    assert (shown(tmp_path / "v.nii") == SHOWN).all()


def test_sides_are_unknown_where_the_header_does_not_say(tmp_path: Path) -> None:
    path = patched(write(tmp_path / "v.nii"), 252, "<2h", 0, 0)
    frames = read(path, Ask("volume"))
    assert frames.axes == "" and frames.positions is None
    assert any("orientation unknown" in note for note in frames.provenance.notes)


def test_sides_are_unknown_where_the_header_contradicts_itself(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(VALUES, RAS)
    image.set_qform(np.diag([-1.0, 1.0, 3.0, 1.0]), 1)
    nibabel.save(image, tmp_path / "v.nii")
    frames = read(tmp_path / "v.nii", Ask("volume"))
    assert frames.axes == "" and any("contradict" in note for note in frames.provenance.notes)


def test_a_qform_that_lies_elsewhere_is_told_and_the_sform_followed(tmp_path: Path) -> None:
    # Turned about the first axis by 20 degrees, which leaves the nearest axes as they are; steps of 1 x 1 x 3 mm.
    cosine, sine = np.cos(np.radians(20)), np.sin(np.radians(20))
    turned = np.array([[1, 0, 0, 0], [0, cosine, -3 * sine, 0], [0, sine, 3 * cosine, 0], [0, 0, 0, 1]])
    for name, sform, qform, told in (
        ("a.nii", RAS, turned, "the qform differs by 20.0 degrees from the sform, which is followed"),
        ("b.nii", np.diag([2.0, 1, 3, 1]), RAS, "the qform differs by steps of 1 x 1 x 3 mm from the sform"),
        ("c.nii", RAS, RAS, ""),
    ):
        image = nibabel.Nifti1Image(VALUES, sform)
        image.set_qform(qform, 1)
        image.set_sform(sform, 2)
        nibabel.save(image, tmp_path / name)
        frames = read(tmp_path / name, Ask("volume", window=OWN, square_pixels=False))
        assert [note.startswith(told) for note in frames.provenance.notes] == ([True] if told else [])
        assert np.array_equal(greys(frames), SHOWN)


def test_the_data_file_of_a_pair_is_read_by_its_header(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Pair(VALUES, RAS), tmp_path / "v.img")
    assert np.array_equal(shown(tmp_path / "v.img"), SHOWN)
    assert read(tmp_path, Ask("volume")).provenance.notes == (), "the .img is no file of another kind"
    no_times = patched(patched(write(tmp_path / "w.nii"), 40, "<h", 4), 48, "<h", 0)
    assert np.array_equal(shown(no_times), SHOWN), "0 volumes of a 4D file is one"


def test_a_damaged_sform_gives_way_to_the_qform(tmp_path: Path) -> None:
    path = patched(write(tmp_path / "v.nii"), 280, "<12f", *([0.0] * 12))
    patched(path, 252, "<h", 1)
    frames = read(path, Ask("volume"))
    assert frames.axes == "LPS" and "its sform is damaged and was not used" in frames.provenance.notes


def test_lengths_in_micrometres(tmp_path: Path) -> None:
    path = write(tmp_path / "v.nii", affine=RAS * [[1000], [1000], [1000], [1]], xyzt_units=3)
    frames = read(path, Ask("volume"))
    assert frames.positions == (0.0, 3.0, 6.0, 9.0) and frames.provenance.spacing == (3.0, 1.0, 1.0)


def test_oblique_data_take_the_nearest_axes(tmp_path: Path) -> None:
    turn = np.radians(20)
    rotation = np.array([[1, 0, 0], [0, np.cos(turn), -np.sin(turn)], [0, np.sin(turn), np.cos(turn)]])
    affine = np.eye(4)
    affine[:3, :3] = rotation @ np.diag([1, 1, 3])
    frames = read(write(tmp_path / "v.nii", affine=affine), Ask("volume", window=OWN, square_pixels=False))
    assert (greys(frames) == SHOWN).all() and "oblique by 20.0 degrees" in frames.provenance.notes


def test_a_lung_window_needs_hounsfield_units(tmp_path: Path) -> None:
    with pytest.raises(BadSample, match="window lung needs Hounsfield units, the smallest value is 0"):
        read(write(tmp_path / "mr.nii"), Ask("volume", window="lung"))
    hounsfield = read(write(tmp_path / "ct.nii", VALUES * 100 - 1000), Ask("volume", window="lung"))
    # -1000 HU: (-1000 - (-600.5)) / 1499 + 0.5 = 0.2335 -> grey 60.
    assert greys(hounsfield).min() == 60


def test_the_files_own_range_is_its_window(tmp_path: Path) -> None:
    frames = read(write(tmp_path / "v.nii", cal_min=0, cal_max=255), Ask("volume", window="dicom", square_pixels=False))
    assert (greys(frames) == SHOWN).all()


def test_a_header_that_asks_for_too_much_is_refused_before_reading(tmp_path: Path) -> None:
    path = patched(write(tmp_path / "v.nii"), 40, "<4h", 3, 30000, 30000, 30000)
    with pytest.raises(BadSample, match=r"its header asks for 54 TB, the file has 400 bytes"):
        read(path, Ask("volume"))
    packed = tmp_path / "w.nii.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(BadSample, match="its header asks for 54 TB"):
        read(packed, Ask("volume"))


def test_gzip_is_known_by_its_content_and_read_to_its_checksum(tmp_path: Path) -> None:
    whole = write(tmp_path / "v.nii").read_bytes()
    (tmp_path / "plain.nii.gz").write_bytes(whole)
    assert (shown(tmp_path / "plain.nii.gz") == SHOWN).all()
    packed = gzip.compress(whole)
    (tmp_path / "packed.nii").write_bytes(packed)
    assert (shown(tmp_path / "packed.nii") == SHOWN).all()
    (tmp_path / "two.nii.gz").write_bytes(gzip.compress(whole[:370]) + gzip.compress(whole[370:]) + b"\0" * 100)
    assert (shown(tmp_path / "two.nii.gz") == SHOWN).all(), "members follow each other, padding behind them"
    for name, data, match in (
        ("cut.nii.gz", packed[:-20], "ends inside its gzip data"),
        ("sum.nii.gz", packed[:-8] + b"\1\2\3\4" + packed[-4:], "gzip data are damaged"),
        ("short.nii.gz", gzip.compress(whole[:-6]), "its header asks for 400 bytes, its gzip data hold 394 bytes"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(BadSample, match=match):
            read(tmp_path / name, Ask("volume"))


def test_gzip_that_never_ends_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader.stored, "_MOST_BEHIND", 1 << 20)
    path = tmp_path / "bomb.nii.gz"
    path.write_bytes(gzip.compress(write(tmp_path / "v.nii").read_bytes() + b"\0" * (8 << 20)))
    with pytest.raises(BadSample, match="go on beyond the 400 bytes"):
        read(path, Ask("volume"))


def test_a_large_gzip_volume_goes_through_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader.stored, "_IN_MEMORY", 10)
    assert (shown(write(tmp_path / "v.nii.gz")) == SHOWN).all()


@pytest.mark.parametrize(
    ("offset", "form", "values", "match"),
    [
        (40, "<2h", (0, 2), "damaged: 0 dimensions"),
        (40, "<4h", (3, -2, 3, 4), "damaged: 3 dimensions of -2 x 3 x 4"),
        (40, "<2h", (1, 24), "no picture"),
        (70, "<2h", (32, 64), "complex numbers"),
        (70, "<2h", (77, 16), "no kind of values has the code 77"),
        (70, "<2h", (4, 8), "contradicts itself: values of 16 bits that take 8"),
        (108, "<f", (float("nan"),), "the voxels begin at byte nan"),
        (108, "<f", (20.0,), "the voxels begin at byte 20, expected 352 or more"),
    ],
)
def test_damaged_headers_are_refused(tmp_path: Path, offset: int, form: str, values: tuple, match: str) -> None:
    path = patched(write(tmp_path / "v.nii"), offset, form, *values)
    with pytest.raises(BadSample, match=match):
        read(path, Ask("volume"))


def test_a_header_without_its_data_names_the_missing_file(tmp_path: Path) -> None:
    pair = nibabel.Nifti1Pair(VALUES, RAS)
    nibabel.save(pair, tmp_path / "v.hdr")
    assert (shown(tmp_path / "v.hdr") == SHOWN).all()
    (tmp_path / "v.img").unlink()
    with pytest.raises(BadSample, match=r"a header without its data: v\.img is not beside it"):
        read(tmp_path / "v.hdr", Ask("volume"))


def test_analyze_and_minc_are_refused_by_name(tmp_path: Path) -> None:
    analyze = nibabel.AnalyzeImage(VALUES, np.eye(4))
    nibabel.save(analyze, tmp_path / "a.hdr")
    with pytest.raises(BadSample, match=r"an Analyze 7.5 file, which does not say where left and right are"):
        read(tmp_path / "a.hdr", Ask("volume"))
    (tmp_path / "m.mnc").write_bytes(b"CDF\x01" + b"\0" * 100)
    with pytest.raises(BadSample, match="MINC"):
        read(tmp_path / "m.mnc", Ask("volume"))


def test_a_volume_is_no_picture_and_no_clip(tmp_path: Path) -> None:
    path = write(tmp_path / "v.nii")
    with pytest.raises(BadSample, match='a volume of 4 slices; give it as "volume"'):
        read(path, Ask("image"))
    with pytest.raises(BadSample, match="a volume, not a video"):
        read(path, Ask("video"))
    with pytest.raises(BadSample, match="series='1' means nothing for NIfTI"):
        read(path, Ask("volume", series="1"))
    flat = write(tmp_path / "flat.nii", VALUES[:, :, :1])
    assert len(read(flat, Ask("image"))) == 1


def test_free_text_of_the_header_is_kept_nowhere(tmp_path: Path) -> None:
    path = write(tmp_path / "v.nii", descrip=b"DOE^JANE", db_name=b"DOE^JANE", aux_file=b"DOE^JANE")
    assert "DOE" not in str(read(path, Ask("volume")).provenance.to_dict())
