"""Rewards of others in real child processes: whatever they do costs one outcome, the pool is whole again, and nothing
is left behind."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from judges import Question, RulesJudge, Verdict
from rewards import Outcome, Rubric, Sample, Scorer
from rewards.contract import Limits
from rollouts.imaging.pictures import to_png
from rollouts.records import Media
from tests.paths import PLUGINS, REPOSITORY

HOSTILE, KIND = f"{PLUGINS}/hostile.py", f"{PLUGINS}/kind.py"
OPEN = Sample("q", "What is it?", "open", "Pneumonia")
# Where a hang is waited for, and where nothing should hang however busy the machine is.
QUICK = Limits(timeout_seconds=2.0, memory_gib=2.0, workers=1)
PATIENT = Limits(timeout_seconds=60.0, memory_gib=2.0, workers=1)


def scorer_of(spec: str, limits: Limits = PATIENT, judge: RulesJudge | None = None) -> Scorer:
    return Scorer(Rubric({spec: 1.0}, judge=judge, limits=limits))


def place(code: str) -> str:
    """File and line of a line of hostile.py, as messages tell it."""
    lines = Path(HOSTILE).read_text().splitlines()
    (number,) = [number for number, line in enumerate(lines, 1) if line.strip() == code]
    return f"{HOSTILE}:{number}"


def outcome(scorer: Scorer, completion: str, sample: Sample = OPEN) -> Outcome:
    (found,) = scorer.submit(sample, completion, "g").result(60).outcomes.values()
    return found


def is_running(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def children_of(pid: int) -> list[int]:
    return [child.pid for child in psutil.Process(pid).children() if "rewards.plugins.child" in child.cmdline()]


@pytest.fixture(scope="module")
def hostile() -> Iterator[Scorer]:
    with scorer_of(f"{HOSTILE}:hostile") as scorer:
        yield scorer


@pytest.fixture(scope="module")
def hasty() -> Iterator[Scorer]:
    with scorer_of(f"{HOSTILE}:hostile", QUICK) as scorer:
        yield scorer


@pytest.mark.parametrize(
    ("completion", "words", "line"),
    [
        ("raises", "error KeyError: 'lesion'", 'raise KeyError("lesion")'),
        ("nan", "error the reward returned float 'nan', expected a finite number or an Outcome", ""),
        ("none", "error the reward returned NoneType", ""),
        ("text", "error the reward returned str '1.0'", ""),
        ("a list", "error the reward returned list", ""),
        ("a huge integer", "error the reward returned int", ""),
        ("giant evidence", "error the outcome cannot be stored", ""),
        ("much evidence", "error the outcome has 2,", ""),
        ("evidence that is no JSON", "error the outcome cannot be stored: not JSON", ""),
        ("nan in a part", "error the parts of an Outcome are finite numbers", ""),
        ("recurses", "error RecursionError", ""),
        ("allocates 10 GiB", "error MemoryError", "return len(bytearray(10 << 30))"),
        ("sys.exit", "error SystemExit: 4", "sys.exit(4)"),
        ("os._exit", "error its process ended with exit code 3", ""),
        ("segfault", "error its process was killed by SIGSEGV", "ctypes.string_at(0)"),
        ("abort", "error its process was killed by SIGABRT", "os.abort()"),
        ("closes its pipes", "error its process", ""),
        ("forks and leaves", "error its process ended with exit code 0", ""),
        ("writes rubbish", "error it wrote rubbish to the scorer", ""),
        ("forges a frame", "error it wrote rubbish to the scorer", ""),
    ],
)
def test_whatever_a_reward_does_costs_that_outcome_and_the_next_call_succeeds(
    hostile: Scorer, completion: str, words: str, line: str
) -> None:
    found = outcome(hostile, completion)
    assert found.value is None
    assert f"{found.status} {found.reason}".startswith(words)
    assert not line or place(line) in found.reason
    assert outcome(hostile, "fine").value == 1.0


@pytest.mark.parametrize(
    ("completion", "lines"),
    [
        # A loop stands at its head or in its body.
        ("spins", ['while what == "spins":', "pass"]),
        ("sleeps", ["time.sleep(600)  # here"]),
        ("hangs in a regex", ['re.match(r"(a+)+$", "a" * 64 + "b")']),
        ("hangs in C", ["ctypes.CDLL(None).pause()"]),
    ],
)
def test_a_hang_costs_that_outcome_a_timeout_and_tells_where_it_stood(
    hasty: Scorer, completion: str, lines: list[str]
) -> None:
    found = outcome(hasty, completion)
    assert (found.value, found.status) == (None, "timeout")
    words = [f"no outcome within 2 s (reward.plugin_timeout_seconds) at {place(line)} in _hangs" for line in lines]
    assert found.reason.startswith(tuple(words))
    assert "hostile.py" in (found.evidence or {})["output"]
    assert outcome(hasty, "fine").value == 1.0


def test_the_evidence_of_a_failure_is_the_traceback_from_the_rewards_own_code_on(hostile: Scorer) -> None:
    trace = (outcome(hostile, "raises").evidence or {})["traceback"]
    assert 'raise KeyError("lesion")' in trace
    assert "KeyError: 'lesion'" in trace
    assert "calling.py" not in trace


@pytest.mark.parametrize("completion", ["forks", "prints much"])
def test_what_is_odd_but_answers_is_paid(hostile: Scorer, completion: str) -> None:
    assert outcome(hostile, completion).value == 1.0
    assert outcome(hostile, "fine").value == 1.0


def test_one_bad_completion_costs_its_neighbours_nothing(hasty: Scorer) -> None:
    said = ["fine", "os._exit", "a", "spins", "b", "segfault", "raises", "c"]
    scored = hasty.score_group(OPEN, said)
    assert [one.valid for one in scored] == [True, False, True, False, True, False, False, True]
    assert [one.total for one in scored if one.valid] == [1.0] * 4


@pytest.mark.parametrize(("completion", "status"), [("blocks", "timeout"), ("ends", "error")])
def test_of_many_calls_in_a_child_that_dies_only_the_guilty_one_fails(completion: str, status: str) -> None:
    with scorer_of(f"{HOSTILE}:blocks", QUICK) as scorer:
        scored = scorer.score_group(OPEN, ["a", "b", completion, "c", "d"])
        statuses = [one.outcomes["blocks"].status for one in scored]
        assert statuses == ["ok", "ok", status, "ok", "ok"]
        assert outcome(scorer, "fine").value == 1.0


def test_a_call_that_only_waits_too_long_is_cancelled_and_its_process_stays() -> None:
    with scorer_of(f"{HOSTILE}:blocks", QUICK) as scorer:
        before = outcome(scorer, "fine").parts["process"]
        late = outcome(scorer, "waits")
        assert (late.status, late.value) == ("timeout", None)
        assert outcome(scorer, "fine").parts["process"] == before


def test_a_reward_that_only_hangs_is_not_waited_for_a_hundred_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rewards.plugins.pool.MAX_LATE", 3)
    with scorer_of(f"{HOSTILE}:hostile", Limits(timeout_seconds=1.0, workers=1)) as scorer:
        scored = scorer.score_group(OPEN, ["sleeps"] * 100)
        assert [one.outcomes["hostile"].status for one in scored] == ["timeout"] * 100
        reasons = [one.outcomes["hostile"].reason for one in scored]
        assert sum(reason.startswith("no outcome within") for reason in reasons) == 3
        assert sum(reason.startswith("not called: its last 3 calls") for reason in reasons) == 97
        monkeypatch.setattr("rewards.plugins.pool.PAUSE_SECONDS", 0.0)
        assert outcome(scorer, "fine").value == 1.0
        assert outcome(scorer, "fine").value == 1.0


def test_a_child_that_fills_its_memory_is_replaced_before_it_fails() -> None:
    with scorer_of(f"{HOSTILE}:leaks", Limits(timeout_seconds=60.0, memory_gib=0.6, workers=1)) as scorer:
        found = [outcome(scorer, f"call {number}") for number in range(8)]
    assert [one.status for one in found] == ["ok"] * 8
    assert len({one.parts["process"] for one in found}) > 1


def test_closing_ends_every_process_also_the_busy_and_those_that_they_started() -> None:
    scorer, others = (
        scorer_of(f"{HOSTILE}:hostile", Limits(timeout_seconds=60.0, workers=2)),
        set(children_of(os.getpid())),
    )
    with scorer:
        assert outcome(scorer, "forks").value == 1.0
        pending = [scorer.submit(OPEN, "sleeps", "g") for _ in range(4)]
        time.sleep(0.3)
        running = set(children_of(os.getpid())) - others
        assert len(running) == 2
    assert not any(is_running(pid) for pid in running)
    assert all(future.done() for future in pending)


PARENT = """
import sys, time
from rewards import Rubric, Sample, Scorer
from rewards.contract import Limits
scorer = Scorer(Rubric({sys.argv[1] + ":hostile": 1.0}, limits=Limits(timeout_seconds=600.0)))
scorer.submit(Sample("q", "?", "open", "x"), "fine", "g").result()
scorer.submit(Sample("q", "?", "open", "x"), "spins", "g")
print("ready", flush=True)
time.sleep(600)
"""


def test_a_parent_that_is_killed_leaves_no_child() -> None:
    command = [sys.executable, "-c", PARENT, HOSTILE]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
    assert parent.stdout is not None
    assert parent.stdout.readline() == "ready\n"
    time.sleep(0.2)
    running = children_of(parent.pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert running
    deadline = time.monotonic() + 10.0
    while any(is_running(pid) for pid in running) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(is_running(pid) for pid in running)


def test_a_slow_reward_keeps_nobody_waiting() -> None:
    judge = RulesJudge()
    weights = {f"{HOSTILE}:hostile": 0.0, "format": 1.0}
    with Scorer(Rubric(weights, judge=judge, limits=QUICK)) as scorer, scorer_of(f"{KIND}:chars") as other:
        outcome(other, "warm")
        slow = scorer.submit(OPEN, "sleeps", "g")
        assert outcome(other, "four").value == 4.0
        assert not slow.done()
        assert slow.result(30).outcomes["hostile"].status == "timeout"


def test_what_a_reward_prints_goes_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "rewards.plugins"), scorer_of(f"{KIND}:chars") as scorer:
        assert outcome(scorer, "four").value == 4.0
        time.sleep(0.2)
    assert "chars: counting 4" in caplog.messages


def test_a_reward_sees_the_image_and_not_the_trainers_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted")
    picture = Media("image", data=to_png(Image.new("RGB", (321, 8))))
    with Scorer(Rubric({f"{KIND}:width": 1.0, f"{KIND}:environment": 1.0}, limits=PATIENT)) as scorer:
        scored = scorer.submit(Sample("q", "?", "open", "x", media=(picture,)), "OPENAI_API_KEY", "g").result(30)
    assert scored.outcomes["width"].value == 321.0
    assert scored.outcomes["environment"].value == 0.0
    names = (scored.outcomes["environment"].evidence or {})["names"]
    assert "PYTHONHASHSEED" in names
    assert "OPENAI_API_KEY" not in names


class SlowJudge(RulesJudge):
    """Thinks longer than a reward may take, and remembers what it was asked."""

    shows_images = True
    is_instant = False

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, int, str | None]] = []

    async def judge(self, asked: Question) -> Verdict:
        self.asked.append((asked.answer, len(asked.media), asked.group_key))
        await asyncio.sleep(3.0 if asked.answer == "Pneumonia" else 0.0)
        return await super().judge(asked)


def test_a_reward_asks_the_runs_judge_and_its_clock_stands_while_the_judge_thinks() -> None:
    judge = SlowJudge()
    with scorer_of(f"{KIND}:judged", QUICK, judge) as scorer:
        scored = scorer.submit(OPEN, "<answer>Pneumonia</answer>", "group 7").result(30)
    found = scored.outcomes["judged"]
    assert (found.status, found.value, found.parts) == ("ok", 1.0, {"met": 1.0})
    assert found.evidence == {"layer": "rules", "judge": "rules", "shows_images": True}
    assert judge.asked == [("Pneumonia", 1, "group 7")]


def test_a_reward_that_asks_without_end_is_stopped() -> None:
    judge = SlowJudge()
    with scorer_of(f"{KIND}:curious", PATIENT, judge) as scorer:
        found = outcome(scorer, "<answer>Asthma</answer>")
    assert found.status == "error"
    assert "one call may ask 256 questions" in found.reason
    assert len(judge.asked) == 256


@pytest.mark.parametrize("how", ["in pieces", "by name", "with a text"])
def test_a_reward_that_asks_without_a_question_is_told_how_to_ask(how: str) -> None:
    judge = SlowJudge()
    with scorer_of(f"{KIND}:asks_in_the_old_way", PATIENT, judge) as scorer:
        found = outcome(scorer, how)
    assert (found.value, found.status) == (None, "error")
    assert found.reason.startswith("TypeError: judge.judge takes one Question: await judge.judge(Question(question, ")
    assert f'File "{KIND}", line ' in (found.evidence or {})["traceback"]
    assert judge.asked == []


def test_many_threads_share_one_scorer() -> None:
    from concurrent.futures import ThreadPoolExecutor

    with scorer_of(f"{KIND}:chars") as scorer, ThreadPoolExecutor(8) as threads:
        lengths = list(threads.map(lambda n: outcome(scorer, "x" * n).value, range(64)))
    assert lengths == [float(n) for n in range(64)]
