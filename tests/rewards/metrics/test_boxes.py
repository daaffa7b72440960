"""Fits of boxes by hand: nested, apart, flat."""

from __future__ import annotations

import math

import pytest

from rewards.metrics.boxes import complete_iou, distance_iou, generalised_iou, iou


def test_boxes_by_hand():
    # Two by one inside two by two: IoU 1/2; centres half apart, diagonal^2 = 8: 1/2 - 0.25/8.
    a, b = (0, 0, 2, 2), (0, 0, 2, 1)
    assert (iou(a, b), generalised_iou(a, b)) == (0.5, 0.5)
    assert distance_iou(a, b) == pytest.approx(0.5 - 0.25 / 8)
    shape = 4 / math.pi**2 * (math.atan(1) - math.atan(2)) ** 2
    assert complete_iou(a, b) == pytest.approx(0.5 - 0.25 / 8 - shape**2 / (0.5 + shape))


@pytest.mark.parametrize("score", [generalised_iou, distance_iou, complete_iou])
def test_a_box_without_area_fits_nothing(score):
    assert score((0, 0, 0, 5), (0, 0, 5, 5)) == -1.0 and score((3, 3, 1, 1), (0, 0, 5, 5)) == -1.0
