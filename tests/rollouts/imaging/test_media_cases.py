"""The cases of media: files of many kinds with what must be seen in them, and refusals that must come. Files of
packages lie in those; the others beside the repository."""

from __future__ import annotations

import json
import re
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rollouts.imaging.ask import Ask
from rollouts.imaging.frames import Frames
from rollouts.imaging.read import read
from rollouts.records import BadSample
from tests.paths import REPOSITORY

CASES = (REPOSITORY / "../shared/cases/media").resolve()
LISTED = CASES / "expected.json"
KNOWN = json.loads(LISTED.read_text(encoding="utf-8"))["cases"] if LISTED.is_file() else []
FRAMES = [case for case in KNOWN if case["kind"] != "mask"]
PACKAGES = {"pydicom-data": "data_store"}
# Distance of the patches of a card from each other, and where they begin.
CARD_ROW, CARD_COLUMNS = 12, (6, 16, 26, 36, 46, 56)


def found(name: str) -> Path:
    """A file of a case: beside the repository, or inside a package."""
    package, _, inside = name.rpartition(":")
    if not package:
        return CASES / name
    top = find_spec(PACKAGES.get(package, package.replace("-", "_")))
    if top is None or top.origin is None:
        pytest.skip(f"{package} is not installed")
    folder = Path(top.origin).parent
    return folder / inside.removeprefix(f"{folder.name}/")


def ask_of(case: dict[str, Any], **more: Any) -> Ask:
    return Ask(case["kind"], **{**case["options"], **more})


def pixels(frames: Frames) -> list[np.ndarray]:
    return [np.asarray(image).astype(int) for image in frames.images()]


@pytest.mark.skipif(not KNOWN, reason="no cases of media beside the repository")
@pytest.mark.parametrize("case", FRAMES, ids=[case["id"] for case in FRAMES])
def test_case_of_media(case: dict[str, Any]) -> None:
    expect = case["expect"]
    seen = []
    for name in case["files"]:
        if "error" in expect:
            with pytest.raises(BadSample) as refused:
                list(read(found(name), ask_of(case)).images())
            assert re.search(expect["error"], str(refused.value)), str(refused.value)
            assert "SECRET" not in str(refused.value)
            assert "4711" not in str(refused.value)
            continue
        shown = read(found(name), ask_of(case))
        # Rows and columns of probes are those of the source.
        stored = pixels(read(found(name), ask_of(case, square_pixels=False)))
        check_frames(shown, expect)
        check_pixels(stored, expect)
        seen.append([image.tobytes() for image in shown.images()])
        assert "SECRET" not in str(shown.provenance.to_dict())
    if expect.get("same_pixels"):
        assert all(one == seen[0] for one in seen)


def check_frames(shown: Frames, expect: dict[str, Any]) -> None:
    if "frames" in expect:
        assert len(shown) == expect["frames"]
    if "indices" in expect:
        assert list(shown.indices) == expect["indices"]
    first = shown.image(0)
    if "size" in expect:
        assert list(first.size) == expect["size"]
    if "aspect" in expect:
        assert first.height / first.width == pytest.approx(expect["aspect"], abs=0.05)
    if "note" in expect:
        words = " ".join(f"{name} {text}" for name, text in shown.provenance.words())
        assert re.search(expect["note"], words), words
    if "z" in expect:
        assert shown.positions == pytest.approx(expect["z"], abs=0.01)
    if "inverted" in expect:
        assert shown.provenance.inverted is expect["inverted"]
    if expect.get("sides_unknown"):
        assert shown.axes == ""


def check_pixels(stored: list[np.ndarray], expect: dict[str, Any]) -> None:
    for frame, row, column, least, most in expect.get("probes", ()):
        assert least <= stored[frame][row, column].mean() <= most, (frame, row, column, stored[frame][row, column])
    for frame, row, column, *rgb in expect.get("colour", ()):
        assert np.abs(stored[frame][row, column] - rgb).max() <= 8, (frame, row, column, stored[frame][row, column])
    for line in expect.get("rising", ()):
        greys = [stored[frame][row, column, 0] for frame, row, column in line]
        assert all(after > before for before, after in pairwise(greys)), greys
    if "contrast" in expect:
        (f0, r0, c0), (f1, r1, c1), least = expect["contrast"]
        assert abs(stored[f0][r0, c0, 0] - stored[f1][r1, c1, 0]) >= least
    if "codes" in expect:
        codes = [
            sum(1 << bit for bit, column in enumerate(CARD_COLUMNS) if image[CARD_ROW, column].mean() > 128)
            for image in stored
        ]
        assert codes == expect["codes"]


@pytest.mark.skipif(not KNOWN, reason="no cases of media beside the repository")
def test_one_patient_stored_in_five_ways_gives_equal_frames() -> None:
    of = [case for case in KNOWN if case["id"].startswith(("N01-RAS", "N01-LPS", "N01-LAS", "N01-PIR"))]
    frames = [[image.tobytes() for image in read(found(case["files"][0]), ask_of(case)).images()] for case in of]
    assert len(frames) == 4
    assert all(one == frames[0] for one in frames)
