"""Whatever cannot be scored is told on one screen before a model is loaded: what was got, what was expected, how to
mend it. Told by the door that `python -m rl.evaluate` opens first."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rl.config.door import compose
from rl.data.sets import UnusableData
from rl.evaluate.suite.preparing import prepare

CARD = """\
name: ward
version: 1
title: Ward
source: {files: [ward.jsonl], images: [images]}
expect: {rows: 30}
forms:
  - columns: {id: id, question: question, answer: answer, options: options, image: image}
licence: ours
may_leave_machine: false
"""
# A screen of a terminal.
LINES, COLUMNS = 24, 80


def rows_of(count: int = 30) -> list[dict[str, Any]]:
    return [
        {"id": f"{n}", "question": f"What is seen in {n}?", "options": ["nodule", "effusion"],
         "answer": "effusion", "image": f"{n}.png"} for n in range(count)
    ]  # fmt: skip


def write(folder: Path, rows: list[dict[str, Any]], card: str = CARD) -> None:
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "ward.yaml").write_text(card)
    (folder / "ward.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for number in range(30):
        Image.new("L", (8, 8), number).save(folder / "images" / f"{number}.png")


def told(folder: Path, *more: str) -> str:
    """What the command says, which must fit a screen."""
    with pytest.raises(UnusableData) as caught:
        prepare(compose([f"benchmark=[{folder}/ward.yaml]", f"benchmark_root={folder}", "judge=rules", *more]))
    text = str(caught.value)
    assert sum(-(-len(line) // COLUMNS) or 1 for line in text.splitlines()) < LINES, text
    return text


def renamed(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        row["anwser"] = row.pop("answer")


def no_images(rows: list[dict[str, Any]]) -> None:
    for row in rows[2:]:
        row["image"] = f"{'a/long/way/' * 20}{row['image']}"


def no_options(rows: list[dict[str, Any]]) -> None:
    for row in rows[1:]:
        row["answer"] = f"a lesion that is none of the options {'and so on ' * 60}"


def one_id(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        row["id"] = "the same" * 40


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (renamed, ("no column 'answer'; did you mean 'anwser'?", "has the columns id, question, options")),
        (
            lambda rows: rows.pop(),
            ("29 rows, the published set has 30", "Give the published file, or eval.on_mismatch"),
        ),
        (no_images, ("28 of 30 images (93.3%) are not there", "and 23 more", "Put them below benchmark_root (images)")),
        (no_options, ("29 rows cannot be asked, the card knows of 0", "is not among the options", "and 24 more")),
        (one_id, ("29 rows cannot be asked, the card knows of 0", "the id is taken by row 1", "Give the published")),
    ],
)
def test_rows_that_are_not_as_the_card_says(
    tmp_path: Path, spoil: Callable[[list[dict[str, Any]]], Any], said: tuple[str, ...]
) -> None:
    rows = rows_of()
    spoil(rows)
    write(tmp_path, rows)
    text = told(tmp_path)
    assert text.startswith("benchmark ward: ") and all(one in text for one in said), text


def test_another_content_is_told_by_its_hash(tmp_path: Path) -> None:
    digest = hashlib.sha256(b"another").hexdigest()[:16]
    write(tmp_path, rows_of(), CARD.replace("rows: 30", f'rows: 30, content: "{digest}"'))
    text = told(tmp_path)
    assert f"the card expects {digest}: questions, options or golds differ" in text and "eval.on_mismatch=tell" in text


def test_a_judge_elsewhere_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    """The file of rows is not even there."""
    (tmp_path / "ward.yaml").write_text(CARD)
    url = "https://judge.example/v1"
    text = told(tmp_path, "judge=openai", f"judge.base_url={url}", "judge.model=m")
    assert f"its rows may not leave this machine (ours), but the judge is asked at {url}" in text
    assert "or a judge on this machine" in text


def test_a_probe_that_a_set_of_text_cannot_have_and_one_that_there_is_not(tmp_path: Path) -> None:
    card = CARD.replace(", image: image", "") + "needs_media: false\n"
    write(tmp_path, rows_of(), card)
    text = told(tmp_path, "probes=[swapped]")
    assert "probe swapped needs" in text and "this set has no such item" in text
    assert "there is no probe named 'swaped'; did you mean 'swapped'" in told(tmp_path, "probes=[swaped]")


def test_two_cards_of_one_name(tmp_path: Path) -> None:
    write(tmp_path, rows_of())
    (tmp_path / "other.yaml").write_text(CARD)
    with pytest.raises(UnusableData, match=r"two cards are named 'ward': .*ward\.yaml and .*other\.yaml; rename one"):
        prepare(compose([f"benchmark=[{tmp_path}/ward.yaml,{tmp_path}/other.yaml]", f"benchmark_root={tmp_path}"]))


def test_all_of_it_in_one_command_still_fits_a_screen(tmp_path: Path) -> None:
    """Six sets of which five have no file: each is told, with the command for the one that is there."""
    write(tmp_path, rows_of())
    text = told(tmp_path, f"benchmark=[{tmp_path}/ward.yaml,fleming_table5,medqa,slake_en]")
    lines = text.splitlines()
    assert lines[0] == "5 of 6 benchmarks cannot be asked:" and lines[-1].endswith(f"[{tmp_path}/ward.yaml].")
    assert [line.split(":")[0].strip() for line in lines[1:-1]] == [
        "video",
        "medframeqa",
        "m3d_vqa",
        "medqa",
        "slake_en",
    ]
