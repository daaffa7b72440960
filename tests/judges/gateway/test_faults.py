"""What an endpoint does wrong costs time, never a verdict: the small version of `tests/bench/judge_faults.py`."""

from __future__ import annotations

import asyncio

from judges.model.judge import LlmJudge
from tests.bench.judge_faults import client_for, judged, summary
from tests.fakes.fault_server import Faults, FaultServer

RETRY_AFTER = 0.5


def test_five_hundred_judgements_at_thirty_percent_faults_lose_nothing_and_ask_nothing_twice():
    with FaultServer(Faults(retry_after=RETRY_AFTER, seed=3)) as server:
        client = client_for(server.url, timeout_seconds=2.0, in_flight=64, backoff_seconds=0.05)
        found = asyncio.run(judged(LlmJudge(client), 500))
        seen = summary(found, server.journal.asked, RETRY_AFTER, client.slept)
    assert seen["lost (no verdict)"] == 0
    assert seen["turned into another verdict"] == 0
    assert seen["asked again after success"] == 0
    assert all(verdict.num_calls == len(server.journal.asked[f"finding {i}"]) for i, verdict in enumerate(found))
    # 500 judgements at 30 % faults draw some 714 requests; each kind of fault was really met.
    assert 600 < seen["requests"] < 850
    assert set(seen["faults sent"]) == {"http_500", "http_429", "hang", "rubbish", "cut"}
    assert seen["sleeps after 429"] == seen["faults sent"]["http_429"]
    assert seen["requests before their Retry-After"] == 0
    assert min(client.slept) >= 1.0
