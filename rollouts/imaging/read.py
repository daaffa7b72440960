"""The one way in: a file or a folder becomes frames, by the reader that its first bytes name."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from rollouts import terminal
from rollouts.imaging.ask import Ask
from rollouts.imaging.cache import Cache
from rollouts.imaging.dicom import reader as dicom
from rollouts.imaging.flat import reader as flat
from rollouts.imaging.frames import Frames, prepare
from rollouts.imaging.nifti import reader as nifti
from rollouts.imaging.source import Source, named
from rollouts.imaging.video import reader as video
from rollouts.records import BadSample

# Files of one folder that are looked at: a series of a moving organ has some thousands.
MAX_FILES = 20_000
# Bytes of a file that say what it is.
HEAD = 1024


class Reader(NamedTuple):
    """One format: how it begins, and who opens it."""

    name: str
    # Whether a file of it begins with these bytes (at most `HEAD` of them).
    begins: Callable[[bytes], bool]
    # Opens one file, or those of a folder that begin so. Raises BadSample without the file's name.
    open_source: Callable[[Sequence[Path], Ask], Source]
    # Modules of the extra `media` that it needs.
    needs: tuple[str, ...] = ()


# The first reader whose `begins` fits opens the file. A new format is one line here.
READERS: tuple[Reader, ...] = (
    Reader(dicom.NAME, lambda head: head[128:132] == b"DICM", dicom.open_source, ("pydicom",)),
    Reader(nifti.NAME, nifti.begins, nifti.open_source, ("nibabel",)),
    Reader(flat.NAME, flat.begins, flat.open_source),
    Reader("a video (MP4, WebM, AVI, ..)", video.begins, video.open_source, ("av",)),
)
# How a DICOM data set begins that was written without the header of a file: group 0008, in either order of bytes.
_HEADERLESS = (b"\x08\x00\x05\x00", b"\x08\x00\x00\x00", b"\x08\x00\x08\x00", b"\x00\x08\x00\x05", b"\x00\x08\x00\x00")
# How files with a checksum over all their pixels begin: PNG, gzip.
_SUMMED = (b"\x89PNG\r\n\x1a\n", b"\x1f\x8b")
# What is given in place of a picture, by its first bytes.
_NO_PICTURE = (
    (b"PK\x03\x04", "a ZIP archive; unpack it"),
    (b"Rar!", "a RAR archive; unpack it"),
    (b"7z\xbc\xaf", "a 7z archive; unpack it"),
    (b"\xfd7zXZ", "an xz archive; unpack it"),
    (b"BZh", "a bzip2 archive; unpack it"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive; unpack it"),
    (b"version https://git-lfs", "a pointer of Git LFS in place of the file; fetch it with git lfs pull"),
    (b"%PDF", "a PDF document"),
    (b"<svg", "an SVG drawing; convert it to PNG"),
    (b"8BPS", "a Photoshop file; convert it to PNG"),
    (b"ObjectType", "a MetaImage file; convert it to NIfTI"),
    (b"NDims", "a MetaImage file; convert it to NIfTI"),
    (b"\0\0\0\1\0", "a FreeSurfer MGH file; convert it to NIfTI"),
    (b"\0\0\0\1", "a bare stream of video; put it into MP4"),
    (b"ID3", "a sound"),
    (b"fLaC", "a sound"),
    (b"<!doctype html", "a web page"),
    (b"<html", "a web page"),
    (b"<?xml", "an XML document"),
    (b"{", "a text file"),
    (b"MZ", "a program"),
    (b"\x7fELF", "a program"),
    (b"\x89HDF", "an HDF5 file; convert it to NIfTI"),
    (b"CDF", "a MINC or NetCDF file; convert it to NIfTI"),
    (b"\x93NUMPY", "a NumPy array, which says nothing of its geometry; convert it to NIfTI"),
    (b"NRRD", "an NRRD file; convert it to NIfTI"),
)


def read(path: Path | str, ask: Ask, *, name: str | None = None, cache: Path | str | None = None) -> Frames:
    """Read a medium.

    Args:
        path: a file, or a folder that holds one series.
        ask: what of it, and how it is shown.
        name: what errors call it; None = the last part of the path.
        cache: folder of frames read before (`rollouts.imaging.cache`); None = frames are made when they are asked for.

    Raises:
        BadSample: `volume scan: 2 series ..`: what was got, what was expected, what to do.
    """
    path = Path(path)
    whole_name = f"{ask.kind} {path.name if name is None else name}"
    with named(whole_name):
        paths = files_of(path, ask)
        if cache is None:
            return prepare(open_source(paths, ask), ask, whole_name)
        kept = Cache(Path(cache))
        key = kept.key(whole_of(paths), ask)
        entry = kept.find(key)
        if entry is None:
            frames = prepare(open_source(paths, ask), ask, whole_name)
            entry = kept.keep(key, frames.provenance, frames.images())
        return Frames(ask.kind, entry.provenance, name=whole_name, files=entry.files)


def open_source(paths: Sequence[Path], ask: Ask) -> Source:
    """Open files with the reader of their first bytes; of a folder, the first format of the table that is there. Raises
    BadSample."""
    heads = [(path, _head(path)) for path in paths]
    for reader in READERS:
        if fitting := [path for path, head in heads if reader.begins(head)]:
            if absent := [module for module in reader.needs if module in terminal.missing("media")]:
                raise BadSample(f"{reader.name} needs {', '.join(absent)}: pip install 'rounds-rl[media]'")
            return _with_checksum(_with_left_out(reader.open_source(fitting, ask), heads, fitting), heads, fitting)
    if len(heads) > 1:
        raise BadSample(f"a folder with {len(heads)} files, none of which is {' or '.join(_known())}")
    what, known = what_it_is(heads[0][1]), ", ".join(_known())
    raise BadSample(f"{what} (no {ask.kind})" if ";" in what else f"{what}, no {ask.kind}; {known} can be read")


def _with_left_out(source: Source, heads: list[tuple[Path, bytes]], fitting: list[Path]) -> Source:
    """The source with a note on files of its folder that the reader was not given: one may be a damaged slice."""
    there = set(fitting)
    others = [path for path, _ in heads if path not in there and nifti.header_of(path) not in there]
    others = [path for path in others if not _is_of_a_desktop(path)]
    if not others:
        return source
    note = f"{len(others)} file{'s' if len(others) > 1 else ''} of another kind left out"
    known = source.provenance
    return dataclasses.replace(source, provenance=dataclasses.replace(known, notes=(*known.notes, note)))


def _with_checksum(source: Source, heads: list[tuple[Path, bytes]], fitting: list[Path]) -> Source:
    """The source with what proves its bytes. PNG and gzip carry a CRC-32, which their readers check; DICOM, NIfTI,
    TIFF, JPEG, GIF and the containers of video carry none over their pixels."""
    there = set(fitting)
    summed = all(head.startswith(_SUMMED) for path, head in heads if path in there)
    checksum = "CRC-32" if summed else "none"
    return dataclasses.replace(source, provenance=dataclasses.replace(source.provenance, checksum=checksum))


def _is_of_a_desktop(path: Path) -> bool:
    """Whether a file is one that desktops leave in any folder."""
    return path.name.startswith(".") or path.name.lower() in ("thumbs.db", "desktop.ini")


def format_of(path: Path) -> str:
    """The name in `READERS` of the format that a file begins with; "" = none. Raises OSError."""
    head = _head(path)
    return next((reader.name for reader in READERS if reader.begins(head)), "")


def _known() -> list[str]:
    return [reader.name for reader in READERS]


def what_it_is(head: bytes) -> str:
    """What a file that no reader opens is, by its first bytes (`HEAD` of them), and what to do: "a ZIP archive; unpack
    it"."""
    if not head:
        return "an empty file"
    lowered = head.lstrip().lower()
    for begin, what in _NO_PICTURE:
        if head.startswith(begin) or lowered.startswith(begin.lower()):
            return what
    if head[4:8] == b"ftyp":  # AVIF is read; video.begins leaves the others
        return "a HEIC picture; convert it to PNG"
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        return "a sound"
    if head[:4] in _HEADERLESS:
        return "a DICOM file without its header (no DICM at byte 128); write it again with one"
    if head[257:262] == b"ustar":
        return "a tar archive; unpack it"
    if head.startswith(b"\x1f\x8b"):
        return "a gzip file that holds no NIfTI; unpack it"
    text = all(byte >= 32 or byte in b"\t\r\n\f" for byte in head)
    return "a text file" if text else f"a file of no known format (it begins with {head[:4].hex(' ')})"


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEAD)


