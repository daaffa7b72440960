"""Items that must be right together, combinations that training has not seen, and metrics of two sets of reports."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from rl.benchmarks.card import Card, CardError, find
from rl.benchmarks.questions import IN_GROUPS
from rl.config import Config, EvalConfig
from rl.evaluate.suite.facts import Facts, KeptBlind
from rl.evaluate.suite.numbers import reports, rows, scores, summary
from rl.evaluate.suite.numbers.foreign import reports_of_others
from rl.evaluate.suite.preparing import prepare
from rl.evaluate.suite.table import print_summary

CARD = """name: pairs
version: 1
title: Pairs
source: {files: [rows.json]}
forms:
  - columns: {id: id, question: q, answer: a, pair: set, modality: modality}
tags: {anatomy: anatomy}
needs_media: false
answers: {yes_no: true}
licence: mine
baselines: [chance]
combination: [modality, anatomy]
training:
  - {name: its own, files: [train.json]}
"""


def row(number: int, answer: str, group: str, modality: str, anatomy: str) -> dict[str, str]:
    return {
        "id": str(number),
        "q": f"Is it {number}?",
        "a": answer,
        "set": group,
        "modality": modality,
        "anatomy": anatomy,
    }


def card_with_rows(folder: Path, taught: list[dict[str, str]]) -> Card:
    asked = [row(1, "yes", "s", "CT", "chest"), row(2, "no", "s", "CT", "head"), row(3, "yes", "", "US", "head")]
    (folder / "rows.json").write_text(json.dumps(asked))
    (folder / "train.json").write_text(json.dumps(taught))
    (folder / "pairs.yaml").write_text(CARD)
    return find([str(folder / "pairs.yaml")])[0]


def answered(name: str, group: str, gold: str, said: str | None, value: float | None, **more: object) -> rows.Answered:
    one = rows.Reply(value, said or "", said, True, 1, "")
    made = rows.Answered(
        id=name, pair_id="", probe="", variant="", card="m@1", cluster=name[0], flaw="", merged="", answer_type="mcq",
        modality="", language="en", question="Q", gold_text=gold, gold_choice=gold, references=(gold,), options=(),
        tags={}, greedy=one, sampled=(), group=group,
    )  # fmt: skip
    return dataclasses.replace(made, **more)


def test_a_card_names_pairs_and_combinations_and_items_say_how_much_of_theirs_was_seen(tmp_path: Path) -> None:
    """CT chest stands in training; CT and head do, never together; no ultrasound does."""
    card_with_rows(tmp_path, [row(8, "yes", "", "CT", "chest"), row(9, "no", "", "MR", "head")])
    settings = EvalConfig(
        benchmarks=(str(tmp_path / "pairs.yaml"),), benchmark_root=str(tmp_path), on_mismatch="tell", probes=()
    )
    (prepared,) = prepare(Config(eval=settings))
    assert {one.id: one.pair_id for one in prepared.samples} == {"pairs-1": "s", "pairs-2": "s", "pairs-3": None}
    assert [one.tags["combination"] for one in prepared.samples] == ["seen", "recombined", "novel"]
    card_with_rows(tmp_path, [{**row(8, "yes", "", "", ""), "modality": "", "anatomy": ""}])
    (prepared,) = prepare(Config(eval=settings))
    assert "no training row does" in prepared.facts.not_computed["combination"]
    assert "combination" not in prepared.samples[0].tags


def test_a_combination_of_a_tag_that_is_none_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "pairs.yaml").write_text(CARD.replace("[modality, anatomy]", "[modality, anatom]"))
    with pytest.raises(CardError, match=r"line 12: there is no tag 'anatom'; did you mean 'anatomy'"):
        find([str(tmp_path / "pairs.yaml")])


def test_groups_are_right_together_and_pairs_may_be_confused() -> None:
    """s: both right; t: "A" to both, so half right, not the set, and confused; u: an answer that nobody could judge
    beside a right one, unjudged; its unread pair v is in no share of confusion."""
    found = scores.grouped(
        [
            answered("s1", "s", "A", "A", 1.0), answered("s2", "s", "B", "B", 1.0),
            answered("t1", "t", "A", "A", 1.0), answered("t2", "t", "B", "A", 0.0),
            answered("u1", "u", "A", "A", 1.0), answered("u2", "u", "A", "A", None),
            answered("v1", "v", "A", "A", 1.0), answered("v2", "v", "B", None, 0.0),
            answered("alone", "", "A", "B", 0.0),
        ]
    )  # fmt: skip
    assert found is not None
    # Right: s of s, t, v. Confused: t of s, t.
    assert found.all_right.value == pytest.approx(1 / 3) and found.num_unjudged == 1
    assert (found.num_pairs, found.num_unread) == (3, 1)
    assert found.confused is not None and found.confused.value == pytest.approx(0.5)
    assert scores.grouped([answered("alone", "", "A", "B", 0.0)]) is None
    assert scores.letters([answered("a", "", "A", "A", 1.0), answered("b", "", "B", "A", 0.0)]) == {"A": 1.0}


def of_group(name: str, group: str, said: str | None, value: float | None, **more: object) -> rows.Answered:
    gold = "A" if name.endswith("1") else "B"
    return answered(name, group, gold, said, value, **{"tags": {IN_GROUPS: group}, "options": ("x", "y"), **more})


def test_a_card_of_groups_counts_a_group_as_one_item_in_score_baselines_and_probes() -> None:
    """MediConfusion: s: both right, 1. t: "A" to both, 0, where single items would earn half. u: an answer that nobody
    could judge beside a right one: no verdict. v: not read beside a right one: 0. So 1 of 3. By chance a pair earns
    1/4. t and u got one answer twice, of three pairs that were read. Blank: s loses its second, t stays wrong; v's
    second was left out of the probe, so v is no pair there."""
    plain = [
        of_group("s1", "s", "A", 1.0), of_group("s2", "s", "B", 1.0), of_group("t1", "t", "A", 1.0),
        of_group("t2", "t", "A", 0.0), of_group("u1", "u", "A", 1.0), of_group("u2", "u", "A", None),
        of_group("v1", "v", "A", 1.0), of_group("v2", "v", None, 0.0),
    ]  # fmt: skip
    blank = [
        dataclasses.replace(one, id=f"{one.id}#blank", pair_id=one.id, probe="blank", group="",
                            greedy=dataclasses.replace(one.greedy, value=0.0, choice="A"))
        for one in plain if one.id[0] in "st" or one.id == "v1"
    ]  # fmt: skip
    good = rows.clean([*plain, *blank])
    assert [(one.id, one.greedy.value) for one in good] == [("s1", 1.0), ("t1", 0.0), ("u1", None), ("v1", 0.0)]
    assert [one.greedy.choice for one in good] == ["A | B", "A | A", "A | A", None]
    assert {one.pair_id for one in rows.clean_made([*plain, *blank], "blank")} == {"s1", "t1"}
    card = find(["mediconfusion"])[0]
    chance = KeptBlind("an option at random", {one.id: 0.5 for one in plain})
    kept = Facts(card, 1, 8, 8, 8, (), (), (352,), "dataset.json", (), (), {"chance": chance}, {})
    found = summary.record(kept, [*plain, *blank])
    assert found["clean"]["value"] == pytest.approx(1 / 3) and found["clean"]["num_items"] == 3
    assert found["official"]["value"] == pytest.approx(5 / 7), "every question by itself"
    assert found["baselines"]["chance"]["score"]["value"] == 0.25
    assert found["probes"]["blank"]["score"]["value"] == 0.0 and found["probes"]["blank"]["plain"]["value"] == 0.5
    assert found["groups"]["num_unread"] == 1 and found["groups"]["confused"]["value"] == pytest.approx(2 / 3)


def test_a_constant_report_stands_beside_every_metric_in_the_form_of_the_references() -> None:
    """References with an impression meet a constant with one; MedEvalKit puts a full stop behind both."""
    card = dataclasses.replace(find(["iu_xray_296"])[0], metrics=("rouge_l", "bleu_1_coco", "radcliq"))
    constant = reports.constant_of(card, [])
    assert constant == card.constant
    tags = {"findings": card.constant, "impression": card.constant_impression}
    gold = f"Findings: {card.constant} Impression: {card.constant_impression}"
    written = [
        answered(name, "", gold, "nothing", 1.0, answer_type="report", tags=tags) for name in ("a", "b")
    ]  # fmt: skip
    found = reports.metrics(card, written)
    assert [found[name]["constant"] for name in ("rouge_l", "bleu_1_coco")] == pytest.approx([1.0, 1.0])
    assert found["rouge_l"]["value"] == 0.0 and "constant" not in found["radcliq"]
    others = reports_of_others(written, reports.constant_of(card, written))
    assert others["medevalkit"]["rouge_l"] == {"value": 0.0, "constant": pytest.approx(1.0, abs=1e-3)}


def test_metrics_of_two_sets_of_reports_are_compared_as_whole_sets() -> None:
    """ROUGE-L of the first set: 1 and 0; of the second: 1 and 1."""
    card = dataclasses.replace(find(["iu_xray"])[0], metrics=("rouge_l", "cider_d", "radcliq"))

    def said(*texts: str) -> list[rows.Answered]:
        golds = ("both lungs are clear", "a large effusion on the left")
        return [
            answered(f"{place}", "", gold, text, 1.0, answer_type="report")
            for place, (gold, text) in enumerate(zip(golds, texts, strict=True))
        ]

    found = reports.differences(
        card, said("both lungs are clear", "nothing"), said("both lungs are clear", "a large effusion on the left")
    )
    assert set(found) == {"rouge_l", "cider_d"}, "what needs a model is not computed here"
    assert found["rouge_l"].value == pytest.approx(0.5) and found["cider_d"].value > 0
    assert found["rouge_l"].method.startswith("paired bootstrap of 2 clusters")


def test_the_table_says_what_groups_say() -> None:
    pairs = scores.grouped([answered("t1", "t", "A", "A", 1.0), answered("t2", "t", "B", "A", 0.0)])
    assert pairs is not None
    record = {
        "name": "m", "clean": None, "groups": {key: dataclasses.asdict(one) if dataclasses.is_dataclass(one) else one
        for key, one in pairs._asdict().items()}, "mismatches": [], "num_asked": 2, "unusable": [], "num_rows": 2,
        "overlap": [], "not_computed": {}, "refused": [],
    }  # fmt: skip
    console = Console(record=True, width=200, file=io.StringIO())
    print_summary({"model": "tiny", "benchmarks": [record]}, console)
    text = console.export_text()
    assert "all of a group right in 0.0" in text and "the same answer to both of a pair in 100.0" in text
