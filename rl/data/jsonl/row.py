"""One JSON object of a data file becomes one Sample; every fault is told in words (fields: rl/data/jsonl/rows.py)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

from rl.data.images import ImageReader
from rl.data.markup import bare_question, bare_thought, refuse_tags_in
from rollouts.media import sizes
from rollouts.nearest import did_you_mean
from rollouts.records import BadSample, Media, Sample
from rollouts.rows import sample as sample_row
from rollouts.rows.sample import sample_of, text_of, texts_of, value_text
from rollouts.texts.reading import quote, shorten

FIELDS = (*sample_row.FIELDS, "image", "images", "volume", "video", "id", "split", "think")
_EVAL_NAMES = ("eval", "test", "val", "validation")


class ParsedRow(NamedTuple):
    """A sample, the thought of its SFT response (None: none given) and its split ("train", "eval", None: not given)."""

    sample: Sample
    think: str | None
    split: str | None


def parse_row(row: Mapping[str, Any], row_id: str, reader: ImageReader, max_frames: int) -> ParsedRow:
    """Read one row. Raises BadSample with what was got, what was expected and what to do."""
    row = {name: value for name, value in row.items() if value is not None}  # null means: left out
    for name in row:
        if name not in FIELDS:
            hint = did_you_mean(name, FIELDS, "; anything else goes into 'tags'")
            raise BadSample(f"unknown field {shorten(name)!r}{hint}")
    side = _split(row)
    media = _media(row, reader, max_frames)
    sample = sample_of(row, row_id, media=media, split=side or "train", source="jsonl")
    sample = dataclasses.replace(sample, question=bare_question(sample.question, len(media)))
    _check_boxes(sample)
    refuse_tags_in("answer", [sample.gold_text])
    refuse_tags_in("options", sample.options or ())
    refuse_tags_in("aliases", sample.aliases)
    return ParsedRow(sample, bare_thought(text_of(row, "think")) or None, side)


def id_of(row: Mapping[str, Any], number: int) -> str:
    """The row's id; `line-N` where it is left out or null. Raises BadSample for what is no id."""
    return f"line-{number}" if row.get("id") is None else value_text(row["id"], "id")


def _check_boxes(sample: Sample) -> None:
    """Boxes are in pixels of the first image as it is shown; normalised ones, or those of another image, are told."""
    if not sample.boxes or not sample.media:
        return
    width, height = sizes(sample.media[0])[0]
    for box in sample.boxes:
        if box[2] - box[0] < 1 or box[3] - box[1] < 1:
            raise BadSample(f"boxes are in pixels, and {list(box)} is smaller than one: multiply by width and height")
        if min(box[:2]) < 0 or box[2] > width or box[3] > height:
            raise BadSample(f"the box {list(box)} reaches beyond its image of {width} x {height} pixels")


def _media(row: Mapping[str, Any], reader: ImageReader, max_frames: int) -> tuple[Media, ...]:
    """Images first, then the volume, then the video."""
    if "image" in row and "images" in row:
        raise BadSample("has both 'image' and 'images'; one of them says it all")
    names = [text_of(row, "image")] if "image" in row else list(texts_of(row, "images"))
    if any(not name for name in names):
        raise BadSample("an image path is empty")
    media = [reader.image(name) for name in names]
    if "volume" in row:
        media.append(reader.sequence("volume", _folder_or_list(row, "volume"), max_frames))
    if "video" in row:
        media.append(reader.sequence("video", _folder_or_list(row, "video"), max_frames))
    return tuple(media)


def _folder_or_list(row: Mapping[str, Any], name: str) -> str | list[str]:
    value = row[name]
    if isinstance(value, str) and value.strip():
        return value.strip().rstrip("/")
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return list(value)
    raise BadSample(f"{name} is {quote(value)}, expected a folder or a list of image files")


def _split(row: Mapping[str, Any]) -> str | None:
    given = text_of(row, "split").lower()
    if given in ("", "train"):
        return given or None
    if given not in _EVAL_NAMES:
        raise BadSample(f"split is {quote(given)}, expected train or one of {', '.join(_EVAL_NAMES)}")
    return "eval"
