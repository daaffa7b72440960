"""Rows in the forms in which sets are passed around become the right questions: the hard cases of each set."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from rewards.answers.read import parse
from rl.benchmarks.baselines import accepted
from rl.benchmarks.card import Form
from rl.benchmarks.loading import MERGED, load
from rl.benchmarks.odd_rows import tail_options
from rl.config import MediaConfig
from rollouts.records import Sample
from tests.rl.benchmarks.set_cases import MCQ, card_of, picture, read, reason, sample, shipped, write_jsonl


def letters(sample: Sample, answer: str) -> str:
    """What an answer commits to."""
    assert sample.options is not None
    return "".join(parse(f"<think>t</think>\n<answer>{answer}</answer>", sample.options).letters)


def mcq(tmp_path: Path, options: Any, letter: Any, **more: Any) -> Sample:
    return sample(card_of(MCQ), tmp_path, {"question": "Which?", "options": options, "letter": letter, **more})


@pytest.mark.parametrize(
    "options",
    [
        ["one", "two"], {"A": "one", "B": "two"}, {"B": "two", "A": "one"}, ["A. one", "B. two"],
        [{"letter": "A", "content": "one"}, {"letter": "B", "content": "two"}],
        [{"key": "A", "value": "one"}, {"key": "B", "value": "two"}], [" A:one", " B:two"],
    ],
)  # fmt: skip
@pytest.mark.parametrize("letter", ["B", ["B"], "(B)", "B. two", "b"])
def test_options_and_letters_in_every_form(tmp_path: Path, options: Any, letter: Any) -> None:
    found = mcq(tmp_path, options, letter)
    assert (found.options, found.gold_letters, found.gold_text) == (("one", "two"), ("B",), "two")


def test_letters_as_options_are_read_by_label_first(tmp_path: Path) -> None:
    """MedXpertQA MM-21: A="A" B="C" C="D" D="E" E="B", gold B. "B" is right; "C" is the label C, wrong."""
    found = mcq(tmp_path, ["A", "C", "D", "E", "B"], "B")
    assert found.gold_text == "C"
    assert letters(found, "B") == "B"
    assert letters(found, "C") == "C"
    assert letters(found, "Segment C (option B)") == "B"
    assert letters(found, "segment C") != "B"


def test_options_of_a_question_s_tail_are_taken_off_it() -> None:
    """MedQA and MMLU of MedXpertQA's authors; "(B)" inside an option's text is no next option."""
    row = {"question": "What?\nAnswer Choices: (A) vitamin (B)12 (B) see (C) (C) none", "label": ["C"]}
    found = tail_options(row)
    assert (found["question"], found["letter"]) == ("What?", ["C"])
    assert found["options"][0] == "vitamin (B)12" and len(found["options"]) == 3


def test_medxpertqa_strips_the_tail_and_names_letter_options(tmp_path: Path) -> None:
    row = {
        "id": "MM-21", "question": "Which segment?\nAnswer Choices: (A) A (B) C",
        "options": [{"letter": "A", "content": "A"}, {"letter": "B", "content": "C"}], "label": ["B"],
        "images": [{"image_path": "MM-21-a.jpeg"}], "medical_task": "Diagnosis", "body_system": "x",
        "question_type": "y",
    }  # fmt: skip
    picture(tmp_path / "images" / "MM-21-a.JPEG")  # a name that differs in capitals only
    found = sample(shipped("medxpertqa_mm"), tmp_path, row, "medxpertqa_mm.jsonl")
    assert found.question == "Which segment?" and found.tags["letter_options"] == "letters"
    assert found.media[0].sha256
    hub = {**row, "options": {"A": "A", "B": "C"}, "label": "B", "images": ["MM-21-a.jpeg"]}
    assert sample(shipped("medxpertqa_mm"), tmp_path, hub, "medxpertqa_mm.jsonl").gold_letters == ("B",)


MEDMCQA = {"id": "a", "question": "Which?", "opa": "4.6", "opb": "4.6", "opc": "4.61", "opd": "4.62", "cop": 3,
           "subject_name": "Anatomy", "choice_type": "single"}  # fmt: skip


def test_options_of_one_text_are_asked_by_letter_and_left_out_of_clean(tmp_path: Path) -> None:
    """MedMCQA 73818dbb: 4.6, 4.6, 4.61, 4.62, gold D. "4.62" must not match "4.6"."""
    benchmark = read(shipped("medmcqa"), tmp_path, [MEDMCQA, {**MEDMCQA, "id": "b", "opb": "5"}], "medmcqa.jsonl")
    bad, good = benchmark.items
    assert bad.flaw == "options A, B have the same text" and good.flaw == ""
    assert bad.sample.options == ("4.6 [A]", "4.6 [B]", "4.61", "4.62") and bad.sample.gold_letters == ("D",)
    assert letters(bad.sample, "4.62") == "D"
    assert benchmark.num_clean == 1
    # MedMCQA 0447b9a2: the arrows that told four options apart were lost.
    lost = {"question": "Which?\nAnswer Choices: (A)  (B)  (C)  (D)", "label": ["A"], "id": "c"}
    (item,) = read(shipped("medmcqa"), tmp_path / "lost", [lost], "medmcqa.jsonl").items
    assert item.flaw == "options A, B, C, D have the same text" and item.sample.options == ("[A]", "[B]", "[C]", "[D]")
    folded = {"question": "Q", "options": ["Bone", "Thyroid Gland", "Skin", "Thyroid gland"], "letter": "C"}
    assert read(card_of(MCQ), tmp_path / "o", [folded]).items[0].flaw == "options B, D have the same text"


def test_a_gold_that_is_no_option_cannot_be_asked(tmp_path: Path) -> None:
    card = card_of(Form({"question": "question", "options": "options", "answer": "answer"}))
    good = {"question": "Q", "options": ["x", "y"], "answer": "y"}
    assert "'z' is not among the options" in reason(card, tmp_path, {**good, "answer": "z"}, good)
    assert "gold index is '4'" in reason(shipped("medmcqa"), tmp_path, {**MEDMCQA, "cop": 4}, MEDMCQA, "medmcqa.jsonl")
    twice = {"question": "Q", "options": ["x", "x", "y"], "answer": "x"}
    assert "is the text of 2 options" in reason(card, tmp_path, twice, good)


OMNI = {"question_id": "1", "question": "Which?", "gt_answer": "CT.", "option_A": "Angiography",
        "option_B": "Bone scan", "option_C": "CT.", "option_D": "Thermography",
        "image_path": "a.png", "modality_type": "CT"}  # fmt: skip


def test_omnimedvqa_shows_no_dot_and_takes_two_options(tmp_path: Path) -> None:
    picture(tmp_path / "Images" / "a.png")
    two = {name: value for name, value in OMNI.items() if name not in ("option_C", "option_D")}
    two |= {"question_id": "2", "gt_answer": "Bone scan", "modality": two.pop("modality_type")}
    (tmp_path / "Open-access").mkdir()
    (tmp_path / "Open-access" / "Chest CT Scan.json").write_text(json.dumps([OMNI, two]))
    benchmark = load(shipped("omnimedvqa"), str(tmp_path))
    first, second = benchmark.samples
    assert first.options == ("Angiography", "Bone scan", "CT", "Thermography")
    assert [letters(first, said) for said in ("CT", "CT.", "C")] == ["C", "C", "C"]
    assert second.options == ("Angiography", "Bone scan") and second.modality == "CT"
    assert first.media[0].sha256 == second.media[0].sha256 and first.tags["cluster"] == second.tags["cluster"]


SLAKE = {"qid": 1, "img_name": "xmlab1/source.jpg", "q_lang": "en",
         "question": "Which organ is abnormal, heart or lung?", "answer": "Heart",
         "answer_type": "CLOSED", "content_type": "Abnormality", "modality": "X-Ray",
         "base_type": "vqa", "location": "Chest", "triple": []}  # fmt: skip


def slake(tmp_path: Path, name: str = "slake_en", **changes: Any) -> Sample:
    picture(tmp_path / "imgs" / "xmlab1" / "source.jpg")
    (tmp_path / "test.json").write_text(json.dumps([{**SLAKE, **changes}]))
    benchmark = load(shipped(name), str(tmp_path))
    assert benchmark.unusable == ()
    return benchmark.samples[0]


def test_slake_reads_options_from_a_closed_question(tmp_path: Path) -> None:
    found = slake(tmp_path)
    assert (found.answer_type, found.options, found.gold_letters) == ("mcq", ("heart", "lung"), ("A",))
    assert slake(tmp_path, answer_type="OPEN").answer_type == "open"
    assert slake(tmp_path, question="Is there a mass?", answer="Yes").answer_type == "yes_no"
    assert slake(tmp_path, answer="Liver").tags["flaw"].startswith("the gold 'Liver' is none of the options")


@pytest.mark.parametrize(
    ("question", "answer", "kind", "gold", "options"),
    [
        ("图片中包含肝脏吗?", "包含", "yes_no", "yes", None),
        ("图片中包含肝脏吗?", "不包含", "yes_no", "no", None),
        ("可以观察到肺结节吗?", "不可以", "yes_no", "no", None),
        ("肝脏是健康的吗?", "健康", "mcq", "健康", ("健康", "不健康")),
        ("这张图片看起来正常吗?", "不正常", "mcq", "不正常", ("正常", "不正常")),
        ("图中肺、心脏和肝脏哪个更大?", "肺", "mcq", "肺", ("肺", "心脏", "肝脏")),
        ("扫描的是图像的哪个平面,横断面还是冠状面?", "冠状面", "mcq", "冠状面", ("横断面", "冠状面")),
    ],
)
def test_slake_in_chinese(tmp_path: Path, question: str, answer: str, kind: str, gold: str, options: Any) -> None:
    """Polarity belongs to the question, so 正常 is an option and no yes; 包含 answers it, so it is one."""
    found = slake(tmp_path, "slake_zh", q_lang="zh", question=question, answer=answer)
    assert (found.answer_type, found.gold_text, found.options) == (kind, gold, options)


def test_several_things_are_right_in_any_order_and_never_in_part(tmp_path: Path) -> None:
    found = slake(tmp_path, question="Which organs?", answer="Left Lung, Right", answer_type="OPEN")
    assert {"right and left lung", "both lungs", "left and right lung"} <= accepted(found)
    assert "left lung" not in accepted(found) and "lung" not in accepted(found)
    found = slake(tmp_path, question="Which organs?", answer="Lung, Spinal Cord", answer_type="OPEN")
    assert {"spinal cord, lung", "spinal cord and lung"} <= accepted(found)


def test_blanks_numbers_and_none_are_answers(tmp_path: Path) -> None:
    assert (
        slake(tmp_path, question="Which plane?", answer="Transverse  Plane", answer_type="OPEN").gold_text
        == "Transverse Plane"
    )
    assert "two" in accepted(slake(tmp_path, question="How many?", answer="2", answer_type="OPEN"))
    assert slake(tmp_path, question="Which disease?", answer="None", answer_type="OPEN").gold_text == "None"


def pathvqa(tmp_path: Path, rows: list[tuple[str, str]]) -> Any:
    """Rows of the Hub's form about one image: question and answer."""
    data = picture(tmp_path / "p.png").read_bytes()
    table = [{"image": {"bytes": data, "path": "p.png"}, "question": one, "answer": two} for one, two in rows]
    (tmp_path / "data").mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_pylist(table), tmp_path / "data" / "test-00000-of-00001.parquet")
    return load(shipped("pathvqa"), str(tmp_path))


