"""The gateway between judges and an endpoint: breaker, group deadlines, budget, prices, one call for equal questions, images."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections import Counter
from dataclasses import replace

import pytest

from judges import JudgeConfigError, JudgeMedia
from judges.breaker import CircuitBreaker
from judges.budget import Budget, Prices
from judges.cache import VerdictCache
from judges.client import ChatClient, Endpoint
from judges.limits import GroupDeadlines, ShrinkingLimit, retry_after_seconds
from judges.llm import LlmJudge
from tests.scripted_judge import MODEL, Reply, ScriptedJudge, always, data_of, is_probe, verdict_json

ASKED = ("Which organ?", "Liver", ())


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    monkeypatch.setenv("TEST_JUDGE_KEY", "any")


def judge_at(server: ScriptedJudge, cache=None, show_images=False, nonce_in_schema=False, **limits) -> LlmJudge:
    settings = {"timeout_seconds": 20.0, "max_attempts": 3, "max_concurrency": 8, "backoff_seconds": 0.01, **limits}
    client = ChatClient(Endpoint(server.url, MODEL, "TEST_JUDGE_KEY", **settings), seed=0)
    return LlmJudge(client, cache=cache, show_images=show_images, nonce_in_schema=nonce_in_schema)


def all_of(judge: LlmJudge, *answers: str, groups=None, **more) -> list:
    """The verdicts on these answers, asked at the same time."""

    async def ask() -> list:
        try:
            keys = groups or [None] * len(answers)
            asked = (judge.judge(*ASKED, answer, group_key=key, **more) for answer, key in zip(answers, keys, strict=True))
            return list(await asyncio.gather(*asked))
        finally:
            await judge.close()

    return asyncio.run(ask())


# The circuit breaker


def test_the_breaker_lets_one_probe_through_and_everybody_after_it_succeeded():
    async def story() -> list[str]:
        counts: Counter[str] = Counter()
        breaker = CircuitBreaker("it", 2, 0.05, counts)
        told = []
        for _ in range(2):
            assert not await breaker.enter()
            breaker.leave(False, "down", time.monotonic(), "HTTP 500")
        assert breaker.is_open

        async def caller() -> None:
            probe = await breaker.enter()
            told.append(f"{'as probe ' if probe else ''}{'while open' if breaker.is_open else 'closed'}")
            await asyncio.sleep(0.03)
            breaker.leave(probe, "alive", time.monotonic())

        await asyncio.gather(*(caller() for _ in range(3)))
        assert (counts["breaker_opened"], counts["breaker_probes"]) == (1, 1)
        assert counts["breaker_paused_milliseconds"] >= 50
        return told

    assert sorted(asyncio.run(story())) == ["as probe while open", "closed", "closed"]


def test_a_failed_probe_pauses_again_and_one_that_learned_nothing_hands_on_its_turn():
    async def story() -> None:
        breaker = CircuitBreaker("it", 1, 0.02, Counter())
        breaker.leave(await breaker.enter(), "down", time.monotonic())
        assert await breaker.enter()
        breaker.leave(True, "down", time.monotonic())
        assert breaker.is_open
        began = time.monotonic()
        assert await breaker.enter()
        assert time.monotonic() - began >= 0.015
        breaker.leave(True, "unknown", time.monotonic())  # its caller was cancelled
        assert breaker.is_open
        assert await asyncio.wait_for(breaker.enter(), 1.0)
        breaker.leave(True, "alive", time.monotonic())
        assert not await breaker.enter()

    asyncio.run(story())


def test_failures_that_began_before_the_last_success_open_nothing():
    async def story() -> bool:
        breaker = CircuitBreaker("it", 2, 9.0, Counter())
        began = time.monotonic()
        breaker.leave(False, "alive", began)
        for _ in range(5):
            breaker.leave(False, "down", began, "hung")
        return breaker.is_open

    assert asyncio.run(story()) is False


def test_an_endpoint_that_is_down_is_left_alone_and_every_judgement_waits_for_it(caplog):
    down = True

    def script(body):
        return Reply(status=503) if down else always("incorrect")(body)

    async def story(judge: LlmJudge, server: ScriptedJudge) -> tuple[int, list]:
        nonlocal down
        asked = [asyncio.ensure_future(judge.judge(*ASKED, f"organ {i}")) for i in range(12)]
        while "judge/breaker_opened" not in judge.metrics():
            await asyncio.sleep(0.02)
        began = time.monotonic()
        await asyncio.sleep(0.8)
        num_pauses = int((time.monotonic() - began) / 0.3)
        while_down = len(server.requests) - num_pauses
        assert not any(one.done() for one in asked), "nothing is scored while the endpoint is down"
        down = False
        found = await asyncio.gather(*asked)
        await judge.close()
        return while_down, list(found)

    with ScriptedJudge(script) as server:
        judge = judge_at(server, max_attempts=14, max_concurrency=4, breaker_failures=3, breaker_pause_seconds=0.3)
        while_down, found = asyncio.run(story(judge, server))
    assert [verdict.decision for verdict in found] == ["incorrect"] * 12
    # 3 failures open it while 3 more may be in flight; then one probe each 0.3 s.
    assert while_down <= 3 + 3 + 1
    assert judge.metrics()["judge/breaker_opened"] == 1.0
    assert "Paused for 0.3 s; nothing is scored meanwhile" in caplog.text
    assert "answers again" in caplog.text


def test_refusals_and_429_are_replies_and_open_no_breaker():
    for status in (400, 429):
        with ScriptedJudge(lambda body, status=status: Reply(status=status)) as server:
            judge = judge_at(server, breaker_failures=1, max_attempts=2)
            assert {verdict.decision for verdict in all_of(judge, "Spleen", "Kidney")} == {None}
            assert "judge/breaker_opened" not in judge.metrics()


# Deadlines, Retry-After, places


def test_the_calls_of_a_group_share_one_deadline_that_ends_with_the_last_of_them():
    async def story() -> None:
        deadlines = GroupDeadlines(10.0)
        with deadlines.share("g") as first:
            await asyncio.sleep(0.02)
            with deadlines.share("g") as second, deadlines.share("other") as other, deadlines.share(None) as own:
                assert second == first
                assert min(other, own) >= first + 0.02
        await asyncio.sleep(0.02)
        with deadlines.share("g") as again:
            assert again > first

    asyncio.run(story())


def test_a_late_call_of_a_group_ends_with_the_group():
    async def story(judge: LlmJudge) -> float:
        first = asyncio.ensure_future(judge.judge(*ASKED, "Spleen", group_key="g"))
        await asyncio.sleep(0.6)
        began = time.monotonic()
        late = await judge.judge(*ASKED, "Kidney", group_key="g")
        seconds = time.monotonic() - began
        assert [(await first).failure, late.failure] == ["timeout", "timeout"]
        await judge.close()
        return seconds

    with ScriptedJudge(lambda body: Reply(delay_seconds=30.0)) as server:
        # A deadline of its own would have let it wait 1.5 s; 0.9 s of the group's are left.
        assert asyncio.run(story(judge_at(server, deadline_seconds=1.5))) < 1.4


@pytest.mark.parametrize(
    ("value", "date", "seconds"),
    [
        ("2", None, 2.0), ("0.5", None, 0.5), ("0", None, 0.0), ("86400", None, 86400.0),
        ("-1", None, None), ("nan", None, None), ("inf", None, None), ("soon", None, None), ("", None, None), (None, None, None),
        ("Sat, 21 Nov 2026 12:00:30 GMT", "Sat, 21 Nov 2026 12:00:00 GMT", 30.0),
        ("Saturday, 21-Nov-26 12:00:30 GMT", "Sat, 21 Nov 2026 12:00:00 GMT", 30.0),
        ("Sat, 21 Nov 2026 11:59:00 GMT", "Sat, 21 Nov 2026 12:00:00 GMT", 0.0),
        ("Sat, 99 Nov 2026 11:59:00 GMT", "Sat, 21 Nov 2026 12:00:00 GMT", None),
    ],
)  # fmt: skip
def test_retry_after_is_seconds_or_a_date(value, date, seconds):
    assert retry_after_seconds(value, date) == seconds


def test_a_date_without_a_server_clock_is_measured_against_ours():
    soon = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 100))
    assert 95.0 < retry_after_seconds(soon) <= 101.0


def test_a_retry_after_date_is_honoured():
    replies = [
        Reply(status=429, headers={"retry-after": "Sat, 21 Nov 2026 12:00:01 GMT", "date": "Sat, 21 Nov 2026 12:00:00 GMT"})
    ]
    with ScriptedJudge(lambda body: replies.pop(0) if replies else always("correct")(body)) as server:
        assert all_of(judge_at(server), "Hepar")[0].decision == "correct"
        assert 1.0 <= server.times[1] - server.times[0] < 4.0


def test_places_are_given_in_order_and_a_second_attempt_goes_first():
    async def story() -> list[str]:
        limit, order = ShrinkingLimit(1), []

        async def call(name: str, again: bool) -> None:
            async with limit.slot(again=again):
                order.append(name)
                await asyncio.sleep(0)

        async with limit.slot():
            calls = [asyncio.ensure_future(call(*one)) for one in (("a", False), ("gone", False), ("b", False), ("again", True))]
            await asyncio.sleep(0)
            calls[1].cancel()
            await asyncio.sleep(0)
        await asyncio.gather(*calls, return_exceptions=True)
        async with asyncio.timeout(1.0), limit.slot():  # no place was lost with the cancelled call
            return order

    assert asyncio.run(story()) == ["again", "a", "b"]


def test_a_second_attempt_finds_a_place_beside_calls_that_hang_but_never_over_the_limit():
    async def story() -> list[int]:
        counts = []
        for again in (False, True):
            limit = ShrinkingLimit(8)
            limit.size = 4.0
            seen: list[int] = []
            held = asyncio.Event()

            async def call(limit=limit, seen=seen, held=held, again=again) -> None:
                async with limit.slot(again=again):
                    seen.append(1)
                    await held.wait()

            calls = [asyncio.ensure_future(call()) for _ in range(20)]
            await asyncio.sleep(0.01)
            counts.append(len(seen))
            held.set()
            await asyncio.gather(*calls)
        return counts

    # Of 8 places 4 are left: new calls use 4, second attempts 4 + 2.
    assert asyncio.run(story()) == [4, 6]


def test_concurrency_halves_once_in_the_time_a_429_asks_for():
    limit = ShrinkingLimit(16)
    limit.refused(time.monotonic(), retry_after=60.0)
    limit.refused(time.monotonic(), retry_after=60.0)  # began after the halving, which nobody could yet feel
    assert limit.size == 8.0


# Budget and prices


def test_the_budget_of_calls_is_exact_and_what_comes_after_it_is_no_number():
    with ScriptedJudge(always("incorrect")) as server:
        found = all_of(judge_at(server, max_calls=3), *(f"organ {i}" for i in range(8)))
        assert len(server.requests) == 3
    assert sorted(str(verdict.failure) for verdict in found) == ["None"] * 3 + ["budget"] * 5
    assert "budget of 3 calls is spent (judge.max_calls)" in next(verdict.reason for verdict in found if verdict.failure)


def test_attempts_that_fail_are_calls_too():
    with ScriptedJudge(lambda body: Reply(status=500)) as server:
        (found,) = all_of(judge_at(server, max_calls=2, max_attempts=10), "Spleen")
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
        # 3 x 300 fit at once. With 100 really used each, the eighth call leaves 800 + 300 > 1000: 8 are granted, 12 are not.
        assert [sum(not spent for spent in answers), most_at_once] == [8, 3]
        assert "800 of 1000 tokens are spent (judge.max_tokens)" in answers[-1]
        return budget.tokens, budget.calls

    assert asyncio.run(story()) == (800, 8)


def test_an_endpoint_that_does_not_tell_its_tokens_takes_the_most_it_can_have_used():
    body = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}], "id": "x", "created": 0,
            "model": MODEL, "object": "chat.completion"}  # fmt: skip
    with ScriptedJudge(lambda _: Reply(raw=json.dumps(body).encode())) as server:
        judge = judge_at(server, max_tokens=20_000)
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
        first = asyncio.ensure_future(judge.judge(*ASKED, "Hepar", group_key="a"))
        second = asyncio.ensure_future(judge.judge(*ASKED, "Hepar", group_key="b"))
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
    assert first["failed_attempts"] == ["InternalServerError: Error code: 500 - null"] or "500" in first["failed_attempts"][0]
    assert "finish_reason is 'length'" in first["problem"]
    assert second["problem"] == ""
    assert json.loads(second["reply"])["contradiction"] == "another organ"
    assert first["seconds"] >= 0.0
    json.dumps(dict(found.transcript))


def test_the_schema_allows_one_nonce_where_it_is_wished():
    with ScriptedJudge(always("correct")) as server:
        all_of(judge_at(server, nonce_in_schema=True), "Hepar")
        all_of(judge_at(server), "Hepar")
        bound, free = (body["response_format"]["json_schema"]["schema"]["properties"]["nonce"] for body in server.requests)
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
