"""Where a mask lies in words: halves and thirds counted by hand, the patient's side apart from the picture's."""

from __future__ import annotations

import numpy as np
import pytest

from rollouts.imaging.masks.places import (
    Place,
    depth_words,
    height_words,
    place_of,
    region_words,
    side_question,
    side_words,
)
from rollouts.records import BadSample


def marked(*spots: tuple[int, int, int, int], size: tuple[int, int] = (60, 60)) -> np.ndarray:
    """Rectangles of first row, first column, rows, columns on a picture of rows x columns."""
    found = np.zeros(size, bool)
    for row, column, rows, columns in spots:
        found[row : row + rows, column : column + columns] = True
    return found


def place(*spots: tuple[int, int, int, int]) -> Place:
    found = place_of(marked(*spots))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("spot", "side", "height"),
    [
        # 20 rows a third, 30 columns a half.
        ((0, 0, 10, 10), "left", "upper"),
        ((25, 40, 10, 10), "right", "middle"),
        ((45, 31, 10, 10), "right", "lower"),
        # 17 of 20 columns left of 30: 85 %, just enough; 16 of 20: 80 %, not.
        ((0, 13, 10, 20), "left", "upper"),
        ((0, 14, 10, 20), None, "upper"),
        # 17 of 20 rows above row 20; 16 of 20.
        ((3, 0, 20, 10), "left", "upper"),
        ((4, 0, 20, 10), "left", None),
    ],
)
def test_a_word_is_said_from_85_percent_on(spot: tuple, side: str | None, height: str | None) -> None:
    found = place(spot)
    assert (found.image_side, found.image_height) == (side, height)
    assert (found.patient_side, found.depth) == (None, None), "the axes are not known"


def test_both_sides_needs_a_part_of_its_own_on_each() -> None:
    assert place((10, 5, 8, 8), (10, 45, 8, 8)).image_side == "both"
    # One mark across the middle is none of both, though each half holds 50 % of it.
    assert place((10, 20, 8, 20)).image_side is None
    # A speck on the other side: 16 of 16 + 400 pixels are 4 %.
    assert place((10, 5, 20, 20), (10, 50, 4, 4)).image_side == "left"
    # 24 % on the right: neither 85 % left nor 25 % right.
    assert place((10, 5, 1, 19), (10, 50, 1, 6)).image_side is None


def test_a_ring_is_nowhere_in_particular_and_nothing_has_no_place() -> None:
    ring = marked((10, 10, 40, 40)) & ~marked((14, 14, 32, 32))
    found = place_of(ring)
    assert found is not None and (found.image_side, found.image_height) == (None, None)
    assert place_of(marked()) is None


def test_the_patients_left_is_the_images_right_in_an_axial_volume() -> None:
    # [frame, row, column] towards head, back, left: frame 8 of 9 is high, row 1 in front, column 8 the patient's left.
    volume = np.zeros((9, 9, 9), bool)
    volume[8, 1, 8] = True
    assert place_of(volume, "LPS") == Place(1, "right", "upper", "left", "upper", "front", "LPS")


@pytest.mark.parametrize(
    ("axes", "side", "height", "depth"),
    [
        # The same index, the end of each axis: where that end is says the axes' letters.
        ("LPS", "left", "upper", "back"),
        ("LIP", "left", "lower", "back"),
        ("PIL", "left", "lower", "back"),
        ("RAI", "right", "lower", "front"),
        ("SAR", "right", "upper", "front"),
    ],
)
def test_words_follow_the_axes(axes: str, side: str, height: str, depth: str) -> None:
    volume = np.zeros((6, 6, 6), bool)
    volume[5, 5, 5] = True
    found = place_of(volume, axes)
    assert found is not None and (found.patient_side, found.height, found.depth) == (side, height, depth)
    assert (found.image_side, found.image_height) == ("right", "lower")


def test_a_frontal_picture_with_known_columns_and_rows() -> None:
    found = place_of(marked((0, 50, 5, 5)), "LI")
    assert found is not None and (found.patient_side, found.height, found.depth) == ("left", "upper", None)


@pytest.mark.parametrize("modality", ["dermoscopy", "Endoscopy", "US", "ES", "XC", "fundus photograph"])
def test_hand_held_pictures_have_the_pictures_side_only(modality: str) -> None:
    found = place_of(marked((0, 50, 5, 5)), "LI", modality=modality)
    assert found is not None and (found.image_side, found.patient_side, found.depth) == ("right", None, None)
    assert height_words(found, "en", "patient") == () and height_words(found, "en", "image")[0] == "upper"


def test_halves_of_an_organ_are_those_of_its_box() -> None:
    organ = marked((30, 30, 30, 30))
    spot = marked((32, 32, 4, 4))
    found = place_of(spot, organ=organ)
    assert found is not None and found.within_organ
    assert (found.image_side, found.image_height) == ("left", "upper"), "of the whole picture: right, middle"
    with pytest.raises(BadSample, match="organ's mask is 10 x 10, the finding's is 60 x 60"):
        place_of(spot, organ=np.ones((10, 10)))
    with pytest.raises(BadSample, match="organ's mask is empty"):
        place_of(spot, organ=marked())


@pytest.mark.parametrize("axes", ["LPX", "LL", "LRS", "L"])
def test_axes_that_are_none_are_refused(axes: str) -> None:
    with pytest.raises(BadSample, match="expected a letter of L, R, P, A, S, I"):
        place_of(marked((0, 0, 5, 5)), axes)


@pytest.mark.parametrize("turn", range(4))
def test_turning_the_picture_turns_the_words(turn: int) -> None:
    # From the upper left, a quarter turn to the left at a time: down, right, up.
    words = [("left", "upper"), ("left", "lower"), ("right", "lower"), ("right", "upper")]
    found = place_of(np.rot90(marked((2, 3, 9, 9)), turn))
    assert found is not None and (found.image_side, found.image_height) == words[turn]


def test_words_in_both_languages() -> None:
    volume = np.zeros((9, 9, 9), bool)
    volume[8, 1, 8] = True
    found = place_of(volume, "LPS")
    assert found is not None
    assert side_words(found, "en", "patient")[0] == "left" and side_words(found, "zh", "patient")[0] == "左侧"
    assert side_words(found, "en", "image")[0] == "right" and side_words(found, "zh", "image")[0] == "右侧"
    assert region_words(found, "en", "patient")[:2] == ("upper left", "left upper")
    assert region_words(found, "zh", "patient")[0] == "左上" and "上左" in region_words(found, "zh", "patient")
    assert depth_words(found, "en") == ("front", "anterior") and depth_words(found, "zh") == ("前部",)
    assert "patient" in side_question("en", "patient") and "image" in side_question("en", "image")
    assert "患者" in side_question("zh", "patient") and "图像" in side_question("zh", "image")


def test_what_is_not_known_has_no_words() -> None:
    found = place((10, 20, 8, 20))
    assert side_words(found, "en", "image") == () and region_words(found, "zh", "image") == ()
    assert side_words(found, "en", "patient") == () and depth_words(found, "en") == ()
    both = place((2, 5, 8, 8), (2, 45, 8, 8))
    assert region_words(both, "en", "image")[0] == "upper, both sides" and side_words(both, "zh", "image")[0] == "双侧"
