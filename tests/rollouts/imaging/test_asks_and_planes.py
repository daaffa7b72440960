"""What may be asked, which frames are chosen, how values become greys, and how arrays are turned to the patient."""

from __future__ import annotations

import numpy as np
import pytest

from rollouts.imaging.ask import Ask, budget
from rollouts.imaging.geometry import arrange, plane_of
from rollouts.imaging.pick import evenly_in_time, evenly_spaced
from rollouts.imaging.windows import Greys, Table, Window, choose, steps
from rollouts.records import BadSample


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"kind": "picture"}, "kind is 'picture', expected one of image, volume, video"),
        ({"window": "lungs"}, "did you mean lung"),
        ({"window": [40, 0]}, "a centre and a width above 0"),
        ({"window": [40, float("nan")]}, "a centre and a width above 0"),
        ({"plane": "axal"}, "expected one of native, axial, coronal, sagittal"),
        ({"max_frames": 0}, "max_frames is 0, expected a whole number of at least 1"),
        ({"max_frames": True}, "max_frames is True"),
        ({"slices": (10, 10)}, "the first and the one behind the last"),
        ({"volume_index": -1}, "volume_index is -1"),
        ({"start": 3.0}, "start and end are seconds of a video"),
        ({"kind": "video", "start": 3.0, "end": 2.0}, "ends at 2.0 s and starts at 3.0 s"),
        ({"on_gap": "ignore"}, "expected one of note, refuse"),
    ],
)
def test_an_ask_that_says_nothing_is_refused_with_what_it_may_be(wrong: dict[str, object], told: str) -> None:
    with pytest.raises(BadSample, match=told):
        Ask(**{"kind": "volume", **wrong})  # type: ignore[arg-type]


def test_equal_asks_have_one_key_and_another_window_another() -> None:
    assert Ask("volume", window=[40, 400]).key() == Ask("volume", window=(40.0, 400.0)).key()  # type: ignore[arg-type]
    assert Ask("volume", window="lung").key() != Ask("volume").key()


def test_the_budget_of_frames_is_what_fits_the_window() -> None:
    # 3,072 tokens of 256 each hold 12 frames; 8 are wanted.
    assert budget(8, 3072, 256) == 8
    assert budget(None, 3072, 256) == 12
    with pytest.raises(BadSample, match="none fits"):
        budget(8, 255, 256)


@pytest.mark.parametrize(("count", "wanted"), [(12, 4), (12, 12), (300, 16), (7, 3), (1, 8), (5, 8), (31, 30)])
def test_at_a_constant_rate_even_in_time_is_even_in_place(count: int, wanted: int) -> None:
    times = [5 + index / 25 for index in range(count)]
    assert evenly_in_time(times, 5 + count / 25, wanted) == evenly_spaced(count, wanted)


def test_a_frame_that_stands_long_is_chosen_once() -> None:
    # Parts of 2.5 s: their middles 1.25, 3.75, 6.25, 8.75 s; the frame of 1.0 s is on the screen until 9.0 s.
    assert evenly_in_time([0.0, 0.5, 1.0, 9.0, 9.5], 10.0, 4) == (2,)


def test_a_window_is_the_one_of_the_standard() -> None:
    # PS3.3 C.11.2.1.2, centre 40, width 400: black to 39.5 - 199.5 = -160, white from 39.5 + 199.5 = 239; at 39.5 half.
    values = np.array([[-161, -160, 39.5, 239, 240]], dtype=np.float32)
    assert Window(40, 400).share(values).tolist() == [[0, 0, 0.5, 1, 1]]
    # LINEAR_EXACT: -160..240; at 40 half.
    assert Window(40, 400, "LINEAR_EXACT").share(np.array([[-160, 40, 240]], dtype=np.float32)).tolist() == [
        [0, 0.5, 1]
    ]
    # SIGMOID: 1 / (1 + exp(-4 (60 - 40) / 400)) at 60 = 0.549834.
    assert Window(40, 400, "SIGMOID").share(np.array([[40, 60]], dtype=np.float32))[0] == pytest.approx([0.5, 0.549834])
    # A width of 1 is a threshold between 39 and 40.
    assert Window(40, 1).share(np.array([[39, 40]], dtype=np.float32)).tolist() == [[0, 1]]


def test_a_table_gives_its_entries_and_its_ends_beyond() -> None:
    # Two bits: 0, 3, 1 of 3, from the value 10 on.
    table = Table(10, (0, 3, 1), 2)
    assert table.share(np.array([[5, 10, 11, 12, 99]], dtype=np.float32))[0] == pytest.approx([0, 0, 1, 1 / 3, 1 / 3])


