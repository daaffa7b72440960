"""The images of a sample as a judge may be shown them: PNG, one for each image, slice or frame, in order."""

from __future__ import annotations

import hashlib
from functools import lru_cache

from judges import Judge, JudgeMedia
from rollouts.media import encoded_files, frames, to_png
from rollouts.records import Media, Sample

_PNG = b"\x89PNG\r\n\x1a\n"


def images_for(judge: Judge, sample: Sample) -> tuple[JudgeMedia, ...]:
    """The sample's images, or () for a judge that shows none: then no file is opened.

    Raises BadSample where a file is missing or is no image.
    """
    if not judge.shows_images:
        return ()
    return tuple(image for media in sample.media for image in _encoded(media))


# All completions of a prompt show their judge the same images, which are encoded once.
@lru_cache(maxsize=64)
def _encoded(media: Media) -> tuple[JudgeMedia, ...]:
    images = []
    for index, data in enumerate(encoded_files(media)):
        png = data if data.startswith(_PNG) else to_png(frames(media)[index])
        # The name a stored image keeps, although a JPEG is stored as PNG: a stored run asks the cache for the same verdicts.
        known = media.sha256 if media.frames is None else ""
        images.append(JudgeMedia(known or hashlib.sha256(data).hexdigest(), png))
    return tuple(images)
