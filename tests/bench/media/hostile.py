"""Two hundred cut, bit-flipped and oversized files of each kind are read, each within ten seconds and 1 GiB.

python -m tests.bench.media.hostile [KIND ..] [--count 200] [--seed 0]

Each file is read in a child process that is watched, so that a crash of native code, a hang and memory are seen and
told. What came out is compared with the whole file's frames:

- refused: a `BadSample` of ours
- same: the whole file's frames, to the last pixel
- noted: other frames, and a note that the whole file has not
- unproved: other frames without a note, but the reading says that the format has no checksum: with a bit of its pixels
  or of its slope turned over, a file is another valid file. No cut file may be read so.
- other: other frames in silence; there must be none.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import resource
import select
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from rollouts import children
from rollouts.imaging.ask import Ask, AskKind
from rollouts.imaging.notes import Provenance
from rollouts.imaging.read import read
from rollouts.records import BadSample

SECONDS = 10.0
GIB = 1 << 30


class Kind(NamedTuple):
    """One kind of file: whole files of it, and how they are asked for."""

    ask: AskKind
    end: str
    whole: Callable[[Path], list[bytes]]


def phantom() -> np.ndarray:
    """[slices, rows, columns] with noise, int16, so that no two slices are alike."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[0:48, 0:64]
    shade = 400 * np.exp(-((rows - 20) ** 2 + (columns - 40) ** 2) / 200)
    return (np.stack([shade * (1 + index / 9) for index in range(9)]) + rng.normal(0, 20, (9, 48, 64))).astype(np.int16)


def _nifti(folder: Path, end: str) -> list[bytes]:
    import nibabel

    path = folder / f"whole{end}"
    nibabel.save(nibabel.Nifti1Image(phantom().T, np.diag([-2.0, -2.0, 5.0, 1.0])), path)
    return [path.read_bytes()]


def _clip(folder: Path, name: str, codec: str, options: dict[str, str]) -> bytes:
    from tests.rollouts.imaging.clips import write

    return write(folder / name, 24, codec, options=options).read_bytes()


def _mp4(folder: Path) -> list[bytes]:
    return [
        _clip(folder, "a.mp4", "libx264", {"bf": "2", "movflags": "faststart"}),
        _clip(folder, "b.mp4", "libx264", {"g": "6"}),
        _clip(folder, "c.mp4", "mpeg4", {"b": "2000k"}),
    ]


def _webm(folder: Path) -> list[bytes]:
    fast = {"b": "500k", "deadline": "realtime", "cpu-used": "8"}
    return [_clip(folder, "a.webm", "libvpx-vp9", fast), _clip(folder, "b.webm", "libvpx", fast)]


def _pictures(frames: int, form: str, settings: list[dict[str, Any]]) -> list[bytes]:
    greys = ((phantom() - phantom().min()) / np.ptp(phantom()) * 255).astype(np.uint8)
    images = [Image.fromarray(grey) for grey in greys[:frames]]
    found = []
    for one in settings:
        buffer = io.BytesIO()
        more = {"save_all": True, "append_images": images[1:], "duration": 100} if frames > 1 else {}
        images[0].save(buffer, form, **more, **one)
        found.append(buffer.getvalue())
    return found


def _png(folder: Path) -> list[bytes]:
    deep = io.BytesIO()
    Image.fromarray((phantom()[0] + 2000).astype(np.uint16)).save(deep, "PNG")
    return [*_pictures(1, "PNG", [{}]), deep.getvalue()]


def _tiff(folder: Path) -> list[bytes]:
    return _pictures(5, "TIFF", [{}, {"compression": "tiff_lzw"}, {"compression": "tiff_adobe_deflate"}])


