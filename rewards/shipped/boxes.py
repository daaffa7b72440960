"""Boxes in an answer: a strict grammar for reading them, and the best one-to-one matching with the gold boxes.

What is read (nothing is ever evaluated): four plain numbers x0, y0, x1, y1 in square brackets, one such list a box,
bare or inside JSON (`[[1, 2, 3, 4], [5, 6, 7, 8]]`, `{"bbox_2d": [1, 2, 3, 4], "label": "nodule"}`), inside InternVL's
`<box>` tags, and Qwen's `<|box_start|>(1,2),(3,4)<|box_end|>`. Around them may stand words, labels and list numbers. An
answer with any other digit, with a word that denies, hedges or corrects ("not", "or", "maybe", "instead") outside a
label, or with more than MAX_BOXES boxes states no boxes: which ones it means would be a guess.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from rewards.answers.text import normalise
from rewards.metrics.boxes import Box, generalised_iou, iou
from rewards.registry import RewardError, reward
from rollouts.media import sizes
from rollouts.records import Media, Outcome, Parsed, Sample

MAX_BOXES = 50
MAX_CHARS = 8_000
_N = r"\s{0,8}(\d{1,6}(?:\.\d{1,6})?)\s{0,8}"
_LIST = re.compile(rf"\[{_N},{_N},{_N},{_N}\]")
# `normalise` writes underscores as blanks.
_CORNERS = re.compile(rf"<\|box start\|>\s{{0,8}}\({_N},{_N}\)\s{{0,8}},\s{{0,8}}\({_N},{_N}\)\s{{0,8}}<\|box end\|>")
# What may hold digits beside a box: a JSON label, a JSON key, a <ref>, a number at the start of a line ("Lesion 2:").
_LABEL = re.compile(
    r'"[\w ]{1,40}"\s{0,8}:\s{0,8}"[^"\n]{0,200}"|"[\w ]{1,40}"\s{0,8}:|<ref>[^<>\n]{0,200}</ref>'
    r"|<\|object ref start\|>[^<>|\n]{0,200}<\|object ref end\|>|^[ \t]{0,8}(?:[^\W\d]{1,20} )?\d{1,2}[.):]\s",
    re.MULTILINE,
)
_UNCLEAR = re.compile(
    r"\b(?:no|not|nor|never|or|either|maybe|perhaps|possibly|instead|rather|except|without"
    r"|wait|actually|sorry|correction|unsure|alternatively)\b"
    r"|n't\b|~~|[或不非无没]",
    re.IGNORECASE,
)
Coordinates = Literal["pixels", "thousandths"]


class Read(NamedTuple):
    """The boxes of an answer, or None and the reason why it states none."""

    boxes: list[Box] | None
    reason: str


class Match(NamedTuple):
    """The best matching: its score over all slots, and (index of the prediction, index of the gold box, score) of each
    pair."""

    score: float
    pairs: list[tuple[int, int, float]]


def read_boxes(answer: str | None) -> Read:
    """The boxes an answer states, in order; corners in the wrong order are kept and match nothing. Never raises."""
    if not answer:
        return Read(None, "no answer")
    if len(answer) > MAX_CHARS:
        return Read(None, f"the answer is longer than {MAX_CHARS} characters")
    text = normalise(answer)
    boxes: list[Box] = []

    def keep(match: re.Match[str]) -> str:
        x0, y0, x1, y1 = (float(number) for number in match.groups())
        boxes.append((x0, y0, x1, y1))
        return " "

    rest = _LIST.sub(keep, text)
    if not boxes:  # one form an answer: two would have no order
        rest = _CORNERS.sub(keep, text)
    rest = _LABEL.sub(" ", rest)
    if not boxes:
        return Read(None, "no box [x0, y0, x1, y1]")
    if len(boxes) > MAX_BOXES:
        return Read(None, f"{len(boxes)} boxes, at most {MAX_BOXES} are read")
    if any(char.isdigit() for char in rest):
        return Read(None, "there are numbers outside the boxes")
    if unclear := _UNCLEAR.search(rest):
        return Read(None, f"{unclear.group()!r} beside the boxes leaves open which are meant")
    return Read(boxes, f"{len(boxes)} boxes")


def best_matching(
    boxes: Sequence[Box], gold: Sequence[Box], score: Callable[[Box, Box], float], unmatched: float
) -> Match:
    """The one-to-one matching with the highest sum of scores (Hungarian algorithm), and its mean over max(boxes, gold)
    slots.

    A box without a partner, said too much or missed, fills a slot with `unmatched`, so that neither spraying boxes nor
    leaving some out pays.
    """
    # Imported here: scipy takes most of a second, and only answers with boxes need it.
    from scipy.optimize import linear_sum_assignment

    table = [[score(a, b) for b in gold] for a in boxes]
    rows, columns = linear_sum_assignment(table, maximize=True)
    pairs = [(int(row), int(column), table[row][column]) for row, column in zip(rows, columns, strict=True)]
    slots = max(len(boxes), len(gold))
    total = sum(value for _, _, value in pairs) + unmatched * (slots - len(pairs))
    return Match(total / slots, pairs)


def pay_boxes(
    parsed: Parsed, sample: Sample, coordinates: Coordinates, score: Callable[[Box, Box], float], least: float
) -> Outcome:
    """The outcome of an answer with boxes: the mean score over all slots; `least` where the answer states none.

    Raises RewardError for a sample without gold boxes or unknown coordinates.
    """
    if not sample.boxes:
        raise RewardError(
            f"sample {sample.id!r} has no boxes: give it `boxes`, or route answer_type {sample.answer_type!r} elsewhere"
        )
    if coordinates not in ("pixels", "thousandths"):
        raise RewardError(
            f"coordinates is {coordinates!r}, expected 'pixels' or 'thousandths' (of the image's width and height)"
        )
    read = read_boxes(parsed.answer)
    if read.boxes is None:
        return Outcome(least, reason=read.reason, parts={"num_boxes": 0.0})
    boxes = read.boxes if coordinates == "pixels" else [_in_pixels(box, sample) for box in read.boxes]
    match = best_matching(boxes, sample.boxes, score, least)
    parts = {f"gold_{gold}": value for _, gold, value in match.pairs} | {"num_boxes": float(len(boxes))}
    reason = f"{len(boxes)} boxes said, {len(sample.boxes)} expected, {len(match.pairs)} matched"
    return Outcome(min(1.0, max(least, match.score)), reason=reason, parts=parts)


def _in_pixels(box: Box, sample: Sample) -> Box:
    if not sample.media:
        raise RewardError(
            f"sample {sample.id!r} has no image, so thousandths of its size mean nothing; use coordinates=pixels"
        )
    width, height = _size(sample.media[0])
    return (box[0] * width / 1000, box[1] * height / 1000, box[2] * width / 1000, box[3] * height / 1000)


@functools.lru_cache(maxsize=256)
def _size(media: Media) -> tuple[int, int]:
    """Of the upright picture, which is the one the model saw."""
    return sizes(media)[0]


@reward("box_iou")
def box_iou(parsed: Parsed, sample: Sample, coordinates: Coordinates = "pixels") -> Outcome:
    """Mean IoU over the best one-to-one matching, each box said too much or missed counting 0; 0 without boxes. Range
    [0, 1].

    `coordinates`: what the answer's numbers mean, "pixels" of the first image or "thousandths" of its width and height;
    the gold is in pixels.
    Source: the grounding reward of MedMO (arXiv:2602.06965) with IoU; matching and the price of unmatched boxes are
    ours.
    """
    return pay_boxes(parsed, sample, coordinates, iou, 0.0)


@reward("giou")
def giou(parsed: Parsed, sample: Sample, coordinates: Coordinates = "pixels") -> Outcome:
    """Mean GIoU over the best one-to-one matching, each box said too much or missed counting -1; -1 without boxes.
    Range [-1, 1].

    `coordinates`: as in `box_iou`. Boxes that do not touch pay more the nearer they are, so a group in which nobody
    hits still has a signal.
    Source: the box-level GIoU reward of MedMO (arXiv:2602.06965), GIoU from arXiv:1902.09630; matching and unmatched
    boxes are ours.
    """
    return pay_boxes(parsed, sample, coordinates, generalised_iou, -1.0)
