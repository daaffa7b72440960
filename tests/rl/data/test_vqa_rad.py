"""VQA-RAD on a made-up folder with every known trap, and on the real one where it is there."""

from __future__ import annotations

import collections
import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rl.config import DataConfig
from rl.data import sets
from rl.data.load import load
from rl.data.vqa_rad import rows as vqa_rad
from rl.data.vqa_rad.answers import aliases, clean_answer, options_in_question


def write_folder(root: Path, rows: list[dict[str, Any]], num_images: int = 10) -> DataConfig:
    """A folder like VQA-RAD's, images img0.png .. of different greys."""
    (root / "images").mkdir()
    for index in range(num_images):
        Image.new("RGB", (8, 8), (index, 0, 0)).save(root / "images" / f"img{index}.png")
    full = [
        {"qid": i, "image_organ": "CHEST", "answer_type": "OPEN", "question_type": "POS", **row}
        for i, row in enumerate(rows)
    ]
    (root / "trainset.json").write_text(json.dumps(full))
    return DataConfig(name="vqa_rad", root=str(root), num_sft=None, num_rl=None, num_eval=None, eval_fraction=0.3)


def row(image: int, question: str, answer: object) -> dict[str, Any]:
    return {"image_name": f"img{image}.png", "question": question, "answer": answer}


def samples_of(data: DataConfig) -> dict[str, Any]:
    splits = vqa_rad.load(data)
    return {sample.question: sample for sample in [*splits.rl, *splits.eval]}


FILLERS = [row(i, f"What is at place {i}?", "bone") for i in range(10)]


def test_traps_become_clean_samples(tmp_path: Path) -> None:
    rows = [
        row(0, "How many kidneys?", 2),
        row(1, "Is it  normal? ", "Yes"),
        row(2, "Is this an AP or PA film?", "PA"),
        row(3, "Where is it? -open", " Right side "),
    ]
    found = samples_of(write_folder(tmp_path, FILLERS + rows))
    assert (found["How many kidneys?"].gold_text, found["How many kidneys?"].aliases) == ("2", ("two",))
    assert (found["Is it normal?"].answer_type, found["Is it normal?"].gold_text) == ("yes_no", "yes")
    film = found["Is this an AP or PA film?"]
    assert (film.answer_type, film.options, film.gold_letters, film.gold_text) == ("mcq", ("AP", "PA"), ("B",), "PA")
    assert found["Where is it?"].gold_text == "Right side"
    assert "right" in found["Where is it?"].aliases


def test_repeated_contradicting_and_empty_answers_are_cleaned_and_counted(tmp_path: Path) -> None:
    rows = [
        row(0, "Is it big?", "yes"),
        row(0, "is it big", "Yes"),  # the same once more
        row(1, "Is it small?", "yes"),
        row(1, "Is it small?", "no"),  # these two contradict each other
        row(2, "Is it old?", "Maybe"),  # says nothing
        row(3, "Where is it?", "right hilum"),
        row(3, "Where is it?", "upper lobe"),  # two annotators, both right
    ]
    data = write_folder(tmp_path, FILLERS + rows)
    assert vqa_rad.load(data).notes == {
        "answers that say nothing": 1,
        "repeated rows": 2,
        "rows that contradict another about the same image": 2,
    }
    found = samples_of(data)
    assert "Is it small?" not in found
    assert "Is it old?" not in found
    assert (found["Where is it?"].gold_text, found["Where is it?"].aliases) == ("right hilum", ("upper lobe",))


def test_bad_rows_are_all_told_with_place_and_reason(tmp_path: Path) -> None:
    bad = [row(77, "Missing?", "yes"), row(0, "   ", "yes"), row(0, "No answer?", ""), {"image_name": "img0.png"}]
    data = write_folder(tmp_path, FILLERS + bad)
    (tmp_path / "images" / "img9.png").write_bytes(b"not an image")
    with pytest.raises(sets.BadRows) as caught:
        vqa_rad.load(data)
    reasons = {(bad_row.line, bad_row.id): bad_row.reason for bad_row in caught.value.rows}
    assert reasons[11, "10"] == "image img77.png does not exist"
    assert reasons[12, "11"] == "the question is empty"
    assert reasons[13, "12"] == "the answer is empty"
    assert reasons[14, "13"] == "expected an object with image_name, question, answer"
    assert reasons[10, "9"].startswith("image img9.png does not open")
    assert len(reasons) == 5
    skipping = DataConfig(**{**vars(data), "on_bad_row": "skip"})
    assert len(vqa_rad.load(skipping).bad_rows) == 5


@pytest.mark.parametrize("root", ["/nowhere/at/all", "./missing"])
def test_a_missing_folder_says_what_was_expected(root: str) -> None:
    with pytest.raises(FileNotFoundError, match=r"expected a folder with trainset.json and images/"):
        vqa_rad.load(DataConfig(name="vqa_rad", root=root))


