"""Rows as people export them, by kind of fault (K9, K11, K12, K18, K21): read, or told in a line with the row's name.

What is asserted of a bad row is that it is one bad row with a reason in words, and that the report of it can be printed
and written.
"""

from __future__ import annotations

import io
import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from judges.cases import read_cases
from judges.verdict import JudgeConfigError
from rl.config import DataConfig, MediaConfig
from rl.data import sets
from rl.data.jsonl import rows as jsonl
from rl.data.load import SOURCES, load
from rl.data.markup import bare_question, bare_thought
from rl.data.media.reader import MediaReader
from rl.data.sets import BadRow, DataSplits
from rl.data.vqa_rad import rows as vqa_rad
from rollouts.imaging.pictures import to_png
from rollouts.records import BadSample, Sample
from rollouts.rows.sample import sample_of
from rollouts.texts.reading import TextFault, file_lines, is_blank, parse, quote, shorten, trim

pytestmark = pytest.mark.hunt

QA = {"question": "Which organ?", "answer": "liver"}
INVISIBLE = "\u200b\ufeff\u2060"


def read(folder: Path, *lines: Any) -> tuple[list[jsonl.Line], list[BadRow]]:
    """Lines may be objects, raw text or bytes."""
    Image.new("RGB", (64, 48)).save(folder / "a.png")
    raw = [one if isinstance(one, bytes) else (one if isinstance(one, str) else json.dumps(one)).encode()
           for one in lines]  # fmt: skip
    path = folder / "rows.jsonl"
    path.write_bytes(b"\n".join(raw) + b"\n")
    return read_file(path)


def read_file(path: Path) -> tuple[list[jsonl.Line], list[BadRow]]:
    """Good and bad lines of a file."""
    settings = MediaConfig(max_frames=8, cache_dir=str(path.parent / "cache"))
    return jsonl.read_lines(path, MediaReader(path.parent, settings))


def reason(folder: Path, line: Any) -> str:
    """Why a line is bad; its report must hold together, too."""
    good, bad = read(folder, line)
    assert (len(good), len(bad)) == (0, 1)
    assert len(sets.bad_rows_table("rows", bad).encode()) < 2_000
    written = sets.write_bad_rows(folder / "bad_rows.jsonl", bad).read_text(encoding="utf-8")
    assert json.loads(written)["reason"]
    return bad[0].reason


def one(folder: Path, line: Any) -> jsonl.Line:
    good, bad = read(folder, line)
    assert bad == []
    return good[0]


# --- K9: what is no value is never a value


@pytest.mark.parametrize(
    "value", ["NaN", "Infinity", "-Infinity", "1e999", "null", "[]", "{}", "true", '""', '"\u200b"']
)
@pytest.mark.parametrize("field", ["answer", "question"])
def test_no_value_is_no_gold_and_no_question(tmp_path: Path, field: str, value: str) -> None:
    other = "question" if field == "answer" else "answer"
    assert reason(tmp_path, f'{{"{other}": "x", "{field}": {value}}}')


@pytest.mark.parametrize(
    "value", ["NaN", "null", '"nan"', '"NaN"', '"<NA>"', '"\u200b\ufeff"', '""', '"\u3164"', "[]", "true"]
)
def test_no_value_is_no_option(tmp_path: Path, value: str) -> None:
    assert reason(tmp_path, f'{{"question": "Q", "answer": "mass", "options": ["mass", "effusion", {value}]}}')


@pytest.mark.parametrize("value", ["nan", "NaN", "<NA>", "NaT", "null", "undefined"])
def test_what_a_program_writes_for_a_missing_value_is_no_gold(tmp_path: Path, value: str) -> None:
    assert value in reason(tmp_path, {"question": "Q", "answer": value})


def test_words_that_may_be_an_answer_stay_one(tmp_path: Path) -> None:
    for answer in ("None", "none", "N/A", "NAT", "Nan", "0"):
        assert one(tmp_path, {"question": "Q", "answer": answer}).sample.gold_text == answer
    assert one(tmp_path, {"question": "Q", "answer": 0}).sample.gold_text == "0"


