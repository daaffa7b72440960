"""Frames that were read once are found again; the command says what was done and draws the frames."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from rollouts.imaging.__main__ import main, sheet
from rollouts.imaging.ask import Ask
from rollouts.imaging.cache import Cache
from rollouts.imaging.frames import Frames
from rollouts.imaging.read import read
from rollouts.media import frames as frames_of
from rollouts.records import BadSample
from tests.fakes import dicoms
from tests.paths import REPOSITORY

ASK = Ask("volume", window=(1013.25, 26.5))


def settled(folder: Path) -> Path:
    """The same files, as if they had been written long ago."""
    for path in folder.rglob("*"):
        os.utime(path, (1e9, 1e9))
    return folder


def pixels(frames: Frames) -> list[bytes]:
    return [image.tobytes() for image in frames.images()]


def test_the_second_read_gives_the_same_frames_and_opens_no_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan, cache = settled(dicoms.series(tmp_path / "scan", [0, 5, 10])), tmp_path / "cache"
    lazy, first = read(scan, ASK), read(scan, ASK, cache=cache)
    monkeypatch.setattr("rollouts.imaging.read.open_source", None)
    monkeypatch.setattr("rollouts.imaging.cache.hash_files", None)
    second = read(scan, ASK, cache=cache)
    assert pixels(lazy) == pixels(first) == pixels(second)
    assert lazy.provenance == first.provenance == second.provenance
    media = second.media()
    assert media.frame_files == tuple(map(str, second.files or ()))
    assert [image.tobytes() for image in frames_of(media)] == pixels(lazy)
    assert media.positions == (0, 5, 10)
    assert media.axes == "LPS"


def test_another_ask_and_a_changed_file_are_read_anew(tmp_path: Path) -> None:
    scan, cache = settled(dicoms.series(tmp_path / "scan", [0, 5, 10])), tmp_path / "cache"
    folders = {
        read(scan, ask, cache=cache).files[0].parent for ask in (ASK, Ask("volume"), Ask("volume", max_frames=2))
    }
    assert len(folders) == 3
    dicoms.write(
        scan / "IM0001", np.full((4, 6), 1024, np.uint16), ImagePositionPatient=[0, 0, 10],
        ImageOrientationPatient=dicoms.AXIAL, PixelSpacing=[1, 1],
    )  # fmt: skip
    again = read(scan, ASK, cache=cache)
    assert again.files is not None and again.files[0].parent not in folders
    assert np.asarray(again.image(2))[0, 0, 0] == 240  # 1024: ten greys a value


def test_the_same_bytes_under_other_names_are_found(tmp_path: Path) -> None:
    one = dicoms.series(tmp_path / "Muster^Max", [0, 5])
    read(one, ASK, cache=tmp_path / "cache")
    one.rename(tmp_path / "other")
    (tmp_path / "other" / "IM0001").rename(tmp_path / "other" / "first")
    read(tmp_path / "other", ASK, cache=tmp_path / "cache")
    entries = list((tmp_path / "cache" / "frames").iterdir())
    assert len(entries) == 1
    assert sorted(path.name for path in entries[0].iterdir()) == ["000000.png", "000001.png", "read.json"]
    assert not any(b"Muster" in path.read_bytes() for path in (tmp_path / "cache").rglob("*") if path.is_file())


def test_pairs_with_one_header_are_two_sources(tmp_path: Path) -> None:
    shown = []
    for number in (100, 200):
        values = np.full((4, 6, 2), number, np.int16)
        values[0] = 0
        nibabel.save(nibabel.Nifti1Pair(values, np.eye(4)), tmp_path / f"{number}.img")
        frames = read(tmp_path / f"{number}.hdr", Ask("volume", window=(128, 256)), cache=tmp_path / "cache")
        shown.append(int(np.asarray(frames.image(0)).max()))
    assert (tmp_path / "100.hdr").read_bytes() == (tmp_path / "200.hdr").read_bytes()
    assert shown == [100, 200]


def test_a_damaged_entry_is_written_again(tmp_path: Path) -> None:
    scan, cache = settled(dicoms.series(tmp_path / "scan", [0, 5])), tmp_path / "cache"
    first = read(scan, ASK, cache=cache)
    assert first.files is not None
    whole = first.files[1].read_bytes()
    for damage in (lambda path: path.write_bytes(whole[:-7]), Path.unlink):
        damage(first.files[1])
        assert pixels(read(scan, ASK, cache=cache)) == pixels(read(scan, ASK))
        assert first.files[1].read_bytes() == whole
    (first.files[0].parent / "read.json").write_text("{")
    assert len(read(scan, ASK, cache=cache)) == 2


def test_a_frame_that_cannot_be_decoded_leaves_nothing_in_the_cache(tmp_path: Path) -> None:
    scan, cache = dicoms.series(tmp_path / "scan", [0, 5]), Cache(tmp_path / "cache")
    frames = read(scan, ASK)

    def half() -> object:
        yield frames.image(0)
        raise BadSample("cut")

    with pytest.raises(BadSample, match="cut"):
        cache.keep("key", frames.provenance, half())  # type: ignore[arg-type]
    assert list((tmp_path / "cache" / "frames").iterdir()) == []


def test_two_processes_may_keep_the_same_entry(tmp_path: Path) -> None:
    frames = read(dicoms.series(tmp_path / "scan", [0, 5]), ASK)
    cache = Cache(tmp_path / "cache")

    def slowly() -> object:
        yield frames.image(0)
        cache.keep("key", frames.provenance, frames.images())  # the other one is done in between
        yield frames.image(1)

    entry = cache.keep("key", frames.provenance, slowly())  # type: ignore[arg-type]
    assert cache.find("key") == entry
    assert [path.name for path in (tmp_path / "cache" / "frames").iterdir()] == ["key"]


def test_the_command_prints_what_was_done_and_draws_the_frames(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan = dicoms.series(tmp_path / "scan", [0, 5, 15], RescaleIntercept=-1024, RescaleType="HU")
    out = tmp_path / "sheet.png"
    assert main([str(scan), "--window", "lung", "--frames", "2", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "CT axial, lung -600/1500, slice 1 of 3, z 0 mm, IM 3" in printed
    assert "gap: 10 mm between slices 2 and 3 (usual step 7.5 mm)" not in printed  # 10 is no more than 1.5 x 7.5
    assert "uneven steps: 5 to 10 mm" in printed
    with Image.open(out) as picture:
        assert picture.size == (2 * 230 + 6, 149 + 16 + 6 + 6)  # 6 x 4 pixels become 224 x 149
    assert main([str(scan), "--json", "--window", "40/400"]) == 0
    assert json.loads(capsys.readouterr().out)["window_bounds"] == [[-160.0, 239.0]]


def test_flat_frames_stand_close_to_each_other_on_the_sheet(tmp_path: Path) -> None:
    # 8 coronal frames of 8 x 4 pixels become 224 x 112; a cell is 230 x 134, sqrt(8 * 134 / 230) = 2.2 columns.
    frames = read(dicoms.series(tmp_path, [0, 1, 2, 3], shape=(8, 8)), Ask("volume", plane="coronal"))
    assert sheet(frames).size == (2 * 230 + 6, 4 * 134 + 6)


def test_the_command_finds_out_the_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    three = np.zeros((3, 4, 6), np.uint16)
    cine = dicoms.write(tmp_path / "cine", three, Modality="XA", FrameTime=100)
    assert main([str(cine)]) == 0
    assert "frame 2 of 3, 0.10 s" in capsys.readouterr().out
    Image.new("RGB", (8, 8), "red").save(tmp_path / "red.png")
    assert main([str(tmp_path / "red.png")]) == 0
    assert "none: colour" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("made", "told"),
    [
        ("zip", "a ZIP archive; unpack it"),
        ("text", "a text file"),
        ("page", "a web page"),
        ("empty", "empty file"),
        ("nothing", "there is no such file or folder"),
    ],
)
def test_the_command_refuses_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], made: str, told: str
) -> None:
    path = tmp_path / "given"
    if made == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a", "b")
    elif made != "nothing":
        path.write_text({"text": "a note", "page": "<!DOCTYPE html><p>", "empty": ""}[made])
    assert main([str(path)]) == 2
    complaint = capsys.readouterr().err
    assert told in complaint
    assert complaint.count("\n") <= 2


def test_wrong_options_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scan = dicoms.series(tmp_path, [0, 5])
    for options, told in (
        (["--window", "lungs"], "did you mean lung"),
        (["--window", "a/b"], "expected centre/width as 40/400"),
        (["--slices", "3"], "expected A:B as 10:40"),
        (["--slices", "0:9"], "there are 2: 0 to 2"),
        (["--where", "x"], "expected KEY=VALUE"),
        (["--frames", "0"], "max_frames is 0"),
        (["--out", str(tmp_path / "sheet.nope")], "cannot be written"),
    ):
        assert main([str(scan), *options]) == 2
        assert told in capsys.readouterr().err


def test_records_load_none_of_the_readers() -> None:
    code = (
        "import rollouts.records, rollouts.media, rollouts.imaging.read, sys;"
        " print([name for name in ('pydicom', 'nibabel', 'av', 'gdcm') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan = dicoms.series(tmp_path, [0])
    monkeypatch.setattr("rollouts.terminal.missing", lambda extra: ["pydicom"])
    with pytest.raises(BadSample, match=r"DICOM needs pydicom: pip install 'rounds-rl\[media\]'"):
        read(scan, ASK)


@pytest.mark.parametrize(("ending", "checksum"), [(".png", "CRC-32"), (".jpg", "none"), (".tif", "none")])
def test_a_reading_says_what_proves_its_bytes(
    ending: str, checksum: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"picture{ending}"
    Image.fromarray(np.arange(48 * 64 * 3, dtype=np.uint8).reshape(48, 64, 3)).save(path)
    assert read(path, Ask("image"), cache=tmp_path / "cache").provenance.checksum == checksum
    assert main([str(path)]) == 0
    said = "proved by the CRC-32" if checksum == "CRC-32" else "a flipped bit in the pixels would not be seen"
    assert said in capsys.readouterr().out
