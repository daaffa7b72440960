"""D1, D2, D6 and D7: what of a caption may be an answer, and where a mask lies in words."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rl.config import MediaConfig
from rl.curate.recipe.door import read_recipe
from rl.curate.rules.cleaning import clean_caption, num_panels
from rl.curate.rules.places import key_of
from rl.curate.wordings.pools import KINDS, Pools, chinese, slot_fault
from rl.data.jsonl.rows import read_lines
from rl.data.media.reader import MediaReader
from rollouts.imaging.masks.places import place_of
from tests.rl.curate.small_sets import curated, picture, reasons, recipe, table


@pytest.mark.parametrize(
    ("caption", "text"),
    [
        ("Fig. 2B. Chest radiograph shows a large effusion.", "Chest radiograph shows a large effusion."),
        ("A 63-year-old man. Axial CT shows a hepatic abscess (arrow).", "Axial CT shows a hepatic abscess."),
        ("Large mass in the liver. Reprinted with permission from the journal.", "Large mass in the liver."),
        ("A nodule in the lobe. H&E stain. It is round and smooth.", "A nodule in the lobe. It is round and smooth."),
        ("Dense consolidation is seen. Same patient as in Figure 1.", "Dense consolidation is seen."),
        ("图 3：右肺上叶可见结节影，边界清楚。", "右肺上叶可见结节影，边界清楚。"),
        ("CT scan of a 45-year-old woman showing a 3 cm mass.", "CT scan showing a 3 cm mass."),
        ("A 3-year-old with fever. The scan shows a cyst.", "The scan shows a cyst."),
        ("Credit: Jane Roe, Wikimedia. Chest film with an effusion.", "Chest film with an effusion."),
        ("Supplementary Figure S2. Mass in the right lobe [1,2].", "Mass in the right lobe."),
        ("FIGURE 1 | Mass in the right lobe [arrow].", "Mass in the right lobe."),
        ("<p>Mass in the <b>liver</b> &amp; spleen</p>", "Mass in the liver & spleen"),
    ],
)  # fmt: skip
def test_what_is_not_in_the_picture_is_cut(caption: str, text: str) -> None:
    assert clean_caption(caption, min_words=3).text == text


@pytest.mark.parametrize(
    ("caption", "reason"),
    [
        ("(a) Axial CT of the liver. (b) Coronal reformat of the same lesion.", "one caption for several panels"),
        ("CT before (left) and after contrast (right) with a liver lesion.", "one caption for several panels"),
        ("The arrow points to a small nodule in the lung.", "rests on a mark or another figure"),
        ("See Fig. 4 for the arterial phase in detail.", "nothing of it is to be seen"),
        ("A: axial CT; B: coronal CT of the same mass", "one caption for several panels"),
        ("A, CT shows a mass. B, MRI shows enhancement.", "one caption for several panels"),
        ("Left: T1 image. Right: T2 image with lesion.", "one caption for several panels"),
        ("Top row: baseline. Bottom row: treated lesion.", "one caption for several panels"),
        ("图1 A：CT示肝脏占位；B：MRI示强化。", "one caption for several panels"),
        ("As discussed above, a large mass is seen", "nothing of it is to be seen"),
        ("Postoperative image at 3 months without recurrence", "nothing of it is to be seen"),
        ("Patient John Smith has a large effusion", "may name somebody"),
        ("Mr. J. Smith with a large effusion on the left", "may name somebody"),
        ("Chest film.", "fewer than 4 words"),
        ("IMG_0042.png", "the caption is a file name"),
        ("case_17", "the caption is a file name"),
        ("Mr. Miller has a large effusion on the left side.", "may name somebody"),
        ("", "no caption"),
        ("Follow-up after 6 months shows a smaller lesion.", "nothing of it is to be seen"),
        ("word " * 900, "longer than a caption"),
    ],
)
def test_what_cannot_be_cut_drops_the_caption(caption: str, reason: str) -> None:
    assert clean_caption(caption, min_words=4).reason == reason


def test_a_caption_of_a_thousand_panels_costs_no_time() -> None:
    caption = " ".join(f"({number % 999 + 1}) axial CT of the liver." for number in range(1000))
    began = time.process_time()
    assert num_panels(caption) == 999
    assert clean_caption(caption, min_words=4).reason == "one caption for several panels"
    assert clean_caption("((((((" * 200_000, min_words=4).reason
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    ("caption", "told"),
    [("The narrator explains the first step.", True), ("On-screen text reads Subscribe for more.", True),
     ("The surgeon clips the cystic duct and divides it.", False)],
)  # fmt: skip
def test_a_clips_caption_tells_of_what_is_seen(caption: str, told: bool) -> None:
    assert (clean_caption(caption, min_words=4, clip=True).reason != "") == told


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_pool_has_twenty_wordings_that_differ_and_can_be_filled(kind: str, language: str) -> None:
    texts = Pools({}).texts(kind, language)
    assert len(set(texts)) >= 20 and not [text for text in texts if slot_fault(text)]
    assert not [text for text in texts if f"{{{kind}}}" in text]  # a question must not hold its own answer
    bare = Pools({}).draw(kind, language, {"finding": "x"}, 1)
    assert bare is not None and "{" not in bare.text


def test_wordings_are_drawn_by_hash_over_the_whole_pool_and_slots_are_text() -> None:
    pools = Pools({})
    slots = {"modality": "{finding} <b>", "organ": "lung", "finding": "x"}
    drawn = {pools.draw("finding", "en", slots, seed).name for seed in range(400)}  # type: ignore[union-attr]
    assert len(drawn) == len(pools.texts("finding", "en"))
    assert any("{finding} <b>" in pools.draw("finding", "en", slots, seed).text for seed in range(40))  # type: ignore[union-attr]
    assert chinese("ct", {}) == "CT图像" and chinese("Glioma", {"glioma": "神经胶质瘤"}) == "神经胶质瘤"


def test_one_caption_at_too_many_pictures_is_dropped_at_all_of_them(tmp_path: Path) -> None:
    rows = [{"image": f"{i}.png", "caption": "A chest radiograph without any finding."} for i in range(22)]
    rows.append({"image": "22.png", "caption": "A chest radiograph with a large effusion on the left."})
    rows.append({"image": "23.png", "caption": "右侧胸腔大量积液，纵隔左移。", "language": "zh"})
    rows.append({"image": "24.png", "caption": "Right-sided pleural effusion with shift.", "language": "zh"})
    table(tmp_path, rows)
    made = curated(recipe(tmp_path, "recipe: c\nsources:\n  c: {read: rows.jsonl, rules: {caption: {}}}\n"))
    assert [(row["language"], row["answer_type"]) for row in made] == [("en", "report"), ("zh", "report")] or len(
        made
    ) == 2
    told = reasons(tmp_path / "data.jsonl")
    assert told["the caption stands at too many items"] == 22
    assert told["the caption is in another language than it says"] == 1
    assert told["free text without a translation (llm.translate)"] == 2


def spot(rows: slice, columns: slice, shape: tuple[int, int] = (90, 90)) -> np.ndarray:
    marked = np.zeros(shape, bool)
    marked[rows, columns] = True
    return marked


@pytest.mark.parametrize(
    ("marked", "axes", "image", "patient"),
    [
        (spot(slice(5, 15), slice(5, 15)), "LI", "upper left", "right"),
        (spot(slice(5, 15), slice(5, 15)), "", "upper left", None),
        (spot(slice(40, 50), slice(70, 80)), "LI", "middle right", "left"),
        (spot(slice(70, 80), slice(5, 10)) | spot(slice(70, 80), slice(80, 85)), "LI", "lower both", "both"),
        (spot(slice(0, 90), slice(0, 90)), "LI", None, None),  # between all words
    ],
)  # fmt: skip
def test_image_side_and_patient_side_are_two_things(
    marked: np.ndarray, axes: str, image: str | None, patient: str | None
) -> None:
    place = place_of(marked, axes)
    assert place is not None
    assert key_of(place, "image", whole=True) == image
    assert key_of(place, "patient", whole=True) == patient


PLACES = """recipe: p
languages: [en]
sources:
  p:
    read: rows.jsonl
    modality: %s
    rules: {place: {%s}}
