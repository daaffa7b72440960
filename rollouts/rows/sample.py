"""A question as it stands in one row of a table or one JSON object becomes a Sample; every fault is told in words.

One reader for `data=jsonl` and for rewards that are called from TRL or verl. `rl/data/jsonl/rows.py` says what each
field means.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from rollouts.records import BadSample, Media, RubricCriterion, Sample
from rollouts.rows.golds import gold_of, without_labels
from rollouts.texts.reading import is_blank, is_missing, is_value, quote, trim

# The fields that are read here; pictures, splits and thoughts belong to whoever reads a file.
FIELDS = (
    "question answer options answer_type aliases modality source language tags pair_id difficulty boxes reference_steps"
    " visual_references rubric"
).split()


def sample_of(
    row: Mapping[str, Any], row_id: str, *, media: tuple[Media, ...] = (), split: str = "train", source: str = ""
) -> Sample:
    """The sample of a row; fields beyond FIELDS are not looked at. Raises BadSample with what was got, what was
    expected and what to do."""
    options = texts_of(row, "options") or None
    gold = gold_of(row.get("answer"), text_of(row, "answer_type"), options)
    return Sample(
        id=row_id,
        question=text_of(row, "question"),
        answer_type=gold.answer_type,  # type: ignore[arg-type]  # checked by the record itself
        gold_text=gold.text,
        options=without_labels(options) if options else None,
        gold_letters=gold.letters,
        aliases=texts_of(row, "aliases"),
        media=media,
        split=split,
        source=text_of(row, "source", default=source),
        modality=text_of(row, "modality"),
        language=_language(row),  # type: ignore[arg-type]  # checked there
        tags=_tags(row),
        reference_steps=texts_of(row, "reference_steps"),
        visual_references=texts_of(row, "visual_references"),
        rubric=_rubric(row),
        boxes=_boxes(row),
        pair_id=text_of(row, "pair_id") or None,
        difficulty=_difficulty(row),
    )


def text_of(row: Mapping[str, Any], name: str, default: str = "") -> str:
    """The text of a field, without what cannot be seen at its ends. Raises BadSample for anything but text."""
    value = row.get(name, default)
    if not isinstance(value, str) or is_missing(value):
        raise BadSample(f"{name} is {quote(value)}, expected text")
    return trim(value)


def texts_of(row: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """The texts of a list; numbers are written out. Raises BadSample for anything else."""
    value = row.get(name, [])
    if not isinstance(value, list):
        raise BadSample(f"{name} is {quote(value)}, expected a list of texts")
    if not all(map(is_value, value)):
        fault = next(item for item in value if not is_value(item))
        raise BadSample(f"{name} is {quote(value)}, expected a list of texts: {quote(fault)} is none")
    return tuple(trim(str(item)) for item in value)


def value_text(value: Any, name: str) -> str:
    """A value that may be text or a number, as text of which something is seen. Raises BadSample for what is no value:
    null, NaN, infinity, a truth value, a list, an object, an empty or invisible text, the word "nan"."""
    if isinstance(value, str) and is_blank(value):
        raise BadSample(f"the {name} is empty")
    if not is_value(value):
        raise BadSample(f"{name} is {quote(value)}, expected text or a number")
    return trim(str(value))


def _language(row: Mapping[str, Any]) -> str:
    language = text_of(row, "language", default="en")
    if language not in ("en", "zh"):
        raise BadSample(f"language is {quote(language)}, expected en or zh")
    return language


def _tags(row: Mapping[str, Any]) -> dict[str, str]:
    tags = row.get("tags", {})
    tags = {name: value for name, value in tags.items() if value is not None} if isinstance(tags, dict) else tags
    if not isinstance(tags, dict) or not all(isinstance(value, bool) or is_value(value) for value in tags.values()):
        raise BadSample(f"tags is {quote(tags)}, expected an object of texts")
    return {str(name): str(value) for name, value in tags.items()}


def _boxes(row: Mapping[str, Any]) -> tuple[tuple[float, float, float, float], ...]:
    boxes = row.get("boxes", [])
    whole = isinstance(boxes, list) and all(
        isinstance(box, list) and len(box) == 4 and all(map(_is_number, box)) for box in boxes
    )
    if not whole or any(box[0] >= box[2] or box[1] >= box[3] for box in boxes):
        raise BadSample(
            f"boxes is {quote(boxes)}, expected a list of [x0, y0, x1, y1] in pixels with x0 < x1 and y0 < y1"
        )
    return tuple((float(box[0]), float(box[1]), float(box[2]), float(box[3])) for box in boxes)


def _rubric(row: Mapping[str, Any]) -> tuple[RubricCriterion, ...]:
    rubric = row.get("rubric", [])
    whole = isinstance(rubric, list) and all(
        isinstance(one, dict) and set(one) == {"criterion", "points"} for one in rubric
    )
    if not whole or not all(isinstance(one["criterion"], str) and _is_number(one["points"]) for one in rubric):
        raise BadSample(f'rubric is {quote(rubric)}, expected a list of {{"criterion": text, "points": number}}')
    return tuple(RubricCriterion(trim(one["criterion"]), float(one["points"])) for one in rubric)


def _difficulty(row: Mapping[str, Any]) -> float | None:
    value = row.get("difficulty")
    if value is None:
        return None
    if not _is_number(value) or not 0 <= value <= 1:
        raise BadSample(f"difficulty is {quote(value)}, expected a number from 0 (easy) to 1 (hard)")
    return float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
