"""The store: what is written comes back equal, whatever moment the writer dies at, and a full disk leaves nothing
half-written."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import math
import os
import shutil
import subprocess
import sys

import pytest
from PIL import Image

from rollouts.media import encoded_files, frames, has_frames, with_hash
from rollouts.records import SCHEMA_VERSION, Media, Rollout
from rollouts.store.layout import DamagedStore, DuplicateRollout, NewerSchema, NotARun, StoreError
from rollouts.store.writer import RunWriter, media_path, read_rollouts
from tests.fakes import fake_rollouts
from tests.paths import REPOSITORY


def comparable(rollout: Rollout) -> Rollout:
    """The rollout with each medium reduced to kind, hash, indices and the hashes of its frames: where the bytes lie may
    differ."""
    media = []
    for medium in rollout.sample.media:
        hashed = with_hash(medium)
        names = (
            [hashlib.sha256(data).hexdigest() for data in encoded_files(medium)] if has_frames(medium) else ["image"]
        )
        media.append(
            Media(hashed.kind, frame_files=tuple(names), sha256=hashed.sha256, frame_indices=hashed.frame_indices)
        )
    return dataclasses.replace(rollout, sample=dataclasses.replace(rollout.sample, media=tuple(media)))


def test_a_stored_rollout_comes_back_equal_with_the_same_pixels(tmp_path):
    before = fake_rollouts.written(tmp_path, failures=0.1)
    after = list(read_rollouts(tmp_path))
    assert [comparable(one) for one in after] == [comparable(one) for one in before]
    for one, other in zip(before[::8], after[::8], strict=True):
        for medium, stored in zip(one.sample.media, other.sample.media, strict=True):
            assert [f.tobytes() for f in frames(medium)] == [f.tobytes() for f in frames(stored)]


def test_a_step_that_is_being_written_reads_like_a_finished_one(tmp_path):
    writer = RunWriter(tmp_path)
    groups = next(fake_rollouts.steps(1))
    for group in groups:
        writer.append_group(group)
    running = list(read_rollouts(tmp_path, step=1))
    writer.finish_step(1)
    assert running == list(read_rollouts(tmp_path, step=1))
    assert [path.name for path in sorted((tmp_path / "rollouts/step_000001").iterdir())] == [
        "manifest.json",
        "rollouts.parquet",
    ]


def test_the_manifest_counts_and_hashes_what_is_there(tmp_path):
    fake_rollouts.written(tmp_path, 1, prompts_per_step=3)
    folder = tmp_path / "rollouts/step_000001"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["num_rollouts"], manifest["num_prompts"], manifest["policy_versions"]) == (24, 3, [0])
    parquet = (folder / "rollouts.parquet").read_bytes()
    assert manifest["files"]["rollouts.parquet"] == {
        "bytes": len(parquet),
        "sha256": hashlib.sha256(parquet).hexdigest(),
    }
    assert all(
        hashlib.sha256(media_path(tmp_path, name).read_bytes()).hexdigest() == found
        for name, found in manifest["media"].items()
    )


def test_every_image_is_kept_once_and_a_jpeg_becomes_a_png(tmp_path):
    jpeg = tmp_path / "scan.jpg"
    jpeg.write_bytes(fake_rollouts.encoded(Image.open(io.BytesIO(fake_rollouts.png(3))), "JPEG"))
    asked = dataclasses.replace(fake_rollouts.sample(0), media=(Media(kind="image", path=str(jpeg)),))
    writer = RunWriter(tmp_path / "run")
    for step in (1, 2):
        writer.append_group([fake_rollouts.rollout(asked, step=step, index=index) for index in range(4)])
        writer.finish_step(step)
    source = hashlib.sha256(jpeg.read_bytes()).hexdigest()
    assert [path.name for path in (tmp_path / "run/media").iterdir()] == [f"{source}.png"]
    stored = next(read_rollouts(tmp_path / "run")).sample.media[0]
    assert stored.sha256 == source
    with Image.open(stored.path) as image:
        assert image.format == "PNG"
        assert image.convert("RGB").tobytes() == frames(asked.media[0])[0].tobytes()


@pytest.mark.parametrize("name", ["../../etc/passwd", "A" * 64, "0" * 63, ""])
def test_media_are_named_by_hash_only(tmp_path, name):
    with pytest.raises(StoreError, match="64 hexadecimal"):
        media_path(tmp_path, name)


def test_a_number_that_is_not_finite_is_stored_as_null_and_named(tmp_path):
    one = fake_rollouts.rollout(fake_rollouts.sample(0))
    broken = dataclasses.replace(
        one, advantage=math.nan, old_logprobs=(-1.0, math.inf, -0.5), timings={"gen": math.nan}
    )
    writer = RunWriter(tmp_path)
    writer.append_group([broken])
    line = json.loads((tmp_path / "rollouts/step_000001/rollouts.jsonl").read_text(), parse_constant=pytest.fail)
    assert line["advantage"] is None
    assert line["old_logprobs"] == [-1.0, None, -0.5]
    assert sorted(line["not_finite"]) == ["advantage", "old_logprobs", "timings"]
    writer.finish_step(1)
    back = next(read_rollouts(tmp_path))
    assert math.isnan(back.advantage)
    assert math.isnan(back.old_logprobs[1])
    assert math.isnan(back.timings["gen"])
    assert back.total == one.total


def test_hostile_text_survives_as_text(tmp_path):
    text = '</think>\x1b[31m\u202e\x00 line\u2028separator \n\r\t { " \\ 结论 \ud800 <script>'
    one = fake_rollouts.rollout(fake_rollouts.sample(0))
    one = dataclasses.replace(one, completion=dataclasses.replace(one.completion, text=text))
    writer = RunWriter(tmp_path)
    writer.append_group([one])
    expected = text.replace("\ud800", "\ufffd")
    assert next(read_rollouts(tmp_path)).completion.text == expected
    writer.finish_step(1)
    assert next(read_rollouts(tmp_path)).completion.text == expected


def test_a_key_is_stored_once(tmp_path):
    writer = RunWriter(tmp_path)
    group = fake_rollouts.group(0)
    writer.append_group(group)
    with pytest.raises(DuplicateRollout, match="item-0000"):
        writer.append_group(group[:1])
    with pytest.raises(DuplicateRollout, match="stored twice"):
        writer.append_group([*fake_rollouts.group(1), fake_rollouts.group(1)[0]])
    writer.finish_step(1)
    with pytest.raises(DuplicateRollout, match="finished already"):
        RunWriter(tmp_path).append_group(fake_rollouts.group(2))
    assert len(list(read_rollouts(tmp_path))) == 8


def test_a_step_torn_by_a_kill_can_be_appended_to(tmp_path):
    writer = RunWriter(tmp_path)
    writer.append_group(fake_rollouts.group(0, size=2))
    writer.close()
    jsonl = tmp_path / "rollouts/step_000001/rollouts.jsonl"
    jsonl.write_bytes(jsonl.read_bytes()[:-20])
    again = RunWriter(tmp_path)
    again.append_group(fake_rollouts.group(1, size=2))
    again.finish_step(1)
    assert [one.prompt_id for one in read_rollouts(tmp_path)] == ["item-0000", "item-0001", "item-0001"]


def test_a_kill_between_parquet_and_manifest_leaves_the_lines_in_charge(tmp_path):
    before = fake_rollouts.written(tmp_path, 1)
    folder = tmp_path / "rollouts/step_000001"
    writer = RunWriter(tmp_path / "other")
    for group in next(fake_rollouts.steps(1)):
        writer.append_group(group)
    shutil.copy(tmp_path / "other/rollouts/step_000001/rollouts.jsonl", folder)
    (folder / "manifest.json").unlink()
    (folder / "rollouts.parquet").write_bytes(b"PAR1 half")
    assert [one.key for one in read_rollouts(tmp_path)] == [one.key for one in before]


def test_a_resumed_run_sets_later_steps_aside_and_does_them_again(tmp_path):
    fake_rollouts.written(tmp_path, 3)
    writer = RunWriter(tmp_path)
    assert writer.drop_steps_after(1) == [2, 3]
    assert {one.step for one in read_rollouts(tmp_path)} == {1}
    writer.append_group(fake_rollouts.group(4, step=2))
    writer.finish_step(2)
    assert {one.step for one in read_rollouts(tmp_path)} == {1, 2}
    assert sorted(path.name for path in (tmp_path / "rollouts/superseded").iterdir()) == [
        "step_000002.0",
        "step_000003.0",
    ]


def test_a_newer_schema_is_refused_with_both_numbers(tmp_path):
    fake_rollouts.written(tmp_path, 1)
    manifest = tmp_path / "rollouts/step_000001/manifest.json"
    manifest.write_text(manifest.read_text().replace(f'"schema_version": {SCHEMA_VERSION}', '"schema_version": 9'))
    with pytest.raises(NewerSchema, match=f"version 9, this version reads up to {SCHEMA_VERSION}"):
        list(read_rollouts(tmp_path))


def test_errors_name_the_folder_and_the_steps_there_are(tmp_path):
    with pytest.raises(NotARun, match="is not a run"):
        read_rollouts(tmp_path)
    fake_rollouts.written(tmp_path, 2)
    with pytest.raises(NotARun, match="has no step 7; it has steps 1 to 2"):
        read_rollouts(tmp_path, step=7)
    (tmp_path / "rollouts/step_000002/rollouts.parquet").write_bytes(b"rubbish")
    assert len(list(read_rollouts(tmp_path, step=1))) == 32
    with pytest.raises(DamagedStore, match=r"step_000002/rollouts\.parquet cannot be read"):
        list(read_rollouts(tmp_path, step=2))


def test_an_image_that_changed_since_it_was_loaded_is_refused(tmp_path):
    asked = dataclasses.replace(
        fake_rollouts.sample(0), media=(Media(kind="image", data=fake_rollouts.png(1), sha256="0" * 64),)
    )
    with pytest.raises(StoreError, match="the file changed"):
        RunWriter(tmp_path).append_group([fake_rollouts.rollout(asked)])


_FILLS_UP = """
import resource, sys
import signal
from tests.fakes import fake_rollouts
from rollouts.store.disk import DiskFull
from rollouts.store.writer import RunWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
writer = RunWriter(sys.argv[1])
writer.append_group(fake_rollouts.group(0))
size = __import__("pathlib").Path(sys.argv[1], "rollouts/step_000001/rollouts.jsonl").stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 5000, size + 5000))
try:
    writer.append_group(fake_rollouts.group(2))
