"""What the page tells of a medium, the outline of its mask, and the slices of its source; and what it does not send."""

from __future__ import annotations

import io
import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from rollouts.page.export import export_page
from rollouts.page.media.outlines import BadImage, outline_png
from rollouts.page.media.sources import NoSource, Sources
from rollouts.page.media.words import medium_page
from rollouts.page.viewer import Viewer
from tests.fakes import fake_rollouts
from tests.fakes.view_server import viewing
from tests.rollouts.page import read_volume


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> read_volume.ReadVolume:
    return read_volume.written(tmp_path_factory.mktemp("volume"))


@pytest.fixture(scope="module")
def viewer(made: read_volume.ReadVolume):
    one = Viewer([made.run], Sources(made.data))
    one.index.refresh()
    yield one
    one.close()


def test_each_frame_has_its_line_and_the_medium_its_facts(viewer: Viewer, made: read_volume.ReadVolume) -> None:
    (medium,) = viewer.group(1, made.prompt)["media"]
    # 4 of 20 slices of 2.5 mm from z = -25: indices 2, 7, 12, 17 lie at -20, -7.5, 5 and 17.5 mm.
    assert [frame["index"] for frame in medium["frames"]] == [2, 7, 12, 17]
    assert medium["frames"][1]["line"] == "CT axial, soft 40/400, slice 8 of 20, z -7.5 mm"
    assert medium["frames"][1]["label"] == "Slice 8 of 20:"
    facts = dict(medium["facts"])
    assert facts["read as"] == "NIfTI" and facts["window"] == "soft 40/400" and facts["frames"] == "4 of 20"
    assert (medium["count"], medium["source"]) == (20, True)
    assert [frame["mask"] is not None for frame in medium["frames"]] == [True] * 4


def test_a_slice_of_the_source_looks_as_the_model_would_have_seen_it(
    viewer: Viewer, made: read_volume.ReadVolume
) -> None:
    (medium,) = viewer.group(1, made.prompt)["media"]
    seen = Image.open(io.BytesIO(viewer.images.png(medium["frames"][1]["sha256"]))).convert("RGB")
    read = Image.open(io.BytesIO(viewer.source(1, made.prompt, 0, 7))).convert("RGB")
    other = Image.open(io.BytesIO(viewer.source(1, made.prompt, 0, 8))).convert("RGB")
    assert read.tobytes() == seen.tobytes() != other.tobytes()
    for medium_number, index in ((0, 20), (0, -1), (1, 0)):
        with pytest.raises(NoSource):
            viewer.source(1, made.prompt, medium_number, index)


def test_a_source_that_changed_or_is_gone_is_not_shown(made: read_volume.ReadVolume, tmp_path: Path) -> None:
    (tmp_path / "ct.nii.gz").write_bytes(made.volume.read_bytes())
    row = {"id": made.prompt, "question": "Q", "answer": "x", "volume": "ct.nii.gz"}
    (tmp_path / "data.jsonl").write_text(json.dumps(row))
    one = Viewer([made.run], Sources(tmp_path / "data.jsonl"))
    try:
        one.index.refresh()
        nibabel.save(nibabel.Nifti1Image(np.full((4, 4, 20), -900, np.int16), np.eye(4)), tmp_path / "ct.nii.gz")
        with pytest.raises(NoSource, match="the file has changed"):
            one.source(1, made.prompt, 0, 3)
        (tmp_path / "ct.nii.gz").unlink()
        assert one.group(1, made.prompt)["media"][0]["source"] is False
    finally:
        one.close()
    with pytest.raises(NoSource, match=r"is a folder; give the run's data file"):
        Sources(tmp_path)
    silent = viewing(made.run)
    try:
        assert "source" not in silent.group(1, made.prompt)["media"][0]
        with pytest.raises(NoSource, match="--sources"):
            silent.source(1, made.prompt, 0, 3)
    finally:
        silent.close()


def test_an_exported_page_carries_outlines_and_reads_no_source(viewer: Viewer, made: read_volume.ReadVolume) -> None:
    html = export_page(viewer, "", "step", 5).decode()
    data = json.loads(html.split('id="carried">')[1].split("</script>")[0])
    (medium,) = data["group"][f"1/{made.prompt}"]["media"]
    assert medium["source"] is False
    assert all(f"outline {frame['mask']}" in data["images"] for frame in medium["frames"])


def test_the_outline_is_the_edge_of_what_is_marked_and_nothing_else() -> None:
    marked = Image.new("L", (9, 9))
    marked.paste(255, (2, 2, 7, 7))
    alpha = np.asarray(Image.open(io.BytesIO(outline_png(fake_rollouts.encoded(marked, "PNG")))).getchannel("A"))
    # A square of 5 x 5 has an edge of 16 pixels; the 3 x 3 inside it stays clear.
    assert (alpha > 0).sum() == 16 and not alpha[3:6, 3:6].any() and alpha[2, 2] == 255
    with pytest.raises(BadImage):
        outline_png(b"no picture")


@pytest.mark.parametrize(
    "provenance", [None, "[]", "{", '{"format": 3, "window": {}}', '{"other": 1}', '{"format": "x", "spacing": "y"}']
)
def test_a_strangers_record_of_reading_is_left_out_and_never_raises(provenance: str | None) -> None:
    stored = {"kind": "volume", "sha256": "a", "frames": ["b", "c"], "frame_indices": [1], "positions": ["x"],
              "provenance": provenance, "labels": ["L"], "mask": ["m"]}  # fmt: skip
    told = medium_page(stored, lambda name: "gone" if name == "m" else None)
    assert [frame["sha256"] for frame in told["frames"]] == ["b", "c"]
    assert [frame["mask"] for frame in told["frames"]] == [None, None]
    json.dumps(told, allow_nan=False)
