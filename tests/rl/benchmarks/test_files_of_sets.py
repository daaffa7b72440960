"""Files of sets as they are passed around, each with its trap: several questions a row, options behind the question,
images written once, pairs, cells that are empty, many files, other folders."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rl.benchmarks import baselines
from rl.benchmarks.archives import Archives
from rl.benchmarks.card import Draw, Form
from rl.benchmarks.loading import load
from rl.benchmarks.overlap import overlap
from rl.config import MediaConfig
from tests.rl.benchmarks.set_cases import MCQ, card_of, picture, read, sample, shipped, write_jsonl


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def pathvqa_image(name: str, *asked: tuple[str, str]) -> dict[str, Any]:
    """An image of the authors' label file with its questions and answers."""
    return {
        "img_id": name,
        "sentf": {"pvqa": [question for question, _ in asked]},
        "labelf": {"pvqa": [{answer: 1} for _, answer in asked]},
    }


def test_pathvqa_s_label_file_has_an_image_a_row_and_its_questions_alone_earn_a_part(tmp_path: Path) -> None:
    """Four rows: "is x present?" was mostly yes in training (right once, wrong once), "what is present?" mostly bone
    (right); the fourth was never asked: the majority open answer, bone, is wrong. 2 of 4; closed 1 of 2, open 1 of 2.
    """
    test = [
        pathvqa_image("test_0000"),  # an image that nothing is asked of
        pathvqa_image("test_0001", ("is x present?", "yes"), ("what is present?", "bone")),
        pathvqa_image("test_0002", ("Is x present?", "no"), ("where is it?", "liver")),
    ]
    train = [
        pathvqa_image("train_1", ("is x present?", "yes"), ("what is present?", "bone"), ("is y?", "no")),
        pathvqa_image("train_2", ("is x present?", "yes"), ("what is present?", "bone"), ("is y?", "no")),
        pathvqa_image("train_3", ("is x present?", "no"), ("what is present?", "skin"), ("is z?", "no")),
    ]
    write_json(tmp_path / "pvqa_test.json", test)
    write_json(tmp_path / "pvqa_train.json", train)
    picture(tmp_path / "images" / "test_0001.jpg")
    benchmark = load(shipped("pathvqa"), str(tmp_path))
    assert [one.id for one in benchmark.samples] == [
        "pathvqa-test_0001-1", "pathvqa-test_0001-2", "pathvqa-test_0002-1", "pathvqa-test_0002-2"
    ]  # fmt: skip
    assert len({item.cluster for item in benchmark.items}) == 2 and "test_0002.jpg" in benchmark.missing_images
    found = baselines.question_only(benchmark.samples, benchmark.taught())
    assert found.values == (1.0, 1.0, 0.0, 0.0)
    # Without the question the answer is no (5 of 9 closed) and bone (2 of 3 open).
    assert baselines.majority(benchmark.samples, benchmark.taught()).values == (0.0, 1.0, 1.0, 0.0)


def test_a_label_file_whose_questions_and_answers_do_not_pair_is_told(tmp_path: Path) -> None:
    row = {**pathvqa_image("test_1", ("what?", "bone")), "labelf": {"pvqa": []}}
    write_json(tmp_path / "pvqa_test.json", [pathvqa_image("test_0", ("what?", "skin")), row])
    (bad,) = load(shipped("pathvqa"), str(tmp_path)).unusable
    assert bad.reason == "image 'test_1' has 1 questions and 0 answers"


def r1(image: str, problem: str, letter: str) -> dict[str, str]:
    return {"image": image, "problem": problem, "solution": f"<answer> {letter} </answer>"}


