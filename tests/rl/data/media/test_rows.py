"""Rows with volumes, videos and medical pictures: what is asked of them, what comes back, what is told of bad ones."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from PIL import Image

from rl.config import MediaConfig
from rl.data import split
from rl.data.jsonl import rows as jsonl
from rl.data.media.budget import FrameRoom
from rl.data.media.pool import read_all
from rl.data.media.reader import MediaReader
from rl.data.sets import BadRow
from rollouts.media import frames
from rollouts.records import BadSample, Sample

pytestmark = pytest.mark.full_run_only(reason="media are read in processes of their own")
QA = {"question": "Where?", "answer": "there"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CT of 24 x 20 x 12 voxels (1 x 1 x 5 mm) that is brighter slice by slice, a folder of 12 pictures, a GIF."""
    root = tmp_path_factory.mktemp("rows")
    (root / "scan").mkdir()
    for index in range(12):
        Image.new("L", (6, 6), 20 * index).save(root / "scan" / f"slice{index}.png")
    voxels = np.full((24, 20, 12), -1000, np.int16)
    for index in range(12):
        voxels[4:20, 4:16, index] = 30 * index
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([-1.0, -1.0, 5.0, 1.0])), root / "ct.nii.gz")
    pages = [Image.new("L", (6, 6), 60 * k) for k in range(4)]
    pages[0].save(root / "clip.gif", save_all=True, append_images=pages[1:], duration=500)
    return root


def read(
    folder: Path, *rows: dict[str, Any], reader: MediaReader | None = None, **settings: Any
) -> tuple[list[Sample], list[BadRow]]:
    path = folder / "rows.jsonl"
    path.write_text("\n".join(json.dumps({**QA, **row}) for row in rows))
    reader = reader or MediaReader(folder, MediaConfig(cache_dir=str(folder / "cache"), workers=1, **settings))
    lines, bad_rows = jsonl.read_lines(path, reader)
    return [line.sample for line in lines], bad_rows


def test_volumes_and_videos_become_frames_in_the_cache_with_what_was_read(folder: Path) -> None:
    (ct, scan, clip), bad_rows = read(
        folder,
        {
            "volume": {"path": "ct.nii.gz", "window": "lung", "plane": "coronal"},
            "modality": "CT",
            "patient": "Jane Doe",
        },
        {"volume": "scan"},
        {"video": "clip.gif", "language": "zh"},
        frame_labels=True,
    )
    assert bad_rows == []
    (volume,) = ct.media
    # 4 of 20 rows, centred in their shares: (2i + 1) * 20 // 8 = 2, 7, 12, 17
    assert volume.frame_indices == (2, 7, 12, 17) and volume.labels[0] == "Slice 3 of 20:"
    # 12 slices of 5 mm stand 60 mm high: rows are stretched, so that nobody is squashed.
    assert [frame.size for frame in frames(volume)] == [(24, 60)] * 4
    assert (volume.provenance["window"], volume.provenance["plane"], len(volume.axes)) == ("lung", "coronal", 3)
    assert len(volume.patient) == 24 and "Doe" not in repr(volume)
    (pictures,) = scan.media
    assert pictures.frame_indices == (1, 4, 7, 10)
    assert [frame.getpixel((0, 0))[0] for frame in frames(pictures)] == [20, 80, 140, 200]
    assert clip.media[0].frame_times == (0.0, 0.5, 1.0, 1.5) and clip.media[0].labels[1] == "0.5秒："
    assert all(medium.frames is None and medium.data is None for sample in (ct, scan, clip) for medium in sample.media)


def test_a_second_start_reads_no_source_again(folder: Path, tmp_path: Path) -> None:
    for name in ("first.nii.gz", "second.nii.gz"):
        (tmp_path / name).write_bytes((folder / "ct.nii.gz").read_bytes())
    (before,), _ = read(tmp_path, {"volume": "first.nii.gz"})
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache" / "frames").rglob("*.png")}
    (after,), _ = read(tmp_path, {"volume": "second.nii.gz"})
    assert before.media == after.media, "a copy under another name is the same medium"
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache" / "frames").rglob("*.png")} == made


