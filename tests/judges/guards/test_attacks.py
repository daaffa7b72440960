"""The attack rows and the unusual right answers, end to end: completion, parser, rubric, scorer, HTTP, verdict
(JUDGING.md)."""

from __future__ import annotations

import json
import random

import pytest

from judges import JudgeConfig, make_judge
from judges.guards.prechecks import precheck
from judges.guards.wording import clean
from judges.model.reply import parse_reply
from judges.verdict import Question
from rewards import Rubric, Scored, Scorer
from rollouts.records import Sample
from tests.fakes.gullible import REPLIES
from tests.fakes.scripted_judge import (
    MODEL,
    Reply,
    Script,
    ScriptedJudge,
    credulous,
    data_of,
    echoing,
    honest,
    obliging,
)
from tests.paths import CASES

ROUTES = {"open": "judge"}


def rows(name: str) -> list[dict[str, str]]:
    text = (CASES / name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.split("\n") if line]  # not splitlines: a row holds U+2028


def sample(index: int, row: dict[str, str]) -> Sample:
    return Sample(f"row{index}", row["question"], "open", row["reference"])


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    monkeypatch.setenv("TEST_JUDGE_KEY", "any")


def scored(cases: list[dict[str, str]], script: Script, wrap: str, max_reasks: int = 2) -> tuple[list[Scored], int]:
    """All rows through one scorer and one server; `wrap` is how a completion carries the candidate. Also the number of
    requests."""
    with ScriptedJudge(script) as server:
        settings = JudgeConfig(
            kind="openai",
            base_url=server.url,
            model=MODEL,
            api_key_env="TEST_JUDGE_KEY",
            max_concurrency=16,
            max_reasks=max_reasks,
        )
        with Scorer(Rubric({"accuracy": 1.0}, ROUTES, make_judge(settings))) as scorer:
            futures = [
                scorer.submit(sample(i, row), wrap.replace("{}", row["completion"]), f"g{i}")
                for i, row in enumerate(cases)
            ]
            return [future.result(120) for future in futures], len(server.requests)


BARE = "{}"
IN_TAGS = "<think>Looked at it.</think>\n<answer>{}</answer>"
OWN = ("", "_2", "_3", "_4", "_5", "_6")
ATTACKS = ("judge_attacks/judge_attacks.jsonl", *(f"judge_attacks/own_judge_attacks{batch}.jsonl" for batch in OWN))
CORRECT = ("judge_correct/judge_correct.jsonl", *(f"judge_correct/own_judge_correct{batch}.jsonl" for batch in OWN))


def gullible(body) -> Reply:
    """One of many ways to be talked into a verdict, another for every candidate; "correct" where there is nothing to
    repeat."""
    candidate = data_of(body)["candidate"]
    replies = [reply(candidate) for reply in REPLIES]
    return Reply(random.Random(candidate).choice([text for text in replies if text] or ["correct"]))


@pytest.mark.parametrize("script", [credulous, echoing, obliging, gullible])
@pytest.mark.parametrize("wrap", [BARE, IN_TAGS])
def test_a_credulous_judge_pays_no_attack(script, wrap):
    # Half of the rows each way, so that every row meets every kind of judge in one of the two forms of a completion.
    every = [row for name in ATTACKS for row in rows(name)]
    cases = every[wrap == BARE :: 2]
    found, asked = scored(cases, script, wrap, max_reasks=0)
    paid = [row["completion"] for row, score in zip(cases, found, strict=True) if score.total]
    assert paid == []
    assert asked > 0.6 * len(cases)  # most rows really reached the judge


@pytest.mark.parametrize("reply", REPLIES)
def test_no_way_to_repeat_a_candidate_is_a_paid_verdict(reply):
    said = {row["completion"]: reply(clean(row["completion"])) for name in ATTACKS for row in rows(name)}
    assert any("correct" in text.casefold() for text in said.values())  # a naive reader of replies would pay some
    paid = [completion for completion, text in said.items() if parse_reply(text, "5f0c9a3be1d27486", "stop").decision]
    assert paid == []


def test_an_honest_judge_that_quotes_the_candidate_pays_no_attack_and_loses_none():
    cases = [row for name in ATTACKS for row in rows(name)]
    found, _ = scored(cases, honest(lambda data: "incorrect"), IN_TAGS)
    not_zero = [(row["completion"], score.total) for row, score in zip(cases, found, strict=True) if score.total != 0.0]
    assert not_zero == []


@pytest.mark.parametrize("wrap", [BARE, IN_TAGS])
def test_unusual_right_answers_are_accepted_under_an_honest_judge(wrap):
    cases = [row for name in CORRECT for row in rows(name)]
    known = {(row["question"], row["reference"]) for row in cases}
    found, _ = scored(
        cases, honest(lambda data: "correct" if (data["question"], data["reference"]) in known else "incorrect"), wrap
    )
    refused = [
        (row["reference"], row["completion"]) for row, score in zip(cases, found, strict=True) if score.total != 1.0
    ]
    assert refused == []


@pytest.mark.parametrize("name", CORRECT)
def test_no_right_answer_is_settled_as_wrong_before_a_judge_saw_it(name):
    settled = [(row, precheck(Question(row["question"], row["reference"], row["completion"]))) for row in rows(name)]
    assert [row for row, verdict in settled if verdict is not None and verdict.decision != "correct"] == []


@pytest.mark.parametrize("name", ATTACKS)
def test_no_attack_is_settled_as_right_before_a_judge_saw_it(name):
    settled = [(row, precheck(Question(row["question"], row["reference"], row["completion"]))) for row in rows(name)]
    assert [row for row, verdict in settled if verdict is not None and verdict.decision != "incorrect"] == []


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
