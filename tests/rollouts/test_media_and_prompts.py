"""Media become ordered RGB frames; a sample becomes one prompt, the same everywhere."""

from __future__ import annotations

import hashlib
import io

import pytest
from PIL import Image

from rollouts import media as media_files
from rollouts.imaging import pictures
from rollouts.prompt.messages import build_messages, question_text, response
from rollouts.records import BadSample, Media, Sample


def _png(colour: tuple[int, int, int], size: tuple[int, int] = (4, 3)) -> bytes:
    return pictures.to_png(Image.new("RGB", size, colour))


def test_frames_keep_their_order_and_become_rgb() -> None:
    volume = Media(kind="volume", frames=(_png((1, 0, 0)), _png((2, 0, 0)), _png((3, 0, 0))), frame_indices=(0, 4, 8))
    assert [frame.getpixel((0, 0)) for frame in media_files.frames(volume)] == [(1, 0, 0), (2, 0, 0), (3, 0, 0)]
    grey = io.BytesIO()
    Image.new("L", (2, 2), 7).save(grey, format="PNG")
    assert media_files.frames(Media(kind="image", data=grey.getvalue()))[0].getpixel((1, 1)) == (7, 7, 7)


def test_hash_of_an_image_is_its_files_and_of_a_volume_its_frames_in_order() -> None:
    first, second = _png((1, 1, 1)), _png((2, 2, 2))
    assert media_files.with_hash(Media(kind="image", data=first)).sha256 == hashlib.sha256(first).hexdigest()
    forward = media_files.with_hash(Media(kind="volume", frames=(first, second))).sha256
    backward = media_files.with_hash(Media(kind="volume", frames=(second, first))).sha256
    assert forward != backward


@pytest.mark.parametrize(
    ("count", "wanted", "chosen"),
    # 10 slices in 3 shares of 3.33: centres 1.67, 5, 8.33 -> 1, 5, 8
    [(10, 3, (1, 5, 8)), (3, 3, (0, 1, 2)), (2, 5, (0, 1)), (9, 1, (4,))],
)
def test_slices_are_evenly_spaced(count: int, wanted: int, chosen: tuple[int, ...]) -> None:
    assert media_files.evenly_spaced(count, wanted) == chosen


def test_blank_keeps_size_and_number_and_loses_the_picture() -> None:
    volume = Media(kind="volume", frames=(_png((9, 9, 9), (5, 6)), _png((8, 8, 8), (5, 6))))
    grey = media_files.frames(media_files.blank(volume))
    assert [frame.size for frame in grey] == [(5, 6), (5, 6)]
    assert {frame.getpixel((2, 2)) for frame in grey} == {media_files.BLANK_GREY}


@pytest.mark.parametrize("data", [b"", b"not an image", _png((1, 2, 3))[:40]])
def test_a_broken_image_says_so(data: bytes) -> None:
    with pytest.raises(BadSample, match=r"does not open|is an empty file"):
        media_files.frames(Media(kind="image", data=data))


def test_a_missing_image_names_its_path(tmp_path) -> None:
    with pytest.raises(BadSample, match=r"nowhere\.png"):
        media_files.frames(Media(kind="image", path=str(tmp_path / "nowhere.png")))


def test_a_pixel_bomb_is_refused_before_it_is_decoded() -> None:
    buffer = io.BytesIO()
    Image.new("1", (20_000, 3_000)).save(buffer, format="PNG")
    with pytest.raises(BadSample, match="20000 x 3000"):
        media_files.frames(Media(kind="image", data=buffer.getvalue()))


def test_options_are_printed_for_multiple_choice_and_kept_back_for_open_items() -> None:
    closed = Sample(
        id="q",
        question=" What is it? ",
        answer_type="mcq",
        gold_text="cyst",
        options=("mass", "cyst"),
        gold_letters=("B",),
    )
    assert question_text(closed) == "What is it?\nA. mass\nB. cyst"
    opened = Sample(
        id="q",
        question="What is it?",
        answer_type="open",
        gold_text="cyst",
        options=("mass", "cyst"),
        gold_letters=("B",),
    )
    assert question_text(opened) == "What is it?"


def test_every_frame_has_its_placeholder_before_the_text() -> None:
    sample = Sample(
        id="q", question="Where?", answer_type="open", gold_text="left",
        media=(Media(kind="volume", frames=(_png((0, 0, 0)),) * 3), Media(kind="image", data=_png((0, 0, 0)))),
    )  # fmt: skip
    (message,) = build_messages(sample)
    assert [part["type"] for part in message["content"]] == ["image"] * 4 + ["text"]
    assert [message["role"] for message in build_messages(sample, system="tags")] == ["system", "user"]


def test_a_label_stands_before_its_frame_and_nothing_before_a_frame_without() -> None:
    labels = ("Slice 3 of 9:", "Slice 7 of 9:")
    volume = Media(kind="volume", frames=(_png((0, 0, 0)),) * 2, labels=labels)
    sample = Sample(
        id="q", question="Where?", answer_type="open", gold_text="left",
        media=(Media(kind="image", data=_png((0, 0, 0))), volume),
    )  # fmt: skip
    (message,) = build_messages(sample)
    parts = [part.get("text", part["type"]) for part in message["content"]]
    assert parts == ["image", "Slice 3 of 9:", "image", "Slice 7 of 9:", "image", "Where?"]
    assert media_files.blank(volume).labels == labels


def test_a_response_has_the_four_tags_in_order() -> None:
    assert response("I see a cyst", "B") == "<think>I see a cyst</think>\n<answer>B</answer>"