def _dicom(folder: Path) -> list[bytes]:
    """Files inside pydicom: uncompressed, big-endian, RLE, JPEG, JPEG 2000, JPEG-LS, palette, multi-frame."""
    top = Path(str(find_spec("pydicom").origin)).parent / "data" / "test_files"  # type: ignore[union-attr]
    names = (
        "CT_small", "MR_small_bigendian", "MR_small_RLE", "MR_small_jp2klossless", "MR_small_jpeg_ls_lossless",
        "SC_rgb_jpeg_dcmtk", "JPEG2000", "examples_palette", "SC_rgb_rle_2frame",
    )  # fmt: skip
    return [path.read_bytes() for name in names if (path := top / f"{name}.dcm").is_file()]


KINDS = {
    "dicom": Kind("image", ".dcm", _dicom),
    "nifti": Kind("volume", ".nii", lambda folder: _nifti(folder, ".nii")),
    "nii.gz": Kind("volume", ".nii.gz", lambda folder: _nifti(folder, ".nii.gz")),
    "mp4": Kind("video", ".mp4", _mp4),
    "webm": Kind("video", ".webm", _webm),
    "gif": Kind("video", ".gif", lambda folder: _pictures(9, "GIF", [{}, {"optimize": True}])),
    "png": Kind("image", ".png", _png),
    "tiff": Kind("volume", ".tif", _tiff),
}


def spoiled(whole: bytes, rng: random.Random, number: int) -> tuple[str, bytes]:
    """The number-th way to spoil a file, by turns: cut, bits flipped (half of them near its head), made too large."""
    how = ("cut", "flipped", "large")[number % 3]
    if how == "cut":
        return how, whole[: rng.randrange(len(whole))]
    data = bytearray(whole)
    if how == "flipped":
        reach = len(data) if number % 2 else min(len(data), 512)
        for _ in range(rng.choice((1, 1, 2, 8))):
            data[rng.randrange(reach)] ^= 1 << rng.randrange(8)
        return how, bytes(data)
    # A number of two or four bytes in the head says more than there is, or the file goes on after its end.
    if number % 4 == 2:
        return how, bytes(data) + rng.randbytes(1 << rng.randrange(8, 20))
    place = rng.randrange(min(len(data), 1024) - 4)
    form = rng.choice(("<H", ">H", "<I", ">I"))
    struct.pack_into(form, data, place, (1 << 8 * struct.calcsize(form)) - rng.choice((1, 2, 1000)))
    return how, bytes(data)


def look(path: Path, kind: Kind) -> tuple[list[bytes], Provenance]:
    """Pixels of all frames, and how they were read. Raises BadSample."""
    page = 0 if path.suffix == ".dcm" and kind.ask == "image" else None
    try:
        frames = read(path, Ask(kind.ask))
    except BadSample as error:
        if page is None or "take one with" not in str(error):
            raise
        frames = read(path, Ask(kind.ask, page=page))
    return [image.tobytes() for image in frames.images()], frames.provenance


def judged(path: Path, kind: Kind, pixels: list[bytes], whole: Provenance) -> tuple[str, str]:
    """How a spoiled file was read beside the whole one, and what was told."""
    try:
        got, told = look(path, kind)
    except BadSample as error:
        return "refused", str(error)
    if got == pixels:
        return "same", ""
    if new := [note for note in told.notes if note not in whole.notes]:
        return "noted", "; ".join(new)
    return "unproved" if told.checksum == "none" else "other", f"{len(got)} of {len(pixels)} frames"


def work(folder: Path, name: str) -> None:
    """In the child: read the files whose names come on standard input; a JSON line for each."""
    kind, whole = KINDS[name], {}
    for line in sys.stdin:
        number, base = line.split()
        if base not in whole:
            whole[base] = look(folder / f"whole-{base}{kind.end}", kind)
        begun = time.monotonic()
        try:
            result, told = judged(folder / f"{number}{kind.end}", kind, *whole[base])
        except Exception as error:  # a boundary: this is what is looked for
            result, told = "ERROR", f"{type(error).__name__}: {error}"
        seconds, memory = time.monotonic() - begun, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps([result, told, seconds, memory]), flush=True)