def test_omnimedvqa_s_options_alone_earn_most_of_it(tmp_path: Path) -> None:
    """Training of X-ray was right with CT twice, with MRI once, and of CT there is none, so all of it counts. Row 1: CT
    is shown and right. Row 2: CT is shown, X-ray is right. Row 3: neither option was ever right: half of a point.
    (1 + 0 + 0.5) / 3 = 50 %."""
    test = tmp_path / "Splits" / "modality" / "test"
    train = tmp_path / "Splits" / "modality" / "train"
    write_json(test / "X-Ray_test.json", [r1("a.png", "Which technique? A)MRI, B)CT", "B")])
    write_json(
        test / "CT(Computed Tomography)_test.json",
        [r1("b.png", "Which one, or none? A)CT, B)X-ray, C)Bone, scan", "B"), r1("a.png", "Grade? A)II, B)I", "A")],
    )
    write_json(
        train / "X-Ray_train.json",
        [r1("a.png", "Q? A)CT, B)No", "A"), r1("c.png", "Q? A)CT, B)Yes", "A"), r1("d.png", "Q? A)CT, B)MRI", "B")],
    )
    benchmark = load(shipped("omnimedvqa"), str(tmp_path))
    first, second, third = sorted(benchmark.samples, key=lambda one: (one.modality != "X-Ray", one.id))
    assert (first.question, first.options, first.gold_letters) == ("Which technique?", ("MRI", "CT"), ("B",))
    assert second.options == ("CT", "X-ray", "Bone, scan") and second.modality == "CT(Computed Tomography)"
    assert third.id == "omnimedvqa-test-CT(Computed Tomography)_test-2"
    found = baselines.options_only([first, second, third], benchmark.taught())
    assert found.values == (1.0, 0.0, 0.5) and found.mean == 0.5
    assert baselines.chance([first, second, third]).values == (1 / 2, 1 / 3, 1 / 2)
    shared = overlap(benchmark.samples, benchmark.training["rows of a training split"], "training")
    assert (shared.num_shared_images, shared.num_images, shared.num_shared_rows) == (1, 2, 2)


def test_a_card_may_draw_as_many_rows_of_each_modality(tmp_path: Path) -> None:
    rows = [{"id": str(n), "question": f"Q{n}", "options": ["x", "y"], "letter": "A", "m": "CT" if n < 6 else "MR"}
            for n in range(8)]  # fmt: skip
    form = Form({"id": "id", "question": "question", "options": "options", "letter": "letter", "modality": "m"})
    card = card_of(form, draw=Draw("modality", 3))
    found = [one.modality for one in read(card, tmp_path, rows).samples]
    assert (found.count("CT"), found.count("MR")) == (3, 2)
    drawn = {one.id for one in read(card, tmp_path, rows).samples}
    assert {one.id for one in read(card, tmp_path, rows[::-1]).samples} == drawn
    bad = {**rows[0], "id": "9", "letter": "Z"}
    assert read(card, tmp_path, [*rows, bad]).unusable == ()


def test_vlmevalkit_s_table_writes_an_image_once(tmp_path: Path) -> None:
    whole = base64.b64encode(picture(tmp_path / "p.png", 120).read_bytes() * 6).decode()
    head = "index\tquestion\tA\tB\tC\tanswer\tcategory\timage\n"
    lines = [f"1\tWhat?\tx\ty\t\tB\tPharmacy\t{whole}", "2\tWhich?\tx\tNone\tz\tC\tPharmacy\t1",
             f"3\tBoth?\tx\ty\tz\tA\tPharmacy\t['{whole}', '{whole}']"]  # fmt: skip
    (tmp_path / "mmmu_med.tsv").write_text(head + "\n".join(lines) + "\n")
    first, second, third = load(shipped("mmmu_med"), str(tmp_path)).samples
    assert (first.options, first.gold_letters) == (("x", "y"), ("B",))
    assert (second.options, second.gold_letters) == (("x", "None", "z"), ("C",))
    assert first.media[0].sha256 == second.media[0].sha256 and len(third.media) == 2


def test_mmmu_takes_the_medical_subjects_by_the_ids_of_its_rows(tmp_path: Path) -> None:
    data = picture(tmp_path / "p.png").read_bytes()
    for subject in ("Public_Health", "Art"):
        rows = [{"id": f"validation_{subject}_1", "question": "What?", "options": "['x', 'y']", "answer": "A",
                 "image_1": {"bytes": data, "path": "p.png"}}]  # fmt: skip
        (tmp_path / subject).mkdir()
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / subject / "validation-00000-of-00001.parquet")
    (found,) = load(shipped("mmmu_med"), str(tmp_path)).samples
    assert found.id == "mmmu_med-validation_Public_Health_1" and found.tags["subject"] == "Public_Health"


