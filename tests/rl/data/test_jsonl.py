"""data=jsonl: anyone's file is read, and every kind of bad line is told with its number and reason."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rl.config import DataConfig, MediaConfig
from rl.data import sets
from rl.data.images import image_fault
from rl.data.jsonl import rows as jsonl
from rl.data.jsonl.row import FIELDS
from rl.data.load import load
from rl.data.media.reader import MediaReader
from rollouts import media
from rollouts.records import RubricCriterion


def write_file(root: Path, lines: list[Any], **settings: Any) -> DataConfig:
    """A JSONL file beside images a0.png .. a9.png and a folder `scan` of 12 slices; a line may be an object or raw
    text."""
    for index in range(10):
        Image.new("RGB", (6, 6), (index, 9, 9)).save(root / f"a{index}.png")
    (root / "scan").mkdir(exist_ok=True)
    for index in range(12):
        Image.new("L", (6, 6), index).save(root / "scan" / f"slice{index}.png")
    path = root / "rows.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return DataConfig(name="jsonl", root=str(path), num_sft=None, num_rl=None, num_eval=None, **settings)


GOOD = [{"question": f"What is in image {i}?", "answer": f"thing {i}", "image": f"a{i}.png"} for i in range(10)]


def read(path: Path) -> Any:
    """Good and bad lines of a file; at most 4 frames of each volume, kept in a cache beside it."""
    return jsonl.read_lines(path, MediaReader(path.parent, MediaConfig(cache_dir=str(path.parent / "cache"))))


def one(root: Path, row: dict[str, Any]) -> Any:
    """The sample of one row."""
    lines, bad_rows = read(Path(str(write_file(root, [row]).root)))
    assert bad_rows == [], bad_rows
    return lines[0].sample


def reason(root: Path, row: Any) -> str:
    """Why one row is bad."""
    lines, bad_rows = read(Path(str(write_file(root, [row]).root)))
    assert lines == []
    return bad_rows[0].reason


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        ("Yes.", "yes"), ("No.", "no"), ("YES!", "yes"), ("ｙｅｓ", "yes"), ("y", "yes"), ("True", "yes"), ("N", "no"),
        ("yes, there is", "yes"), ("No, it isn't.", "no"), ("是", "yes"), ("包含", "yes"), ("不包含", "no"),
        ("可以", "yes"), ("不可以", "no"), ("能", "yes"), ("不能", "no"),
        ("会", "yes"), ("不会", "no"), ("有", "yes"), ("没有", "no"),
    ],
)  # fmt: skip
def test_yes_and_no_are_read_in_every_written_form(tmp_path: Path, answer: str, word: str) -> None:
    sample = one(tmp_path, {"question": "Q", "answer": answer})
    assert (sample.answer_type, sample.gold_text) == ("yes_no", word)


@pytest.mark.parametrize("answer", ["Yes, left lung", "No fracture", "normal", "不正常", "正常", "无异常"])
def test_an_answer_that_says_more_or_other_than_yes_is_an_open_question(tmp_path: Path, answer: str) -> None:
    assert one(tmp_path, {"question": "Q", "answer": answer}).answer_type == "open"


@pytest.mark.parametrize("style", ["{}. {t}", "{}: {t}", "({}) {t}", "{}) {t}"])
def test_labels_inside_options_are_taken_off(tmp_path: Path, style: str) -> None:
    options = [style.format(letter, t=text) for letter, text in (("A", "cyst"), ("B", "stone"), ("C", "mass"))]
    for answer in ("B", "b", "stone", options[1]):
        sample = one(tmp_path, {"question": "Q", "answer": answer, "options": options})
        assert (sample.options, sample.gold_letters, sample.gold_text) == (("cyst", "stone", "mass"), ("B",), "stone")
    names = ["C. difficile", "E. coli"]
    assert one(tmp_path, {"question": "Q", "answer": "E. coli", "options": names}).options == tuple(names)


def test_answer_types_follow_from_answer_and_options(tmp_path: Path) -> None:
    assert one(tmp_path, {"question": "Q", "answer": "liver"}).answer_type == "open"
    assert (one(tmp_path, {"question": "Q", "answer": "Yes"})).gold_text == "yes"
    mcq = one(tmp_path, {"question": "Q", "answer": "b", "options": ["cyst", "stone"]})
    assert (mcq.answer_type, mcq.gold_letters, mcq.gold_text) == ("mcq", ("B",), "stone")
    multi = one(tmp_path, {"question": "Q", "answer": ["C", "cyst"], "options": ["cyst", "stone", "mass"]})
    assert (multi.answer_type, multi.gold_letters, multi.gold_text) == ("multi", ("A", "C"), "cyst; mass")
    assert one(tmp_path, {"question": "Q", "answer": 4.5, "answer_type": "numeric"}).gold_text == "4.5"


def test_a_rubric_is_read_with_its_points(tmp_path: Path) -> None:
    rubric = [{"criterion": "names the side", "points": 5}, {"criterion": "invents an effusion", "points": -2.5}]
    assert one(tmp_path, {"question": "Q", "answer": "x", "rubric": rubric}).rubric == (
        RubricCriterion("names the side", 5.0),
        RubricCriterion("invents an effusion", -2.5),
    )


def test_an_option_that_is_a_letter_wins_over_the_label(tmp_path: Path) -> None:
    """Blood groups: the answer "B" is the text of option A here."""
    sample = one(tmp_path, {"question": "Blood group?", "answer": "B", "options": ["B", "A", "0"]})
    assert sample.gold_letters == ("A",)


@pytest.mark.full_run_only(reason="media are read in processes of their own")
def test_volume_folder_becomes_evenly_spaced_slices_in_natural_order(tmp_path: Path) -> None:
    sample = one(tmp_path, {"question": "Q", "answer": "x", "volume": "scan"})
    volume = sample.media[0]
    # 4 of 12, centred in their shares: (2i + 1) * 12 // 8 = 1, 4, 7, 10
    assert (volume.kind, volume.frame_indices) == ("volume", (1, 4, 7, 10))
    # slice10 comes after slice9, so grey values are the indices
    assert [frame.getpixel((0, 0))[0] for frame in media.frames(volume)] == [1, 4, 7, 10]
    assert volume.sha256


def test_list_of_frames_keeps_its_order_and_images_theirs(tmp_path: Path) -> None:
    sample = one(
        tmp_path, {"question": "Q", "answer": "x", "video": ["a3.png", "a1.png"], "images": ["a2.png", "a0.png"]}
    )
    kinds = [(medium.kind, [frame.getpixel((0, 0))[0] for frame in media.frames(medium)]) for medium in sample.media]
    assert kinds == [("image", [2]), ("image", [0]), ("video", [3, 1])]


BAD_LINES = [
    ('{"question": "Q", "answer": ', "not JSON"),
    ("[1, 2]", "expected one JSON object, got a list"),
    ('{"question": "Q", "answer": "a", "answer": "b"}', "field 'answer' stands there twice"),
    ({"question": " ", "answer": "x"}, "the question is empty"),
    ({"answer": "x"}, "the question is empty"),
    ({"question": "Q"}, "answer is None"),
    ({"question": "Q", "answer": ""}, "answer is ''"),
    ({"question": "Q", "answer": "x", "image": "none.png"}, "image none.png does not exist"),
    ({"question": "Q", "answer": "x", "image": "text.png"}, "image text.png does not open: it is a text file"),
    ({"question": "Q", "answer": "x", "image": "scan"}, "image scan is a folder; give one file of it"),
    ({"question": "Q", "answer": "x", "image": "cut.png"}, "image cut.png is cut: the file ends before its end mark"),
    ({"question": "Q", "answer": "x", "image": "cut.jpg"}, "image cut.jpg does not open"),
    ({"question": "Q", "answer": "x", "image": "empty.png"}, "image empty.png is an empty file"),
    (
        {"question": "Q", "answer": "x", "image": "huge.png"},
        "image huge.png has 9000 x 9000 pixels, at most 50,000,000",
    ),
    ({"question": "Q", "answer": "D", "options": ["u", "v"]}, "the gold answer 'D' is not among the options"),
    ({"question": "Q", "answer": "w", "options": ["u", "v"]}, "the gold answer 'w' is not among the options"),
    ({"question": "Q", "answer": "A", "options": ["u", "U "]}, "two options have the same text"),
    ({"question": "Q", "answer": "u", "options": ["u", "U "]}, "two options have the same text"),
    ({"question": "Q", "answer": "A", "options": ["u", " "]}, "an option is empty"),
    ({"question": "Q", "answer": "A", "options": ["u"]}, "1 options, expected 2 to 26"),
    ({"question": "Q", "answer": "A", "options": "u"}, "options is 'u', expected a list"),
    (
        {"question": "Q", "answer": "B", "options": ["B. cyst", "A. stone"]},
        "the options are labelled in the order ['B', 'A']",
    ),
    ({"question": "Q", "answer": "maybe", "answer_type": "yes_no"}, "a yes_no gold must be 'yes' or 'no'"),
    ({"question": "Q", "answer": "x", "answer_type": "essay"}, "answer_type is 'essay'"),
    ({"question": "Q", "anwser": "x"}, "unknown field 'anwser'; did you mean 'answer'?"),
    ({"question": "Q", "answer": "x", "split": "dev"}, "split is 'dev'"),
    ({"question": "Q", "answer": "x", "volume": "nowhere"}, "volume nowhere does not exist"),
    ({"question": "Q", "answer": "x", "volume": "ct.nii.gz"}, "volume ct.nii.gz does not exist"),
    ({"question": "Q", "answer": "x", "boxes": [[5, 5, 1, 1]]}, "boxes is"),
    ({"question": "Q", "answer": "x", "difficulty": 3}, "difficulty is 3"),
    ({"question": "Q", "answer": "x", "rubric": ["says it"]}, "rubric is"),
    ({"question": "Q", "answer": "x", "rubric": [{"criterion": "says it", "points": True}]}, "rubric is"),
    ({"question": "Q", "answer": "x", "rubric": [{"criterion": "says it", "points": 1, "tag": "t"}]}, "rubric is"),
    (
        {"question": "Q", "answer": "x", "rubric": [{"criterion": " ", "points": 1}]},
        "a criterion of the rubric is empty",
    ),
    (
        {"question": "Q", "answer": "x", "rubric": [{"criterion": "says it", "points": 0}]},
        "criterion 'says it' has 0.0 points",
    ),
    (
        {"question": "Q", "answer": "x", "rubric": [{"criterion": "lies", "points": -2}]},
        "no criterion of the rubric has positive",
    ),
    ({"question": "Q", "answer": "x", "rubric": [{"criterion": "a", "points": 2}] * 2}, "two criteria of the rubric"),
    ({"question": "Q", "answer": "x", "language": "fr"}, "language is 'fr'"),
]


@pytest.fixture
def broken_images(tmp_path: Path) -> Path:
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "empty.png").write_bytes(b"")
    noise = Image.effect_noise((64, 64), 80)
    for ending in ("png", "jpg"):
        noise.save(tmp_path / f"whole.{ending}")
        whole = (tmp_path / f"whole.{ending}").read_bytes()
        (tmp_path / f"cut.{ending}").write_bytes(whole[: len(whole) // 2])
    # a file of a few bytes that says it holds 81 megapixels: signature, header chunk (9000 x 9000, 1 bit a pixel), end
    header = b"IHDR" + struct.pack(">IIBBBBB", 9000, 9000, 1, 0, 0, 0, 0)
    chunks = (header, b"IDAT", b"IEND")
    body = b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks
    )
    (tmp_path / "huge.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return tmp_path


@pytest.mark.parametrize(("row", "expected"), BAD_LINES)
def test_every_kind_of_bad_line_has_its_reason(broken_images: Path, row: Any, expected: str) -> None:
    assert reason(broken_images, row).startswith(expected)


def test_all_bad_lines_are_told_at_once_on_one_screen(broken_images: Path) -> None:
    data = write_file(broken_images, [*GOOD, *(row for row, _ in BAD_LINES)])
    with pytest.raises(sets.BadRows) as caught:
        load(data)
    assert [bad.line for bad in caught.value.rows] == list(range(11, 11 + len(BAD_LINES)))
    screen = str(caught.value).splitlines()
    assert len(screen) <= 25
    assert f"{len(BAD_LINES)} rows cannot be used" in screen[0]
    assert screen[1].split() [:2] == ["line", "11"]  # fmt: skip
    assert f"and {len(BAD_LINES) - 20} more" in screen[21]
    written = [json.loads(line) for line in (broken_images / "bad_rows.jsonl").read_text().splitlines()]
    assert [entry["line"] for entry in written] == [bad.line for bad in caught.value.rows]


def test_skip_goes_on_and_records(broken_images: Path) -> None:
    data = write_file(broken_images, [*GOOD, *(row for row, _ in BAD_LINES)], on_bad_row="skip", eval_fraction=0.4)
    splits = load(data)
    assert len(splits.bad_rows) == len(BAD_LINES)
    assert len(splits.rl) + len(splits.eval) == len(GOOD)


def test_repeated_ids_and_half_given_splits_are_bad_rows(tmp_path: Path) -> None:
    rows = [{**GOOD[0], "id": "x", "split": "train"}, {**GOOD[1], "id": "x", "split": "test"}, GOOD[2]]
    with pytest.raises(sets.BadRows) as caught:
        jsonl.load(write_file(tmp_path, rows))
    assert [(bad.line, bad.reason) for bad in caught.value.rows] == [
        (2, "the id is taken by line 1"),
        (3, "has no split, but other lines have one; give it to all lines or to none"),
    ]


def test_an_image_on_both_sides_of_a_given_split_is_a_bad_row(tmp_path: Path) -> None:
    rows = [
        {**GOOD[0], "split": "train"},
        {**GOOD[1], "split": "train"},
        {**GOOD[0], "question": "Else?", "split": "val"},
    ]
    with pytest.raises(sets.BadRows) as caught:
        jsonl.load(write_file(tmp_path, rows))
    assert [(bad.line, bad.reason) for bad in caught.value.rows] == [
        (1, "is for training, but its image is held out in line 3")
    ]


def test_samples_that_share_an_image_stay_on_one_side(tmp_path: Path) -> None:
    """Image i is asked about together with image i + 1 for i < 4, so 0..4 are one family; 5 and 6 share a file's
    bytes."""
    chain = [{"question": "Which?", "answer": "left", "images": [f"a{i}.png", f"a{i + 1}.png"]} for i in range(4)]
    data = write_file(tmp_path, [*GOOD, *chain], eval_fraction=0.5)
    (tmp_path / "a6.png").write_bytes((tmp_path / "a5.png").read_bytes())
    for seed in range(8):
        splits = jsonl.load(DataConfig(**{**vars(data), "seed": seed}))
        held = {medium.sha256 for sample in splits.eval for medium in sample.media}
        assert held
        assert not held & {medium.sha256 for sample in splits.rl for medium in sample.media}


def test_one_family_cannot_be_split_and_two_always_can(tmp_path: Path) -> None:
    same = [{**GOOD[0], "question": f"Question {i}?"} for i in range(3)]
    with pytest.raises(ValueError, match="all 3 questions share images"):
        jsonl.load(write_file(tmp_path, same))
    for seed in range(6):
        splits = jsonl.load(write_file(tmp_path, [*same, GOOD[1]], seed=seed))
        assert {len(splits.rl), len(splits.eval)} == {1, 3}


def test_sft_rows_hold_thought_and_answer(tmp_path: Path) -> None:
    rows = [
        {**GOOD[0], "split": "train", "think": "I see it.", "answer": "A", "options": ["bone", "air"]},
        {**GOOD[1], "split": "train", "modality": "CT"},
        {**GOOD[2], "split": "eval"},
    ]
    responses = {row.sample.id: row.response for row in jsonl.load(write_file(tmp_path, rows)).sft}
    assert responses == {
        "line-1": "<think>I see it.</think>\n<answer>A. bone</answer>",
        "line-2": "<think>I look at the CT image and answer what is asked.</think>\n<answer>thing 1</answer>",
    }


def test_a_missing_file_and_a_file_without_rows_say_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="expected a JSONL file, there is none"):
        jsonl.load(DataConfig(name="jsonl", root=str(tmp_path / "no.jsonl")))
    with pytest.raises(FileNotFoundError, match="got a folder"):
        jsonl.load(DataConfig(name="jsonl", root=str(tmp_path)))
    with pytest.raises(ValueError, match="no usable row"):
        jsonl.load(write_file(tmp_path, []))


def test_a_whole_image_has_no_fault(broken_images: Path) -> None:
    assert image_fault((broken_images / "whole.png").read_bytes()) is None
    assert image_fault((broken_images / "whole.jpg").read_bytes()) is None


@pytest.mark.full_run_only(reason="media are read in processes of their own")
def test_the_lines_of_the_guide_are_good_and_name_every_field(tmp_path: Path, repository: Path) -> None:
    text = (repository / "examples" / "data.md").read_text()
    lines = text.split("```json\n")[1].split("```")[0].splitlines()
    for name in ("images/17.png", "images/18.jpg", "scans/4711/1.png", "a.png", "b.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4)).save(tmp_path / name)
    found, bad_rows = read(Path(str(write_file(tmp_path, lines).root)))
    assert bad_rows == []
    assert [line.sample.answer_type for line in found] == ["mcq", "yes_no", "multi", "open"]
    assert [name for name in FIELDS if f"`{name}`" not in text] == []


def test_the_difficulty_of_rows_bounds_the_rl_set_and_nothing_else(tmp_path: Path) -> None:
    rows = [{**row, "difficulty": index / 10} for index, row in enumerate(GOOD)]
    everything = load(write_file(tmp_path, rows))
    bounded = load(write_file(tmp_path, rows, min_difficulty=0.25, max_difficulty=0.75))
    assert (bounded.sft, bounded.eval) == (everything.sft, everything.eval)
    assert {one.id for one in bounded.rl} == {one.id for one in everything.rl if 0.25 <= one.difficulty <= 0.75}
    assert sum(bounded.notes.values()) == len(everything.rl) - len(bounded.rl) > 0
    with pytest.raises(ValueError, match="no training row has a difficulty"):
        load(write_file(tmp_path, GOOD, max_difficulty=0.75))
