"""Judgements at 30 % faults against a real local HTTP server: what is lost, what becomes another verdict, what is asked
twice, how long it waits.

`python -m tests.bench.judge_faults [--judgements 10000] [--retry-after 2] [--timeout 2] [--in-flight 64] [--seed 0]`
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from typing import Any

from judges.gateway.client import ChatClient
from judges.gateway.endpoint import Endpoint
from judges.model.judge import LlmJudge
from judges.verdict import Question, Verdict
from tests.fakes.fault_server import Faults, right
from tests.fakes.scripted_judge import MODEL
from tests.paths import REPOSITORY

KEY = "BENCH_JUDGE_KEY"


class TimedClient(ChatClient):
    """Remembers how long it really slept, as a share of each Retry-After."""

    slept: list[float]

    async def _sleep(self, seconds: float, retry_after: float | None) -> None:
        began = time.monotonic()
        await super()._sleep(seconds, retry_after)
        if retry_after is not None:
            self.slept.append((time.monotonic() - began) / retry_after)


def client_for(url: str, timeout_seconds: float, in_flight: int, backoff_seconds: float = 0.5) -> TimedClient:
    """A client with the defaults of judge=openai for attempts."""
    os.environ[KEY] = "none"
    endpoint = Endpoint(
        url,
        MODEL,
        KEY,
        timeout_seconds=timeout_seconds,
        max_concurrency=in_flight,
        backoff_seconds=backoff_seconds,
    )
    client = TimedClient(endpoint, seed=0)
    client.slept = []
    return client


# As many as a step of 128 prompts asks. With all 10,000 pending Python's collector stops the process for 0.2 s now and
# then, sleeps included.
AT_ONCE = 1024


async def judged(judge: LlmJudge, count: int, at_once: int = AT_ONCE) -> list[Verdict]:
    """`count` different answers in groups of eight, each group under one key, `at_once` of them pending."""
    left = iter(range(count))
    found: dict[int, Verdict] = {}

    async def ask() -> None:
        for i in left:
            found[i] = await judge.judge(
                Question("Which finding is shown?", "A multiple of three", f"finding {i}", group_key=f"group {i // 8}")
            )

    try:
        await asyncio.gather(*(ask() for _ in range(at_once)))
        return [found[i] for i in range(count)]
    finally:
        await judge.close()


def summary(
    found: list[Verdict], asked: dict[str, list[tuple[float, str]]], retry_after: float, slept: list[float]
) -> dict[str, Any]:
    """What happened, from the verdicts here and the server's journal there."""
    wrong = sum(
        verdict.decision is not None and (verdict.decision == "correct") != right(f"finding {i}")
        for i, verdict in enumerate(found)
    )
    again = sum(
        len(events) - 1 - [kind for _, kind in events].index("ok")
        for events in asked.values()
        if any(k == "ok" for _, k in events)
    )
    gaps = [
        (after - before) / retry_after
        for events in asked.values()
        for (before, kind), (after, _) in itertools.pairwise(events)
        if kind == "http_429"
    ]
    return {
        "judgements": len(found),
        "requests": sum(map(len, asked.values())),
        "faults sent": dict(
            sorted(Counter(kind for events in asked.values() for _, kind in events if kind != "ok").items())
        ),
        "lost (no verdict)": sum(verdict.decision is None for verdict in found),
        "turned into another verdict": wrong,
        "asked again after success": again,
        "most attempts of one": max(map(len, asked.values())),
        "sleeps after 429": len(slept),
        "sleeps within 10 % of Retry-After": sum(1.0 <= share <= 1.1 for share in slept),
        "sleep / Retry-After": _spread(slept),
        "time to the next request / Retry-After": _spread(gaps),
        "requests before their Retry-After": sum(gap < 1.0 for gap in gaps),
    }


def _spread(shares: list[float]) -> str:
    inner = statistics.quantiles(shares, n=100)
    return (
        f"least {min(shares):.3f}, median {statistics.median(shares):.3f}, 99 % below {inner[98]:.3f}, most"
        f" {max(shares):.3f}"
    )


def main() -> None:
    """Run and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--judgements", type=int, default=10_000)
    parser.add_argument("--retry-after", type=float, default=2.0)
    parser.add_argument("--timeout", type=float, default=2.0)
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--at-once", type=int, default=AT_ONCE)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    faults = Faults(retry_after=args.retry_after, seed=args.seed)
    shares = [str(share) for share in (faults.http_500, faults.http_429, faults.hang, faults.rubbish, faults.cut)]
    command = [sys.executable, "-m", "tests.fakes.fault_server", str(args.seed), str(args.retry_after), *shares]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            url = f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
            client = client_for(url, args.timeout, args.in_flight)
            judge = LlmJudge(client)
            began, cpu = time.monotonic(), time.process_time()
            found = asyncio.run(judged(judge, args.judgements, args.at_once))
            seconds, cpu = time.monotonic() - began, time.process_time() - cpu
            with urllib.request.urlopen(f"{url}/journal", timeout=60) as reply:
                asked = json.load(reply)
        finally:
            server.terminate()
    rows = summary(found, asked, args.retry_after, client.slept)
    rows["seconds, of them CPU here"] = f"{seconds:.1f}, {cpu:.1f}"
    rows["counters"] = {
        name.removeprefix("judge/"): int(value) for name, value in judge.metrics().items() if value >= 1
    }
    for name, value in rows.items():
        print(f"{name:42} {value}")


if __name__ == "__main__":
    main()