def test_pathvqa_merges_open_repeats_and_leaves_out_contradictions(tmp_path: Path) -> None:
    rows = [
        ("what is present?", "muscle"), ("what is present?", "soft tissue"), ("what is present?", "muscle"),
        ("is peritoneum present?", "yes"), ("is peritoneum present?", "no"), ("is there a tumor?", "no tumor"),
    ]  # fmt: skip
    benchmark = pathvqa(tmp_path, rows)
    first, second, third, yes, no, tumor = benchmark.items
    assert first.sample.tags[MERGED] == second.sample.tags[MERGED] == third.sample.tags[MERGED] == first.sample.id
    assert yes.flaw == no.flaw == "the same question has the answers no, yes"
    assert tumor.sample.answer_type == "open"
    assert len({item.cluster for item in benchmark.items}) == 1
    assert benchmark.num_clean == 2


def test_pathvqa_in_its_authors_form(tmp_path: Path) -> None:
    row = {"img_id": "test_0337", "sent": "what is present?", "label": {"muscle": 1}, "question_id": 7,
           "question_type": "what", "answer_type": "other"}  # fmt: skip
    picture(tmp_path / "images" / "test_0337.jpg")
    (tmp_path / "pvqa_test.json").write_text(json.dumps([row]))
    (found,) = load(shipped("pathvqa"), str(tmp_path)).samples
    assert (found.gold_text, found.id, found.tags["question_type"]) == ("muscle", "pathvqa-7", "what")
    assert found.media[0].sha256


