"""Slices of a folder become one stack in order, or a refusal that says what to ask for."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rollouts.imaging.ask import Ask
from rollouts.imaging.frames import Frames
from rollouts.imaging.read import MAX_FILES, read
from rollouts.records import BadSample
from tests.fakes import dicoms

# Shows the stored value 1000 + i as the grey 10 * i: black at 1000, white at 1025.5.
ALL = (1012.75 + 0.5, 26.5)


def greys(frames: Frames) -> list[int]:
    """The first pixel of each frame."""
    return [int(np.asarray(image)[0, 0, 0]) for image in frames.images()]


def volume(path: Path, **more: Any) -> Frames:
    return read(path, Ask("volume", **{"window": ALL, **more}))


def refused(path: Path, **more: Any) -> str:
    with pytest.raises(BadSample) as told:
        list(volume(path, **more).images())
    return str(told.value)


def test_slices_are_ordered_by_place_and_not_by_name_or_number(tmp_path: Path) -> None:
    frames = volume(dicoms.series(tmp_path, [10, -5, 0, 5]))
    assert frames.positions == (-5, 0, 5, 10)
    assert greys(frames) == [10, 20, 30, 0]  # the stored values 1001, 1002, 1003, 1000
    assert frames.provenance.instance_numbers == (3, 2, 1, 4)
    assert frames.axes == "LPS"
    assert frames.provenance.line(0) == "CT axial, 1013.25/26.5, slice 1 of 4, z -5 mm, IM 3"


def test_slices_that_run_to_the_feet_or_lie_turned_are_shown_the_same_way(tmp_path: Path) -> None:
    # Rows to the right and to the front: the normal is still to the head, both in-plane axes run the other way.
    turned = {"ImageOrientationPatient": [-1, 0, 0, 0, -1, 0]}
    frames = volume(dicoms.series(tmp_path / "a", [0, 5], **turned))
    assert frames.axes == "LPS"
    assert greys(frames) == [0, 10]
    # A prone patient's table: rows to the left, columns to the front: the normal runs to the feet.
    prone = {"ImageOrientationPatient": [1, 0, 0, 0, -1, 0]}
    frames = volume(dicoms.series(tmp_path / "b", [0, 5], **prone))
    assert frames.positions == (0, 5)
    assert greys(frames) == [0, 10]


def test_a_copy_is_left_out_and_the_source_keeps_its_hash(tmp_path: Path) -> None:
    folder = dicoms.series(tmp_path / "once", [0, 5, 10])
    before = volume(folder).provenance
    shutil.copy(folder / "IM0001", folder / "IM0001 (1)")
    after = volume(folder).provenance
    assert len(after.indices) == 3
    assert after.notes == (*before.notes, "1 copy of a slice left out")
    assert after.source_sha256 == before.source_sha256


def test_the_hash_of_the_source_does_not_depend_on_what_is_shown(tmp_path: Path) -> None:
    folder = dicoms.series(tmp_path, [0, 5, 10])
    shown = [volume(folder), volume(folder, plane="coronal"), volume(folder, max_frames=1, window="auto")]
    assert len({frames.provenance.source_sha256 for frames in shown}) == 1
    single = read(folder / "IM0001", Ask("image")).provenance.source_sha256
    assert single != shown[0].provenance.source_sha256


def test_two_series_are_listed_and_either_is_chosen(tmp_path: Path) -> None:
    dicoms.series(tmp_path / "one", [0, 5], SeriesNumber=2)
    scout = {"SeriesInstanceUID": "1.2.4", "SeriesNumber": 1, "ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}
    dicoms.series(tmp_path / "two", [0], **scout)
    told = refused(tmp_path)
    assert "2 series" in told
    assert '1: CT 1 slice 6 x 4 localizer, "series": "1.2.4"; 2: CT 2 slices 6 x 4, "series": "1.2.3"' in told
    assert len(volume(tmp_path, series="1.2.3")) == len(volume(tmp_path, series="2")) == 2
    assert len(volume(tmp_path, series="1")) == 1
    assert "there is no such series among 2" in refused(tmp_path, series="3")


def test_images_at_one_place_name_the_field_that_chooses(tmp_path: Path) -> None:
    each = [{"EchoNumbers": 1}, {"EchoNumbers": 2}, {"EchoNumbers": 1}, {"EchoNumbers": 2}]
    folder = dicoms.series(tmp_path, [0, 0, 5, 5], each)
    told = refused(folder)
    assert (
        '4 images at 2 positions, they differ in EchoNumbers (1, 2); choose with "where": {"EchoNumbers": "1"}' in told
    )
    assert greys(volume(folder, where={"EchoNumbers": "2"})) == [10, 30]
    assert "there is 1, 2" in refused(folder, where={"EchoNumbers": "3"})
    assert "knows no PatientName" in refused(folder, where={"PatientName": "x"})


def test_kernels_and_stacks_are_told_apart_by_short_words_and_longer_ones_by_a_hash(tmp_path: Path) -> None:
    each = [{"ConvolutionKernel": kernel} for kernel in ("B30f", "B70f") * 2]
    folder = dicoms.series(tmp_path / "a", [0, 0, 5, 5], each)
    assert 'differ in ConvolutionKernel (B30f, B70f); choose with "where": {"ConvolutionKernel": "B30f"}' in refused(
        folder
    )
    assert greys(volume(folder, where={"ConvolutionKernel": "B70f"})) == [10, 30]
    named = [{"ConvolutionKernel": kernel} for kernel in ("MUELLER", "SCHMIDT") * 2]
    told = refused(dicoms.series(tmp_path / "b", [0, 0, 5, 5], named))
    assert "differ in ConvolutionKernel (x" in told and "MUELLER" not in told and "SCHMIDT" not in told


def test_images_at_one_place_that_nothing_tells_apart_are_refused(tmp_path: Path) -> None:
    assert "4 images at 2 positions; no field tells them apart" in refused(dicoms.series(tmp_path, [0, 0, 5, 5]))


def test_a_gap_is_noted_or_refused_and_stays_black_in_other_planes(tmp_path: Path) -> None:
    folder = dicoms.series(tmp_path, [0, 5, 15, 20])
    frames = volume(folder)
    assert "gap: 10 mm between slices 2 and 3 (usual step 5 mm)" in frames.provenance.notes
    assert "slices are missing (on_gap=note" in refused(folder, on_gap="refuse")
    coronal = volume(folder, plane="coronal", square_pixels=False)
    # Rows run to the feet: slices 3, 2, the missing one, 1, 0.
    assert np.asarray(coronal.image(0))[:, 0, 0].tolist() == [30, 20, 0, 10, 0]
    assert "1 missing slices are black in this plane" in coronal.provenance.notes


def test_uneven_steps_and_a_tilted_gantry_are_noted_and_cut_no_other_plane(tmp_path: Path) -> None:
    uneven = dicoms.series(tmp_path / "a", [0, 5, 12, 18])
    assert volume(uneven).provenance.notes == ("uneven steps: 5 to 7 mm",)
    assert "plane coronal needs even steps" in refused(uneven, plane="coronal")
    each: list[dict[str, Any]] = [{"ImagePositionPatient": [0, 2 * index, 5 * index]} for index in range(4)]
    tilted = dicoms.series(tmp_path / "b", [0, 5, 10, 15], each)
    assert volume(tilted).provenance.notes == ("gantry tilt: slices shift by 2 mm a step",)
    assert "the gantry was tilted" in refused(tilted, plane="sagittal")


def test_what_is_no_stack_is_refused_with_the_reason(tmp_path: Path) -> None:
    sagittal = {"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}
    told = refused(dicoms.series(tmp_path / "a", [0, 5], [{}, sagittal]))
    assert "slices are not parallel (2 orientations: projections or localizers); give them as images" in told
    told = refused(dicoms.series(tmp_path / "b", [0, 5], [{}, {"PixelSpacing": [2, 2]}]))
    assert "differ in PixelSpacing (1 x 1: 1, 2 x 2: 1)" in told
    told = refused(dicoms.series(tmp_path / "c", [0, 5], [{}, {"PhotometricInterpretation": "MONOCHROME1"}]))
    assert "differ in colour model" in told
    folder = dicoms.series(tmp_path / "d", [0, 5])
    dicoms.write(folder / "capture", np.zeros((4, 6), np.uint16))
    assert "1 of 3 images have no place in the patient" in refused(folder)
    folder = dicoms.series(tmp_path / "e", [0, 5], [{}, {"PatientID": "PID-4712"}])
    assert "images of 2 patients in one series" in refused(folder)


def test_without_places_the_numbers_or_names_give_the_order_and_are_noted(tmp_path: Path) -> None:
    pixels = [np.full((4, 6), 1000 + index, np.uint16) for index in range(3)]
    for index, number in enumerate((3, 1, 2)):
        dicoms.write(tmp_path / "a" / f"{index}", pixels[index], InstanceNumber=number)
        dicoms.write(tmp_path / "b" / f"slice{(10, 9, 8)[index]}", pixels[index])
    frames = volume(tmp_path / "a")
    assert greys(frames) == [10, 20, 0]
    assert "order: instance_number; places in the patient are unknown" in frames.provenance.notes
    frames = volume(tmp_path / "b")
    assert greys(frames) == [20, 10, 0]  # slice8, slice9, slice10
    assert "order: file names; places in the patient are unknown" in frames.provenance.notes
    assert frames.axes == ""
    assert frames.positions is None
    assert "needs places in the patient" in refused(tmp_path / "b", plane="axial")


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
@pytest.mark.parametrize(
    "orientation", [[1, 0, 0, 0, 1, 0], [0, 1, 0, 0, 0, -1], [1, 0, 0, 0, 0, -1], [-1, 0, 0, 0, 1, 0]]
)
def test_every_acquisition_gives_the_same_planes(tmp_path: Path, plane: str, orientation: list[int]) -> None:
    # A patient [L, P, S] of 3 x 4 x 5 voxels of 1 mm whose values tell their place, sliced along any orientation.
    patient = 1000 + np.arange(60).reshape(3, 4, 5)
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    normal = np.cross(row, column)
    lengths = [int(abs(axis) @ patient.shape) for axis in (normal, column, row)]
    # The voxel from which the stack starts: at the far end of every axis that runs backwards.
    start = sum(np.where(axis < 0, np.array(patient.shape) - 1, 0) * abs(axis) for axis in (normal, column, row))
    for index in range(lengths[0]):
        grid = [[start + index * normal + r * column + c * row for c in range(lengths[2])] for r in range(lengths[1])]
        pixels = np.array([[patient[tuple(place)] for place in line] for line in grid], np.uint16)
        dicoms.write(
            tmp_path / f"{index}",
            pixels,
            ImagePositionPatient=[int(value) for value in start + index * normal],
            ImageOrientationPatient=orientation,
            PixelSpacing=[1, 1],
        )
    frames = volume(tmp_path, plane=plane, window=(1128, 256))  # the grey is the value - 1000
    expected = {
        "axial": patient.transpose(2, 1, 0),
        "coronal": patient.transpose(1, 2, 0)[:, ::-1],
        "sagittal": patient.transpose(0, 2, 1)[:, ::-1],
    }[plane]
    shown = np.stack([np.asarray(image)[..., 0] for image in frames.images()])
    assert np.array_equal(shown, expected - 1000)
    assert frames.positions == tuple(range(len(expected)))
    few = volume(tmp_path, plane=plane, window=(1128, 256), max_frames=2)
    assert np.array_equal(np.asarray(few.image(1))[..., 0], shown[few.indices[1]])


def test_files_that_hold_no_picture_are_left_out_and_counted(tmp_path: Path) -> None:
    folder = dicoms.series(tmp_path, [0, 5])
    report = dicoms.dataset(np.zeros((4, 6), np.uint16), Modality="SR", PixelData=None)
    dicoms.save(folder / "report", report)
    (folder / "notes.txt").write_text("read me")
    frames = volume(folder)
    assert len(frames) == 2
    assert frames.provenance.notes == (
        "1 DICOM file without a picture left out",
        "1 file of another kind left out",
    )


def test_a_slice_that_is_no_longer_dicom_is_missed_and_files_of_desktops_are_not(tmp_path: Path) -> None:
    folder = dicoms.series(tmp_path, [0, 5, 10])
    (folder / "Thumbs.db").write_bytes(b"x")
    (folder / ".DS_Store").write_bytes(b"x")
    assert volume(folder).provenance.notes == ()
    (folder / "IM0002").write_bytes(b"\0" * 2000)
    frames = volume(folder)
    assert len(frames) == 2 and frames.provenance.notes == ("1 file of another kind left out",)


def test_a_damaged_file_of_a_series_is_named_by_its_number(tmp_path: Path) -> None:
    folder = dicoms.series(tmp_path, [0, 5, 10])
    whole = (folder / "IM0002").read_bytes()
    (folder / "IM0002").write_bytes(whole[:-20])
    assert "file 2 of 3 by name: the file is cut: 28 of 48 bytes of pixel data" in refused(folder)


def test_hostile_folders_are_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = dicoms.series(tmp_path / "scan", [0, 5])
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    (folder / "itself").symlink_to(folder / "itself")
    assert len(volume(folder)) == 2
    empty = tmp_path / "empty"
    empty.mkdir()
    assert refused(empty) == "volume empty: is a folder without files"
    monkeypatch.setattr("rollouts.imaging.read.MAX_FILES", 1)
    assert "more than 1 files; give the folder of one series" in refused(folder)
    assert MAX_FILES == 20_000
    assert "there is no such file or folder" in refused(tmp_path / "nowhere")
    with pytest.raises(BadSample, match="is a folder; give one file of it"):
        read(folder, Ask("image"))