def test_many_files_without_ids_take_their_folders_names(tmp_path: Path) -> None:
    for subject in ("anatomy", "medical_genetics", "astronomy"):
        rows = [{"question": f"{subject}?", "subject": subject, "choices": ["x", "y", "z", "w"], "answer": 3}]
        (tmp_path / subject).mkdir()
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / subject / "test-00000-of-00001.parquet")
    benchmark = load(shipped("mmlu_med"), str(tmp_path))
    assert [one.id for one in benchmark.samples] == [
        "mmlu_med-anatomy-test-00000-of-00001-1", "mmlu_med-medical_genetics-test-00000-of-00001-1"
    ]  # fmt: skip
    assert benchmark.unusable == () and benchmark.samples[0].gold_letters == ("D",)


def mediconfusion(**changes: Any) -> dict[str, Any]:
    return {
        "im_1": "train/ROCO_1.jpg", "im_2": "train/ROCO_2.jpg", "im_1_local": 20192, "im_2_local": 20053,
        "cap_1": "It is occluded.", "cap_2": "It is open.", "category_1": ["Cerebral", "Vascular"],
        "category_2": ["Vascular"], "question": "What is it?", "option_A": "Open", "option_B": "Occluded",
        "im_1_correct": "B", "im_2_correct": "A", "AI_question": "How?", **changes,
    }  # fmt: skip


def test_mediconfusion_asks_both_images_of_a_pair_and_no_caption(tmp_path: Path) -> None:
    picture(tmp_path / "data" / "images" / "20192.jpg", 10)
    picture(tmp_path / "data" / "images" / "20053.jpg", 200)
    write_json(tmp_path / "data" / "dataset.json", {"10001": mediconfusion()})
    benchmark = load(shipped("mediconfusion"), str(tmp_path))
    first, second = benchmark.samples
    assert [first.id, second.id, first.pair_id] == ["mediconfusion-10001-1", "mediconfusion-10001-2", "10001"]
    assert (first.gold_text, second.gold_text) == ("Occluded", "Open") and first.pair_id == second.pair_id
    assert benchmark.missing_images == {} and first.media[0].sha256 != second.media[0].sha256
    assert "It is o" not in str(first) and first.tags["category"] == "Cerebral, Vascular"
    (tmp_path / "data" / "dataset.json").unlink()
    row = mediconfusion(category_1="['Cerebral']", im_1_correct="A")
    head = ["id", *row]
    cells = ["10002", *(f'"{value}"' for value in row.values())]
    (tmp_path / "data" / "dataset.csv").write_text(",".join(head) + "\n" + ",".join(cells) + "\n")
    with pytest.raises(ValueError, match="both images of the pair have the right option 'A'"):
        load(shipped("mediconfusion"), str(tmp_path))


def probmed(kind: str, answer: str, question: str = "Is it?", image: str = "img1") -> dict[str, Any]:
    return {"id": image, "i": 1, "image": f"{image}.jpg", "image_type": "X-ray - Chest", "qa_type": kind,
            "question": question, "answer": answer, "src_dataset": "c"}  # fmt: skip


def test_probmed_groups_the_questions_of_an_image_by_dimension(tmp_path: Path) -> None:
    picture(tmp_path / "test" / "img1.jpg")
    rows = [probmed("modality_gt", "yes"), probmed("modality_hallu", "no"), probmed("abnormality", "yes"),
            probmed("entity_gt_1", "yes"), probmed("entity_hallu_1", "no"), probmed("entity_gt_2", "yes"),
            probmed("entity_hallu_2", "no"), probmed("grounding_gt_1", "Yes"), probmed("size_gt", "yes")]  # fmt: skip
    rows = [{**row, "question": f"Is it {number}?"} for number, row in enumerate(rows)]
    write_json(tmp_path / "probmed.json", rows)
    benchmark = load(shipped("probmed"), str(tmp_path))
    groups = [one.pair_id for one in benchmark.samples]
    assert groups.count("img1 entity") == 4 and groups.count("img1 modality") == 2 and len(set(groups)) == 4
    assert {one.answer_type for one in benchmark.samples} == {"yes_no"}
    assert benchmark.samples[0].tags["dimension"] == "modality" and benchmark.samples[0].modality == "X-ray - Chest"
    assert benchmark.unusable[0].reason.startswith("qa_type is 'size_gt' of image 'img1', expected one of modality")