def test_vqa_rad_closed_with_a_blank_integers_and_named_options(tmp_path: Path) -> None:
    rows = [
        {"qid": 1, "image_name": "a.jpg", "question": "Is the lesion on the left or right?", "answer": "left",
         "answer_type": "CLOSED ", "image_organ": "CHEST", "question_type": "POS", "phrase_type": "freeform"},
        {"qid": 2, "image_name": "a.jpg", "question": "How many?", "answer": 3, "answer_type": "OPEN",
         "image_organ": "CHEST", "question_type": "COUNT", "phrase_type": "para"},
    ]  # fmt: skip
    picture(tmp_path / "images" / "a.jpg")
    (tmp_path / "testset.json").write_text(json.dumps(rows))
    first, second = load(shipped("vqa_rad"), str(tmp_path)).samples
    assert (first.answer_type, first.options, first.gold_letters) == ("mcq", ("left", "right"), ("A",))
    assert (second.gold_text, second.aliases) == ("3", ("three",))
    (tmp_path / "testset.json").rename(tmp_path / "VQA_RAD Dataset Public.json")
    public = [{**rows[0], "phrase_type": "test_freeform"}, rows[1]]
    (tmp_path / "VQA_RAD Dataset Public.json").write_text(json.dumps(public))
    assert [one.id for one in load(shipped("vqa_rad"), str(tmp_path)).samples] == ["vqa_rad-1"]


