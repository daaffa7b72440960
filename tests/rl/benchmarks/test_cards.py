"""Cards: every shipped one is whole, and every kind of fault is told with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from rl.benchmarks import card as cards
from rl.benchmarks.card import CardError
from tests.paths import REPOSITORY

GOOD = """\
name: mine
version: 1
title: Mine
source:
  files: [mine.jsonl]
forms:
  - columns: {question: question, answer: answer}
licence: mine
needs_media: false
"""


def fault(folder: Path, text: str) -> str:
    """What is said of a card."""
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CardError) as caught:
        cards.load(path)
    return str(caught.value)


def test_every_shipped_card_is_whole() -> None:
    found = cards.find(cards.names())
    assert {card.name for card in found} == set(cards.names())
    wanted = """vqa_rad slake_en slake_zh pathvqa pmc_vqa omnimedvqa medxpertqa_mm mmmu_med medframeqa m3d_vqa iu_xray
    iu_xray_296 mimic_cxr video medqa medmcqa pubmedqa mmlu_med healthbench"""
    assert set(wanted.split()) <= set(cards.names())
    for card in found:
        assert card.licence and card.traps and card.version == 1
        assert all(reference.comparable or reference.why for reference in card.references), card.name
    assert [card.name for card in found if not card.may_leave_machine] == ["mimic_cxr"]


def test_a_paper_row_is_in_the_card_of_its_column() -> None:
    """Fleming-VL, Table 3: InternVL3-8B on SLAKE 72.8; Table 4: GPT-4.1 on IU-Xray, ROUGE-L 30.2; Table 5:
    Fleming-VL-8B on 3D questions 61.9."""
    (slake, iu, m3d) = cards.find(["slake_en", "iu_xray_296", "m3d_vqa"])
    assert slake.references[0].values["InternVL3-8B"] == 72.8
    assert next(one for one in iu.references if one.metric == "rouge_l").values["GPT-4.1"] == 30.2
    assert m3d.references[0].values["Fleming-VL-8B"] == 61.9
    assert not any(one.comparable for card in (slake, iu, m3d) for one in card.references)


def test_a_good_card_reads(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(GOOD)
    assert cards.load(tmp_path / "mine.yaml").label == "mine@1"


@pytest.mark.parametrize(
    ("change", "to", "said"),
    [
        ("licence: mine", "licens: mine", "line 8: there is no setting 'licens'; did you mean 'licence'?"),
        ("answer: answer", "anwser: answer", "line 7: there is no role of a column 'anwser'; did you mean 'answer'?"),
        ("version: 1", "version: one", "line 2: got 'one' (str), expected int under 'version'"),
        ("version: 1", "version: 0", "line 2: got 0, expected 1 or more"),
        ("name: mine", "name: My Set", "line 1: got 'My Set', expected small letters"),
        ("licence: mine", "licence: mine\nprobes: [blnk]", "line 9: there is no probe 'blnk'; did you mean 'blank'?"),
        ("licence: mine", "licence: mine\nstrata: [organ]", "line 9: there is no tag 'organ'"),
        ("licence: mine", "licence: mine\ncluster: patient", "line 9: there is no cluster 'patient'"),
        ("licence: mine", "licence: mine\nbaselines: [constant]", "line 9: the baseline 'constant' needs the report"),
        ("answer: answer", "image: image", "line 7: no column is the answer"),
        (
            "  - columns",
            "  - function: mmmmu\n    columns",
            "line 7: there is no function 'mmmmu'; did you mean 'mmmu'?",
        ),
        (
            "licence: mine",
            "licence: mine\nreferences:\n  - {source: T, metric: m, values: {A: 1.0}}",
            "line 10: T is not comparable: say why",
        ),
    ],
)
def test_a_fault_is_told_with_its_line(tmp_path: Path, change: str, to: str, said: str) -> None:
    assert change in GOOD
    assert said in fault(tmp_path, GOOD.replace(change, to))


@pytest.mark.parametrize("text", ["- a list", "just words", "a: [", "", "\x00"])
def test_a_file_that_is_no_card_is_told(tmp_path: Path, text: str) -> None:
    assert "no card" in fault(tmp_path, text)


def test_two_cards_of_one_name_are_refused(tmp_path: Path) -> None:
    one, two, shipped = tmp_path / "one.yaml", tmp_path / "two.yaml", tmp_path / "pathvqa.yaml"
    one.write_text(GOOD)
    two.write_text(GOOD)
    shipped.write_text(GOOD.replace("name: mine", "name: pathvqa"))
    with pytest.raises(CardError, match=r"two cards are named 'mine': .*one\.yaml and .*two\.yaml"):
        cards.find([str(one), str(two)])
    with pytest.raises(CardError, match="two cards are named 'pathvqa'"):
        cards.find([str(shipped)])


def test_a_table_of_a_paper_is_its_cards_and_none_of_them_is_asked_twice() -> None:
    for table, first, num in (("fleming_table3", "omnimedvqa", 6), ("fleming_table4", "mimic_cxr", 2)):
        found = cards.find([table])
        assert (found[0].name, len(found)) == (first, num)
        title = f"Fleming-VL, Table {table[-1]}"
        assert all(any(ref.source.startswith(title) for ref in card.references) for card in found), table
    assert [card.name for card in cards.find(["medqa", "fleming_table5"])] == [
        "medqa",
        "video",
        "medframeqa",
        "m3d_vqa",
    ]
    with pytest.raises(CardError, match=r"'vqa_rad' stands twice in benchmark=\[fleming_table3,vqa_rad\]"):
        cards.find(["fleming_table3", "vqa_rad"])
    with pytest.raises(CardError, match="did you mean 'fleming_table3'"):
        cards.find(["flemming_table3"])


def test_an_unknown_card_is_told_with_the_one_that_was_meant() -> None:
    with pytest.raises(CardError, match="did you mean 'slake_en'"):
        cards.find(["slake_e"])
    with pytest.raises(CardError, match="there is no such file"):
        cards.find(["/nowhere/card.yaml"])


def test_the_card_of_the_page_is_one(tmp_path: Path) -> None:
    """examples/evaluate.md shows a card of one's own, and what is said of a typing error in it."""
    text = (REPOSITORY / "examples" / "evaluate.md").read_text(encoding="utf-8")
    card = text.partition("```yaml\n")[2].partition("```")[0]
    (tmp_path / "ward.yaml").write_text(card)
    assert cards.find([str(tmp_path / "ward.yaml")])[0].cluster == "patient"
    said = fault(tmp_path, card.replace("letter: right", "anwser: right"))
    assert "line 7: there is no role of a column 'anwser'; did you mean 'answer'?" in said