def test_null_means_left_out_also_for_an_id(tmp_path: Path) -> None:
    good, bad = read(tmp_path, {"id": None, **QA}, {"id": None, **QA, "modality": None, "tags": {"a": None, "b": 1}})
    assert bad == [] and [line.sample.id for line in good] == ["line-1", "line-2"]
    assert good[1].sample.tags == {"b": "1"}
    assert one(tmp_path, {"id": 17, **QA}).sample.id == "17"


@pytest.mark.parametrize("value", ["NaN", "[1]", '{"a": 1}', "true", '""', '" "', '"\u200b"', '"nan"'])
def test_no_value_is_no_id(tmp_path: Path, value: str) -> None:
    assert reason(tmp_path, f'{{"id": {value}, "question": "Q", "answer": "a"}}')


def test_what_cannot_be_seen_at_the_ends_of_a_text_is_taken_off(tmp_path: Path) -> None:
    line = one(tmp_path, {"question": "Which?", "options": ["mass" + INVISIBLE, "\ufeffeffusion"], "answer": "mass"})
    assert line.sample.options == ("mass", "effusion") and line.sample.gold_letters == ("A",)
    assert "two options have the same text" in reason(
        tmp_path, {"question": "Q", "options": ["mass", "mass" + INVISIBLE], "answer": "A"}
    )


@pytest.mark.parametrize("value", [math.nan, math.inf, None, [], {}, True, "", INVISIBLE, "nan"])
def test_rows_of_other_trainers_hold_no_such_value_either(value: Any) -> None:
    with pytest.raises(BadSample):
        sample_of({"question": "Q", "answer": value}, "a")
    with pytest.raises(BadSample):
        sample_of({"question": "Q", "answer": "x", "options": ["x", value]}, "a")


def folder_of(root: Path, *entries: Any) -> DataConfig:
    """A VQA-RAD folder of ten good rows and these."""
    (root / "images").mkdir(exist_ok=True)
    for index in range(10):
        Image.new("RGB", (6, 6), (index, 0, 0)).save(root / "images" / f"i{index}.png")
    good = [{"qid": f"g{i}", "image_name": f"i{i}.png", "question": f"What is {i}?", "answer": "x"} for i in range(10)]
    (root / "trainset.json").write_text(json.dumps([*good, *entries]), encoding="utf-8")
    return DataConfig(name="vqa_rad", root=str(root), num_sft=None, num_rl=None, num_eval=None)


@pytest.mark.parametrize("value", [None, math.nan, math.inf, ["a", "b"], {"a": 1}, True, "", "\u200b", "nan", "\ud83d"])
def test_vqa_rad_takes_no_such_value_for_an_answer_or_a_question(tmp_path: Path, value: Any) -> None:
    for field in ("answer", "question"):
        entry = {"qid": "bad", "image_name": "i0.png", "question": "What?", "answer": "x", field: value}
        with pytest.raises(sets.BadRows) as caught:
            load(folder_of(tmp_path, entry))
        assert [(row.line, row.id) for row in caught.value.rows] == [(11, "bad")]
        assert str(caught.value).encode()


def test_vqa_rad_reads_whole_numbers_and_rows_without_a_qid(tmp_path: Path) -> None:
    entry = {"qid": None, "image_name": "i0.png", "question": "How many?", "answer": 4, "image_organ": None}
    splits = load(folder_of(tmp_path, entry))
    named = {sample.id: sample.gold_text for sample in [*splits.rl, *splits.eval]}
    assert named["vqa_rad-11"] == "4"


def test_columns_of_a_table_hold_no_such_value_either() -> None:
    picture = {"bytes": to_png(Image.new("L", (4, 4)))}
    bad = [{"image": picture, "question": "Q?", "answer": value} for value in (None, math.nan, ["a"])]
    bad += [{"image": None, "question": "Q?", "answer": "a"}, {"image": picture, "question": "Q?"}]
    rows, bad_rows = vqa_rad.rows_of_columns([{"image": picture, "question": "Q?", "answer": "a"}, *bad])
    assert len(rows) == 1 and [row.line for row in bad_rows] == [2, 3, 4, 5, 6]


