"""Opens images, volumes and videos: every medical input becomes an ordered list of RGB frames (Fleming-VL, Sec 1 and
3.3)."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

from rollouts.imaging import pictures
from rollouts.imaging.flat.chunks import without_words
from rollouts.imaging.pick import evenly_spaced as evenly_spaced
from rollouts.records import BadSample, Media

# Signature and first chunk of a PNG, which says how large it is, and what stands before the pixels.
_PNG_HEAD = 1024
BLANK_GREY = (128, 128, 128)


def encoded_files(media: Media) -> list[bytes]:
    """The encoded file of each frame, in order: an image's own bytes, or one PNG a slice or frame.

    Raises:
        BadSample: the file is not there or cannot be read.
    """
    if media.frames is not None:
        return list(media.frames)
    if media.frame_files is not None:
        return [_file(path) for path in media.frame_files]
    return [media.data if media.data is not None else _file(str(media.path))]


def _file(path: str, num_bytes: int = -1) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(num_bytes)
    except OSError as error:
        raise BadSample(f"image {path} cannot be read: {error.strerror}") from error


def frames(media: Media) -> list[Image.Image]:
    """The frames of one medium in order, upright RGB: the pixels that policy, engine, judge, store and page show.

    Raises:
        BadSample: a file is missing, is no image, is cut off, is too large, or cannot be shown as one picture
            (`rollouts.imaging.pictures.picture`).
    """
    with _named(media):
        return [pictures.picture(data) for data in encoded_files(media)]


def pngs(media: Media) -> list[bytes]:
    """The frames of one medium as PNG files with exactly the pixels of `frames`; a plain PNG as it is, without the
    texts in it. Raises BadSample."""
    with _named(media):
        return [
            without_words(data) if pictures.is_plain_png(data) else pictures.to_png(pictures.picture(data))
            for data in encoded_files(media)
        ]


def sizes(media: Media) -> list[tuple[int, int]]:
    """Width and height of each frame, in order, read from the heads of the files. Raises BadSample."""
    with _named(media):
        if media.frame_files is not None:  # plain PNG files, of which the head is enough
            return [pictures.size(_file(path, _PNG_HEAD)) for path in media.frame_files]
        return [pictures.size(data) for data in encoded_files(media)]


@contextmanager
def _named(media: Media) -> Iterator[None]:
    """Puts the medium's name before what is wrong with one of its files."""
    try:
        yield
    except BadSample as error:
        name = f"{media.kind} {media.path or ''}".rstrip()
        raise error if str(error).startswith(name) else BadSample(f"{name} {error}") from error


def with_hash(media: Media) -> Media:
    """The same medium with its SHA-256 filled in: of the file's bytes, or of the frames' hashes in order."""
    if media.sha256:
        return media
    digests = [hashlib.sha256(data).hexdigest() for data in encoded_files(media)]
    whole = hashlib.sha256("".join(digests).encode()).hexdigest() if has_frames(media) else digests[0]
    return dataclasses.replace(media, sha256=whole)


def has_frames(media: Media) -> bool:
    """Whether it is held as a list of frames, as a volume, a video or a picture made of another kind of file is."""
    return media.frames is not None or media.frame_files is not None


def single_frames(media: Media) -> list[Media]:
    """Each frame as a picture of its own, in order, so that one that does not open spoils none of the others."""
    if media.frame_files is not None:
        return [Media("image", path=path) for path in media.frame_files]
    return [media] if media.frames is None else [Media("image", data=data) for data in media.frames]


def blank(media: Media) -> Media:
    """The same medium with every pixel mid-grey and the sizes kept: what a model that does not look would see."""
    grey = tuple(pictures.to_png(Image.new("RGB", frame.size, BLANK_GREY)) for frame in frames(media))
    if not has_frames(media):
        return Media(kind=media.kind, data=grey[0])
    shown = {name: getattr(media, name) for name in ("frame_indices", "frame_times", "positions", "axes", "labels")}
    return Media(kind=media.kind, frames=grey, **shown)