except DiskFull as error:
    print(error)
"""


def test_a_full_disk_is_a_clear_error_and_leaves_no_half_group(tmp_path):
    shown = subprocess.run(
        [sys.executable, "-c", _FILLS_UP, str(tmp_path)], capture_output=True, text=True, cwd=REPOSITORY, check=True
    )
    assert "the disk is full" in shown.stdout
    assert "resume=true" in shown.stdout
    assert {one.prompt_id for one in read_rollouts(tmp_path)} == {"item-0000"}
    assert (tmp_path / "rollouts/step_000001/rollouts.jsonl").read_bytes().endswith(b"\n")


def test_a_full_disk_at_the_end_of_a_step_keeps_the_lines(tmp_path, monkeypatch):
    writer = RunWriter(tmp_path)
    for group in next(fake_rollouts.steps(1)):
        writer.append_group(group)
    lines = (tmp_path / "rollouts/step_000001/rollouts.jsonl").read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("rollouts.store.disk.os.replace", full)
    with pytest.raises(OSError, match="the disk is full"):
        writer.finish_step(1)
    assert [path.name for path in (tmp_path / "rollouts/step_000001").iterdir()] == ["rollouts.jsonl"]
    assert (tmp_path / "rollouts/step_000001/rollouts.jsonl").read_bytes() == lines
    monkeypatch.undo()
    writer.finish_step(1)
    assert len(list(read_rollouts(tmp_path))) == 32