# --- K11: the data's own markup


@pytest.mark.parametrize("mark", ["<image>", "<IMAGE>", "<image 1>", "<image_1>", "<|image_1|>", "<ImageHere>",
    "[IMG]", "<|vision_start|><|image_pad|><|vision_end|>", "<img><IMG_CONTEXT></img>", "<start_of_image>",
    "<|image|>"])  # fmt: skip
def test_a_placeholder_at_an_end_of_the_question_is_taken_off(tmp_path: Path, mark: str) -> None:
    for question in (f"{mark}\nIs there a mass?", f"Is there a mass?\n{mark}"):
        line = one(tmp_path, {"question": question, "answer": "no", "image": "a.png"})
        assert line.sample.question == "Is there a mass?"


def test_other_placeholders_are_told(tmp_path: Path) -> None:
    row = {"answer": "no", "image": "a.png"}
    assert "placeholder" in reason(tmp_path, {"question": "<image> Is it?", "answer": "no"})
    assert "2 placeholders" in reason(tmp_path, {**row, "question": "<image><image> Is it?"})
    assert "between its words" in reason(tmp_path, {**row, "question": "Is <image> it?"})
    assert "placeholder" in reason(tmp_path, {**row, "question": "Is it?", "think": "I see <image>."})
    assert "begins or ends a turn" in reason(tmp_path, {**row, "question": "Is it?<|im_end|>"})
    assert bare_question("<image>\n<image>\nWhich is larger, a < b or a > b?", 2) == "Which is larger, a < b or a > b?"
    assert bare_question("Is it an image or <5 mm?", 1) == "Is it an image or <5 mm?"


def test_think_tags_around_a_thought_are_taken_off_and_others_told(tmp_path: Path) -> None:
    row = {"question": "Is there a mass?", "answer": "no"}
    assert one(tmp_path, {**row, "think": "<think>I see none.</think>"}).think == "I see none."
    assert bare_thought("I see none, 3 < 5.") == "I see none, 3 < 5."
    for think in ("<think>a</think><answer>no</answer>", "a</think>b", "<answer>no</answer>", "<think>a"):
        assert "tags are put around it" in reason(tmp_path, {**row, "think": think})
    assert "</answer>" in reason(tmp_path, {**row, "answer": "a mass</answer>"})
    assert reason(tmp_path, {"question": "Q", "options": ["<answer>a</answer>", "b"], "answer": "B"})


def test_boxes_outside_the_picture_or_smaller_than_a_pixel_are_told(tmp_path: Path) -> None:
    row = {"question": "Where?", "answer": "there", "answer_type": "box", "image": "a.png"}
    assert one(tmp_path, {**row, "boxes": [[0, 0, 64, 48]]}).sample.boxes == ((0, 0, 64, 48),)
    assert "smaller than one" in reason(tmp_path, {**row, "boxes": [[0.1, 0.2, 0.5, 0.6]]})
    assert "beyond its image of 64 x 48" in reason(tmp_path, {**row, "boxes": [[0, 0, 64, 64]]})


# --- K12: a bad row never breaks the report of bad rows

# As deep as can just be read, and too deep.
NESTED = '{"question": "q \\u00e4", "answer": "a", "tags": ' + '{"a":' * 300 + "1" + "}" * 301
DEEP = '{"question": "q", "answer": "a", "tags": ' + '{"a":' * 2000 + "1" + "}" * 2001
LONG = "x" * 20_000


