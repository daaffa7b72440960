"""Opens the media of an item as `data=jsonl` opens them, so that what passes here passes there."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image, ImageStat

from rl.curate.items import Item, Kind
from rl.curate.leaks.copies import hashes
from rl.curate.looking import Look
from rl.curate.recipe.schema import Source
from rl.data.media.given import SAYS
from rollouts.imaging.ask import Ask
from rollouts.imaging.frames import Frames
from rollouts.imaging.masks.places import place_of
from rollouts.imaging.masks.reader import read_mask
from rollouts.imaging.pictures import to_png
from rollouts.imaging.read import read
from rollouts.records import BadSample

# Where columns, rows and frames run to in pictures seen as if facing the patient; of a volume's frames only the side is
# asked.
_FACING: dict[Kind, str] = {"image": "LIA", "volume": "LPS", "video": "LIA"}
# Frames looked at where the recipe does not say how many are shown.
_FRAMES = 8


def ask_of(kind: Kind, media: dict[str, Any], modality: str = "", salt: str = "") -> Ask:
    """How a medium is read. `media`: what the recipe says of volumes and videos. Raises BadSample and TypeError for
    what is no part of an `Ask`."""
    if kind == "image":
        return Ask("image", modality=modality, patient_salt=salt)
    fields: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in media.items()}
    fields = {name: value for name, value in fields.items() if name in SAYS[kind]}
    fields = {"max_frames": _FRAMES, "modality": modality, "patient_salt": salt, **fields}
    return Ask(kind, **fields)


def open_item(root: Path, source: Source, item: Item, salt: str = "") -> Look:
    """What is to be seen of an item; a fault where its media cannot be read. Raises nothing for what files hold.
    `salt`: put before a patient's number when it is hashed."""
    try:
        media = [_read(root, source, item, kind, path, salt) for kind, path in item.media]
        shown = [list(one.images()) for one in media]
    except BadSample as error:
        return Look(fault=str(error))
    marked = _Marked()
    if item.mask:
        try:
            marked = _marked(root, source, item, media[0])
        except BadSample as error:
            marked = _Marked(fault=str(error))
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
        mask_fault=marked.fault,
        num_cut=marked.num_cut,
        place=marked.place,
        may_hold_text=any("text may be burned" in note for one in media for note in one.provenance.notes),
    )


class _Marked(NamedTuple):
    """What was seen of a mask; the defaults stand for none."""

    fault: str = ""
    # Frames shown that the mask cuts; -1 = no mask.
    num_cut: int = -1
    # As `Look.place`.
    place: dict[str, Any] | None = None


def _marked(root: Path, source: Source, item: Item, shown: Frames) -> _Marked:
    """Where the mask of the first medium lies, and how many of the frames shown it cuts. Raises BadSample."""
    kind, path = item.media[0]
    ask = ask_of(kind, source.media, item.modality)
    mask = read_mask(root / item.mask, root / path, ask, name=item.mask)
    organ = read_mask(root / item.organ_mask, root / path, ask, name=item.organ_mask) if item.organ_mask else None
    axes = mask.axes
    if not axes and (source.rules.get("place") or {}).get("convention") == "radiological":
        axes = _FACING[kind]
    place = place_of(
        mask.marked, axes, organ=None if organ is None else organ.marked, modality=item.modality or mask.modality
    )
    num_cut = sum(bool(mask.marked[index].any()) for index in shown.indices)
    return _Marked(num_cut=num_cut, place=None if place is None else dataclasses.asdict(place))


def middle_png(root: Path, source: Source, item: Item) -> bytes:
    """The middle frame of an item's first medium. Raises BadSample."""
    kind, path = item.media[0]
    shown = _read(root, source, item, kind, path, "")
    return to_png(shown.image(len(shown) // 2))


def _read(root: Path, source: Source, item: Item, kind: Kind, path: str, salt: str) -> Frames:
    return read(root / path, ask_of(kind, source.media, item.modality, salt), name=path)


def _deviation(frame: Image.Image) -> float:
    return float(ImageStat.Stat(frame.convert("L")).stddev[0])
