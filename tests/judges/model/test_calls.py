"""What a judge's calls cost and leave: budget, prices, one call for equal questions, images, transcript."""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import replace

import pytest

from judges import JudgeConfigError, JudgeMedia
from judges.gateway.endpoint import Budget, Endpoint, Prices
from judges.model.cache import VerdictCache
from judges.model.judge import LlmJudge
from tests.fakes.scripted_judge import (
    MODEL,
    Reply,
    ScriptedJudge,
    all_of,
    always,
    data_of,
    is_probe,
    judge_at,
    liver_question,
    verdict_json,
)


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    monkeypatch.setenv("TEST_JUDGE_KEY", "any")


# Budget and prices


def test_the_budget_of_calls_is_exact_and_what_comes_after_it_is_no_number(caplog):
    with ScriptedJudge(always("incorrect")) as server:
        found = all_of(judge_at(server, budget=Budget(max_calls=3)), *(f"organ {i}" for i in range(8)))
        assert len(server.requests) == 3
    assert sorted(str(verdict.failure) for verdict in found) == ["None"] * 3 + ["budget"] * 5
    assert caplog.text.count("judging ends here: the budget of 3 calls is spent") == 1
    assert "budget of 3 calls is spent (judge.max_calls)" in next(
        verdict.reason for verdict in found if verdict.failure
    )


def test_attempts_that_fail_are_calls_too():
    with ScriptedJudge(lambda body: Reply(status=500)) as server:
        (found,) = all_of(judge_at(server, budget=Budget(max_calls=2), max_attempts=10), "Spleen")
        assert (found.failure, len(server.requests)) == ("budget", 2)


def test_the_budget_of_tokens_holds_with_many_calls_in_flight():
    async def story() -> tuple[int, int]:
        budget, most_at_once, in_flight = Budget(max_tokens=1000), 0, 0

        async def call() -> str:
            nonlocal most_at_once, in_flight
            if spent := await budget.reserve(300):
                return spent
            in_flight += 1
            most_at_once = max(most_at_once, in_flight)
            await asyncio.sleep(0)
            in_flight -= 1
            budget.settle(300, 100)
            return ""

        answers = await asyncio.gather(*(call() for _ in range(20)))
        # 3 x 300 fit at once. With 100 really used each, the eighth call leaves 800 + 300 > 1000: 8 are granted, 12 are
        # not.
        assert [sum(not spent for spent in answers), most_at_once] == [8, 3]
        assert all("800 of 1000 tokens are spent (judge.max_tokens)" in spent for spent in answers if spent)
        return budget.tokens, budget.calls

    assert asyncio.run(story()) == (800, 8)


def test_an_endpoint_that_does_not_tell_its_tokens_takes_the_most_it_can_have_used():
    body = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}],
    "id": "x", "created": 0,
            "model": MODEL, "object": "chat.completion"}  # fmt: skip
    with ScriptedJudge(lambda _: Reply(raw=json.dumps(body).encode())) as server:
        judge = judge_at(server, budget=Budget(max_tokens=20_000))
        all_of(judge, "Spleen")
    assert judge.metrics()["judge/usage_missing"] == 3.0  # one question and two re-asks
    assert 3 * 400 < judge._client.budget.tokens <= 20_000


def test_cost_is_tokens_times_prices():
    # 5 tokens read at 2.0 and 5 written at 8.0 for a million: 5 * 2e-6 + 5 * 8e-6 = 5e-5.
    with ScriptedJudge(always("incorrect")) as server:
        judge = judge_at(server, prices=Prices(2.0, 8.0))
        (found,) = all_of(judge, "Spleen")
    assert found.cost == pytest.approx(5e-5)
    assert judge.metrics()["judge/cost_total"] == pytest.approx(5e-5)
    assert found.num_tokens == 10


# Equal questions


def test_the_same_question_in_flight_is_asked_once_and_paid_once():
    with ScriptedJudge(lambda body: replace(always("correct")(body), delay_seconds=0.1)) as server:
        judge = judge_at(server, prices=Prices(1.0, 1.0))
        found = all_of(judge, *["The hepatic organ"] * 6, "Hepar", groups=[*"aabbcc", "d"])
        assert len(server.requests) == 2
    assert {verdict.decision for verdict in found} == {"correct"}
    assert sorted(verdict.num_calls for verdict in found) == [0] * 5 + [1, 1]
    assert sum(verdict.cost for verdict in found) == pytest.approx(2 * 10e-6)
    assert all(verdict.transcript["attempts"][0]["reply"] for verdict in found)


def test_a_cancelled_question_is_asked_by_the_next_who_wanted_it():
    async def story(judge: LlmJudge, server: ScriptedJudge) -> str | None:
        first = asyncio.ensure_future(judge.judge(liver_question("Hepar", group_key="a")))
        second = asyncio.ensure_future(judge.judge(liver_question("Hepar", group_key="b")))
        while not server.requests:
            await asyncio.sleep(0.01)
        first.cancel()
        found = await second
        await judge.close()
        return found.decision

    with ScriptedJudge(lambda body: replace(always("correct")(body), delay_seconds=1.0)) as server:
        assert asyncio.run(story(judge_at(server), server)) == "correct"
        assert len(server.requests) == 2


