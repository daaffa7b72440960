"""Boxes: what counts as stating one, how several are matched, and what each pays (numbers by hand)."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from rewards.registry import RewardError
from rewards.shipped.boxes import MAX_BOXES, best_matching, box_iou, generalised_iou, giou, iou, read_boxes
from rollouts.records import Media, Parsed, Sample

TEN = (0.0, 0.0, 10.0, 10.0)
TWO = Sample("q", "Where are the nodules?", "box", "two nodules", boxes=(TEN, (20.0, 20.0, 30.0, 30.0)))
ONE = Sample("q", "Where is the nodule?", "box", "a nodule", boxes=(TEN,))


def said(answer: str | None) -> Parsed:
    return Parsed("I look.", answer)


READ = [
    ("[1, 2, 3, 4]", [(1, 2, 3, 4)]), ("The nodule is at [1,2,3,4].", [(1, 2, 3, 4)]),
    ("[[1,2,3,4],[5,6,7,8]]", [(1, 2, 3, 4), (5, 6, 7, 8)]),
    ('```json\n[{"bbox_2d": [1, 2, 3, 4], "label": "nodule 2"}]\n```', [(1, 2, 3, 4)]),
    ("<ref>left lobe 3</ref><box>[[1, 2, 3.5, 4]]</box>", [(1, 2, 3.5, 4)]),
    ("<|object_ref_start|>nodule<|object_ref_end|><|box_start|>(1,2),(3,4)<|box_end|>", [(1, 2, 3, 4)]),
    ("1. [1,2,3,4]\n2. [5,6,7,8]", [(1, 2, 3, 4), (5, 6, 7, 8)]),
    ("Lesion 1: [1,2,3,4]\nLesion 2: [5,6,7,8]", [(1, 2, 3, 4), (5, 6, 7, 8)]),
    ("结节位于［１，２，３，４］。", [(1, 2, 3, 4)]), ("[30, 4, 3, 40]", [(30, 4, 3, 40)]),
]  # fmt: skip
NOT_READ = [
    None, "", "no lesion", "[1, 2, 3]", "[1, 2, 3, 4, 5]", "1, 2, 3, 4", "[-1, 2, 3, 4]", "[1e3, 2, 3, 4]",
    "[nan, 0, 1, 1]", "[inf, 0, 1, 1]",
    "not [1,2,3,4] but [5,6,7,8]", "[1,2,3,4] or [5,6,7,8]", "either of [[1,2,3,4],[5,6,7,8]]", "[1,2,3,4], maybe",
    "[1,2,3,4]. Wait, [5,6,7,8]",
    "the box is [1,2,3,4] with IoU 1.0", "[1,2,3,4] reward: 1", "~~[1,2,3,4]~~ [5,6,7,8]", "没有 [1,2,3,4]",
    "It isn't [1,2,3,4]",
    "[__import__('os').getpid(), 2, 3, 4]", "[[1,2,3,4]]" * (MAX_BOXES + 1), "[" * 5000, "[1," * 2000,
    "[1,2,3,4]" + " x" * 5000,
]  # fmt: skip


@pytest.mark.parametrize(("answer", "boxes"), READ)
def test_a_stated_box_is_read(answer, boxes):
    assert read_boxes(answer).boxes == boxes


@pytest.mark.parametrize("answer", NOT_READ)
def test_what_is_unclear_or_no_box_is_not_read(answer):
    read = read_boxes(answer)
    assert read.boxes is None
    assert read.reason
    assert box_iou(said(answer), ONE).value == 0.0
    assert giou(said(answer), ONE).value == -1.0


def test_iou_and_giou_by_hand():
    # Shifted by half: inside 50, union 150. Hull 150, so nothing is lost.
    assert iou(TEN, (5, 0, 15, 10)) == pytest.approx(1 / 3)
    assert generalised_iou(TEN, (5, 0, 15, 10)) == pytest.approx(1 / 3)
    # Apart by 10: inside 0, union 200, hull 300, so 0 - 100/300.
    assert iou(TEN, (20, 0, 30, 10)) == 0.0
    assert generalised_iou(TEN, (20, 0, 30, 10)) == pytest.approx(-1 / 3)
    # Diagonal: inside 25, union 175, hull 225: 1/7 - 50/225.
    assert generalised_iou(TEN, (5, 5, 15, 15)) == pytest.approx(1 / 7 - 2 / 9)
    assert (iou(TEN, (5, 5, 5, 9)), generalised_iou(TEN, (9, 9, 5, 5))) == (0.0, -1.0)


@pytest.mark.parametrize(
    ("sample", "answer", "paid_iou", "paid_giou"),
    [
        (TWO, "[[20,20,30,30],[0,0,10,10]]", 1.0, 1.0),  # in another order
        (TWO, "[0,0,10,10]", 0.5, 0.0),  # one missed: (1 + 0)/2, (1 - 1)/2
        (TWO, "[[0,0,10,10],[20,20,30,30],[50,50,60,60],[70,70,80,80]]", 0.5, 0.0),  # two too many: 2/4, (2 - 2)/4
        (
            TWO,
            "[[0,0,10,10],[0,0,10,10]]",
            0.5,
            (1 - 7 / 9) / 2,
        ),  # said twice; the second to the far box: 0 - (900-200)/900
        (ONE, "[0,0,10,5]", 0.5, 0.5),
        (ONE, "[10,5,0,0]", 0.0, -1.0),  # corners in the wrong order
        (ONE, "[0,0,999999,999999]", 1e-10, 1e-10),  # the whole world
    ],
)
def test_what_an_answer_is_paid(sample, answer, paid_iou, paid_giou):
    assert box_iou(said(answer), sample).value == pytest.approx(paid_iou, abs=1e-9)
    assert giou(said(answer), sample).value == pytest.approx(paid_giou, abs=1e-9)


def test_matching_is_best_overall_and_not_greedy():
    # Greedy takes 0.9 and leaves 0.0; the best is 0.8 + 0.7.
    table = {(0, 0): 0.9, (0, 1): 0.8, (1, 0): 0.7, (1, 1): 0.0}
    boxes = [(float(i), 0.0, 0.0, 0.0) for i in range(2)]
    match = best_matching(boxes, boxes, lambda a, b: table[int(a[0]), int(b[0])], 0.0)
    assert match.score == pytest.approx(0.75)
    assert {(a, b) for a, b, _ in match.pairs} == {(0, 1), (1, 0)}


def test_thousandths_are_taken_of_the_image():
    buffer = io.BytesIO()
    Image.new("RGB", (200, 100)).save(buffer, "PNG")
    sample = Sample(
        "q",
        "Where?",
        "box",
        "there",
        boxes=((20.0, 10.0, 100.0, 50.0),),
        media=(Media("image", data=buffer.getvalue()),),
    )
    assert box_iou(said("[100, 100, 500, 500]"), sample, "thousandths").value == pytest.approx(1.0)
    with pytest.raises(RewardError, match="no image"):
        box_iou(said("[100, 100, 500, 500]"), ONE, "thousandths")
    with pytest.raises(RewardError, match="expected 'pixels' or 'thousandths'"):
        box_iou(said("[1,2,3,4]"), ONE, "percent")


def test_a_sample_without_boxes_is_an_error_and_no_zero():
    with pytest.raises(RewardError, match="has no boxes"):
        box_iou(said("[1,2,3,4]"), Sample("q", "Where?", "box", "there"))


BOX = st.tuples(*[st.floats(0, 500, allow_nan=False).map(lambda x: round(x, 3))] * 4)


@settings(deadline=None, max_examples=150)
@given(st.lists(BOX, min_size=1, max_size=6), st.lists(BOX, min_size=1, max_size=6), st.randoms())
def test_order_does_not_matter_and_values_stay_in_range(boxes, gold, random):
    sample = Sample("q", "Where?", "box", "there", boxes=tuple(gold))
    answer, shuffled = json.dumps(boxes), list(boxes)
    random.shuffle(shuffled)
    for pay, least in ((box_iou, 0.0), (giou, -1.0)):
        value = pay(said(answer), sample).value
        assert least <= value <= 1.0
        assert pay(said(json.dumps(shuffled)), sample).value == pytest.approx(value)


@settings(deadline=None, max_examples=300)
@given(st.text(alphabet="[](){},.0123456789 -+eE<>|box_start\"':ñ٣²\n", max_size=200) | st.text(max_size=200))
def test_hostile_text_never_raises(text):
    assert 0.0 <= box_iou(said(text), TWO).value <= 1.0
    assert -1.0 <= giou(said(text), TWO).value <= 1.0
