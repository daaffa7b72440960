"""PubMedQA as rows: the official test held out, the conclusion never shown, abstracts cut to whole sentences."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from examples.real_model.data import (
    THOUGHT_TOKENS,
    BadData,
    main,
    read_articles,
    read_test,
    rows,
    shortened,
    thought,
)
from rl.config import DataConfig
from rl.data.load import load
from tests.fakes.tiny_models import make_llama

ARTICLE = {
    "QUESTION": "Does it help?",
    "CONTEXTS": ["It is used. Nobody knows why.", "We gave it to 40 people. It helped 30 of them."],
    "LABELS": ["BACKGROUND", "RESULTS"],
    "LONG_ANSWER": "It seems to help. More people should be asked.",
    "final_decision": "yes",
}


def words(text: str) -> int:
    return len(text.split())


def write(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value))
    return path


def some(number: int) -> dict[str, Any]:
    """So many articles whose decisions take turns."""
    decisions = ("yes", "no", "maybe")
    return {
        str(100 + place): {**ARTICLE, "QUESTION": f"Does it help {place}?", "final_decision": decisions[place % 3]}
        for place in range(number)
    }


@pytest.mark.parametrize(
    ("budget", "kept"),
    [
        (19, "BACKGROUND: It is used. Nobody knows why. RESULTS: We gave it to 40 people. It helped 30 of them."),
        # three dots and a heading count as a word each: 1 + 1 + 3 + 1 + 6 + 5 = 17
        (18, "... BACKGROUND: Nobody knows why. RESULTS: We gave it to 40 people. It helped 30 of them."),
        (13, "... RESULTS: We gave it to 40 people. It helped 30 of them."),
        (12, "... RESULTS: It helped 30 of them."),
        (4, "... RESULTS: of them."),
    ],
)
def test_the_end_of_an_abstract_is_kept_in_whole_sentences(budget: int, kept: str) -> None:
    sections = tuple(zip(ARTICLE["LABELS"], ARTICLE["CONTEXTS"], strict=True))
    assert shortened(sections, budget, words) == kept


@pytest.mark.parametrize(
    ("budget", "kept"),
    [
        (9, "It seems to help. More people should be asked."),
        (8, "It seems to help."),
        (3, "It seems ..."),
    ],
)
def test_the_beginning_of_a_conclusion_is_the_thought(budget: int, kept: str) -> None:
    assert thought(ARTICLE["LONG_ANSWER"], budget, words) == kept


def test_a_section_that_is_the_conclusion_is_not_shown(tmp_path: Path) -> None:
    whole = {**ARTICLE, "LABELS": ["RESULTS", "Conclusions"]}
    [article] = read_articles(write(tmp_path / "a.json", {"1": whole})).values()
    assert article.sections == (("RESULTS", "It is used. Nobody knows why."),)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"CONTEXTS": []}, "has no CONTEXTS"),
        ({"LONG_ANSWER": None}, "has no LONG_ANSWER"),
        ({"LABELS": ["RESULTS"]}, "has 2 CONTEXTS and 1 LABELS"),
        ({"final_decision": "perhaps"}, "has the decision 'perhaps', expected one of yes, no, maybe"),
        ({"LONG_ANSWER": "Nobody knows why."}, "shows its conclusion in its CONTEXTS"),
    ],
)
def test_what_is_no_article_is_told(change: dict[str, Any], says: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", {"17": {**ARTICLE, **change}})
    with pytest.raises(BadData, match=says):
        read_articles(path)


def test_a_test_that_does_not_fit_the_data_is_told(tmp_path: Path) -> None:
    articles = read_articles(write(tmp_path / "a.json", some(2)))
    for answers, says in (
        ({"100": "yes", "7": "no"}, "1 of 2 articles are not in the data, the first is '7'"),
        ({"100": "no"}, "1 answers differ from the data's, the first is that of '100'"),
        ({"100": "yes", "101": "no"}, "names 2 of 2 articles"),
    ):
        with pytest.raises(BadData, match=says):
            read_test(write(tmp_path / "t.json", answers), articles)
    with pytest.raises(BadData, match="there is no file"):
        read_test(tmp_path / "absent.json", articles)
    with pytest.raises(BadData, match="holds a list"):
        read_test(write(tmp_path / "t.json", ["100"]), articles)


def test_the_command_writes_files_that_a_run_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_llama(tmp_path / "model")
    data, test = write(tmp_path / "a.json", some(6)), write(tmp_path / "t.json", {"100": "yes", "104": "no"})
    arguments = ["--pubmedqa", str(data), "--test", str(test), "--out", str(tmp_path), "--model"]
    assert main([*arguments, str(tmp_path / "model")]) == 0
    assert "1 eval no, 1 eval yes, 2 train maybe, 1 train no, 1 train yes" in capsys.readouterr().out
    for name in ("pubmedqa.jsonl", "question_only.jsonl"):
        splits = load(DataConfig(name="jsonl", root=str(tmp_path / name), open_fraction=0.0))
        assert {sample.id for sample in splits.eval} == {"pubmedqa-100", "pubmedqa-104"}
        assert {sample.answer_type for sample in splits.rl} == {"mcq"} and len(splits.rl) == len(splits.sft) == 4
        row = next(row for row in splits.sft if row.sample.id == "pubmedqa-101")
        assert row.response == ("<think>It seems to help. More people should be asked.</think>\n<answer>B. no</answer>")
        assert ("It helped 30" in row.sample.question) == (name == "pubmedqa.jsonl")
    # one screen where something is wrong
    assert main([*arguments, str(tmp_path / "absent")]) == 2
    assert main([*arguments, str(tmp_path / "model"), "--context-tokens", "0"]) == 2
    said = capsys.readouterr().err
    assert "no model folder at" in said and "--context-tokens is 0, expected at least 1" in said


def test_the_real_data_has_the_official_halves_and_shows_no_conclusion(real_data: Path) -> None:
    articles = read_articles(real_data / "pubmedqa" / "ori_pqal.json")
    test = read_test(real_data / "benchmarks" / "pubmedqa_test_ground_truth.json", articles)
    made = list(rows(articles, test, context_tokens=100, count=words))
    assert Counter((row["split"], row["answer"]) for row in made) == {
        (split, answer): number
        for split in ("train", "eval")
        for answer, number in (("yes", 276), ("no", 169), ("maybe", 55))
    }
    for row, article in zip(made, articles.values(), strict=True):
        assert article.conclusion not in row["question"] and row["question"].endswith(article.question)
        assert words(row["question"]) <= 100 + words(article.question)
        assert ("think" in row) == (row["split"] == "train")
        assert words(row.get("think", "")) <= THOUGHT_TOKENS