PMC = {"index": 7, "Figure_path": "f.jpg", "Caption": "It is B.", "Question": "Which panel?", "Choice A": " A:B",
       "Choice B": " B:A", "Choice C": " C:C", "Choice D": " D:D", "Answer": "A", "split": "test"}  # fmt: skip


def test_pmc_vqa_s_answer_is_a_letter_even_where_options_are_letters(tmp_path: Path) -> None:
    picture(tmp_path / "figures" / "f.jpg")
    lines = [",".join(PMC), ",".join(str(value) for value in PMC.values())]
    (tmp_path / "test_2.csv").write_text("\n".join(lines) + "\n")
    found = load(shipped("pmc_vqa_v2"), str(tmp_path)).samples[0]
    assert (found.options, found.gold_letters, found.gold_text) == (("B", "A", "C", "D"), ("A",), "B")
    assert "It is B" not in str(found)


def test_an_empty_option_has_its_label_taken_off_like_the_others(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "f.jpg")
    head = "Figure_path,Question,Answer,Choice A,Choice B,Choice C,Choice D,Answer_label\n"
    (tmp_path / "test_clean.csv").write_text(head + "f.jpg,Which?, A:MRI, A:MRI , B:CT, C:X-ray , D:, A\n")
    (item,) = load(shipped("pmc_vqa"), str(tmp_path)).items
    assert item.sample.options == ("MRI", "CT", "X-ray", "[D]") and item.flaw == "option D is empty"


def test_of_two_options_that_differ_in_capitals_the_gold_is_the_one_it_is_spelled_as(tmp_path: Path) -> None:
    form = Form({"question": "question", "options": "options", "answer": "answer"})
    row = {"question": "Which?", "options": ["Bone", "Thyroid Gland", "Skin", "Thyroid gland"]}
    (item,) = read(card_of(form), tmp_path, [{**row, "answer": "Thyroid gland"}]).items
    assert item.sample.gold_letters == ("D",) and item.flaw == "options B, D have the same text"


def test_pubmedqa_s_file_on_the_hub_is_called_train(tmp_path: Path) -> None:
    rows = [{"pubid": 11, "question": "Does it?", "context": {"contexts": ["a", "b"], "labels": ["x", "y"]},
             "long_answer": "It does.", "final_decision": "maybe"}]  # fmt: skip
    (tmp_path / "pqa_labeled").mkdir()
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "pqa_labeled" / "train-00000-of-00001.parquet")
    write_json(tmp_path / "test_ground_truth.json", {"11": "maybe"})
    (found,) = load(shipped("pubmedqa"), str(tmp_path)).samples
    assert found.gold_letters == ("C",) and "It does" not in str(found)


def test_an_image_may_be_named_without_its_ending(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "test_0001.jpg")
    write_json(tmp_path / "test.json", [{"image": "test_0001", "question": "what?", "answer": "bone"}])
    assert load(shipped("pathvqa"), str(tmp_path)).missing_images == {}


def test_an_empty_cell_between_options_moves_no_letter(tmp_path: Path) -> None:
    row = {"id": "a", "question": "Which?", "opa": "one", "opb": None, "opc": "three", "opd": "four", "cop": 2}
    (item,) = read(shipped("medmcqa"), tmp_path, [row], "medmcqa.jsonl").items
    assert item.sample.gold_text == "three" and item.flaw == "option B is empty"
    shown = sample(shipped("medmcqa"), tmp_path, {**row, "opb": "two", "opd": None}, "medmcqa.jsonl")
    assert shown.options == ("one", "two", "three") and shown.gold_letters == ("C",)


@pytest.mark.parametrize(
    ("options", "letter", "gold"),
    [
        (["E. coli", "C. difficile", "S. aureus", "T. pallidum"], "E. coli", "A"),
        (["E. coli", "C. difficile", "S. aureus", "T. pallidum"], "C. difficile", "B"),
        (["E. coli", "C. difficile", "S. aureus", "T. pallidum"], "C", "C"),
        ("['x', \"it's y\"]", "B", "B"),
        ('["x", "y", "z"]', "y", "B"),
        ("A. x\nB. y\nC. z", "C", "C"),
        ("(A) x (B) y", "B", "B"),
        ({"A": "x", "B": "y", "C": None}, "b", "B"),
    ],
)
def test_options_as_text_and_golds_that_look_like_labels(tmp_path: Path, options: Any, letter: str, gold: str) -> None:
    found = sample(card_of(MCQ), tmp_path, {"question": "Which?", "options": options, "letter": letter})
    assert found.gold_letters == (gold,)


