"""What is not as a card expects is told on one screen, and nothing is scored in silence."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from rl.benchmarks.card import Expect, Form
from rl.benchmarks.loading import BenchmarkError, content_hash, load, missing_images, refuse_unfit, screen
from tests.rl.benchmarks.set_cases import MCQ, card_of, picture, read, shipped, write_jsonl

ROWS = [{"question": f"Q{number}", "options": ["x", "y"], "letter": "B"} for number in range(3)]


def refused(root: Path | None, name: str = "pathvqa") -> str:
    with pytest.raises(BenchmarkError) as caught:
        load(shipped(name), None if root is None else str(root))
    return str(caught.value)


def test_no_folder_no_file_no_column(tmp_path: Path) -> None:
    assert "give benchmark_root=FOLDER" in refused(None)
    assert "there is no folder" in refused(tmp_path / "nowhere")
    (tmp_path / "readme.txt").write_text("x")
    assert "there is readme.txt" in refused(tmp_path)
    (tmp_path / "test.jsonl").write_text('{"question": "Q", "anwser": "x", "image": "a.png"}\n')
    assert "no column 'answer'; did you mean 'anwser'?" in refused(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("test.json", "{", "cannot be read"),
        ("test.json", '{"a": 1}', "expected a list of rows"),
        ("test.json", "[1]", "row 1: got a int, expected an object"),
        ("test.jsonl", '{"question": 1', "line 1"),
        ("test.jsonl", "", "holds no row"),
        ("test.csv", 'question,question\n"a","b"\n', "a column stands twice"),
        ("test.csv", "question,answer,image\na,b,c,d\n", "more cells than columns"),
        ("test.json", "PK\x03\x04", "a zip file"),
    ],
)
def test_files_that_are_none_are_told(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    assert said in refused(tmp_path)


def test_another_row_count_or_content_is_named_and_stops_unless_told(tmp_path: Path) -> None:
    good = read(card_of(MCQ), tmp_path, ROWS)
    digest = content_hash(good.samples)
    card = card_of(MCQ, expect=Expect(rows=3, content=digest))
    assert load(card, str(tmp_path)).mismatches == ()
    changed = [*ROWS[:2], {**ROWS[2], "letter": "A"}]
    other = read(card, tmp_path, changed)
    assert "questions, options or golds differ" in other.mismatches[0]
    fewer = read(card, tmp_path, ROWS[:2])
    assert fewer.mismatches == ("2 rows, the published set has 3",)
    with pytest.raises(BenchmarkError, match="not the published set"):
        refuse_unfit(fewer, tell_only=False)
    refuse_unfit(fewer, tell_only=True)
    # The order of rows and the format of the file are not its content.
    write_jsonl(tmp_path / "mine.jsonl", ROWS[::-1])
    assert load(card, str(tmp_path)).mismatches == ()


def test_rows_that_cannot_be_asked_are_listed_and_counted(tmp_path: Path) -> None:
    rows = [
        {**ROWS[0], "id": "a"},
        {**ROWS[1], "id": "a"},
        {**ROWS[2], "id": "c", "letter": "Z"},
        {"question": "", "id": "d"},
    ]
    card = card_of(Form({"question": "question", "options": "options", "letter": "letter", "id": "id"}))
    benchmark = read(card, tmp_path, rows)
    assert [row.reason[:28] for row in benchmark.unusable] == [
        "the id is taken by row 1", "the gold answer 'Z' is not a", "the gold answer is empty"
    ]  # fmt: skip
    assert benchmark.mismatches == ("3 rows cannot be asked, the card knows of 0",)
    told = "\n".join(screen(benchmark))
    assert "row 3 c: the gold answer 'Z' is not among the options" in told and "4 rows" in told


def test_missing_images_are_listed_with_their_share_and_never_asked(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "there.png")
    (tmp_path / "images" / "torn.png").write_bytes(b"\x89PNG")
    names = ["there.png", "torn.png", "gone.png", "../../etc/passwd"]
    rows = [{"question": "Q", "answer": "x", "image": name} for name in names]
    (tmp_path / "test.json").write_text(json.dumps(rows))
    benchmark = load(shipped("pathvqa"), str(tmp_path))
    said = missing_images(benchmark)
    assert said.startswith("3 of 4 images (75.0%) are not there or cannot be read:")
    assert "gone.png: is not there" in said and "../../etc/passwd: is not there" in said and "torn.png" in said
    with pytest.raises(BenchmarkError, match="3 of 4 images"):
        refuse_unfit(benchmark, tell_only=True)


def test_a_row_without_its_cluster_is_no_question(tmp_path: Path) -> None:
    card = dataclasses.replace(card_of(MCQ, tags={"video": "video"}), cluster="video")
    benchmark = read(card, tmp_path, [{**ROWS[0], "video": "v"}, ROWS[1]])
    assert "no video" in benchmark.unusable[0].reason


def test_a_file_in_the_folder_of_the_card_s_name_comes_first(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "mine.jsonl", ROWS[:1])
    write_jsonl(tmp_path / "mine" / "mine.jsonl", ROWS)
    assert len(load(card_of(MCQ), str(tmp_path)).items) == 3
    assert len(load(card_of(MCQ), str(tmp_path / "mine.jsonl")).items) == 1


def test_training_rows_and_those_of_the_benchmark_are_never_mistaken_for_each_other(tmp_path: Path) -> None:
    """Without a training file nothing is taught; a training file alone is no benchmark."""
    row = {"id": "1", "question": "Q", "opa": "a", "opb": "b", "opc": "c", "opd": "d", "cop": 1}
    write_jsonl(tmp_path / "test" / "medmcqa.jsonl", [row])
    assert load(shipped("medmcqa"), str(tmp_path / "test")).taught() == []
    write_jsonl(tmp_path / "medmcqa_train.jsonl", [{**row, "id": "2", "cop": 2}])
    benchmark = load(shipped("medmcqa"), str(tmp_path))
    assert [one.gold_text for one in benchmark.samples] == ["b"]
    assert [one.gold_text for one in benchmark.taught()] == ["c"]
    (tmp_path / "test" / "medmcqa.jsonl").unlink()
    with pytest.raises(BenchmarkError, match="none of its files"):
        load(shipped("medmcqa"), str(tmp_path))