@pytest.mark.parametrize("line", [
    DEEP, NESTED,
    '{"question": "q", "answer": ' + "1" * 4_400 + "}",
    '{"question": "q \\ud83d", "answer": "a"}',
    '{"id": "a\\ud83d", "question": "q", "answer": "a"}',
    '{"question": "q", "answer": "a", "tags": {"\\udc00": "x"}}',
    {**QA, "image": "iVBORw0KGgo" + "A" * 20_000},
    {**QA, "image": "iVBORw0KGgo" + "A" * 200},
    {**QA, "image": "data:image/png;base64," + "A" * 200},
    {**QA, "image": "/".join(["a" * 100] * 60)},
    {**QA, "image": "a" * 300},
    {**QA, "image": "a\0b"},
    {**QA, "image": {"bytes": "A" * 20_000, "path": None}},
    {**QA, "images": [{"bytes": "A" * 20_000}]},
    {**QA, "video": "a" * 300},
    {**QA, "volume": ["a" * 5_000]},
    {**QA, LONG: 1},
    {**QA, "options": [LONG, LONG + "y"]},
    {**QA, "options": ["a", "b"], "answer": LONG},
    {**QA, "split": LONG}, {**QA, "language": LONG}, {**QA, "answer_type": LONG}, {**QA, "boxes": [LONG]},
    {**QA, "rubric": [LONG]}, {**QA, "difficulty": LONG}, {**QA, "tags": [LONG]}, {**QA, "modality": [LONG]},
    {"id": LONG, "question": "", "answer": "a"},
    {"id": "a\x1b[31m\nb\u202e", "question": "", "answer": "a"},
], ids=range(29))  # fmt: skip
def test_a_bad_row_of_any_size_is_told_in_a_line(tmp_path: Path, line: Any) -> None:
    assert len(reason(tmp_path, line)) < 1_000


def test_the_other_rows_are_read_beside_it(tmp_path: Path) -> None:
    good, bad = read(tmp_path, QA, DEEP, {**QA, "image": "a.png"})
    assert [line.number for line in good] == [1, 3] and [row.line for row in bad] == [2]
    assert bad[0].reason == "not readable: nested too deeply"


def test_values_in_errors_are_cut_and_printable() -> None:
    assert shorten("a" * 5_000) == "a" * 60 + "... (5,000 characters)"
    assert quote("a\x1b\ud83d") == r"'a\x1b\ud83d'"
    assert quote([[[1]]]) == "[[[1]]]" and len(quote("y" * 10**6)) < 120
    assert quote(10**5_000) == "a int"


# --- K18: ids


def test_repeated_ids_are_told_with_their_lines(tmp_path: Path) -> None:
    entries = [{"qid": "g1", "image_name": "i2.png", "question": "Else?", "answer": "x"}]
    with pytest.raises(sets.BadRows) as caught:
        load(folder_of(tmp_path, *entries))
    assert [(row.line, row.id, row.reason) for row in caught.value.rows] == [
        (11, "vqa_rad-g1", "the qid is taken by line 2, another question")
    ]


def test_a_repeated_row_is_no_repeated_id(tmp_path: Path) -> None:
    again = {"qid": "g1", "image_name": "i1.png", "question": "What is 1?", "answer": "x"}
    assert load(folder_of(tmp_path, again)).notes["repeated rows"] == 1


def test_whatever_source_repeats_an_id_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = [Sample(name, f"Q{place}?", "open", "x") for place, name in enumerate("aab")]
    for splits in (DataSplits([], samples, []), DataSplits([], samples[1:], samples[:1])):
        monkeypatch.setitem(SOURCES, "phantoms", lambda _, splits=splits: splits)
        with pytest.raises(sets.BadRows, match="a  the id is taken by another row"):
            load(DataConfig(name="phantoms", open_fraction=0.0, num_rl=None))


# --- K21: one way to open text files

LINES = [json.dumps({**QA, "question": f"Wie gro\u00df ist {i}?"}, ensure_ascii=False) for i in range(3)]
CASES = [json.dumps({"question": "Wie gro\u00df?", "reference": "4", "completion": "4"}, ensure_ascii=False)]
READ = {
    "plain": ("utf-8", "\n"),
    "byte-order mark": ("utf-8-sig", "\n"),
    "CRLF": ("utf-8", "\r\n"),
    "both": ("utf-8-sig", "\r\n"),
}
TOLD = {"utf-16": "UTF-16", "utf-16-be": "bytes of zero", "utf-32": "UTF-32", "cp1252": "Windows"}


