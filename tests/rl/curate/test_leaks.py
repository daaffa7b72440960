"""What must not stand on both sides: sources, patients, near copies of any size, encoding or crop, questions."""

from __future__ import annotations

import io
import json
import random
from pathlib import Path

import pytest
from PIL import Image, ImageFilter

from rl.curate.leaks.copies import hashes, near
from rl.curate.leaks.grams import all_grams, shares_a_run
from tests.rl.curate.small_sets import curated, picture, read, reasons, recipe, table


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> list[Image.Image]:
    folder = tmp_path_factory.mktemp("drawn")
    return [Image.open(picture(folder / f"{i}.png", i, 256)).filter(ImageFilter.GaussianBlur(3)) for i in range(60)]


def again(image: Image.Image, how: str) -> Image.Image:
    buffer = io.BytesIO()
    if how == "jpeg":
        image.convert("RGB").save(buffer, "JPEG", quality=60)
        return Image.open(buffer)
    if how == "half":
        return image.resize((image.width // 2, image.height // 2))
    if how == "grey":
        return image.convert("L")
    if how == "border":
        framed = Image.new("RGB", (340, 300))
        framed.paste(image, (40, 20))
        return framed
    width, height = image.size
    cut = {"crop": (0.05, 0.05, 0.95, 0.95), "corner": (0.1, 0.1, 1.0, 1.0), "large crop": (0.1, 0.1, 0.9, 0.9)}[how]
    return image.crop((round(cut[0] * width), round(cut[1] * height), round(cut[2] * width), round(cut[3] * height)))


@pytest.mark.parametrize("how", ["jpeg", "half", "grey", "border", "crop", "corner", "large crop"])
def test_a_copy_of_a_picture_is_found_and_others_are_not(drawn: list[Image.Image], how: str) -> None:
    known = [hashes(image) for image in drawn]
    copies = [hashes(again(image, how)) for image in drawn[:20]]
    found = near(copies, known, 4)
    assert {(copy.first, copy.second) for copy in found} >= {(i, i) for i in range(20)}
    assert len(found) <= 22  # pictures that look alike by chance


def test_the_search_by_bands_finds_what_a_search_of_all_pairs_finds() -> None:
    rng = random.Random(1)
    first = [(rng.getrandbits(64),) for _ in range(200)]
    second = [(value[0] ^ sum(1 << rng.randrange(64) for _ in range(rng.randrange(7))),) for value in first]
    wanted = {
        (i, j)
        for i, one in enumerate(first)
        for j, other in enumerate(second)
        if (one[0] ^ other[0]).bit_count() <= 4 and 6 <= one[0].bit_count() <= 58 and 6 <= other[0].bit_count() <= 58
    }
    assert {(copy.first, copy.second) for copy in near(first, second, 4)} == wanted and len(wanted) > 50


def test_an_even_picture_is_no_copy_of_another() -> None:
    assert not near([hashes(Image.new("L", (64, 64), 10))], [hashes(Image.new("L", (80, 64), 200))], 4)


def test_eight_words_in_a_row() -> None:
    known = all_grams(["The surgeon clips the cystic duct with two titanium clips today.", "short text"])
    assert shares_a_run("Then the surgeon clips the CYSTIC duct, with two titanium clips.", known)
    assert not shares_a_run("The surgeon clips the cystic artery with two titanium clips.", known)
    assert not shares_a_run("short text", known)


RECIPE = """recipe: leaks
languages: [en]
sources:
  s: {read: rows.jsonl, modality: CT, rules: {open: {cap: null}, caption: {}}}
max_blind: 1
"""


def test_patients_and_sources_are_held_out_whole_and_near_copies_with_strict(tmp_path: Path) -> None:
    rows = [{"image": f"{i}.png", "label": "mass", "patient": f"p{i // 2}"} for i in range(16)]
    for number in range(16):
        picture(tmp_path / f"{number}.png", number, 160)
    for number in range(16):  # each picture again: smaller, as JPEG, of nobody known
        Image.open(tmp_path / f"{number}.png").resize((100, 100)).convert("RGB").save(
            tmp_path / f"c{number}.jpg", quality=60
        )
        rows.append({"image": f"c{number}.jpg", "label": "mass"})
    (tmp_path / "same.png").write_bytes((tmp_path / "3.png").read_bytes())
    rows.append({"image": "same.png", "label": "mass", "id": "x"})
    table(tmp_path, rows)
    made = curated(recipe(tmp_path, RECIPE + "eval_fraction: 0.4\n"))
    sides = {row["image"]: row["split"] for row in made}
    assert all(sides[f"{2 * i}.png"] == sides[f"{2 * i + 1}.png"] for i in range(8))
    assert sides["same.png"] == sides["3.png"] and set(sides.values()) == {"train", "eval"}
    apart = [i for i in range(16) if sides[f"{i}.png"] != sides[f"c{i}.jpg"]]
    assert apart and "near copies of held-out ones" in (tmp_path / "card.md").read_text()
    made = curated(recipe(tmp_path, RECIPE + "eval_fraction: 0.4\nleaks: {strict: true}\n"))
    left = {row["image"]: row["split"] for row in made}
    assert all(left.get(f"{i}.png") != "train" and left.get(f"c{i}.jpg") != "train" for i in apart)
    assert reasons(tmp_path / "data.jsonl")["a near copy is held out"] >= len(apart)


def test_a_split_that_parts_a_patient_is_mended_and_told(tmp_path: Path) -> None:
    rows = [
        {"image": f"{i}.png", "label": "mass", "patient": f"p{i // 2}", "split": "test" if i == 1 else "train"}
        for i in range(8)
    ]
    table(tmp_path, rows)
    made = curated(recipe(tmp_path, RECIPE))
    assert {row["image"] for row in made if row["split"] == "eval"} == {"0.png", "1.png"}
    assert "1 training items share a picture or a patient with held-out ones" in (tmp_path / "card.md").read_text()


def test_what_an_evaluation_set_holds_is_taken_out(tmp_path: Path) -> None:
    caption = "A large mass with calcified rims is seen in the liver."
    rows = [
        {
            "image": f"{i}.png",
            "label": "mass",
            "caption": caption if i == 2 else f"A mass of kind {'abcdef'[i]} is seen.",
        }
        for i in range(6)
    ]
    table(tmp_path, rows)
    bench = tmp_path / "bench"
    bench.mkdir()
    (bench / "0.png").write_bytes((tmp_path / "0.png").read_bytes())
    Image.open(tmp_path / "1.png").resize((64, 64)).save(bench / "1.jpg", quality=70)
    known = [
        {"question": "What is it?", "answer": "mass", "image": "0.png"},
        {"question": "What is it?", "answer": caption, "image": "1.jpg"},
    ]
    (bench / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in known))
    made = curated(recipe(tmp_path, RECIPE + "leaks: {against: [bench/test.jsonl], strict: true}\n"))
    assert {row["image"] for row in made} == {"2.png", "3.png", "4.png", "5.png"}
    assert {row["answer_type"] for row in made if row["image"] == "2.png"} == {"open"}
    told = reasons(tmp_path / "data.jsonl")
    assert told["the picture is in an evaluation set"] == 2 and told["a near copy is in an evaluation set"] == 2
    assert told["eight words in a row are in an evaluation set"] == 1


def test_an_evaluation_set_that_cannot_be_read_is_told_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from rl.curate.__main__ import main

    table(tmp_path, [{"image": "0.png", "label": "mass"}])
    (tmp_path / "bench.jsonl").write_text('{"question": "a", "answer": "b", "image": "gone.png"}\n')
    assert main([str(recipe(tmp_path, RECIPE + "leaks:\n  against: [bench.jsonl]\n")), "--check"]) == 2
    told = capsys.readouterr().err
    assert "recipe.yaml, line 7: bench.jsonl, line 1: image gone.png: there is no such file" in told


def test_planted_words_in_paths_reach_no_text_and_no_name_leaves(tmp_path: Path) -> None:
    labels = ("pneumonia", "effusion")
    rows = []
    for i in range(8):
        caption = "Chest film of Hans Mueller." if i == 3 else f"Chest film with shadow {'abcdefgh'[i]} in the lung."
        rows.append(
            {"image": f"scans/MUELLER^HANS/{labels[i % 2]}_{i}.png", "label": labels[i % 2], "caption": caption}
        )
    table(tmp_path, rows)
    text = RECIPE.replace("modality: CT", "modality: radiograph, patient_pattern: 'scans/([^/]+)/'")
    made = curated(recipe(tmp_path, text))
    for row in made:
        texts = json.dumps(
            [row["question"], row["answer"], row["id"], row["tags"], row["patient"], row.get("options", [])]
        )
        assert "mueller" not in texts.lower() and "scans" not in texts
        assert row["answer"].lower() not in row["question"].lower()
    assert reasons(tmp_path / "data.jsonl")["names the patient"] == 1
    kept = (tmp_path / "dropped.jsonl").read_text() + (tmp_path / "card.md").read_text()
    assert "mueller" not in kept.lower() and read(tmp_path / "dropped.jsonl")
