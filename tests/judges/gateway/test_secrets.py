"""A planted key is searched for in everything that judging leaves: verdicts, errors, logs, cache, stored rollouts, W&B
files, a whole run."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import json
import logging
import os
import subprocess
import sys
import traceback

import pytest

from judges import Criteria, JudgeConfig, JudgeUnreachable, Question, Verdict, make_judge
from judges.gateway.redaction import MASK, keep_secret, redact
from rewards import Rubric, Scorer
from rl.run.tracking import Tracker
from rollouts.records import Sample
from rollouts.store.writer import RunWriter, read_rollouts
from tests.fakes.fake_rollouts import group
from tests.fakes.scripted_judge import MODEL, Reply, ScriptedJudge, data_of, verdict_json
from tests.paths import REPOSITORY
from tests.rl.test_train import SMALL

KEY = 'sk-planted-"4711"-key'
SHOUT = f"Incorrect API key provided: {KEY}"


@pytest.fixture(autouse=True)
def _planted_key(monkeypatch):
    monkeypatch.setenv("TEST_JUDGE_KEY", KEY)


def settings_for(server: ScriptedJudge, **changes) -> JudgeConfig:
    return JudgeConfig(
        kind="openai",
        base_url=server.url,
        model=MODEL,
        api_key_env="TEST_JUDGE_KEY",
        max_attempts=2,
        timeout_seconds=10.0,
        **changes,
    )


def echoing_valid(body) -> Reply:
    """A right verdict that tells the key in its free text, header and all."""
    return Reply(verdict_json(data_of(body)["nonce"], "correct", [KEY], SHOUT), headers={"x-echo": KEY})


SCRIPTS = {
    "a verdict that tells it": echoing_valid,
    "an unreadable reply that tells it": lambda body: Reply(SHOUT),
    "401": lambda body: Reply(
        status=401, raw=json.dumps({"error": {"message": SHOUT}}).encode(), headers={"x-echo": KEY}
    ),
    "500": lambda body: Reply(status=500, raw=SHOUT.encode()),
    "rubbish": lambda body: Reply(raw=b"\x00" + SHOUT.encode()),
    "a finish reason": lambda body: Reply("x", finish_reason=KEY),
    "an error inside 200": lambda body: Reply(raw=json.dumps({"error": {"message": SHOUT, "code": 502}}).encode()),
    "a long page that ends in it": lambda body: Reply(
        raw=b"<html>" + b"<i>" * 6660 + SHOUT.encode() + b"</html>", headers={"content-type": "text/html"}
    ),
    "thoughts in place of a reply": lambda body: Reply(
        raw=json.dumps(
            {"choices": [{"finish_reason": "stop", "message": {"content": None, "reasoning_content": SHOUT}}]}
        ).encode()
    ),
    "a redirect": lambda body: Reply(status=302, headers={"location": f"http://127.0.0.1:9/{KEY}"}),
}


def _leaks(text: str | bytes) -> bool:
    plain = text if isinstance(text, bytes) else text.encode(errors="replace")
    return any(form.encode() in plain for form in (KEY, json.dumps(KEY)[1:-1], "sk-planted"))


@pytest.fixture
def log():
    """Everything that anybody logs, at the most talkative level."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    root, before = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.removeHandler(handler)
    root.setLevel(before)


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_no_verdict_log_cache_rollout_or_tracker_holds_the_key(name, tmp_path, log):
    sample = Sample("s", "Which organ?", "open", "Liver")
    with ScriptedJudge(SCRIPTS[name]) as server:
        judge = make_judge(settings_for(server), cache_path=tmp_path / "judge.sqlite", backoff_seconds=0.01)
        described = f"{judge.describe()} {judge.name} {judge!r}"
        with Scorer(Rubric({"accuracy": 1.0}, {"open": "judge"}, judge)) as scorer:
            found = scorer.score_group(sample, ["<answer>Spleen</answer>", f"<answer>Hepar {KEY}</answer>"])
        told = server.requests
    assert _leaks(json.dumps([data_of(body)["candidate"] for body in told])) is False, (
        "a key in an answer is masked on its way out"
    )
    outcomes = [score.outcomes["accuracy"] for score in found]
    writer = RunWriter(tmp_path / "run")
    stored = [
        dataclasses.replace(one, outcomes={"accuracy": outcome})
        for one, outcome in zip(group(2, size=2), outcomes, strict=True)
    ]
    writer.append_group(stored)
    writer.finish_step(1)
    writer.close()
    with Tracker(tmp_path / "run", "offline", config={"judge": {"api_key_env": "TEST_JUDGE_KEY"}}) as tracker:
        tracker.log(1, judge.metrics())
    read = [one.outcomes["accuracy"] for one in read_rollouts(tmp_path / "run")]
    assert [one.status for one in read] == [one.status for one in outcomes]
    assert not _leaks(f"{described} {[vars(one) for one in outcomes]} {judge.metrics()} {[vars(one) for one in read]}")
    assert not _leaks(log.getvalue())
    assert "HTTP Request: POST" in log.getvalue(), "the talkative logs were really read"
    assert [path for path in tmp_path.rglob("*") if path.is_file() and _leaks(path.read_bytes())] == []