class Reader:
    """A child that reads, and is started again after it died or hung."""

    def __init__(self, folder: Path, name: str) -> None:
        self._command = [sys.executable, "-m", "tests.bench.media.hostile", "--work", str(folder), name]
        self._child: Any = None

    def ask(self, line: str) -> tuple[str, str, float, float]:
        """What the child says of one file, or how it ended."""
        if self._child is None:
            self._start()
        os.write(self._input, line.encode())
        begun = time.monotonic()
        # The first answer waits for the libraries to load.
        ready, _, _ = select.select([self._child.stdout], [], [], SECONDS + 60 * self._fresh)
        self._fresh = False
        answer = self._child.stdout.readline() if ready else b""
        if answer:
            return tuple(json.loads(answer))
        children.wait(self._child, 1.0)
        how = children.how_it_ended(self._child)
        self.close()
        return ("CRASH" if how else "HANG", how or f"no answer in {SECONDS:.0f} s", time.monotonic() - begun, 0.0)

    def _start(self) -> None:
        import subprocess

        reading, self._input = os.pipe()
        self._child = children.start(self._command, stdin=reading, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        os.close(reading)
        self._fresh = True

    def close(self) -> None:
        """End the child."""
        if self._child is not None:
            os.close(self._input)
            children.end(self._child)
            self._child.stdout.close()
            self._child = None


def files(folder: Path, kind: Kind, count: int, seed: int) -> Iterator[tuple[int, int, str]]:
    """Write whole and spoiled files; the number of each, of its whole file, and how it was spoiled."""
    bases = kind.whole(folder)
    for base, data in enumerate(bases):
        (folder / f"whole-{base}{kind.end}").write_bytes(data)
    rng = random.Random(seed)
    for number in range(count):
        base = number // 3 % len(bases)
        how, data = spoiled(bases[base], rng, number)
        (folder / f"{number}{kind.end}").write_bytes(data)
        yield number, base, how


def run(name: str, count: int, seed: int) -> list[str]:
    """Read all files of a kind and print what came of it; the faults found."""
    kind = KINDS[name]
    table: dict[str, Counter[str]] = {"cut": Counter(), "flipped": Counter(), "large": Counter()}
    slowest = most = 0.0
    faults = []
    with tempfile.TemporaryDirectory(prefix="hostile-") as made:
        folder = Path(made)
        reader = Reader(folder, name)
        for number, base, how in files(folder, kind, count, seed):
            result, told, seconds, memory = reader.ask(f"{number} {base}\n")
            table[how][result] += 1
            slowest, most = max(slowest, seconds), max(most, memory)
            silent = result == "other" or (result == "unproved" and how == "cut")
            if result in ("CRASH", "HANG", "ERROR") or silent or seconds > SECONDS or memory > GIB:
                faults.append(f"{name} {number} ({how}): {result} {told} {seconds:.1f} s {memory / GIB:.2f} GiB")
        reader.close()
    for how, results in table.items():
        print(f"{name:8} {how:8} " + "  ".join(f"{result} {n}" for result, n in sorted(results.items())))
    print(f"{name:8} slowest {slowest:.2f} s, memory {most / (1 << 20):.0f} MiB")
    return faults


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(KINDS)}; all where none is named")
    parser.add_argument("--count", type=int, default=200, help="files of each kind (200)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work is not None:
        work(given.work, given.kinds[0])
        return
    if unknown := set(given.kinds) - set(KINDS):
        parser.error(f"no kind {', '.join(sorted(unknown))}; expected {', '.join(KINDS)}")
    faults = [fault for name in given.kinds or KINDS for fault in run(name, given.count, given.seed)]
    print(
        "\n".join(faults) or "no crash, no hang, no error of another kind, nothing over 1 GiB, no cut file in silence"
    )
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
