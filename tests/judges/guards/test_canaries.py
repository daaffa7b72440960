"""Known answers among the live ones, over real HTTP: they are asked, never cached, never paid; a wrong one accepted
ends the trust."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from judges import CanaryAccepted, JudgeConfig, JudgeConfigError, Question, Verdict, make_judge, raise_if_unsafe
from rl.run.run import Run
from rl.run.watch import Watch
from tests.fakes.scripted_judge import MODEL, Reply, ScriptedJudge, always, data_of, liver_question, verdict_json

Settings = partial(JudgeConfig, kind="openai", model=MODEL, api_key_env="TEST_JUDGE_KEY", max_attempts=2, max_reasks=0)
SYNONYM = "The hepatic organ"


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    monkeypatch.setenv("TEST_JUDGE_KEY", "any")


CANARIES = [
    {"question": "Canary?", "reference": "Heart", "completion": "Lung", "expected": "incorrect"},
    {"question": "Canary?", "reference": "Heart", "completion": "the cardiac organ", "expected": "correct"},
]


def canary_file(folder: Path, rows: list[dict[str, str]] = CANARIES) -> str:
    path = folder / "canaries.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def asked_with_canaries(judge, answers: list[str]) -> list[Verdict]:
    async def all_of_them() -> list[Verdict]:
        try:
            found = [await judge.judge(liver_question(answer)) for answer in answers]
            await judge.drain()
            return found
        finally:
            await judge.close()

    return asyncio.run(all_of_them())


def knows_the_heart(body: dict[str, Any]) -> Reply:
    data = data_of(body)
    right = data["candidate"] in ("the cardiac organ", SYNONYM)
    return Reply(verdict_json(data["nonce"], "correct" if right else "incorrect"))


def test_canaries_ride_along_at_their_share_and_only_with_live_calls(tmp_path):
    with ScriptedJudge(knows_the_heart) as server:
        judge = make_judge(Settings(base_url=server.url, canary_fraction=0.5, canaries=canary_file(tmp_path)))
        # Eight calls for eight different answers; equal and settled ones cost no call and owe no canary.
        answers = [f"{SYNONYM} {number}" for number in range(8)]
        found = asked_with_canaries(judge, [*answers, "Liver", ""])
        canaries = [data_of(body) for body in server.requests if data_of(body)["question"] == "Canary?"]
        assert len(server.requests) == 8 + 4
        raise_if_unsafe(judge)
    assert len(found) == 10
    # All of the set before any again: four canaries are each of the two twice.
    assert sorted(data["candidate"] for data in canaries) == ["Lung", "Lung", "the cardiac organ", "the cardiac organ"]
    metrics = judge.metrics()
    assert (metrics["judge/canaries/asked"], metrics["judge/canaries/right"]) == (4.0, 4.0)
    assert metrics["judge/incorrect"] == 8.0 + 1.0  # the live ones only: eight judged, one settled


def test_a_canary_never_comes_from_the_cache_nor_goes_into_it(tmp_path):
    cache = tmp_path / "judge.sqlite"
    with ScriptedJudge(knows_the_heart) as server:
        settings = Settings(base_url=server.url, canary_fraction=1.0, canaries=canary_file(tmp_path, CANARIES))
        for answers in (["one", "two"], ["three", "four"]):
            asked_with_canaries(make_judge(settings, cache_path=cache), answers)
        canaries = [body for body in server.requests if data_of(body)["question"] == "Canary?"]
    assert len(canaries) == 4
    plain = make_judge(Settings(base_url="http://127.0.0.1:9/v1", offline=True), cache_path=cache)
    stored = asyncio.run(plain.judge(Question("Canary?", "Heart", "Lung")))
    assert stored.failure == "offline"


@pytest.mark.parametrize("on_canary", ["stop", "warn"])
def test_an_accepted_canary_makes_the_judge_unsafe(tmp_path, on_canary):
    with ScriptedJudge(always("correct")) as server:
        settings = Settings(
            base_url=server.url, canary_fraction=1.0, canaries=canary_file(tmp_path), on_canary=on_canary
        )
        judge = make_judge(settings)
        raise_if_unsafe(judge)
        asked_with_canaries(judge, ["one", "two"])
        assert judge.metrics()["judge/canaries/false_positives"] == 1.0
        if on_canary == "warn":
            raise_if_unsafe(judge)
        else:
            with pytest.raises(
                CanaryAccepted, match=r'accepted a known wrong answer(.|\n)*"answer": "Lung"(.|\n)*resume=true'
            ):
                raise_if_unsafe(judge)


def test_a_refused_right_canary_and_a_failed_one_are_counted_and_stop_nothing(tmp_path):
    def script(body: dict[str, Any]) -> Reply:
        data = data_of(body)
        if data["candidate"] == "Lung":
            return Reply(status=500)
        return Reply(verdict_json(data["nonce"], "incorrect"))

    with ScriptedJudge(script) as server:
        judge = make_judge(
            Settings(base_url=server.url, canary_fraction=1.0, canaries=canary_file(tmp_path)), backoff_seconds=0.01
        )
        asked_with_canaries(judge, ["one", "two"])
        raise_if_unsafe(judge)
    metrics = judge.metrics()
    assert (metrics["judge/canaries/false_negatives"], metrics["judge/canaries/failed"]) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([CANARIES[0]], "labelled 'incorrect', none 'correct'"),
        ([{"question": "Q?", "reference": "R", "completion": "A"}], "1 rows without a label, the first in line 1"),
        (
            [*CANARIES, {**CANARIES[0], "expected": "wrong"}],
            r"canaries.jsonl:3: expected is 'wrong', expected correct or incorrect",
        ),
        ([*CANARIES, {**CANARIES[0], "completion": "Heart"}], "line 3 .*never reaches a model"),
        ([*CANARIES, {**CANARIES[0], "completion": "<answer>Lung</answer>"}], "line 3 .*holds tags"),
        ([], "is empty"),
    ],
)
def test_bad_canaries_are_told_before_anything_is_asked(tmp_path, rows, words):
    with pytest.raises(JudgeConfigError, match=words):
        make_judge(
            Settings(base_url="http://127.0.0.1:9/v1", canary_fraction=0.1, canaries=canary_file(tmp_path, rows))
        )


def test_the_shipped_canaries_all_reach_a_model(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert "27 known answers" in make_judge(Settings(base_url="http://127.0.0.1:9/v1", canary_fraction=0.1)).describe()


def test_a_run_tells_its_numbers_and_ends_before_the_step_is_saved(tmp_path):
    logged: list[dict[str, float]] = []
    run = object.__new__(Run)  # what `report` needs, without workers
    run.tracker = SimpleNamespace(log=lambda step, metrics: logged.append(metrics))  # type: ignore[assignment]
    run.bar = SimpleNamespace(reach=lambda step, metrics: None)  # type: ignore[assignment]
    run.cluster = SimpleNamespace(metrics=dict)  # type: ignore[assignment]
    run._watch, run.counters_before, run._evaluation = Watch(), {}, {}
    with ScriptedJudge(always("correct")) as server:
        judge = make_judge(Settings(base_url=server.url, canary_fraction=1.0, canaries=canary_file(tmp_path)))
        run.scorer = SimpleNamespace(rubric=SimpleNamespace(judge=judge))  # type: ignore[assignment]
        run.report(1, {"reward": 0.5})
        asked_with_canaries(judge, ["one", "two"])
        with pytest.raises(CanaryAccepted):
            run.report(2, {"reward": 0.9})
    assert [metrics["reward"] for metrics in logged] == [0.5, 0.9]
    assert logged[1]["judge/canaries/false_positives"] == 1.0