def test_pubmedqa_takes_the_500_ids_and_never_shows_the_conclusion(tmp_path: Path) -> None:
    row = {
        "QUESTION": "Does it?",
        "CONTEXTS": ["First.", "Second."],
        "LONG_ANSWER": "It does.",
        "final_decision": "maybe",
    }
    (tmp_path / "ori_pqal.json").write_text(json.dumps({"11": row, "12": {**row, "final_decision": "yes"}}))
    card = shipped("pubmedqa")
    with pytest.raises(ValueError, match=r"listed in test_ground_truth\.json, which is not below"):
        load(card, str(tmp_path))
    (tmp_path / "test_ground_truth.json").write_text('{"11": "maybe"}')
    benchmark = load(card, str(tmp_path))
    (found,) = benchmark.samples
    assert found.options == ("yes", "no", "maybe") and found.gold_letters == ("C",)
    assert found.question == "First.\nSecond.\n\nDoes it?" and "It does" not in str(found)
    assert [one.gold_text for one in benchmark.taught()] == ["yes"]
    assert letters(found, "maybe") == "C"


def test_mmmu_reads_lists_in_texts_images_and_open_answers(tmp_path: Path) -> None:
    data = picture(tmp_path / "p.png").read_bytes()
    base = {"id": "v1", "question": "<image 1> What is it?", "image_1": {"bytes": data, "path": "p.png"},
            "image_2": None, "subfield": "s", "topic_difficulty": "Easy"}  # fmt: skip
    rows = [
        {**base, "options": "['<image 1>', 'a bone']", "answer": "B"},
        {**base, "id": "v2", "options": "[]", "answer": "['femur', 'thigh bone']"},
        {**base, "id": "v3", "options": "[]", "answer": "D"},
    ]
    (tmp_path / "Pharmacy").mkdir()
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "Pharmacy" / "validation-00000-of-00001.parquet")
    benchmark = load(shipped("mmmu_med"), str(tmp_path))
    first, second = benchmark.samples
    assert first.question == "(image 1) What is it?" and first.options == ("image 1", "a bone")
    assert (second.answer_type, second.gold_text, second.aliases[0]) == ("open", "femur", "thigh bone")
    assert "an open question whose answer is the letter 'D'" in benchmark.unusable[0].reason