def test_no_error_of_the_check_holds_the_key_in_any_of_its_chain(tmp_path, log):
    unwilling = sorted(set(SCRIPTS) - {"a verdict that tells it"})  # that one passes the check
    refusing = ScriptedJudge(SCRIPTS["401"], models_status=401, answers_probe=False)
    for server in (refusing, *(ScriptedJudge(SCRIPTS[name], answers_probe=False) for name in unwilling)):
        with server, pytest.raises(JudgeUnreachable) as error:
            make_judge(settings_for(server)).check_now()
        full = traceback.TracebackException.from_exception(error.value, capture_locals=True)
        chain = (error.value.__cause__, error.value.__context__)
        assert not _leaks(f"{error.value!r} {error.value} {''.join(full.format(chain=True))} {chain}")
    assert not _leaks(log.getvalue())


def test_criteria_hold_no_key_either(tmp_path):
    with ScriptedJudge(SCRIPTS["an unreadable reply that tells it"]) as server:
        judge = make_judge(settings_for(server))

        async def ask():
            try:
                return await judge.assess(Criteria("rubric", "q", f"text {KEY}", ("one",)))
            finally:
                await judge.close()

        found = asyncio.run(ask())
    assert found.failure == "unreadable"
    assert not _leaks(repr(found))
    assert MASK in repr(found)


def test_masking_reaches_into_everything_and_spares_words_that_are_no_secret():
    keep_secret(KEY)
    keep_secret("none")
    assert redact({"a": [f"x{KEY}y", 1, None], KEY: (json.dumps(KEY),)}) == {
        "a": [f"x{MASK}y", 1, None],
        MASK: [f'"{MASK}"'],
    }
    assert redact("none of the above") == "none of the above"


@pytest.mark.slow  # a whole run: SFT, Ray, vLLM
@pytest.mark.timeout(1200)
def test_a_whole_run_leaves_no_key(tmp_path):
    seen = 0

    def script(body):
        nonlocal seen
        seen += 1
        return list(SCRIPTS.values())[seen % 2](body) if seen > 4 else echoing_valid(body)

    with ScriptedJudge(script) as server:
        done = subprocess.run(
            [
                *(
                    sys.executable,
                    "-m",
                    "rl.train",
                    *SMALL,
                    f"out_dir={tmp_path / 'run'}",
                    f"sft.cache_dir={tmp_path / 'sft'}",
                ),
                *(
                    "judge=openai",
                    f"judge.base_url={server.url}",
                    f"judge.model={MODEL}",
                    "judge.api_key_env=TEST_JUDGE_KEY",
                ),
                *("judge.max_attempts=2", "grpo.max_failure_rate=1.0", "grpo.num_steps=2"),
            ],
            cwd=REPOSITORY,
            capture_output=True,
            timeout=1000,
            check=False,
            env={**os.environ, "TEST_JUDGE_KEY": KEY, "OPENAI_LOG": "debug"},
        )
        assert done.returncode == 0, (done.stdout[-3000:], done.stderr[-3000:])
        assert len(server.requests) > 10
    assert not _leaks(done.stdout)
    assert not _leaks(done.stderr)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path for path in files if _leaks(path.read_bytes())] == []
    evidence = [
        outcome.evidence
        for one in read_rollouts(tmp_path / "run")
        for outcome in one.outcomes.values()
        if outcome.evidence
    ]
    assert evidence
    assert not _leaks(json.dumps(evidence, default=str))


def test_a_verdict_carries_no_key_where_the_endpoint_answers_in_it():
    with ScriptedJudge(echoing_valid) as server:
        judge = make_judge(settings_for(server))

        async def ask() -> Verdict:
            try:
                return await judge.judge(Question("Which organ?", "Liver", "Hepar"))
            finally:
                await judge.close()

        found = asyncio.run(ask())
    assert (found.decision, found.reason) == ("correct", f"judge: Incorrect API key provided: {MASK}")
