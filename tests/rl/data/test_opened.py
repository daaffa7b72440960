"""Pictures that an earlier start found whole are not opened again; what changed, or was not whole, is."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from rl.data.images import ImageReader
from rollouts.imaging import pictures
from rollouts.records import BadSample
from tests.fakes import fake_rollouts


def old(path: Path, data: bytes, seconds: int = 1_000_000_000) -> None:
    """A file that changed long ago."""
    path.write_bytes(data)
    os.utime(path, (seconds, seconds))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of what is decoded."""
    seen: list[int] = []
    fault = pictures.fault

    def counted(data: bytes) -> str | None:
        seen.append(len(data))
        return fault(data)

    monkeypatch.setattr(pictures, "fault", counted)
    return seen


def start(root: Path, *names: str) -> list[str]:
    """What a start knows of these pictures: the hash of each, or its fault."""
    reader = ImageReader(root, root / "cache")
    found = []
    for name in names:
        try:
            found.append(reader.image(name).sha256)
        except BadSample as error:
            found.append(str(error))
    assert reader.opened is not None
    reader.opened.write()
    return found


def test_the_next_start_decodes_only_what_changed_and_what_was_not_whole(tmp_path: Path, decoded: list[int]) -> None:
    first, second = fake_rollouts.png(1), fake_rollouts.png(2)
    old(tmp_path / "a.png", first)
    old(tmp_path / "b.png", first)
    old(tmp_path / "torn.png", first[:-30])
    before = start(tmp_path, "a.png", "b.png", "torn.png", "none.png")
    assert before[:2] == [hashlib.sha256(first).hexdigest()] * 2 and len(decoded) == 3
    del decoded[:]
    assert start(tmp_path, "a.png", "b.png", "torn.png", "none.png") == before
    assert decoded == [len(first) - 30]
    del decoded[:]
    old(tmp_path / "b.png", second, 1_100_000_000)
    assert start(tmp_path, "a.png", "b.png") == [before[0], hashlib.sha256(second).hexdigest()]
    assert decoded == [len(second)]


def test_what_changed_a_moment_ago_is_decoded_again(tmp_path: Path, decoded: list[int]) -> None:
    (tmp_path / "new.png").write_bytes(fake_rollouts.png(1))
    assert start(tmp_path, "new.png") == start(tmp_path, "new.png")
    assert len(decoded) == 2


@pytest.mark.parametrize("text", ["", "[1", "[]", "7", '{"a.png": 3}', '{"a.png": [1, 2]}'])
def test_a_damaged_memory_is_none(tmp_path: Path, decoded: list[int], text: str) -> None:
    old(tmp_path / "a.png", fake_rollouts.png(1))
    before = start(tmp_path, "a.png")
    [memory] = (tmp_path / "cache" / "opened").iterdir()
    memory.write_text(text.replace("a.png", str(tmp_path / "a.png")))
    assert start(tmp_path, "a.png") == before and len(decoded) == 2