def test_polarity_comes_last_and_what_has_no_value_is_black() -> None:
    greys = Greys(lambda: np.zeros(0, np.float32), inverted=True)
    shown = choose((0.5, 2), greys).show(np.array([[-0.5, 0.5, np.nan]], dtype=np.float32))
    assert shown[0, :, 0].tolist() == [255, 0, 0]


def test_outliers_set_no_automatic_scale() -> None:
    # 1,000 values 0..999 and one of 30,000: percentiles 0.5 and 99.5 of 1,001 values are 5 and 995.
    sample = np.append(np.arange(1000), 30_000).astype(np.float32)
    scale = choose("auto", Greys(lambda: sample))
    assert scale.channels[0].bounds == pytest.approx((5, 995))


def test_presets_need_hounsfield_units() -> None:
    def of(least: float, modality: str = "", said: bool | None = None) -> Greys:
        return Greys(lambda: np.array([least, 500], np.float32), in_hounsfield=said, modality=modality)

    assert choose("lung", of(-1000)).channels == (Window(-600, 1500),)
    assert choose("brain", of(0, "CT", True)).name == "brain"
    with pytest.raises(BadSample, match="window lung needs Hounsfield units, the smallest value is 0; use window=auto"):
        choose("lung", of(0))
    with pytest.raises(BadSample, match="values of MR"):
        choose("rgb3", of(-1000, "MR"))


def test_three_windows_in_three_channels() -> None:
    shown = choose("rgb3", Greys(lambda: np.array([-1000], np.float32))).show(np.array([[40.0]], np.float32))
    # (40 + 1024) / 2048 = 0.5195 -> 132; (40 + 135) / 350 = 0.5 -> 128; 40 / 80 = 0.5 -> 128.
    assert shown[0, 0].tolist() == [132, 128, 128]


def test_the_grid_of_auto_holds_at_most_two_million_values() -> None:
    assert steps((12, 20, 24)) == (1, 1, 1)
    frames, rows, columns = steps((300, 512, 512))
    assert -(-300 // frames) <= 48
    assert -(-300 // frames) * -(-512 // rows) * -(-512 // columns) <= 2_000_000


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0), (2, 1, 0)])
@pytest.mark.parametrize("flips", [(False, False, False), (True, False, True), (True, True, True)])
@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_every_storage_of_a_volume_gives_the_same_frames(
    order: tuple[int, int, int], flips: tuple[bool, bool, bool], plane: str
) -> None:
    # A volume [L, P, S] of 3 x 4 x 5 voxels of 2 x 2 x 5 mm, first voxel at (-1, -2, -3).
    volume, base = np.arange(60).reshape(3, 4, 5), np.diag([2.0, 2.0, 5.0, 1.0])
    base[:3, 3] = (-1, -2, -3)
    stored, affine = volume.transpose(order), base.copy()
    affine[:, :3] = base[:, order]
    for axis, flip in enumerate(flips):
        if flip:
            affine[:3, 3] += affine[:3, axis] * (stored.shape[axis] - 1)
            affine[:3, axis] *= -1
            stored = np.flip(stored, axis)
    found = arrange(affine, stored.shape, plane, 0)
    # Frame, row, column of the plane as indices of [L, P, S]: axial S, P, L; coronal P, feet-wards S, L; sagittal L, ..
    expected = {
        "axial": volume.transpose(2, 1, 0),
        "coronal": volume.transpose(1, 2, 0)[:, ::-1],
        "sagittal": volume.transpose(0, 2, 1)[:, ::-1],
    }[plane]
    assert np.array_equal(found.turn(stored), expected)
    assert found.axes == {"axial": "LPS", "coronal": "LIP", "sagittal": "PIL"}[plane]
    assert found.spacing == {"axial": (5, 2, 2), "coronal": (2, 5, 2), "sagittal": (2, 5, 2)}[plane]
    first, step, number = {"axial": (-3, 5, 5), "coronal": (-2, 2, 4), "sagittal": (-1, 2, 3)}[plane]
    assert found.positions == pytest.approx([first + step * index for index in range(number)])
    assert plane_of(found.axes) == plane
    assert found.notes == ()


def test_oblique_voxels_take_the_nearest_axes_and_the_angle_is_noted() -> None:
    turn = np.radians(12)
    affine = np.eye(4)
    affine[:3, :3] = [[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]]
    found = arrange(affine, (3, 4, 5), "native", 2)
    assert found.axes == "LPS"
    assert found.notes == ("oblique by 12.0 degrees",)
    with pytest.raises(BadSample, match="geometry is damaged"):
        arrange(np.zeros((4, 4)), (3, 4, 5), "native", 2)
