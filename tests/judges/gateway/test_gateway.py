"""The gateway between judges and an endpoint: circuit breaker, group deadlines, Retry-After, places for calls in
flight."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import replace

import pytest

from judges.gateway.limits import CircuitBreaker, GroupDeadlines, ShrinkingLimit, retry_after_seconds
from judges.model.judge import LlmJudge
from tests.fakes.scripted_judge import Reply, ScriptedJudge, all_of, always, data_of, judge_at, liver_question


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    monkeypatch.setenv("TEST_JUDGE_KEY", "any")


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
        asked = [asyncio.ensure_future(judge.judge(liver_question(f"organ {i}"))) for i in range(12)]
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


def test_what_waiting_cannot_mend_is_asked_once_and_what_it_can_again():
    quota = b'{"error": {"code": "insufficient_quota", "message": "You exceeded your current quota"}}'
    once = [Reply(status=status) for status in (400, 401, 402, 403, 404, 413, 422)] + [Reply(status=429, raw=quota)]
    again = [Reply(status=status) for status in (408, 409, 429, 500, 502, 503, 529)]
    with ScriptedJudge(lambda body: replies[int(data_of(body)["candidate"].split()[1])]) as server:
        for replies, failure, count in ((once, "refused", 1), (again, "unavailable", 2)):
            found = all_of(
                judge_at(server, max_attempts=2, breaker_failures=99), *(f"organ {i}" for i in range(len(replies)))
            )
            assert {(verdict.failure, verdict.num_calls) for verdict in found} == {(failure, count)}


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
        first = asyncio.ensure_future(judge.judge(liver_question("Spleen", group_key="g")))
        await asyncio.sleep(0.6)
        began = time.monotonic()
        late = await judge.judge(liver_question("Kidney", group_key="g"))
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
        ("-1", None, None), ("nan", None, None), ("inf", None, None), ("soon", None, None), ("", None, None),
        (None, None, None),
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
        Reply(
            status=429,
            headers={"retry-after": "Sat, 21 Nov 2026 12:00:01 GMT", "date": "Sat, 21 Nov 2026 12:00:00 GMT"},
        )
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
            calls = [
                asyncio.ensure_future(call(*one))
                for one in (("a", False), ("gone", False), ("b", False), ("again", True))
            ]
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
    limit.shrink(time.monotonic(), retry_after=60.0)
    limit.shrink(time.monotonic(), retry_after=60.0)  # began after the halving, which nobody could yet feel
    assert limit.size == 8.0


def test_a_deadline_measures_the_endpoint_and_not_the_queue_before_it():
    # 60 judgements of 0.1 s, one at a time: the last waits 6 s, over the deadline of 4 s, and none is lost. 4 are
    # inside at a time.
    with ScriptedJudge(lambda body: replace(always("incorrect")(body), delay_seconds=0.1)) as server:
        found = all_of(judge_at(server, max_concurrency=1, deadline_seconds=4.0), *(f"organ {i}" for i in range(60)))
    assert [verdict.failure for verdict in found] == [None] * 60
