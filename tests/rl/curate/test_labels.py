"""D4: labels become multiple choice that cannot be guessed, in both languages, with the same letters."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from rl.config import DataConfig
from rl.curate.__main__ import main
from rl.curate.blind import blind, capped
from rl.curate.items import Item, Made
from rl.curate.letters import in_order, letters_of
from rl.curate.recipe.schema import RULES, Labels
from rl.curate.rules.ontology import Ontology
from rl.data.load import load
from tests.paths import REPOSITORY
from tests.rl.curate.small_sets import curated, picture, reasons, recipe, table

# Shares as they are met: grades of retinopathy, findings of chests, kinds of skin lesions.
NATURAL = {
    "grades": {"none": 0.735, "mild": 0.07, "moderate": 0.15, "severe": 0.025, "proliferative": 0.02},
    "chests": {"no finding": 0.54, "effusion": 0.12, "atelectasis": 0.11, "nodule": 0.06, "mass": 0.05,
               "pneumothorax": 0.05, "consolidation": 0.04, "pneumonia": 0.03},
    "skin": {"nevus": 0.67, "melanoma": 0.11, "keratosis": 0.11, "basal cell carcinoma": 0.05, "hemangioma": 0.06},
}  # fmt: skip


def made_of(shares: dict[str, float], count: int, seed: int = 0) -> list[Made]:
    """Questions with three distractors drawn evenly from the other labels."""
    rng = random.Random(seed)
    golds = rng.choices(list(shares), list(shares.values()), k=count)
    rows = []
    for number, gold in enumerate(golds):
        keys = (gold, *rng.sample([key for key in shares if key != gold], 3))
        item = Item(f"{number}", "s", number, (("image", f"{number}.png"),))
        rows.append(
            Made(
                item,
                "mcq",
                "en",
                f"What is it, as seen in view {number % 7}?",
                "finding.en.00",
                "mcq",
                gold,
                gold,
                keys,
                keys,
            )
        )
    return rows


@pytest.mark.parametrize("name", NATURAL)
def test_after_capping_a_guesser_is_within_five_points_of_chance(name: str) -> None:
    rows = made_of(NATURAL[name], 2000)
    before = blind(rows)
    assert before.frequent > before.chance + 0.15 and before.too_easy(0.05)
    kept = capped(rows, "auto", 0.05, seed=0)
    after = blind([row for row in rows if row.pair in kept])
    assert after.best <= after.chance + 0.05 and not after.too_easy(0.05)
    assert after.num_asked >= 60


def test_the_baselines_by_hand() -> None:
    # Golds a, a, a, b; options (a, b) each: always "a" is right in 3 of 4; chance is a half.
    item = Item("", "s", 1, ())
    rows = [
        Made(Item(str(i), "s", i, ()), "mcq", "en", "?", "", "mcq", g, g, ("a", "b"), ("a", "b"))
        for i, g in enumerate("aaab")
    ]
    assert (blind(rows).chance, blind(rows).frequent) == (0.5, 0.75)
    # Golds a, b: a tie, so each guess is half right.
    assert blind([rows[0], rows[3]]).frequent == 0.5
    # Asked open among three labels: chance is a third.
    opens = [
        Made(Item(str(i), "s", i, ()), "open", "en", "?", "", "open", g, g, alternatives=("a", "b", "c"))
        for i, g in enumerate("ab")
    ]
    assert blind(opens).chance == pytest.approx(1 / 3)
    assert blind([Made(item, "caption", "en", "?", "", "report", "text")]).num_asked == 0


def test_a_question_that_tells_its_answer_is_found_by_the_reader_of_texts() -> None:
    rows = made_of(dict.fromkeys("abcde", 0.2), 400)
    telling = [Made(**{**vars(row), "question": f"Is it like {row.gold}x?"}) for row in rows]
    assert blind(rows).text_only < 0.35
    assert blind(telling).text_only > 0.95


def test_letters_are_even_and_the_same_in_both_languages() -> None:
    rows = made_of(NATURAL["skin"], 400)
    both = rows + [
        Made(
            **{
                **vars(row),
                "language": "zh",
                "options": tuple(f"中{one}" for one in row.options),
                "gold": f"中{row.gold}",
            }
        )
        for row in rows
    ]
    ordered = in_order(both, seed=3)
    letters = letters_of(ordered)
    assert letters.p_value > 0.01 and sum(letters.counts[4]) == 400
    by_pair: dict[str, set[str]] = {}
    for one in ordered:
        by_pair.setdefault(one.made.pair, set()).add(one.letter)
        assert one.options["ABCD".index(one.letter)] == one.made.gold
    assert all(len(found) == 1 for found in by_pair.values())


def test_distractors_are_wrong_answers() -> None:
    told: list[str] = []
    labels = Labels(
        synonyms=[["effusion", "pleural fluid"]],
        tree={"pneumonia": ["viral pneumonia", "bacterial pneumonia"], "opacity": ["pneumonia"]},
        may_hold_beside=["no finding"],
        distractors={"nodule": ["mass", "effusion"]},
    )
    ontology = Ontology(labels, lambda place, text: told.append(text))
    pool = [
        ontology.key(one)
        for one in ("effusion", "Pleural Fluid", "pneumonia", "viral pneumonia", "opacity", "no finding", "nodule")
    ]
    assert not told
    assert ontology.distractors("viral pneumonia", [], pool) == ["effusion", "nodule"]
    assert ontology.distractors("pleural fluid", ["nodule"], pool) == ["opacity", "pneumonia", "viral pneumonia"]
    assert ontology.distractors("no finding", [], pool) == []
    assert ontology.distractors("nodule", ["mass"], pool) == ["effusion"]
    assert ontology.name("PLEURAL  fluid") == "effusion"


RECIPE = """recipe: skin
eval_fraction: 0.3
sources:
  skin:
    read: rows.jsonl
    modality: dermoscopy
    rules: {mcq: {distractors: [1, 3]}, open: {}}
