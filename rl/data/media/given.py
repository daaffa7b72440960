"""What a row says of a volume, a video or a picture in a medical format becomes a file and an `Ask`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rl.config import MediaConfig
from rl.config.media import window_of
from rl.data.media.budget import FrameRoom, frames_for
from rollouts.imaging.ask import Ask
from rollouts.nearest import did_you_mean
from rollouts.records import BadSample, MediaKind
from rollouts.texts.reading import quote, shorten

# What an object in a row may say beside its path, by kind; each is a field of Ask.
SAYS = {
    "image": ("window", "page"),
    "volume": ("series", "where", "plane", "window", "slices", "volume_index", "max_frames"),
    "video": ("start", "end", "max_frames"),
}
# Longer words for a modality are no codes of DICOM; those stand in capitals.
_LONGEST_CODE = 3
# And of a mask: which of its values or segments is meant; null = everything that is not 0.
MASK_SAYS = ("label",)


@dataclass(frozen=True)
class Mask:
    """A mask as a row gives it."""

    name: str
    # Value of a voxel, number of a segment; None = everything that is not 0.
    label: int | None = None


@dataclass(frozen=True)
class Rule:
    """What holds for a modality that only the file may name."""

    window: str | tuple[float, float]
    max_frames: int | None


@dataclass(frozen=True)
class Wanted:
    """One medium as a row gives it, with everything that decides how it is shown."""

    # As the row writes it, relative to the data file's folder.
    name: str
    ask: Ask
    mask: Mask | None = None
    # Modality in small letters -> what holds for it; used where the row names none.
    by_modality: Mapping[str, Rule] = dataclasses.field(default_factory=dict)

    def key(self) -> str:
        """All that is asked; equal where the same frames come out."""
        rules = sorted((name, repr(rule)) for name, rule in self.by_modality.items())
        return repr((self.name, self.ask.key(), self.mask, rules))


def path_of(value: Any, kind: str, fields: tuple[str, ...]) -> tuple[str, dict[str, Any]]:
    """The path of a field that is a path or an object with one, and what else the object says. Raises BadSample."""
    if isinstance(value, str) and value.strip():
        return value.strip().rstrip("/") or "/", {}
    if not isinstance(value, dict) or not isinstance(value.get("path"), str) or not value["path"].strip():
        raise BadSample(f'{kind} is {quote(value)}, expected a path or an object such as {{"path": "scan"}}')
    extras = {name: one for name, one in value.items() if name != "path" and one is not None}
    for name in extras:
        if name not in fields:
            known = ", ".join(("path", *fields))
            raise BadSample(f"{kind} says {shorten(name)!r}{did_you_mean(name, fields, f'; it may say {known}')}")
    return value["path"].strip().rstrip("/") or "/", extras


def mask_of(value: Any, num_media: int) -> Mask:
    """The mask of a row with so many images, volumes and videos. Raises BadSample."""
    name, extras = path_of(value, "mask", MASK_SAYS)
    label = extras.get("label")
    if label is not None and (not isinstance(label, int) or isinstance(label, bool) or label < 1):
        raise BadSample(f"label is {quote(label)}, expected the value or the segment that is meant, from 1")
    if num_media != 1:
        raise BadSample(f"mask belongs to the row's one image or volume, and the row has {num_media}")
    return Mask(name, label)


def wanted(
    name: str, kind: MediaKind, extras: Mapping[str, Any], modality: str, settings: MediaConfig, room: FrameRoom | None
) -> Wanted:
    """Everything that is asked of one medium: what the row says, else what is set for its modality, else for all.

    `room`: the context window's, for this medium alone; None = there is no limit but `max_frames`. Raises BadSample.
    """
    extras = dict(extras)
    limit, window = extras.pop("max_frames", None), extras.pop("window", None)
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool)):
        raise BadSample(f"max_frames is {quote(limit)}, expected a whole number of at least 1")
    if "slices" in extras:
        extras["slices"] = _pair(extras["slices"])
    if not isinstance(extras.get("series", ""), str):
        raise BadSample(f"series is {quote(extras['series'])}, expected a SeriesInstanceUID as text")
    if not isinstance(extras.get("where", {}), dict):
        raise BadSample(f'where is {quote(extras["where"])}, expected an object such as {{"EchoNumbers": 1}}')
    rules = {} if kind == "video" else {one.casefold(): text for one, text in settings.window_by_modality.items()}
    numbers = {one.casefold(): count for one, count in settings.max_frames_by_modality.items()}
    usual = settings.window if kind != "video" else "auto"

    def rule(of: str) -> Rule:
        shown = window_of(rules.get(of, usual)) if window is None else _window(window)
        if kind == "image":
            return Rule(shown, None)
        return Rule(shown, frames_for(limit or numbers.get(of, settings.max_frames), room))

    own = modality.casefold()
    of_all = rule(own)
    unnamed = {} if own else {of: rule(of) for of in {*rules, *numbers}}
    ask = Ask(
        kind,
        window=of_all.window,
        max_frames=of_all.max_frames,
        modality=modality.upper() if len(modality) <= _LONGEST_CODE else modality,
        square_pixels=settings.square_pixels if kind != "video" else True,
        longest_side=settings.longest_side,
        **{**_of_kind(kind, settings), **extras},
    )
    return Wanted(name, ask, by_modality={of: one for of, one in unnamed.items() if one != of_all})


def _of_kind(kind: MediaKind, settings: MediaConfig) -> dict[str, Any]:
    """Settings that mean something for this kind only."""
    if kind == "volume":
        return {"plane": settings.plane, "on_gap": settings.on_gap}
    return {"on_cut": settings.on_cut} if kind == "video" else {}


def _window(value: Any) -> str | tuple[float, float]:
    return window_of(value) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


def _pair(value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list) or len(value) != 2:
        raise BadSample(f"slices is {quote(value)}, expected the first and the one behind the last, as [10, 40]")
    return tuple(value)
