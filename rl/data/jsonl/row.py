"""One JSON object of a data file becomes one Sample; every fault is told in words (fields: rl/data/jsonl/rows.py)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

from rl.data.markup import bare_question, bare_thought, refuse_tags_in
from rl.data.media.reader import FIELDS as MEDIA_FIELDS
from rl.data.media.reader import MediaReader
from rollouts.media import sizes
from rollouts.nearest import did_you_mean
from rollouts.records import BadSample, Sample
from rollouts.rows import sample as sample_row
from rollouts.rows.sample import sample_of, text_of, value_text
from rollouts.texts.reading import quote, shorten

FIELDS = (*sample_row.FIELDS, *MEDIA_FIELDS, "id", "split", "think")
_EVAL_NAMES = ("eval", "test", "val", "validation")


class ParsedRow(NamedTuple):
    """A sample, the thought of its SFT response (None: none given) and its split ("train", "eval", None: not given)."""

    sample: Sample
    think: str | None
    split: str | None


def parse_row(row: Mapping[str, Any], row_id: str, reader: MediaReader) -> ParsedRow:
    """Read one row. Raises BadSample with what was got, what was expected and what to do."""
    row = said_in(row)
    for name in row:
        if name not in FIELDS:
            hint = did_you_mean(name, FIELDS, "; anything else goes into 'tags'")
            raise BadSample(f"unknown field {shorten(name)!r}{hint}")
    side = _split(row)
    media = reader.media(row)
    sample = sample_of(row, row_id, media=media, split=side or "train", source="jsonl")
    sample = dataclasses.replace(sample, question=bare_question(sample.question, len(media)))
    _check_boxes(sample)
    refuse_tags_in("answer", [sample.gold_text])
    refuse_tags_in("options", sample.options or ())
    refuse_tags_in("aliases", sample.aliases)
    return ParsedRow(sample, bare_thought(text_of(row, "think")) or None, side)


def said_in(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row without what is null, which means: left out."""
    return {name: value for name, value in row.items() if value is not None}


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


def _split(row: Mapping[str, Any]) -> str | None:
    given = text_of(row, "split").lower()
    if given in ("", "train"):
        return given or None
    if given not in _EVAL_NAMES:
        raise BadSample(f"split is {quote(given)}, expected train or one of {', '.join(_EVAL_NAMES)}")
    return "eval"