def test_sets_that_share_a_folder_are_told_by_their_own_folders(tmp_path: Path) -> None:
    """path-vqa and vqa-rad of the Hub have the same columns and the same file names."""
    data = picture(tmp_path / "p.png").read_bytes()
    for folder, answer in (("a-set", "wrong"), ("vqa-rad", "lung"), ("path-vqa", "muscle")):
        rows = [{"image": {"bytes": data, "path": "p.png"}, "question": "what?", "answer": answer}]
        (tmp_path / folder / "data").mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / folder / "data" / "test-00000-of-00001.parquet")
    assert [one.gold_text for one in load(shipped("vqa_rad"), str(tmp_path)).samples] == ["lung"]
    assert [one.gold_text for one in load(shipped("pathvqa"), str(tmp_path)).samples] == ["muscle"]


def test_images_are_found_in_every_folder_between_the_rows_and_the_root(tmp_path: Path) -> None:
    picture(tmp_path / "OmniMedVQA" / "Images" / "set" / "a.png")
    row = {"question_id": "1", "question": "Which?", "gt_answer": "CT", "option_A": "CT", "option_B": "MR",
           "image_path": "Images/set/a.png", "modality_type": "CT"}  # fmt: skip
    write_json(tmp_path / "OmniMedVQA" / "QA_information" / "Open-access" / "set.json", [row])
    assert load(shipped("omnimedvqa"), str(tmp_path)).missing_images == {}


def test_images_may_lie_in_the_zip_files_that_a_set_comes_in(tmp_path: Path) -> None:
    """SLAKE's imgs.zip beside test.json, unpacked by nobody; a torn archive and a name that leads out hold nothing."""
    row = {"qid": 1, "img_name": "xmlab1/source.jpg", "q_lang": "en", "question": "Is it?", "answer": "Yes",
           "answer_type": "CLOSED", "modality": "CT"}  # fmt: skip
    write_json(tmp_path / "set" / "test.json", [row, {**row, "qid": 2, "img_name": "xmlab2/source.jpg"}])
    data = picture(tmp_path / "p.png", 33).read_bytes()
    with zipfile.ZipFile(tmp_path / "set" / "imgs.zip", "w") as archive:
        archive.writestr("imgs/xmlab1/source.JPG", data)
        archive.writestr("imgs/other/xmlab2source.jpg", data)
    (tmp_path / "set" / "torn.zip").write_bytes(b"PK")
    media = MediaConfig(cache_dir=str(tmp_path / "frames"))
    benchmark = load(shipped("slake_en"), str(tmp_path / "set"), media)
    assert benchmark.missing_images == {"xmlab2/source.jpg": "is not there"}
    assert benchmark.samples[0].media[0].sha256 == hashlib.sha256(data).hexdigest()
    (taken,) = (tmp_path / "frames" / "unpacked").iterdir()
    assert taken.read_bytes() == data and load(shipped("slake_en"), str(tmp_path / "set"), media).items


def test_a_file_that_is_in_no_form_of_a_card_of_many_is_told(tmp_path: Path) -> None:
    card = dataclasses.replace(
        card_of(MCQ), source=dataclasses.replace(card_of(MCQ).source, files=("*.jsonl",), many=True)
    )
    write_jsonl(tmp_path / "one.jsonl", [{"question": "Q", "options": ["x", "y"], "letter": "A"}])
    write_jsonl(tmp_path / "two.jsonl", [{"question": "Q", "answer": "x"}])
    benchmark = load(card, str(tmp_path))
    assert len(benchmark.items) == 1 and "two.jsonl has the columns question, answer" in benchmark.notes[0]


def test_a_damaged_member_of_a_zip_file_is_an_image_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "imgs.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", bytes(range(256)) * 40)
        begin = archive.infolist()[0].header_offset
    assert Archives([tmp_path], tmp_path / "cache").path_of("a.png") is not None
    data = bytearray(path.read_bytes())
    for place in range(begin + 35, begin + 60):
        data[place] = 0xFF  # no deflate stream any more
    path.write_bytes(data)
    assert Archives([tmp_path], tmp_path / "other").path_of("a.png") is None
