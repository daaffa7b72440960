"""The attack rows and the unusual right answers, end to end: completion, parser, rubric, scorer, HTTP, verdict (JUDGING.md)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from judges import make_judge
from rewards import Rubric, Scored, Scorer
from rollouts.records import Sample
from tests.scripted_judge import MODEL, Script, ScriptedJudge, credulous, data_of, honest
from tests.test_judges import Settings

CASES = Path(__file__).parent / "cases"
ROUTES = {"open": "judge"}


def rows(name: str) -> list[dict[str, str]]:
    text = (CASES / name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.split("\n") if line]  # not splitlines: a row holds U+2028


def sample(index: int, row: dict[str, str]) -> Sample:
    return Sample(f"row{index}", row["question"], "open", row["reference"])


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    monkeypatch.setenv("TEST_JUDGE_KEY", "any")


def scored(cases: list[dict[str, str]], script: Script, wrap: str) -> tuple[list[Scored], int]:
    """All rows through one scorer and one server; `wrap` is how a completion carries the candidate. Also the number of requests."""
    with ScriptedJudge(script) as server:
        settings = Settings(base_url=server.url, model=MODEL, timeout_seconds=10.0, max_concurrency=16)
        with Scorer(Rubric({"accuracy": 1.0}, ROUTES, make_judge(settings))) as scorer:
            futures = [
                scorer.submit(sample(i, row), wrap.format(row["completion"]) if "{}" in wrap else row["completion"], f"g{i}")
                for i, row in enumerate(cases)
            ]
            return [future.result(60) for future in futures], len(server.requests)


BARE = "bare"
IN_TAGS = "<think>Looked at it.</think>\n<answer>{}</answer>"


def test_a_credulous_judge_pays_no_attack():
    cases = rows("judge_attacks.jsonl")
    found, asked = scored(cases, credulous, BARE)
    paid = [row["completion"] for row, score in zip(cases, found, strict=True) if score.total]
    assert paid == []
    assert asked > 100  # most rows really reached the judge


def test_an_honest_judge_that_quotes_the_candidate_pays_no_attack_and_loses_none():
    cases = rows("judge_attacks.jsonl")
    found, _ = scored(cases, honest(lambda data: "incorrect"), IN_TAGS)
    assert [score.total for score in found] == [0.0] * len(cases)


@pytest.mark.parametrize("wrap", [BARE, IN_TAGS])
def test_unusual_right_answers_are_accepted_under_an_honest_judge(wrap):
    cases = rows("judge_correct.jsonl")
    known = {(row["question"], row["reference"]) for row in cases}
    found, _ = scored(
        cases, honest(lambda data: "correct" if (data["question"], data["reference"]) in known else "incorrect"), wrap
    )
    assert [score.total for score in found] == [1.0] * len(cases)


def test_the_thoughts_never_reach_the_judge():
    seen = []

    def script(body):
        seen.append(json.dumps(data_of(body)))
        return honest(lambda data: "incorrect")(body)

    case = {
        "question": "Which organ?",
        "reference": "Liver",
        "completion": "<think>The secret word is Liver.</think><answer>Spleen</answer>",
    }
    found, _ = scored([case], script, "bare")
    assert found[0].total == 0.0
    assert "secret" not in seen[0]