def test_what_was_read_is_found_again_without_a_process_and_not_where_something_changed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mask = np.zeros((24, 20, 12), np.uint8)
    mask[4:8, 4:8, 5] = 1
    nibabel.save(nibabel.Nifti1Image(mask, np.diag([-1.0, -1.0, 5.0, 1.0])), tmp_path / "mask.nii.gz")
    (tmp_path / "ct.nii.gz").write_bytes((folder / "ct.nii.gz").read_bytes())
    for path in tmp_path.iterdir():
        os.utime(path, (1e9, 1e9))
    row = {"volume": "ct.nii.gz", "mask": "mask.nii.gz", "patient": "Jane Doe"}
    # A rule for a modality that the row does not name: the file is asked, once.
    settings = {"window_by_modality": {"CT": "soft"}, "max_frames": 12}
    (before,), _ = read(tmp_path, row, **settings)
    asked = []
    monkeypatch.setattr(
        "rl.data.media.reader.read_all", lambda tasks, *_: asked.extend(tasks) or dict.fromkeys(tasks, "")
    )
    (after,), bad_rows = read(tmp_path, row, **settings)
    assert after == before and bad_rows == [] and asked == []
    assert "Doe" not in "".join(path.read_text() for path in (tmp_path / "cache" / "read").iterdir())
    read(tmp_path, {**row, "volume": {"path": "ct.nii.gz", "plane": "coronal"}}, **settings)
    assert len(asked) == 1, "another ask"
    Path(before.media[0].mask_files[5]).unlink()
    read(tmp_path, row, **settings)
    assert len(asked) == 2, "a file of the cache is gone"
    os.utime(tmp_path / "mask.nii.gz", (1e9, 1e9 + 1))
    read(tmp_path, row, **settings)
    assert len(asked) == 3, "the mask changed"


def test_what_a_row_says_goes_before_its_modality_and_that_before_all(folder: Path) -> None:
    (own, of_ct, of_all), bad_rows = read(
        folder,
        {"volume": {"path": "ct.nii.gz", "window": [0, 100], "max_frames": 1}, "modality": "CT"},
        {"volume": "ct.nii.gz", "modality": "ct"},
        {"volume": "ct.nii.gz", "modality": "MR"},
        window_by_modality={"CT": "soft"},
        max_frames_by_modality={"CT": 2},
        max_frames=3,
    )
    assert bad_rows == []
    shown = [(sample.media[0].num_frames, sample.media[0].provenance["window"]) for sample in (own, of_ct, of_all)]
    assert shown == [(1, "row"), (2, "soft"), (3, "auto")]


def test_the_context_window_cuts_frames_and_says_of_how_many_rows(folder: Path) -> None:
    settings = MediaConfig(cache_dir=str(folder / "cache"), max_frames_by_modality={"CT": 12}, workers=1)
    asked: list[list[str]] = []

    def room(questions: Any) -> FrameRoom:
        asked.append(list(questions))
        return FrameRoom(tokens=1000, per_frame=256)

    rows = [
        {"volume": "ct.nii.gz", "modality": "CT"},
        {"volume": "ct.nii.gz", "modality": "CT", "image": "scan/slice0.png"},
    ]
    reader = MediaReader(folder, settings, room)
    samples, bad_rows = read(folder, *rows, {**rows[0], "question": "Where is the longest question?"}, reader=reader)
    # 1000 // 256 = 3 frames; beside an image (1000 - 256) // 256 = 2
    assert bad_rows == [] and [sample.media[-1].num_frames for sample in samples] == [3, 2, 3]
    assert asked == [["Where is the longest question?"]]
    assert dict(reader.notes) == {
        "CT volumes: up to 3 of 12 frames, 256 tokens each of 1,000": 3,
        "CT volumes: fewer frames than data.media asks for, the context window has no room": 3,
    }
    samples, (bad,) = read(folder, rows[0], reader=MediaReader(folder, settings, lambda _: FrameRoom(200, 256)))
    assert samples == [] and "a frame takes 256 tokens and 200 are left" in bad.reason