@pytest.mark.parametrize("form", READ)
def test_marks_and_line_ends_of_windows_are_read(tmp_path: Path, form: str) -> None:
    encoding, end = READ[form]
    (tmp_path / "rows.jsonl").write_bytes(end.join(LINES).encode(encoding))
    good, bad = read_file(tmp_path / "rows.jsonl")
    assert bad == [] and [line.sample.question for line in good] == [f"Wie gro\u00df ist {i}?" for i in range(3)]
    (tmp_path / "cases.jsonl").write_bytes(end.join(CASES).encode(encoding))
    assert [case.question for case in read_cases(tmp_path / "cases.jsonl").cases] == ["Wie gro\u00df?"]
    data = folder_of(tmp_path)
    raw = (tmp_path / "trainset.json").read_text()
    (tmp_path / "trainset.json").write_bytes(raw.replace(", ", f",{end}").encode(encoding))
    assert len(load(data).rl)


@pytest.mark.parametrize("encoding", TOLD)
def test_other_encodings_are_told_in_words(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "rows.jsonl").write_bytes("\n".join(LINES).encode(encoding))
    good, bad = read_file(tmp_path / "rows.jsonl")
    assert good == [] and all(TOLD[encoding] in row.reason and "save" in row.reason for row in bad)
    assert len(bad) == (3 if encoding == "cp1252" else 1)
    (tmp_path / "cases.jsonl").write_bytes("\n".join(CASES).encode(encoding))
    with pytest.raises(JudgeConfigError, match=TOLD[encoding]):
        read_cases(tmp_path / "cases.jsonl")
    data = folder_of(tmp_path)
    raw = json.dumps([json.loads(line) for line in LINES], ensure_ascii=False)
    (tmp_path / "trainset.json").write_bytes(raw.encode(encoding))
    with pytest.raises(ValueError, match=TOLD[encoding]):
        load(data)


def test_a_file_that_is_no_lines_of_json_is_told_once(tmp_path: Path) -> None:
    row = '{"question": "q", "answer": "a"}'
    for lines, told in (
        (["[", f"  {row},", f"  {row}", "]"], "one JSON list of 2"),
        (json.dumps(QA, indent=1).splitlines(), "one JSON value over several lines"),
        (["question,answer", "What?,liver", "Where?,left"], "no JSON: it begins with 'question,answer'"),
    ):
        good, bad = read(tmp_path, *lines)
        assert good == [] and [row.line for row in bad] == [1] and told in bad[0].reason
    good, bad = read(tmp_path, row, "{oops", row)
    assert len(good) == 2 and [row.line for row in bad] == [2]


def test_files_that_are_no_text_are_told(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (9, 9)).save(buffer, format="PNG")
    for data, told in ((b"PAR1\x15", "Parquet"), (b"PK\x03\x04", "zip"), (b"\x1f\x8b\x08", "gzip"),
                       (buffer.getvalue(), "bytes of zero")):  # fmt: skip
        (tmp_path / "file").write_bytes(data)
        with pytest.raises(TextFault, match=told):
            file_lines(tmp_path / "file")


def test_json_refuses_what_is_none_and_reads_pairs() -> None:
    assert parse('"\\ud83d\\ude00"') == "\U0001f600"
    assert math.isnan(parse("NaN", whole_file=True))
    assert trim(f"{INVISIBLE} a b {INVISIBLE}") == "a b" and not is_blank("\U0001f600")


def test_all_given_lines_where_they_are_there(tmp_path: Path, hunt_cases: Path) -> None:
    """Rows that were right stay right, and each other one is read as expected or is a bad row."""
    shutil.copytree(hunt_cases / "images", tmp_path / "images")
    elsewhere = ("gold yes/no", "labels in options")  # read by rollouts/rows/sample.py, and tested there
    read_rows = {"null id": 2, "placeholder": 1, "think with tags": 1}
    for text in (hunt_cases / "rows.jsonl").read_text(encoding="utf-8").splitlines():
        case = json.loads(text)
        good, bad = read(tmp_path, *case["lines"])
        if case["kind"] in elsewhere:
            continue
        assert len(good) == read_rows.get(case["kind"], 0), case
        assert bool(bad) == (case["kind"] not in read_rows), case
        assert sets.bad_rows_table("rows", bad).encode() and sets.write_bad_rows(tmp_path / "bad.jsonl", bad)