"""


def rows_of(count: int = 40) -> list[dict]:
    names = ("nevus", "melanoma", "keratosis", "hemangioma")
    return [{"image": f"p{i // 2}/{i}.png", "label": names[i % 4], "patient": f"Miller {i // 2}"} for i in range(count)]


def test_the_command_writes_rows_that_data_jsonl_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table(tmp_path, rows_of())
    rows = curated(recipe(tmp_path, RECIPE))
    told = capsys.readouterr().out
    assert "blind baselines" in told and "passed" in told and "gold letters" in told
    assert {row["language"] for row in rows} == {"en", "zh"} and len(rows) == 160
    splits = load(DataConfig(name="jsonl", root=str(tmp_path / "data.jsonl")))
    assert not splits.bad_rows and len(splits.rl) + len(splits.eval) >= 100
    english, chinese = ({row["pair_id"]: row for row in rows if row["language"] == one} for one in ("en", "zh"))
    assert english.keys() == chinese.keys()
    for pair, row in english.items():
        if row["answer_type"] == "mcq":
            assert row["answer"] == chinese[pair]["answer"] and 2 <= len(row["options"]) <= 4
    assert {row["tags"]["rule"] for row in rows} == {"mcq", "open"}
    # Patients stay on one side, and no text holds a name.
    sides: dict[str, set[str]] = {}
    for row in rows:
        sides.setdefault(row["patient"], set()).add(row["split"])
    assert len(sides) == 20 and all(len(one) == 1 for one in sides.values())
    assert {one for found in sides.values() for one in found} == {"train", "eval"}
    assert "Miller" not in (tmp_path / "data.jsonl").read_text()
    assert "Miller" not in (tmp_path / "dropped.jsonl").read_text() + (tmp_path / "card.md").read_text()


def test_a_second_run_gives_the_same_bytes_and_so_do_rows_in_another_order(tmp_path: Path) -> None:
    rows = rows_of()
    table(tmp_path, rows)
    path = recipe(tmp_path, RECIPE)
    curated(path)
    first = [(tmp_path / name).read_bytes() for name in ("data.jsonl", "dropped.jsonl", "card.md")]
    curated(path)
    assert [(tmp_path / name).read_bytes() for name in ("data.jsonl", "dropped.jsonl", "card.md")] == first
    table(tmp_path, rows[::-1])
    curated(path)
    assert (tmp_path / "data.jsonl").read_bytes() == first[0]


def test_a_set_that_a_guesser_knows_is_not_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{**row, "label": "nevus" if i % 10 else row["label"]} for i, row in enumerate(rows_of(60))]
    table(tmp_path, rows)
    path = recipe(tmp_path, RECIPE.replace("{mcq: {distractors: [1, 3]}, open: {}}", "{mcq: {cap: null}}"))
    assert main([str(path), "--out", str(tmp_path / "data.jsonl")]) == 1
    told = capsys.readouterr()
    assert "TOO EASY" in told.out and "nothing was written" in told.err
    assert not (tmp_path / "data.jsonl").exists() and not (tmp_path / "card.md").exists()


def test_a_label_without_a_chinese_name_stays_english_and_is_counted(tmp_path: Path) -> None:
    rows = [{**row, "label": ("melanoma", "nevus", "elastosis")[i % 3]} for i, row in enumerate(rows_of(12))]
    table(tmp_path, rows)
    text = RECIPE.replace("{mcq: {distractors: [1, 3]}, open: {}}", "{open: {}}").replace("eval_fraction: 0.3\n", "")
    made = curated(recipe(tmp_path, text))
    assert {row["language"] for row in made if row["answer"] == "elastosis"} == {"en"}
    assert not any("pair_id" in row for row in made if row["answer"] == "elastosis")
    assert reasons(tmp_path / "data.jsonl")["no Chinese word for an answer"] == 4
    made = curated(recipe(tmp_path, text + "labels: {chinese: {Elastosis: 弹力组织变性}}\n"))
    assert sum(row["answer"] == "弹力组织变性" for row in made) == 4


def test_several_labels_of_an_image_are_never_distractors_of_each_other(tmp_path: Path) -> None:
    names = ("effusion", "nodule", "mass", "atelectasis", "pneumothorax")
    rows = [{"image": f"{i}.png", "label": f"{names[i % 5]}|{names[(i + 1) % 5]}"} for i in range(20)]
    table(tmp_path, rows)
    text = RECIPE.replace("eval_fraction: 0.3\n", "").replace("    modality", "    label_separator: '|'\n    modality")
    made = curated(recipe(tmp_path, text))
    asked = [row for row in made if row["answer_type"] == "mcq" and row["language"] == "en"]
    labels = {row["image"]: set(row["label"].split("|")) for row in rows}
    assert asked
    for row in asked:
        assert len(labels[row["image"]] & set(row["options"])) == 1
    assert reasons(tmp_path / "data.jsonl")["several labels, so no one answer"] == 20


def test_a_folder_of_classes_needs_no_table(tmp_path: Path) -> None:
    for number in range(12):
        picture(tmp_path / "eyes" / ("healthy", "severe")[number % 2] / f"{number}.png", number)
    made = curated(
        recipe(tmp_path, "recipe: eyes\nsources:\n  eyes: {read: eyes, modality: fundus photograph, rules: {mcq:}}\n")
    )
    assert len(made) == 24
    # The folder's name is the answer and in the path: it stands in no question.
    assert not any("healthy" in row["question"] or "severe" in row["question"] for row in made)


def test_the_page_names_the_rules() -> None:
    page = (REPOSITORY / "examples" / "curate" / "README.md").read_text(encoding="utf-8")
    assert not [rule for rule in RULES if f"`{rule}`" not in page]