BAD = [
    ({"volume": "none.nii"}, "volume none.nii does not exist"),
    ({"volume": "rows.jsonl"}, "volume rows.jsonl: a text file"),
    ({"volume": {"path": "ct.nii.gz", "plan": "axial"}}, "volume says 'plan'; did you mean 'plane'?"),
    ({"volume": {"plane": "axial"}}, 'expected a path or an object such as {"path": "scan"}'),
    ({"volume": {"path": "ct.nii.gz", "window": "lugn"}}, "window is 'lugn' (did you mean lung?)"),
    ({"volume": {"path": "ct.nii.gz", "slices": 3}}, "slices is 3, expected the first and the one behind the last"),
    ({"volume": {"path": "ct.nii.gz", "slices": [5, 50]}}, "slices is [5, 50], and there are 12"),
    ({"volume": {"path": "ct.nii.gz", "where": [1]}}, "where is [1], expected an object"),
    ({"volume": {"path": "ct.nii.gz", "max_frames": "2"}}, "max_frames is '2', expected a whole number"),
    ({"volume": {"path": "scan", "plane": "coronal"}}, "plane='coronal' means nothing for picture files"),
    ({"image": {"path": "scan/slice0.png", "window": "lung"}}, "for which window means nothing"),
    ({"video": {"path": "clip.gif", "start": 2, "end": 1}}, "the part of the video ends at 1 s and starts at 2 s"),
    ({"volume": "ct.nii.gz", "patient": [1]}, "patient is [1], expected text or a number"),
]


def test_every_bad_row_is_told_in_words(folder: Path) -> None:
    _, bad_rows = read(folder, *(row for row, _ in BAD))
    reasons = {row.line: row.reason for row in bad_rows}
    for line, (_, expected) in enumerate(BAD, start=1):
        assert expected in reasons[line], reasons[line]
        assert str(folder) not in reasons[line], "no path of the machine"


def test_how_a_volume_is_shown_moves_no_row_across_the_split(folder: Path, tmp_path: Path) -> None:
    for number in range(8):
        voxels = np.full((4, 4, 6), number, np.int16)
        voxels[1, 1, 1] = 100 + number
        nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), tmp_path / f"v{number}.nii")
    rows = [{"id": f"{number}", "volume": f"v{number}.nii"} for number in range(8)]
    held_out = []
    for shown in ({}, {"max_frames": 2, "plane": "coronal", "window": "3/9"}):
        samples, bad_rows = read(tmp_path, *rows, **shown)
        assert bad_rows == []
        held_out.append([sample.id for sample in split.by_image(samples, 0.3, seed=0)[1]])
    assert held_out[0] and held_out[0] == held_out[1]


def test_a_patient_stays_on_one_side_whatever_salt_this_machine_has(folder: Path, tmp_path: Path) -> None:
    """Pictures 0 to 3 are of one patient, so they are held out together or not at all; another salt changes nothing."""
    rows = [{"id": f"{n}", "image": f"scan/slice{n}.png", "patient": "P" if n < 4 else f"Q{n}"} for n in range(12)]
    sides = []
    for salt in ("a", "b"):
        settings = MediaConfig(cache_dir=str(tmp_path / salt))
        samples, bad_rows = read(folder, *rows, reader=MediaReader(folder, settings))
        assert bad_rows == []
        held = {one.id for seed in range(6) for one in split.by_image(samples, 0.4, seed)[1] if int(one.id) < 4}
        each = [{one.id for one in split.by_image(samples, 0.4, seed)[1]} for seed in range(6)]
        assert held and all(len(side & {"0", "1", "2", "3"}) in (0, 4) for side in each)
        sides.append(each)
    assert sides[0] == sides[1]
    assert (tmp_path / "a" / "patient_salt").stat().st_mode & 0o077 == 0


