"""Opens the media of an item as `data=jsonl` will open them, so that what passes here passes there."""

from __future__ import annotations

import hashlib
from pathlib import Path

from PIL import Image, ImageStat

from rl.curate.items import Item
from rl.curate.leaks.copies import hashes
from rl.curate.looking import Look
from rl.curate.recipe.schema import Source
from rl.data.images import ImageReader
from rollouts.imaging.pictures import to_png
from rollouts.media import frames
from rollouts.records import BadSample, Media

# Frames looked at where the recipe does not say how many are shown: data.max_frames of data=jsonl.
_FRAMES = 8


def open_item(root: Path, source: Source, item: Item) -> Look:
    """What is to be seen of an item; a fault where its media cannot be read. Raises nothing for what files hold."""
    try:
        media = [_read(root, source, kind, path) for kind, path in item.media]
        shown = [frames(one) for one in media]
    except BadSample as error:
        return Look(fault=str(error))
    first = media[0]
    sources = [one.source_sha256 or one.sha256 for one in media]
    every = [frame for pictures in shown for frame in pictures]
    return Look(
        source_sha256=hashlib.sha256("".join(sources).encode()).hexdigest(),
        media_sha256=tuple(sources),
        width=min(frame.width for frame in every),
        height=min(frame.height for frame in every),
        deviation=round(max(map(_deviation, every)), 3),
        hashes=tuple(hashes(pictures[len(pictures) // 2]) for pictures in shown),
        patient=next((one.patient for one in media if one.patient), ""),
        axes=first.axes,
        modality=str(first.provenance.get("modality", "")),
        num_frames=sum(map(len, shown)),
        num_source_frames=int(first.provenance.get("source_frames", 0)),
    )


def middle_png(root: Path, source: Source, item: Item) -> bytes:
    """The middle frame of an item's first medium. Raises BadSample."""
    kind, path = item.media[0]
    shown = frames(_read(root, source, kind, path))
    return to_png(shown[len(shown) // 2])


def _read(root: Path, source: Source, kind: str, path: str) -> Media:
    # A reader of its own for each item: one that remembers would hold the frames of a whole data set.
    reader = ImageReader(root)
    if kind == "image":
        return reader.image(path)
    return reader.sequence(kind, path, int(source.media.get("max_frames", _FRAMES)))  # type: ignore[arg-type]


def _deviation(frame: Image.Image) -> float:
    return float(ImageStat.Stat(frame.convert("L")).stddev[0])
