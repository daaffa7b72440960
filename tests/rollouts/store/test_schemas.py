"""A run of schema 1, stored by version 0.3.0 (`tests/cases/schema_1`: a finished step and one that was being written),
is read as it was written; what schema 2 adds to media comes back."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil

import pytest

from rollouts.check import check_run
from rollouts.diff import main as diff
from rollouts.media import frames
from rollouts.page.group import group_page
from rollouts.page.images import Images
from rollouts.page.index import Index
from rollouts.records import SCHEMA_VERSION, BadSample, Media, patient_key
from rollouts.store.layout import list_steps
from rollouts.store.reader import problems, read_rollouts, read_table
from rollouts.store.writer import RunWriter
from tests.fakes import fake_rollouts
from tests.paths import REPOSITORY

OLD = REPOSITORY / "tests/cases/schema_1"


def test_a_run_of_schema_1_is_read_as_it_was_written():
    expected = json.loads((OLD.parent / "schema_1.json").read_text(encoding="utf-8"))
    found = list(read_rollouts(OLD))
    assert SCHEMA_VERSION > 1 and len(found) == len(expected) == 16
    for one, told in zip(found, expected, strict=True):
        assert [one.step, one.prompt_id, one.sample_index, one.sample.gold_text, one.completion.text, one.total] == [
            told[name] for name in ("step", "prompt", "index", "gold", "text", "total")
        ]
        pixels = [[hashlib.sha256(f.tobytes()).hexdigest()[:16] for f in frames(m)] for m in one.sample.media]
        indices = [None if m.frame_indices is None else list(m.frame_indices) for m in one.sample.media]
        assert [
            [m.kind, m.sha256, chosen, seen] for m, chosen, seen in zip(one.sample.media, indices, pixels, strict=True)
        ] == told["media"]
        assert all(
            (m.source_sha256, m.patient, m.axes, dict(m.provenance)) == ("", "", "", {}) for m in one.sample.media
        )
    assert problems(OLD) == []


def test_tables_check_and_page_read_a_run_of_schema_1():
    table = read_table(list_steps(OLD)[0], ["prompt_id", "media"])
    volume = table["media"].to_pylist()[2][0]
    assert volume["kind"] == "volume" and volume["provenance"] is None and len(volume["frames"]) > 1
    assert check_run(OLD).problems == () and check_run(OLD).num_rollouts == 16
    index = Index([OLD])
    try:
        index.refresh()
        assert index.problems == {}
        for step, prompt in ((1, "phantoms-rl-000001-0"), (2, "phantoms-rl-000005-0")):
            medium = group_page(index, Images([OLD]), 0, step, prompt)["media"][0]
            assert medium["kind"] == "volume" and all(one["problem"] is None for one in medium["frames"])
    finally:
        index.close()


def test_a_run_of_schema_1_is_compared_with_one_of_today(tmp_path, capsys):
    writer = RunWriter(tmp_path / "today")
    for one in read_rollouts(OLD):
        if one.sample_index == 0:
            writer.append_group([dataclasses.replace(one, run="today")])
    writer.finish_step(1)
    writer.close()
    assert diff([str(OLD), str(tmp_path / "today")]) == 0
    assert "8" in capsys.readouterr().out


def shown_volume(folder) -> Media:
    files = []
    for k in range(3):
        files.append(str(folder / f"{k:06d}.png"))
        (folder / f"{k:06d}.png").write_bytes(fake_rollouts.png(k))
    mask = []
    for k in range(3):
        mask.append(str(folder / f"mask_{k:06d}.png"))
        (folder / f"mask_{k:06d}.png").write_bytes(fake_rollouts.png(9))
    return Media(
        "volume", frame_files=tuple(files), frame_indices=(4, 12, 20), source_sha256="ab" * 32,
        patient=patient_key("DOE^JANE", "salt"), positions=(-12.5, 0.0, 12.5), axes="LPS",
        provenance={"modality": "CT", "window": {"name": "soft", "low": -160.0, "high": 240.0}, "notes": ["gap"]},
        mask_files=tuple(mask),
    )  # fmt: skip


def test_what_was_read_comes_back_when_the_cache_is_gone(tmp_path):
    cache = tmp_path / "cache"
    cache.mkdir()
    medium = shown_volume(cache)
    pixels = [frame.tobytes() for frame in frames(medium)]
    one = fake_rollouts.rollout(dataclasses.replace(fake_rollouts.sample(0), media=(medium,)))
    writer = RunWriter(tmp_path / "run")
    writer.append_group([one])
    shutil.rmtree(cache)
    for finished in (False, True):
        if finished:
            writer.finish_step(1)
        stored = next(iter(read_rollouts(tmp_path / "run"))).sample.media[0]
        assert [frame.tobytes() for frame in frames(stored)] == pixels
        for name in ("kind", "frame_indices", "source_sha256", "patient", "positions", "frame_times", "axes"):
            assert getattr(stored, name) == getattr(medium, name), name
        assert stored.provenance == medium.provenance
        assert len(stored.mask_files) == 3
    # 3 frames, and the mask that all three share, once.
    assert len(list((tmp_path / "run/media").iterdir())) == 4
    assert check_run(tmp_path / "run").problems == ()


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"frame_files": ()}, "at least one frame"),
        ({"frame_files": ("a", "b"), "frames": (b"",)}, "exactly one of path, data, frames, frame_files"),
        ({"frame_files": ("a", "b"), "positions": (1.0,)}, "2 frames has 1 positions, expected one each"),
        ({"frame_files": ("a",), "mask_files": ("m", "n")}, "1 frames has 2 mask_files"),
        ({"frame_files": ("a",), "provenance": {"tags": object()}}, "provenance 'tags' is"),
    ],
)
def test_media_that_contradict_themselves_are_refused(fields, reason):
    with pytest.raises(BadSample, match=reason):
        Media("volume", **fields)


def test_a_patient_key_depends_on_patient_and_salt_and_names_nobody():
    key = patient_key("DOE^JANE", "a")
    assert key == patient_key(" DOE^JANE ", "a") != patient_key("DOE^JANE", "b") != patient_key("DOE^JOHN", "b")
    assert len(key) == 24 and "DOE" not in key
