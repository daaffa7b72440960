"""One JSON object of a data file becomes one Sample; every fault is told in words (fields: rl/data/jsonl.py)."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from rl.data.images import ImageReader
from rollouts.records import LETTERS, BadSample, Media, RubricCriterion, Sample

FIELDS = (
    "question answer options answer_type image images volume video id split think aliases modality source language tags pair_id "
    "difficulty boxes reference_steps visual_references rubric"
).split()
_EVAL_NAMES = ("eval", "test", "val", "validation")


class ParsedRow(NamedTuple):
    """A sample, the thought of its SFT response (None: none given) and its split ("train", "eval", None: not given)."""

    sample: Sample
    think: str | None
    split: str | None


class Gold(NamedTuple):
    """The right answer of a row, in words and, with options, in letters."""

    answer_type: str
    text: str
    letters: tuple[str, ...] | None


def parse_row(row: Mapping[str, Any], row_id: str, reader: ImageReader, max_frames: int) -> ParsedRow:
    """Read one row. Raises BadSample with what was got, what was expected and what to do."""
    row = {name: value for name, value in row.items() if value is not None}  # null means: left out
    for name in row:
        if name not in FIELDS:
            near = difflib.get_close_matches(name, FIELDS, n=1)
            raise BadSample(
                f"unknown field {name!r}" + (f", did you mean {near[0]!r}?" if near else "; anything else goes into 'tags'")
            )
    options = _texts(row, "options") or None
    side = _split(row)
    gold = _gold(row, options)
    sample = Sample(
        id=row_id,
        question=_text(row, "question"),
        answer_type=gold.answer_type,  # type: ignore[arg-type]  # checked by the record itself
        gold_text=gold.text,
        options=options,
        gold_letters=gold.letters,
        aliases=_texts(row, "aliases"),
        media=_media(row, reader, max_frames),
        split=side or "train",
        source=_text(row, "source", default="jsonl"),
        modality=_text(row, "modality"),
        language=_language(row),  # type: ignore[arg-type]  # checked there
        tags=_tags(row),
        reference_steps=_texts(row, "reference_steps"),
        visual_references=_texts(row, "visual_references"),
        rubric=_rubric(row),
        boxes=_boxes(row),
        pair_id=_text(row, "pair_id") or None,
        difficulty=_difficulty(row),
    )
    return ParsedRow(sample, _text(row, "think") or None, side)


def _text(row: Mapping[str, Any], name: str, default: str = "") -> str:
    value = row.get(name, default)
    if not isinstance(value, str):
        raise BadSample(f"{name} is {value!r}, expected text")
    return value.strip()


def _texts(row: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = row.get(name, [])
    if not isinstance(value, list) or not all(
        isinstance(item, (str, int, float)) and not isinstance(item, bool) for item in value
    ):
        raise BadSample(f"{name} is {value!r}, expected a list of texts")
    return tuple(str(item).strip() for item in value)


def _gold(row: Mapping[str, Any], options: tuple[str, ...] | None) -> Gold:
    answer = row.get("answer")
    many = answer if isinstance(answer, list) else [answer]
    if not many or any(
        isinstance(item, bool) or not isinstance(item, (str, int, float)) or not str(item).strip() for item in many
    ):
        raise BadSample(f"answer is {answer!r}, expected text, a number or a list of letters")
    texts = [str(item).strip() for item in many]
    kind = _text(row, "answer_type") or _guess(isinstance(answer, list), texts[0], options)
    if options is None:
        if isinstance(answer, list):
            raise BadSample("answer is a list, but there are no options; other wordings of one answer go into 'aliases'")
        return Gold(kind, texts[0].lower() if kind == "yes_no" else texts[0], None)
    indices = sorted({_option_index(text, options) for text in texts})
    return Gold(kind, "; ".join(options[index] for index in indices), tuple(LETTERS[index] for index in indices))


def _guess(is_list: bool, first: str, options: tuple[str, ...] | None) -> str:
    if options is not None:
        return "multi" if is_list else "mcq"
    return "yes_no" if first.lower() in ("yes", "no") else "open"


def _option_index(answer: str, options: tuple[str, ...]) -> int:
    """The option an answer names, by its full text first ("A" may be a blood group) and by its letter otherwise."""
    folded = [" ".join(option.casefold().split()) for option in options]
    target = " ".join(answer.casefold().split())
    if folded.count(target) == 1:
        return folded.index(target)
    letter = answer.upper()
    if len(options) <= len(LETTERS) and len(letter) == 1 and letter in LETTERS[: len(options)]:
        return LETTERS.index(letter)
    if folded.count(target) > 1:
        raise BadSample(f"two options have the same text: {list(options)}")
    raise BadSample(f"the gold answer {answer!r} is not among the options {list(options)}")


def _media(row: Mapping[str, Any], reader: ImageReader, max_frames: int) -> tuple[Media, ...]:
    """Images first, then the volume, then the video."""
    if "image" in row and "images" in row:
        raise BadSample("has both 'image' and 'images'; one of them says it all")
    names = [_text(row, "image")] if "image" in row else list(_texts(row, "images"))
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
    raise BadSample(f"{name} is {value!r}, expected a folder or a list of image files")


def _split(row: Mapping[str, Any]) -> str | None:
    given = _text(row, "split").lower()
    if given in ("", "train"):
        return given or None
    if given not in _EVAL_NAMES:
        raise BadSample(f"split is {given!r}, expected train or one of {', '.join(_EVAL_NAMES)}")
    return "eval"


def _language(row: Mapping[str, Any]) -> str:
    language = _text(row, "language", default="en")
    if language not in ("en", "zh"):
        raise BadSample(f"language is {language!r}, expected en or zh")
    return language


def _tags(row: Mapping[str, Any]) -> dict[str, str]:
    tags = row.get("tags", {})
    if not isinstance(tags, dict):
        raise BadSample(f"tags is {tags!r}, expected an object of texts")
    return {str(name): str(value) for name, value in tags.items()}


def _boxes(row: Mapping[str, Any]) -> tuple[tuple[float, float, float, float], ...]:
    boxes = row.get("boxes", [])
    whole = isinstance(boxes, list) and all(
        isinstance(box, list) and len(box) == 4 and all(map(_is_number, box)) for box in boxes
    )
    if not whole or any(box[0] >= box[2] or box[1] >= box[3] for box in boxes):
        raise BadSample(f"boxes is {boxes!r}, expected a list of [x0, y0, x1, y1] in pixels with x0 < x1 and y0 < y1")
    return tuple((float(box[0]), float(box[1]), float(box[2]), float(box[3])) for box in boxes)


def _rubric(row: Mapping[str, Any]) -> tuple[RubricCriterion, ...]:
    rubric = row.get("rubric", [])
    whole = isinstance(rubric, list) and all(isinstance(one, dict) and set(one) == {"criterion", "points"} for one in rubric)
    if not whole or not all(isinstance(one["criterion"], str) and _is_number(one["points"]) for one in rubric):
        raise BadSample(f'rubric is {rubric!r}, expected a list of {{"criterion": text, "points": number}}')
    return tuple(RubricCriterion(one["criterion"].strip(), float(one["points"])) for one in rubric)


def _difficulty(row: Mapping[str, Any]) -> float | None:
    value = row.get("difficulty")
    if value is None:
        return None
    if not _is_number(value) or not 0 <= value <= 1:
        raise BadSample(f"difficulty is {value!r}, expected a number from 0 (easy) to 1 (hard)")
    return float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
