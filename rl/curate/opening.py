"""Opens the media of an item as `data=jsonl` opens them, so that what passes here passes there."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from PIL import Image, ImageStat

from rl.curate.items import Item, Kind
from rl.curate.leaks.copies import hashes
from rl.curate.looking import Look
from rl.curate.recipe.schema import Source
from rollouts.imaging.ask import Ask
from rollouts.imaging.frames import Frames
from rollouts.imaging.pictures import to_png
from rollouts.imaging.read import read
from rollouts.records import BadSample

# Frames looked at where the recipe does not say how many are shown.
_FRAMES = 8


def ask_of(kind: Kind, media: dict[str, Any], modality: str = "", salt: str = "") -> Ask:
    """How a medium is read. `media`: what the recipe says of volumes and videos. Raises BadSample and TypeError for
    what is no part of an `Ask`."""
    if kind == "image":
        return Ask("image", modality=modality, patient_salt=salt)
    said = {name: tuple(value) if isinstance(value, list) else value for name, value in media.items()}
    return Ask(kind, **{"max_frames": _FRAMES, "modality": modality, "patient_salt": salt, **said})


def open_item(root: Path, source: Source, item: Item, salt: str = "") -> Look:
    """What is to be seen of an item; a fault where its media cannot be read. Raises nothing for what files hold.
    `salt`: put before a patient's number when it is hashed."""
    try:
        media = [_read(root, source, item, kind, path, salt) for kind, path in item.media]
        shown = [list(one.images()) for one in media]
    except BadSample as error:
        return Look(fault=str(error))
    sources = [one.provenance.source_sha256 for one in media]
    every = [frame for pictures in shown for frame in pictures]
    first = media[0].provenance
    return Look(
        source_sha256=hashlib.sha256("".join(sources).encode()).hexdigest(),
        media_sha256=tuple(sources),
        width=min(frame.width for frame in every),
        height=min(frame.height for frame in every),
        deviation=round(max(map(_deviation, every)), 3),
        hashes=tuple(hashes(pictures[len(pictures) // 2]) for pictures in shown),
        patient=next((one.provenance.patient for one in media if one.provenance.patient), ""),
        axes=first.axes,
        modality=first.modality,
        num_frames=len(every),
        num_source_frames=sum(one.provenance.source_frames for one in media),
    )


def middle_png(root: Path, source: Source, item: Item) -> bytes:
    """The middle frame of an item's first medium. Raises BadSample."""
    kind, path = item.media[0]
    shown = _read(root, source, item, kind, path, "")
    return to_png(shown.image(len(shown) // 2))


def _read(root: Path, source: Source, item: Item, kind: Kind, path: str, salt: str) -> Frames:
    return read(root / path, ask_of(kind, source.media, item.modality, salt), name=path)


def _deviation(frame: Image.Image) -> float:
    return float(ImageStat.Stat(frame.convert("L")).stddev[0])
