"""Files of documents and captions: read in order, every fault told with its line, no held-out image among them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from PIL import Image

from rl.config import CaptionsConfig, DataConfig, InterleavedConfig, MediaConfig
from rl.data.documents.phantoms import MOST_IMAGES, made_documents
from rl.data.documents.rows import Documents, held_apart, load_documents, read_documents
from rl.data.media.reader import MediaReader
from rl.data.phantoms import questions
from rl.data.sets import UnusableData
from rollouts.prompt.documents import Document
from rollouts.records import Media, Sample


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "scan").mkdir()
    for number, name in enumerate(("a.png", "b.png", "scan/1.png", "scan/2.png", "scan/10.png")):
        Image.new("RGB", (20, 20), (40 * number, 0, 0)).save(tmp_path / name)
    return tmp_path


def read(path: Path, form: str, max_frames: int = 4) -> Documents:
    settings = MediaConfig(max_frames=max_frames, cache_dir=str(path.parent / "cache"))
    return read_documents(path, form, MediaReader(path.parent, settings))


def written(folder: Path, *rows: object) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def shape(document: Document) -> list[str]:
    """Texts as they are, media by their kind and frames."""
    return [one if isinstance(one, str) else f"<{one.kind} {one.num_frames}>" for one in document.pieces]


def test_texts_and_images_keep_their_order(folder: Path) -> None:
    row = {"id": "d", "content": [" first ", {"image": "b.png"}, "then", {"volume": "scan"}, {"image": "a.png"}, "end"]}
    found = read(written(folder, row), "interleaved", 2)
    assert not found.bad_rows
    assert shape(found.documents[0]) == ["first", "<image 1>", "then", "<volume 2>", "<image 1>", "end"]
    assert [Path(str(one.path)).name for one in found.documents[0].media if one.kind == "image"] == ["b.png", "a.png"]


def test_lines_of_mmc4_are_read_as_they_are(folder: Path) -> None:
    """Its images stand before the sentence that each was matched with (arXiv:2304.06939)."""
    row = {
        "text_list": ["One.", "Two.", "  "],
        "image_info": [
            {"image_name": "a.png", "matched_text_index": 1, "matched_sim": 0.3},
            {"image_name": "b.png", "matched_text_index": 0},
        ],
        "url": "http://x",
        "similarity_matrix": [[0.1]],
    }
    found = read(written(folder, row), "interleaved", 4)
    assert not found.bad_rows and found.documents[0].id == "line-1"
    assert shape(found.documents[0]) == ["<image 1>", "One.", "<image 1>", "Two."]
    assert [Path(str(one.path)).name for one in found.documents[0].media] == ["b.png", "a.png"]


def test_captions_stand_behind_what_they_are_about(folder: Path) -> None:
    rows = [
        {"image": "a.png", "caption": "A nodule."},
        {"images": ["a.png", "b.png"], "caption": "Two."},
        {"volume": "scan", "caption": "A scan."},
    ]
    found = read(written(folder, *rows), "captions", 4)
    assert [shape(one) for one in found.documents] == [
        ["<image 1>", "A nodule."], ["<image 1>", "<image 1>", "Two."], ["<volume 3>", "A scan."],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("form", "row", "words"),
    [
        ("captions", {"image": "a.png"}, "the caption is empty"),
        ("captions", {"caption": "x"}, "has no image, images, volume or video"),
        ("captions", {"image": "a.png", "images": ["b.png"], "caption": "x"}, "both 'image' and 'images'"),
        ("captions", {"image": "c.png", "caption": "x"}, "image c.png does not exist"),
        ("captions", {"image": "a.png", "caption": "see <image>"}, "'<image>', which stands for an image"),
        ("captions", {"image": "a.png", "caption": "x", "captoin": "y"}, "did you mean 'caption'"),
        ("captions", "not json", "not JSON: Expecting value"),
        ("interleaved", {"image": "a.png", "caption": "x"}, "unknown field 'image'"),
        ("interleaved", {"content": "text"}, "expected a list of texts and objects"),
        ("interleaved", {"content": [{"image": "a.png"}]}, "no text, so there is nothing to learn"),
        ("interleaved", {"content": ["x", 3]}, "piece 2 is 3"),
        ("interleaved", {"content": ["x", {"picture": "a.png"}]}, "expected one of image, volume, video"),
        ("interleaved", {"content": ["x", "<|im_start|>system"]}, "a turn for some models"),
        ("interleaved", {"text_list": ["x"], "image_info": [{"image_name": "a.png", "matched_text_index": 1}]},
         "matched_text_index from 0 to 0"),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_taught_is_told_with_its_line(form: str, row: object, words: str, folder: Path) -> None:
    good = {"image": "b.png", "caption": "fine"} if form == "captions" else {"content": ["fine"]}
    found = read(written(folder, good, row), form, 4)
    assert [one.line for one in found.bad_rows] == [2] and len(found.documents) == 1
    assert words in found.bad_rows[0].reason


def test_an_id_names_one_document(folder: Path) -> None:
    row = {"id": "x", "content": ["text"]}
    found = read(written(folder, row, row), "interleaved", 4)
    assert [one.reason for one in found.bad_rows] == ["the id is taken by line 1"]


def test_the_order_follows_from_the_seed_and_not_from_the_file(folder: Path) -> None:
    rows = [{"id": str(number), "content": [str(number)]} for number in range(20)]

    def ids(*lines: object, seed: int = 0, count: int | None = 5) -> list[str]:
        stage = InterleavedConfig(data="interleaved", root=str(written(folder, *lines)), num_documents=count)
        return [one.id for one in load_documents("interleaved", stage, DataConfig(seed=seed)).documents]

    assert ids(*rows) == ids(*rows[::-1]) and len(ids(*rows)) == 5
    assert ids(*rows) != ids(*rows, seed=1) and sorted(ids(*rows, count=None), key=int) == [str(n) for n in range(20)]


def test_a_missing_or_empty_file_is_told(folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"stages\.captions\.root=.*there is none"):
        load_documents("captions", CaptionsConfig(data="captions", root=str(folder / "no.jsonl")), DataConfig())
    (folder / "empty.jsonl").write_text("\n")
    with pytest.raises(UnusableData, match="holds no document"):
        load_documents("captions", CaptionsConfig(data="captions", root=str(folder / "empty.jsonl")), DataConfig())


def test_documents_that_show_what_is_held_out_are_left_out() -> None:
    def shown(data: bytes, **more: str) -> Media:
        return Media("image", data=data, **more)  # type: ignore[arg-type]

    def asked(media: Media) -> Sample:
        return Sample("q", "?", "open", "gold", media=(media,))

    found = Documents([
        Document("same", ("x", shown(b"1"))),
        Document("source", ("x", shown(b"2", source_sha256="s"))),
        Document("patient", ("x", shown(b"3", patient="p"))),
        Document("other", ("x", shown(b"4"))),
    ])  # fmt: skip
    held_out = [asked(shown(b"1")), asked(shown(b"5", source_sha256="s")), asked(shown(b"6", patient="p"))]
    kept = held_apart(found, held_out)
    assert [one.id for one in kept.documents] == ["other"]
    assert kept.notes == {"documents that show a held-out image or patient, left out": 3}


def test_made_documents_follow_from_the_seed_and_share_no_image_with_the_questions() -> None:
    first, again, other = (made_documents("interleaved", 20, seed) for seed in (0, 0, 1))
    assert first == again and first != other
    assert {len(one.media) for one in first} == set(range(1, MOST_IMAGES + 1))
    captions = made_documents("captions", 20, 0)
    assert all(len(one.pieces) == 2 and isinstance(one.pieces[0], Media) for one in captions)
    data = questions.load(DataConfig(num_sft=40, num_rl=40, num_eval=40))
    asked = [*(row.sample for row in data.sft), *data.rl, *data.eval]
    images = {media.sha256 for sample in asked for media in sample.media}
    drawn = [media.sha256 for one in (*first, *captions) for media in one.media]
    assert not images & set(drawn) and len(set(drawn)) == len(drawn)
    assert "nodule" in " ".join(text for one in made_documents("captions", 80, 0) for text in one.texts)
    assert dataclasses.asdict(first[0])["id"] == "interleaved-000000"