"""


def placed(folder: Path, modality: str, settings: str) -> list[dict]:
    rows = []
    for number in range(8):
        column = 8 if number % 2 else 78
        Image.fromarray(spot(slice(8, 16), slice(column, column + 8), (96, 96)).astype(np.uint8) * 255).save(
            folder / f"m{number}.png"
        )
        picture(folder / f"{number}.png", number, 96)
        rows.append({"image": f"{number}.png", "mask": f"m{number}.png", "label": "nodule"})
    picture(folder / "9.png", 9, 96)
    Image.new("L", (96, 96)).save(folder / "m9.png")
    table(folder, [*rows, {"image": "9.png", "mask": "m9.png"}])
    return curated(recipe(folder, PLACES % (modality, settings)))


def test_a_declared_convention_tells_the_patients_side_of_a_radiograph(tmp_path: Path) -> None:
    made = placed(tmp_path, "radiograph", "convention: radiological")
    by_task = {(row["image"], row["tags"]["task"]): row for row in made}
    # 1.png: the spot stands on the left of the image, which is the patient's right.
    assert by_task["1.png", "image"]["answer"] == "upper left" and "top left" in by_task["1.png", "image"]["aliases"]
    assert by_task["1.png", "patient"]["answer"] == "right"
    assert (
        "patient" in by_task["1.png", "patient"]["question"]
        and "image" in by_task["1.png", "image"]["question"].lower()
    )
    assert by_task["1.png", "image"]["tags"]["patient_side"] == "right"
    assert "9.png" not in {row["image"] for row in made}
    assert reasons(tmp_path / "data.jsonl")["nothing is marked"] == 1


def test_a_dermoscopic_image_has_no_patients_side_whatever_the_recipe_says(tmp_path: Path) -> None:
    made = placed(tmp_path, "dermoscopy", "convention: radiological, form: mcq")
    assert {row["tags"]["task"] for row in made} == {"image"} and len(made) == 8
    assert all(row["options"]["ABCD".index(row["answer"])] in ("upper left", "upper right") for row in made)
    assert reasons(tmp_path / "data.jsonl")["the patient's sides are not known"] == 8


def test_a_mask_of_another_size_is_told_with_line_and_sizes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from rl.curate.__main__ import main

    picture(tmp_path / "a.png", 1, 96)
    Image.new("L", (80, 80), 255).save(tmp_path / "m.png")
    table(tmp_path, [{"image": "a.png", "mask": "m.png"}])
    assert main([str(recipe(tmp_path, PLACES % ("CT", ""))), "--check"]) == 2
    told = capsys.readouterr().err
    assert "line 4: source p" in told and "80 x 80" in told and "96 x 96" in told


def test_the_settings_of_media_are_checked_at_the_door(tmp_path: Path) -> None:
    from rl.curate.recipe.lines import RecipeError

    text = PLACES % ("CT", "") + "    media: {window: lnug}\n"
    with pytest.raises(RecipeError, match=r"line 8: media: window is 'lnug' \(did you mean lung\?\)"):
        read_recipe(recipe(tmp_path, text))
    with pytest.raises(RecipeError, match="did you mean 'window'"):
        read_recipe(recipe(tmp_path, text.replace("window: lnug", "windw: lung")))


@pytest.mark.full_run_only(reason="reads volumes in processes")
def test_a_volume_whose_frames_shown_miss_the_mark_is_dropped_and_masks_reach_the_reader(tmp_path: Path) -> None:
    for number, place in ((0, 2), (1, 6)):  # 8 slices, of which 2 are shown: 2 and 6; 1 marks slice 5 alone
        for index in range(8):
            picture(tmp_path / f"v{number}" / f"{index}.png", 10 * number + index, 96)
            marked = Image.new("L", (96, 96))
            if index == (place if number == 0 else 5):
                marked.paste(255, (8, 8, 24, 24))
            (tmp_path / f"m{number}").mkdir(exist_ok=True)
            marked.save(tmp_path / f"m{number}" / f"{index}.png")
    table(tmp_path, [{"volume": f"v{i}", "mask": f"m{i}", "label": "mass"} for i in range(2)])
    text = PLACES % ("CT", "sides: [image]") + "    media: {max_frames: 2}\n"
    made = curated(recipe(tmp_path, text))
    assert [(row["volume"], row["mask"], row["answer"]) for row in made] == [
        ({"path": "v0", "max_frames": 2}, "m0", "upper left")
    ]
    assert reasons(tmp_path / "data.jsonl") == {"no frame shown holds what is marked": 1}
    assert "1 of 2 masks of volumes and clips are cut by no frame shown" in (tmp_path / "card.md").read_text()
    reader = MediaReader(tmp_path, MediaConfig(cache_dir=str(tmp_path / "frames")))
    lines, bad = read_lines(tmp_path / "data.jsonl", reader)
    assert not bad and lines[0].sample.media[0].mask_files is not None