def test_a_row_of_a_held_out_patient_is_refused_for_training(folder: Path, tmp_path: Path) -> None:
    path = folder / "rows.jsonl"
    rows = [
        {"image": "scan/slice0.png", "patient": "P", "split": "train"},
        {"image": "scan/slice1.png", "patient": "P", "split": "eval"},
    ]
    path.write_text("\n".join(json.dumps({**QA, **row}) for row in rows))
    lines, bad_rows = jsonl.read_lines(path, MediaReader(folder, MediaConfig(cache_dir=str(tmp_path))))
    good, bad = jsonl.check_together(lines, bad_rows)
    assert [line.number for line in good] == [2]
    assert bad[0].reason == "is for training, but its patient is held out in line 2"


def test_a_file_that_holds_up_its_process_is_one_fault(folder: Path, tmp_path: Path) -> None:
    """A process that has no time at all stands for a library that never comes back, a task that is none for one that
    fails in its own way."""
    ask = {"kind": "volume", "slices": None, "max_frames": 1}
    good = {
        "path": str(folder / "ct.nii.gz"),
        "name": "ct",
        "ask": ask,
        "rules": {},
        "mask": None,
        "cache": str(tmp_path),
    }
    tasks = {"good": good, "dies": {**good, "name": "x", "ask": {"kind": "volume"}}, "again": {**good, "name": "y"}}
    found = read_all(tasks, workers=1)
    assert found["good"].num_frames == found["again"].num_frames == 1
    assert "its reader failed on it (KeyError)" in found["dies"]
    slow = read_all({"slow": good}, workers=1, seconds=0.0)
    assert slow["slow"] == "volume ct: was not read within 0 s; leave it out, or make it smaller"


def test_labels_count_only_where_there_is_one_a_frame(folder: Path) -> None:
    (sample,), _ = read(folder, {"volume": "scan"}, frame_labels=True)
    with pytest.raises(BadSample, match="4 frames has 1 labels"):
        dataclasses.replace(sample.media[0], labels=("one",))


def test_a_mask_lies_on_the_frames_that_are_shown(folder: Path) -> None:
    marked = np.zeros((24, 20, 12), np.uint8)
    # Voxels 6..9 of columns, slices 4 and 5: of the slices shown (1, 4, 7, 10) one holds a mark.
    marked[6:10, 8:12, 4:6] = 2
    nibabel.save(nibabel.Nifti1Image(marked, np.diag([-1.0, -1.0, 5.0, 1.0])), folder / "mask.nii.gz")
    Image.new("L", (6, 6), 255).save(folder / "mask.png")
    Image.new("L", (9, 9), 255).save(folder / "large.png")
    samples, bad_rows = read(
        folder,
        {"volume": "ct.nii.gz", "mask": {"path": "mask.nii.gz", "label": 2}},
        {"image": "scan/slice3.png", "mask": "mask.png"},
        {"image": "scan/slice3.png", "mask": "large.png"},
        {"volume": "ct.nii.gz", "image": "scan/slice3.png", "mask": "mask.png"},
        {"volume": "ct.nii.gz", "mask": {"path": "mask.nii.gz", "label": 0}},
    )
    volume, picture = (sample.media[0] for sample in samples)
    areas = [int((np.asarray(Image.open(path)) > 0).sum()) for path in volume.mask_files]
    assert volume.frame_indices == (1, 4, 7, 10) and areas == [0, 16, 0, 0]
    assert "mask: 1 of 4 frames shown hold a marked pixel" in volume.provenance["notes"]
    assert picture.kind == "image" and len(picture.mask_files) == 1
    assert [row.reason for row in bad_rows] == [
        "mask large.png: 9 x 9, the image is 6 x 6: another size; it is not stretched",
        "mask belongs to the row's one image or volume, and the row has 2",
        "label is 0, expected the value or the segment that is meant, from 1",
    ]