def test_a_folder_without_the_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"expected trainset.json and images/ in this folder"):
        vqa_rad.load(DataConfig(name="vqa_rad", root=str(tmp_path)))


def test_columns_of_the_hub_copy_are_read() -> None:
    buffer = io.BytesIO()
    Image.new("L", (5, 4)).save(buffer, format="JPEG")
    good = {"image": {"bytes": buffer.getvalue(), "path": None}, "question": "Is it?", "answer": "no"}
    broken = {"image": {"bytes": b"", "path": None}, "question": "Is it?", "answer": "no"}
    rows, bad_rows = vqa_rad.rows_of_columns([good, broken])
    assert [(r.question, r.answer, r.media.data == buffer.getvalue()) for r in rows] == [("Is it?", "no", True)]
    assert [(b.line, b.reason) for b in bad_rows] == [(2, "image is an empty file")]


@pytest.mark.parametrize(
    ("question", "gold", "options", "letter_index"),
    [
        ("Is the abnormality focal or diffuse?", "Diffuse", ("focal", "diffuse"), 1),
        ("Is this a solid or cystic lesion?", "solid", ("solid", "cystic"), 0),
        ("Is the lesion on the patient's right or left side?", "Left", ("right side", "left side"), 1),
        ("Is this a T1 weighted, T2 weighted, or FLAIR image?", "FLAIR", ("T1 weighted", "T2 weighted", "FLAIR"), 2),
        ("Do you suspect vascular process or a genetic process?", "genetic", ("vascular", "genetic"), 1),
    ],
)
def test_options_are_read_where_the_question_names_them(
    question: str, gold: str, options: tuple[str, ...], letter_index: int
) -> None:
    assert options_in_question(question, gold) == (options, letter_index)


@pytest.mark.parametrize(
    ("question", "gold"),
    [
        ("Is this a pneumonia or pleural effusion?", "pneumonia"),  # where does the second option end?
        ("Was oral or IV contrast used?", "Both"),  # gold is neither
        ("Is this MRI with or without contrast?", "with contrast"),  # no names
        ("Is it big or small or neither?", "big"),  # two "or"
        ("Where is it?", "left"),
    ],
)
def test_options_are_not_guessed(question: str, gold: str) -> None:
    assert options_in_question(question, gold) is None


def test_aliases_mean_the_same_and_never_touch_signs_or_numbers() -> None:
    assert set(aliases("Chest X-ray")) >= {"cxr", "chest xray"}
    assert aliases("10-20 minutes") == ()
    assert aliases("5cm") == ("5 cm",)
    assert aliases("Diffusion Weighted Imaging (DWI)") == ("Diffusion Weighted Imaging", "DWI")
    assert clean_answer(" The  liver. ") == "The liver"
    assert clean_answer(12) == "12"


def test_real_folder_is_read_whole_and_split_by_image(vqa_rad_root: Path) -> None:
    raw = json.loads((vqa_rad_root / "trainset.json").read_text())
    data = DataConfig(name="vqa_rad", root=str(vqa_rad_root), num_sft=None, num_rl=None, num_eval=None)
    splits = vqa_rad.load(data)
    asked = [*splits.rl, *splits.eval]
    # nothing is lost without being counted
    assert len(asked) + sum(splits.notes.values()) == len(raw)
    assert splits.bad_rows == []
    train_images, eval_images = ({sample.media[0].sha256 for sample in side} for side in (splits.rl, splits.eval))
    assert not train_images & eval_images
    assert len(train_images | eval_images) == len({entry["image_name"] for entry in raw})
    assert 0.1 < len(eval_images) / len(train_images | eval_images) < 0.3
    # every row answered by exactly yes or no, in any case, is yes_no, and nothing else is
    num_yes_no = sum(str(entry["answer"]).strip().lower() in ("yes", "no") for entry in raw)
    dropped = sum(splits.notes.values())
    kinds = collections.Counter(sample.answer_type for sample in asked)
    assert num_yes_no - dropped <= kinds["yes_no"] <= num_yes_no
    assert kinds["mcq"] >= 40
    assert {sample.gold_text for sample in asked if sample.answer_type == "yes_no"} == {"yes", "no"}
    assert len({sample.id for sample in asked}) == len(asked)
    assert all(row.response.startswith("<think>This is ") for row in splits.sft)


def test_real_folder_gives_the_same_split_twice_and_another_with_another_seed(vqa_rad_root: Path) -> None:
    data = DataConfig(name="vqa_rad", root=str(vqa_rad_root), num_sft=5, num_rl=40, num_eval=30)
    first, second = load(data), load(data)
    assert [sample.id for sample in first.rl] == [sample.id for sample in second.rl]
    assert (first.eval, first.sft) == (second.eval, second.sft)
    assert (len(first.sft), len(first.rl), len(first.eval)) == (5, 40, 30)
    assert sum(sample.answer_type == "yes_no" for sample in first.rl) == 2  # floor(0.05 * 40)
    assert load(DataConfig(**{**vars(data), "seed": 1})).eval != first.eval