def test_medframeqa_clusters_by_video_and_medqa_by_question(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "1.png")
    row = {"question_id": "q1", "system": "s", "organ": "o", "modality": "MRI", "video_id": "v9", "question": "Which?",
           "options": ["x", "y"], "image_1": "1.png", "image_2": "1.png", "image_3": None, "correct_answer": "B",
           "reasoning_chain": "It is y."}  # fmt: skip
    found = sample(shipped("medframeqa"), tmp_path, row, "medframeqa.jsonl")
    assert len(found.media) == 2 and found.tags["cluster"] == "v9" and "It is y" not in str(found)
    hub = {"question": "Which?", "options": {"A": "B", "B": "C", "C": "D", "D": "E"}, "answer_idx": "A", "answer": "B"}
    found = sample(shipped("medqa"), tmp_path, hub, "medqa.jsonl")
    assert (letters(found, "A. B"), found.tags["cluster"]) == ("A", "which?")


def test_a_csv_keeps_every_cell_as_text_and_m3d_reads_volumes(tmp_path: Path) -> None:
    head = "Image Path,Question Type,Question,Choice A,Choice B,Choice C,Choice D,Answer,Answer Choice\n"
    (tmp_path / "M3D_VQA_test.csv").write_text(head + 'ct/1.npy,2,"Which, here?",NA,None,3.0,4,None,B\n')
    (tmp_path / "M3D_Cap_npy" / "ct").mkdir(parents=True)
    np.save(tmp_path / "M3D_Cap_npy" / "ct" / "1.npy", np.linspace(0, 1, 1 * 32 * 4 * 4).reshape(1, 32, 4, 4))
    benchmark = load(shipped("m3d_vqa"), str(tmp_path))
    assert benchmark.missing_images == {}
    (found,) = benchmark.samples
    assert found.options == ("NA", "None", "3.0", "4") and found.gold_letters == ("B",)
    assert found.media[0].kind == "volume" and found.media[0].frame_indices == (4, 12, 20, 28)
    yes = mcq(tmp_path / "yes", ["No", "Yes", "Both", "Neither"], "B")
    assert letters(yes, "The answer is B") == "B" and letters(yes, "A. No. B. Yes") != "B"


def test_a_tsv_with_images_in_base64(tmp_path: Path) -> None:
    data = base64.b64encode(picture(tmp_path / "p.png", 120).read_bytes() * 6).decode()
    whole = base64.b64encode(picture(tmp_path / "p.png", 120).read_bytes()).decode()
    (tmp_path / "mmmu_med.tsv").write_text(
        f"id\tquestion\toptions\tanswer\timage_1\nv1\tWhat?\t['x', 'y']\tA\t{data}\n"
    )
    found = load(shipped("mmmu_med"), str(tmp_path)).samples[0]
    assert found.media[0].sha256 and len(whole) < len(data)


