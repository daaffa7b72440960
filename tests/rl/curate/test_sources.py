"""Tables and folders as people keep them, and what is wrong with them: told on one screen, with line and file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from rl.curate.__main__ import main
from tests.paths import REPOSITORY
from tests.rl.curate.small_sets import curated, picture, reasons, recipe, table

RECIPE = """recipe: t
languages: [en]
sources:
  t:
    read: %s
    rules: {open: {}}
"""


def told(folder: Path, text: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main([str(recipe(folder, text)), "--out", str(folder / "data.jsonl")]) == 2
    assert not (folder / "data.jsonl").exists() and not list(folder.glob(".*.tmp"))
    error = capsys.readouterr().err
    assert len(error.splitlines()) <= 20 and "Traceback" not in error
    return error


def test_a_csv_with_columns_of_its_own_and_a_bom(tmp_path: Path) -> None:
    for number in range(4):
        picture(tmp_path / "a" / f"{number}.png", number)
    lines = ["Image Index,Finding Labels,Patient ID"] + [f'"{n}.png","nevus",{n}' for n in range(4)]
    (tmp_path / "a" / "t.csv").write_text("\ufeff" + "\r\n".join(lines), encoding="utf-8")
    text = RECIPE % "a/t.csv" + "    fields: {image: Image Index, label: Finding Labels, patient: Patient ID}\n"
    assert [row["image"] for row in curated(recipe(tmp_path, text))].count("a/2.png") == 1


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("t.csv", "image,label\na.png,nevus,more\n", "line 2: 3 cells for 2 columns"),
        ("t.csv", "image,image\na.png,b\n", "stands there twice"),
        ("t.csv", "image;label\na.png;nevus\n", "separated by semicolons"),
        ("t.csv", 'image,label\n"a.png,nevus\n', "line 2: "),
        ("t.csv", "file,label\na.png,nevus\n", "no column says where the picture is"),
        ("t.jsonl", '{"image": "a.png"}\n{"image": \n', "line 2: not JSON"),
        ("t.json", '{"image": "a.png"}', "expected one JSON list of objects"),
        ("t.csv", "image,label\n", "holds no row"),
        ("t.xlsx", "PK", "expected a table (.csv, .tsv, .jsonl, .json) or a folder"),
        ("t.jsonl", '{"image": ["a.png"], "label": "x"}\n', "image is a list"),
        ("t.jsonl", '{"image": "a.png", "split": "dev"}\n', "split is 'dev'"),
        ("t.jsonl", '{"label": "x", "image": ""}\n', "no column says where the picture is"),
    ],
)
def test_a_table_that_cannot_be_read(
    tmp_path: Path, name: str, data: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_text(data, encoding="utf-8")
    error = told(tmp_path, RECIPE % name, capsys)
    assert "recipe.yaml, line 4: source t" in error and says in error


def test_a_column_that_is_not_there_is_told_with_what_was_meant(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table(tmp_path, [{"image": "a.png", "labels": "x"}])
    error = told(tmp_path, RECIPE % "rows.jsonl" + "    fields: {label: label}\n", capsys)
    assert "there is no column 'label'; did you mean 'labels'?" in error


def test_missing_and_broken_files_are_listed_with_their_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"image": f"{i}.png", "label": "nevus"} for i in range(40)]
    table(tmp_path, rows)
    for number in range(5, 35):
        (tmp_path / f"{number}.png").unlink()
    text = RECIPE % "rows.jsonl"
    error = told(tmp_path, text, capsys)
    assert (
        "30 faults in rows.jsonl" in error
        and "line      6  image 5.png does not exist" in error
        and "and 18 more" in error
    )
    (tmp_path / "2.png").write_bytes((tmp_path / "1.png").read_bytes()[:80])
    Image.new("RGB", (80, 80), (7, 7, 7)).save(tmp_path / "3.png")
    Image.new("RGB", (20, 80)).save(tmp_path / "4.png")
    made = curated(recipe(tmp_path, text + "on_bad_item: drop\n"))
    assert len(made) == 7
    assert reasons(tmp_path / "data.jsonl") == {
        "a file is missing": 30, "cannot be read": 1, "one grey": 1, "smaller than 64 pixels": 1
    }  # fmt: skip


def test_folders_of_captions_masks_and_slices(tmp_path: Path) -> None:
    for number in range(3):
        picture(tmp_path / "c" / f"{number}.png", number)
        (tmp_path / "c" / f"{number}.txt").write_text(f"A shadow of kind {'abc'[number]} in the lung.")
        picture(tmp_path / "m" / "images" / f"{number}.png", number + 10)
        mask = Image.new("L", (72, 72))
        mask.paste(255, (4, 4, 20, 20))
        (tmp_path / "m" / "masks").mkdir(parents=True, exist_ok=True)
        mask.save(tmp_path / "m" / "masks" / f"{number}_mask.png")
        for label in ("normal", "mass"):
            for index in range(3):
                picture(
                    tmp_path / "v" / label / f"scan{number}" / f"slice{index}.png",
                    100 * number + index + (label == "mass") * 50,
                )
    text = (
        "recipe: f\nlanguages: [en]\nsources:\n  c: {read: c, rules: {caption: {}}}\n"
        "  m: {read: m, rules: {place: {sides: [image]}}}\n"
        "  v: {read: v, modality: CT, rules: {mcq: {}}, media: {max_frames: 2}}\n"
    )
    made = curated(recipe(tmp_path, text))
    by_source = {name: [row for row in made if row["source"] == name] for name in "cmv"}
    assert [len(by_source[name]) for name in "cmv"] == [3, 3, 6]
    assert by_source["m"][0]["answer"] == "upper left"
    assert by_source["v"][0]["volume"]["max_frames"] == 2 and by_source["v"][0]["volume"]["path"].startswith("v/")
    assert {len(row["options"]) for row in by_source["v"]} == {2}


def test_a_symlink_loop_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for label in ("normal", "mass"):
        picture(tmp_path / "v" / label / "a.png", 1)
    (tmp_path / "v" / "mass" / "again").symlink_to(tmp_path / "v")
    error = told(tmp_path, RECIPE % "v", capsys)
    assert "line 4: source t, v: the link mass/again leads back to the folder itself, a loop; remove it" in error
    (tmp_path / "self").symlink_to(tmp_path / "self")
    assert "source t, self: " in told(tmp_path, RECIPE % "self", capsys)


def test_what_a_folder_is_must_be_told_where_nothing_says_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture(tmp_path / "v" / "a.png", 1)
    assert "layout: classes" in told(tmp_path, RECIPE % "v", capsys)
    picture(tmp_path / "w" / "x" / "a.png", 1)
    (tmp_path / "w" / "x" / "notes.doc").write_text("x")
    assert "x/notes.doc is no picture" in told(tmp_path, RECIPE % "w" + "    layout: classes\n", capsys)


def test_what_was_seen_is_kept_and_a_cut_line_is_seen_again(tmp_path: Path) -> None:
    table(tmp_path, [{"image": f"{i}.png", "label": "nevus"} for i in range(6)])
    path = recipe(tmp_path, RECIPE % "rows.jsonl")
    curated(path)
    first = (tmp_path / "data.jsonl").read_bytes()
    seen = tmp_path / "data.curate" / "looked.jsonl"
    whole = seen.read_bytes()
    seen.write_bytes(whole[: len(whole) - 100])  # killed in the middle of a line
    curated(path)
    assert (tmp_path / "data.jsonl").read_bytes() == first
    assert len(seen.read_bytes().splitlines()) == 7  # the cut line, and the picture of it again
    picture(tmp_path / "2.png", 99, 80)  # another picture under the same name
    curated(path)
    assert len(seen.read_bytes().splitlines()) == 8


@pytest.mark.full_run_only(reason="starts the command and kills it")
def test_a_run_that_was_killed_goes_on_and_writes_the_same_bytes(tmp_path: Path) -> None:
    table(tmp_path, [{"image": f"{i}.png", "label": ("nevus", "melanoma")[i % 2]} for i in range(300)])
    path = recipe(tmp_path, RECIPE % "rows.jsonl")
    command = [sys.executable, "-m", "rl.curate", str(path), "--out", str(tmp_path / "killed.jsonl")]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    seen = tmp_path / "killed.curate" / "looked.jsonl"
    until = time.monotonic() + 120
    while not (seen.exists() and seen.stat().st_size > 20_000) and process.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not (tmp_path / "killed.jsonl").exists()
    before = len(seen.read_bytes().splitlines())
    assert 0 < before < 300
    assert curated(path, "killed.jsonl") == curated(path, "whole.jsonl")
    assert (tmp_path / "killed.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_usage_and_a_folder_that_nobody_may_write_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table(tmp_path, [{"image": "0.png", "label": "nevus"}])
    path = str(recipe(tmp_path, RECIPE % "rows.jsonl"))
    for arguments, says in (
        ([path], "give --out FILE to write, or --check"),
        ([path, "--out", str(tmp_path / "data.json")], "ends in .jsonl"),
        ([path, "--out", str(tmp_path / "no" / "data.jsonl")], "make it first"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 2 and says in capsys.readouterr().err
    if os.geteuid():
        tmp_path.chmod(0o500)
        assert main([path, "--out", str(tmp_path / "data.jsonl")]) == 2
        tmp_path.chmod(0o700)
    assert json.loads((tmp_path / "rows.jsonl").read_text())