def files_of(path: Path, ask: Ask) -> list[Path]:
    """The one file, or all files of a folder and of the folders in it, sorted by name. Raises BadSample, OSError."""
    if not path.exists() and not path.is_symlink():
        raise BadSample("there is no such file or folder")
    if not path.is_dir():
        if not path.is_file():
            raise BadSample("is no file and no folder")
        return [nifti.header_of(path) or path]
    if ask.kind == "image":
        raise BadSample("is a folder; give one file of it, or all of them as volume or video")
    files = sorted(_walk(path), key=lambda file: _by_numbers(file.relative_to(path).as_posix()))
    if not files:
        raise BadSample("is a folder without files")
    return files


def whole_of(paths: Sequence[Path]) -> list[Path]:
    """These files, and those beside them without which they say nothing: the data of a pair."""
    return list(dict.fromkeys(part for path in paths for part in nifti.parts_of(path)))


def _by_numbers(name: str) -> list[tuple[int, str]]:
    """Sorts names by the numbers in them: slice2 before slice10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"([0-9]{1,18})", name)]


def _walk(folder: Path) -> Iterator[Path]:
    """Files below a folder; links to folders are not followed, so that there is no loop."""
    count = 0
    for place, _, names in os.walk(folder, onerror=_refuse_walk):
        for name in names:
            file = Path(place, name)
            if not file.is_file():  # a link to nowhere or to itself, a pipe
                continue
            count += 1
            if count > MAX_FILES:
                raise BadSample(f"is a folder with more than {MAX_FILES:,} files; give the folder of one series")
            yield file


def _refuse_walk(error: OSError) -> None:
    raise error
