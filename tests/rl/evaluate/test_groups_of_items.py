"""Items that must be right together, combinations that training has not seen, and metrics of two sets of reports."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from rl.benchmarks.card import Card, CardError, find
from rl.config import Config, EvalConfig
from rl.evaluate.suite.numbers import reports, rows, scores
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
    one = rows.Said(value, said or "", said, True, 1, "")
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
