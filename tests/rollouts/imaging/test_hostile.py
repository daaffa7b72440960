"""Cut, bit-flipped and oversized files of each kind: a refusal of ours or frames, and nothing wrong in silence where
the format can tell. `python -m tests.bench.media.hostile` reads two hundred of each in a child that is watched."""

from __future__ import annotations

from pathlib import Path

import pytest

from rollouts.imaging.ask import Ask
from rollouts.imaging.read import read
from rollouts.records import BadSample
from tests.bench.media.hostile import KINDS, files, judged, look


@pytest.mark.parametrize("name", KINDS)
def test_spoiled_files_are_refused_or_read_and_never_wrong_in_silence(tmp_path: Path, name: str) -> None:
    kind, whole = KINDS[name], {}
    results = []
    for number, base, how in files(tmp_path, kind, 9, seed=1):
        if base not in whole:
            whole[base] = look(tmp_path / f"whole-{base}{kind.end}", kind)
        result, told = judged(tmp_path / f"{number}{kind.end}", kind, *whole[base])
        assert result != "other" or not (how == "cut" or kind.sums), (number, how, told)
        assert result != "refused" or (0 < len(told) < 500 and str(tmp_path) not in told)
        results.append(result)
    assert "refused" in results


@pytest.mark.parametrize(
    ("start", "told"),
    [
        (b"PK\x03\x04" + b"\0" * 60, "a ZIP archive; unpack it"),
        (b"\x1f\x8b\x08" + b"\0" * 60, "a gzip file that holds no NIfTI"),
        (b"%PDF-1.7\n", "a PDF document"),
        (b"<!DOCTYPE html><html>404</html>", "a web page"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
            "a pointer of Git LFS in place of the file",
        ),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC picture"),
        (b"\x28\xb5\x2f\xfd" + b"\0" * 60, "a zstd archive"),
        (b"ObjectType = Image\nNDims = 3\n", "a MetaImage file"),
        (b"\0\0\0\1\0\0\1\0" + b"\0" * 60, "a FreeSurfer MGH file"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "a sound"),
        (b"ffconcat version 1.0\nfile secret.mp4\n", "a text file"),
        (b"", "an empty file"),
    ],
)
@pytest.mark.parametrize(
    ("kind", "end"), [("image", ".png"), ("volume", ".nii.gz"), ("video", ".mp4"), ("image", ".dcm")]
)
def test_what_stands_in_place_of_a_medium_is_named(
    tmp_path: Path, start: bytes, told: str, kind: str, end: str
) -> None:
    (tmp_path / f"m{end}").write_bytes(start)
    with pytest.raises(BadSample) as refused:
        read(tmp_path / f"m{end}", Ask(kind))  # type: ignore[arg-type]
    assert told in str(refused.value) and "\n" not in str(refused.value)