def test_healthbench_conversations_and_criteria(tmp_path: Path) -> None:
    row = {
        "prompt": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?"},
                   {"role": "user", "content": "It hurts."}],
        "prompt_id": "h1", "rubrics": [{"criterion": "Asks where", "points": 14, "tags": []},
                                       {"criterion": "Invents", "points": -8, "tags": []}],
        "example_tags": ["theme:hedging"],
    }  # fmt: skip
    found = sample(shipped("healthbench"), tmp_path, row, "consensus.jsonl")
    assert found.question == "User: Hi\n\nAssistant: Yes?\n\nUser: It hurts."
    assert [one.points for one in found.rubric] == [14.0, -8.0] and found.tags["theme"] == "hedging"
    row["prompt"] = row["prompt"][:2]
    good = {**row, "prompt": [{"role": "user", "content": "Hi"}], "prompt_id": "h2"}
    assert "the last message is of 'assistant'" in reason(
        shipped("healthbench"), tmp_path, row, good, "consensus.jsonl"
    )


def test_reports_of_both_forms(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a" / "0.png")
    row = {"id": "CXR1", "report": "Clear lungs.", "image_path": ["a/0.png"], "split": "val"}
    (tmp_path / "annotation.json").write_text(json.dumps({"train": [row], "val": [row], "test": []}))
    (found,) = load(shipped("iu_xray_296"), str(tmp_path)).samples
    assert (found.answer_type, found.gold_text) == ("report", "Clear lungs.")
    (tmp_path / "annotation.json").unlink()
    row = {"id": "open_i_1020", "findings": "Clear lungs", "impression": "Normal.", "image": ["a/0.png"]}
    (tmp_path / "medevalkit_iu_xray.json").write_text(json.dumps([row]))
    (found,) = load(shipped("iu_xray_296"), str(tmp_path)).samples
    assert found.gold_text == "Findings: Clear lungs Impression: Normal."
    assert "Findings: .. Impression: .." in found.question
    assert (found.tags["findings"], found.tags["impression"]) == ("Clear lungs", "Normal.")


def test_a_mark_of_an_image_between_words_becomes_words(tmp_path: Path) -> None:
    assert mcq(tmp_path, ["x", "y"], "A", question="It rose [image] again. Which?").question.startswith(
        "It rose (image)"
    )
    write_jsonl(tmp_path / "mine.jsonl", [])


def test_a_video_is_read_by_the_reader_of_media_and_may_have_a_caption_or_options(tmp_path: Path) -> None:
    frames = [Image.new("L", (8, 8), grey) for grey in range(0, 200, 10)]
    (tmp_path / "videos").mkdir()
    frames[0].save(tmp_path / "videos" / "a.gif", save_all=True, append_images=frames[1:], duration=100, loop=0)
    rows = [
        {"id": "1", "video": "a.gif", "caption": "A needle is moved.", "clip": "c1"},
        {
            "id": "2",
            "video": "a.gif",
            "question": "Which tool?",
            "options": ["needle", "saw"],
            "answer": "A",
            "clip": "c1",
        },
        {"id": "3", "video": "gone.mp4", "caption": "Nothing."},
    ]
    benchmark = read(shipped("video"), tmp_path, rows, "video.jsonl")
    caption, choice, gone = benchmark.samples
    assert (caption.answer_type, choice.answer_type) == ("report", "mcq")
    assert caption.media[0].kind == "video" and caption.media[0].num_frames == MediaConfig().max_frames
    assert caption.tags["cluster"] == choice.tags["cluster"] == caption.media[0].source_sha256
    assert benchmark.missing_images == {"gone.mp4": "is not there"} and gone.media[0].sha256 == ""