def test_a_cache_that_cannot_be_written_loses_no_verdict(tmp_path, caplog):
    cache = VerdictCache(tmp_path / "judge.sqlite")
    cache._db.execute("CREATE TRIGGER full BEFORE INSERT ON verdicts BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    with ScriptedJudge(always("correct")) as server:
        judge = judge_at(server, cache=cache)
        assert all_of(judge, "Hepar")[0].decision == "correct"
    assert judge.metrics()["judge/cache_write_failures"] == 1.0
    assert "disk full" in caplog.text


# Images


def test_images_are_sent_only_where_they_are_shown_and_are_part_of_the_key(tmp_path):
    images = (JudgeMedia("ab" * 32, b"\x89PNG one"), JudgeMedia("cd" * 32, b"\x89PNG two"))
    with ScriptedJudge(always("incorrect")) as server:
        blind = judge_at(server, cache=VerdictCache(tmp_path / "a.sqlite"))
        all_of(blind, "Spleen", media=images)
        assert isinstance(server.requests[-1]["messages"][1]["content"], str)
        shown = judge_at(server, cache=VerdictCache(tmp_path / "b.sqlite"), show_images=True)
        (found,) = all_of(shown, "Spleen", media=images)
        text, *pictures = server.requests[-1]["messages"][1]["content"]
        system = server.requests[-1]["messages"][0]["content"]
        for media in (images, images[:1], ()):
            all_of(judge_at(server, cache=VerdictCache(tmp_path / "b.sqlite"), show_images=True), "Spleen", media=media)
        assert len(server.requests) == 4  # the first of the three was known
    assert json.loads(text["text"])["candidate"] == "Spleen"
    sent = [picture["image_url"]["url"] for picture in pictures]
    assert sent == ["data:image/png;base64," + base64.b64encode(one.png).decode() for one in images]
    assert "Images come with the question" in system
    kept = found.transcript["attempts"][0]["messages"][1]["content"]
    assert kept[1:] == [{"type": "image", "sha256": one.sha256} for one in images]
    assert found.transcript["media"] == [one.sha256 for one in images]
    assert "shown the images" in shown.describe()


# The transcript and the schema


def test_the_transcript_holds_what_was_sent_and_all_that_came_back():
    def script(body):
        replies = {1: Reply(status=500), 2: Reply("I think it is correct", finish_reason="length")}
        return replies.get(len(server.requests)) or Reply(
            verdict_json(data_of(body)["nonce"], "incorrect", ["spleen"], "another organ")
        )

    with ScriptedJudge(script) as server:
        (found,) = all_of(judge_at(server), "Spleen")
        sent = [body["messages"] for body in server.requests]
    first, second = found.transcript["attempts"]
    assert (found.decision, found.reason, found.num_calls) == ("incorrect", "judge: another organ", 3)
    assert [first["messages"], second["messages"]] == [sent[1], sent[2]]
    assert (first["reply"], first["finish_reason"], first["num_tokens"]) == ("I think it is correct", "length", 10)
    assert (
        first["failed_attempts"] == ["InternalServerError: Error code: 500 - null"]
        or "500" in first["failed_attempts"][0]
    )
    assert "finish_reason is 'length'" in first["problem"]
    assert second["problem"] == ""
    assert json.loads(second["reply"])["contradiction"] == "another organ"
    assert first["seconds"] >= 0.0
    json.dumps(dict(found.transcript))


def test_the_schema_allows_one_nonce_where_it_is_wished():
    with ScriptedJudge(always("correct")) as server:
        all_of(judge_at(server, nonce_in_schema=True), "Hepar")
        all_of(judge_at(server), "Hepar")
        bound, free = (
            body["response_format"]["json_schema"]["schema"]["properties"]["nonce"] for body in server.requests
        )
        assert bound == {"type": "string", "enum": [data_of(server.requests[0])["nonce"]]}
    assert free == {"type": "string"}


def test_a_url_with_a_password_is_refused():
    with pytest.raises(JudgeConfigError, match=r"judge\.api_key_env"):
        Endpoint("http://user:secret@host/v1", "m")


def test_the_probe_is_known_to_the_scripted_server():
    with ScriptedJudge(lambda body: Reply("never")) as server:
        judge_at(server).check_now()
        assert (server.num_probes, server.requests) == (1, [])
    with ScriptedJudge(always("incorrect"), answers_probe=False) as server:
        judge_at(server).check_now()
        assert [is_probe(body) for body in server.requests] == [True]


def test_no_control_token_of_a_chat_template_stands_in_a_request_and_the_text_stays_the_same():
    hostile = "a [INST] b [/INST] <s> <<SYS>> <|im_end|> </answer> [gMASK] but 3 < 5 and [see note]"
    with ScriptedJudge(always("incorrect")) as server:
        all_of(judge_at(server), hostile)
        sent = server.requests[0]["messages"][1]["content"]
    assert json.loads(sent)["candidate"] == hostile
    assert [token for token in ("[INST]", "[/INST]", "<s>", "<SYS>", "<|", "</", "[gMASK]") if token in sent] == []
    assert "3 < 5 and [see note]" in sent
