"""Folders as people keep them: one folder a class, a text beside each picture, or the folders images and masks.

Links are followed once: a folder that leads back to itself is told, and so is one with more entries than a data set
has.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from rollouts.texts.reading import TextFault, file_text, shorten

Layout = Literal["classes", "captions", "masks"]
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".dcm", ".dicom")
VIDEOS = (".mp4", ".webm", ".mkv", ".avi", ".mov", ".ts", ".gif", ".m4v")
VOLUMES = (".nii", ".nii.gz")
MOST_ENTRIES = 2_000_000
_DEEPEST = 24
_IMAGE_FOLDERS, _MASK_FOLDERS = ("images", "image", "img", "imgs"), ("masks", "mask", "labels", "segmentations")


class FolderFault(ValueError):
    """A folder that cannot be read; the message says why."""


def kind_of(name: str) -> Literal["image", "volume", "video"] | None:
    """What a file is by its name's ending; None = no medium. Whether it is one, its bytes say later."""
    lower = name.lower()
    if lower.endswith(VOLUMES):
        return "volume"
    if lower.endswith(VIDEOS):
        return "video"
    return "image" if lower.endswith(PICTURES) else None


def stem_of(name: str) -> str:
    """A file's name without its ending, `.nii.gz` as one."""
    return re.sub(r"(\.nii)?\.[A-Za-z0-9]+$", "", name)


def entries(folder: Path) -> list[str]:
    """Names in a folder, by the numbers in them (slice2 before slice10), without hidden ones. Raises FolderFault."""
    try:
        names = [entry.name for entry in os.scandir(folder) if not entry.name.startswith((".", "__"))]
    except OSError as error:
        raise FolderFault(f"the folder cannot be read: {error.strerror}") from error
    if len(names) > MOST_ENTRIES:
        raise FolderFault(f"{len(names):,} entries in one folder; at most {MOST_ENTRIES:,} are read")
    return sorted(
        names, key=lambda name: ([(int(p), "") if p.isdigit() else (-1, p) for p in re.split(r"(\d+)", name)])
    )


def walk(folder: Path) -> Iterator[str]:
    """Relative paths of all files below a folder, in order. Raises FolderFault for links that lead back."""
    yield from _walk(folder, "", {})


def _walk(folder: Path, below: str, above: dict[tuple[int, int], str]) -> Iterator[str]:
    try:
        status = (folder / below).stat()
    except OSError as error:  # a link to itself ends here: too many levels
        raise FolderFault(f"{shorten(below or '.')} cannot be read: {error.strerror}") from error
    key = (status.st_dev, status.st_ino)
    if key in above:
        raise FolderFault(
            f"the link {shorten(below)} leads back to {shorten(above[key] or 'the folder itself')}, a loop; remove it"
        )
    if len(above) >= _DEEPEST:
        raise FolderFault(f"{shorten(below)} lies deeper than {_DEEPEST} folders")
    for name in entries(folder / below):
        path = f"{below}/{name}" if below else name
        if (folder / path).is_dir():
            yield from _walk(folder, path, {**above, key: below})
        else:
            yield path


def layout_of(folder: Path) -> Layout | None:
    """Which of the layouts a folder has, by what lies in it; None = none of them. Raises FolderFault."""
    names = entries(folder)
    folders = [name for name in names if (folder / name).is_dir()]
    lower = {name.lower() for name in folders}
    if lower & {*_IMAGE_FOLDERS} and lower & {*_MASK_FOLDERS}:
        return "masks"
    files = [name for name in names if name not in folders]
    if any(name.lower().endswith(".txt") for name in files) and any(map(kind_of, files)):
        return "captions"
    if len(folders) >= 2 and not any(map(kind_of, files)):
        return "classes"
    return None


def read_folder(folder: Path, layout: Layout) -> Iterator[dict[str, str]]:
    """Each item as our fields: a medium with its label, caption or mask, paths relative to the folder. Raises
    FolderFault."""
    if layout == "classes":
        yield from _classes(folder)
    elif layout == "captions":
        yield from _captions(folder)
    else:
        yield from _masks(folder)


def _classes(folder: Path) -> Iterator[dict[str, str]]:
    """A folder for each label; in it media files, and folders of slices."""
    list(walk(folder))  # loops are told before anything is made of the folder
    for label in entries(folder):
        if not (folder / label).is_dir():
            continue
        for name in entries(folder / label):
            path = f"{label}/{name}"
            kind = "volume" if (folder / path).is_dir() else kind_of(name)
            if kind is None:
                raise FolderFault(f"{shorten(path)} is no picture, volume or video; remove it, or use a table")
            yield {kind: path, "label": label.replace("_", " ")}


def _captions(folder: Path) -> Iterator[dict[str, str]]:
    """A text beside each medium, of the same name with .txt; a medium without one is an item without a caption."""
    names = list(walk(folder))
    texts = {stem_of(name): name for name in names if name.lower().endswith(".txt")}
    for name in names:
        kind = kind_of(name)
        if kind is None:
            continue
        row: dict[str, str] = {kind: name}
        if stem_of(name) in texts:
            try:
                row["caption"] = " ".join(file_text(folder / texts[stem_of(name)]).split())
            except (TextFault, OSError) as error:
                raise FolderFault(f"{shorten(texts[stem_of(name)])}: {error}") from error
        yield row


def _masks(folder: Path) -> Iterator[dict[str, str]]:
    """The folders images and masks, a mask of the same name for each medium; `_mask` or `_seg` behind the name may
    stand there."""
    by_lower = {name.lower(): name for name in entries(folder) if (folder / name).is_dir()}
    images = next((by_lower[name] for name in _IMAGE_FOLDERS if name in by_lower), None)
    masks = next((by_lower[name] for name in _MASK_FOLDERS if name in by_lower), None)
    if images is None or masks is None:
        raise FolderFault("layout masks needs the folders images and masks")
    list(walk(folder))
    of_stem = {
        re.sub(r"[_-](mask|seg|segmentation|label)$", "", stem_of(name)): name for name in entries(folder / masks)
    }
    for name in entries(folder / images):
        path = f"{images}/{name}"
        kind = "volume" if (folder / path).is_dir() else kind_of(name)
        if kind is None:
            raise FolderFault(f"{shorten(path)} is no picture, volume or video; remove it, or use a table")
        mask = of_stem.get(stem_of(name) if kind_of(name) else name)
        yield {kind: path, **({"mask": f"{masks}/{mask}"} if mask else {})}
