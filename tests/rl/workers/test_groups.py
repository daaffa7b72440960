"""Groups of workers without Ray: what is asked of whom, and where the answers go."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rl.policy.batching import Row
from rl.workers.failures import WorkerFailed
from rl.workers.groups import PolicyGroup, RolloutGroup
from rl.workers.parcels import Letter, Parcels
from rl.workers.reference_worker import AdapterOff
from rollouts.engine.requests import Request, RequestKey, SamplingSettings
from rollouts.prompt.processing import EncodedPrompt
from rollouts.records import Completion


class AtOnce:
    """Workers and session in one: a call is answered when it is made, with the tokens of each row, below 0 for the
    reference."""

    world_size, timeout = 2, 1.0

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers: list[Any] = []
        self.parcels = Parcels(lambda prompt: prompt, "float32")
        names = ("log_probs", "reference_log_probs")
        methods = {name: SimpleNamespace(remote=functools.partial(self.answer, name)) for name in names}
        self.workers = [SimpleNamespace(**methods) for _ in range(self.world_size)]

    def answer(self, method: str, letter: Letter, rest: tuple[Any, ...], *prompts: EncodedPrompt) -> int:
        """A reference to the answer, a number."""
        self.asked.append(method)
        sign = -1.0 if method == "reference_log_probs" else 1.0
        self.answers.append([[sign * token for token in row.completion_ids] for row in letter.opened(prompts)])
        return len(self.answers) - 1

    def execute_all_async(self, method: str, *arguments: Any) -> list[int]:
        """Of calls that are the same for every worker."""
        self.answers += [None] * self.world_size
        return list(range(len(self.answers) - self.world_size, len(self.answers)))

    def first_ready(self, references: Sequence[int], seconds: float) -> int:
        return references[-1]

    def fetch(self, reference: int, seconds: float | None = None) -> Any:
        return self.answers[reference]

    def log_files(self, pid: int) -> list[Path]:
        return []


def test_the_reference_of_an_adapter_is_asked_of_the_policys_own_ranks() -> None:
    workers = AtOnce()
    policy = PolicyGroup("policy", workers, workers)
    prompts = [EncodedPrompt(name, "", (1, 2, 3), {}, fingerprint=name) for name in "abc"]
    rows = [Row(prompt, (10 * place, 10 * place + 1)) for place, prompt in enumerate(prompts, start=1)]
    waits = AdapterOff(policy).start_log_probs(rows)
    assert waits.ready() and waits() == [[-10.0, -11.0], [-20.0, -21.0], [-30.0, -31.0]]
    assert policy.log_probs(rows) == [[10.0, 11.0], [20.0, 21.0], [30.0, 31.0]]
    assert workers.asked == ["reference_log_probs"] * 2 + ["log_probs"] * 2


class Scripted:
    """Two engines whose streams are written down: each entry is a list of completions that come together, or None where
    nothing comes for as long as the caller is patient. Session, workers and their calls in one."""

    world_size, timeout = 2, 0.2

    def __init__(self, *streams: list[Any]) -> None:
        # What each engine was told to prepare, and then to draw.
        self.prepared: list[list[Request]] = [[] for _ in streams]
        self.drawn: list[list[Request]] = [[] for _ in streams]
        self.workers = [self.worker(rank, iter(stream)) for rank, stream in enumerate(streams)]

    def worker(self, rank: int, entries: Iterator[Any]) -> Any:
        stream = Stream(entries)

        def sample(requests: Sequence[Request], settings: SamplingSettings, _: Any) -> Any:
            self.drawn[rank] += requests
            return stream

        call = SimpleNamespace(remote=sample)
        prepare = SimpleNamespace(remote=lambda requests, settings: self.prepared[rank].extend(requests))
        return SimpleNamespace(stream=stream, sample=SimpleNamespace(options=lambda num_returns: call), prepare=prepare)

    def execute_all_async(self, method: str, *arguments: Any) -> list[int]:
        return [0, 0]

    def first_ready(self, references: Sequence[Any], seconds: float) -> Any | None:
        for stream in references:
            if stream.look():
                return stream
        time.sleep(seconds)
        return None

    def fetch(self, reference: Any, seconds: float | None = None) -> Any:
        return reference

    def log_files(self, pid: int) -> list[Path]:
        return []


class Stream:
    def __init__(self, entries: Iterator[Any]) -> None:
        self.entries, self.next = entries, None

    def look(self) -> bool:
        """Whether there is something, or the end."""
        self.next = next(self.entries, StopIteration)
        return self.next is not None

    def __next__(self) -> Any:
        if self.next is StopIteration:
            raise StopIteration
        return self.next


def request(name: str) -> Request:
    return Request(name, 0, name, {}, 1)


def completion(name: str) -> tuple[RequestKey, Completion]:
    return RequestKey(name, 0), Completion((1,), name, "stop", (-1.0,), 1, 0)


def test_whoever_waits_for_completions_is_told_when_nothing_came_for_a_while() -> None:
    first, second = completion("a"), completion("b")
    workers = Scripted([None, [first]], [None, None, [second]])
    group = RolloutGroup("rollout", workers, workers)
    settings = SamplingSettings(1.0, 8, 0)
    # Nobody has anything; then the first engine has, and ends; the second still has nothing, then has.
    assert list(group.arrivals([request("a"), request("b")], settings, patience=0.001)) == [None, first, None, second]
    workers = Scripted([None, [first]], [[second]])
    assert dict(RolloutGroup("rollout", workers, workers).sample([request("a"), request("b")], settings)) == dict(
        [first, second]
    )


def test_engines_that_are_silent_for_too_long_are_named() -> None:
    workers = Scripted([None] * 10_000, [])
    arrivals = RolloutGroup("rollout", workers, workers).arrivals(
        [request("a")], SamplingSettings(1.0, 8, 0), patience=0.001
    )
    with pytest.raises(WorkerFailed, match=r"rollout-0 drew nothing for 0\.2 s"):
        assert set(arrivals) == {None}


def test_media_travel_once_to_the_engine_that_will_draw_with_them() -> None:
    workers = Scripted([[completion("a"), completion("c")]], [[completion("b")]])
    group = RolloutGroup("rollout", workers, workers)
    settings = SamplingSettings(1.0, 8, 0)
    asked = [Request(name, 0, name, {"image": [name]}, 1, fingerprint=name) for name in "abc"]
    group.prepare([asked[0], asked[1]], settings)
    assert [[one.prompt_id for one in mine] for mine in workers.prepared] == [["a"], ["b"]]
    assert all(one.media for mine in workers.prepared for one in mine)
    assert len(dict(group.sample(asked, settings))) == 3
    # c was not prepared, so it brings its image along.
    media = {one.prompt_id: one.media for mine in workers.drawn for one in mine}
    assert media == {"a": None, "b": None, "c": {"image": ["c"]}}
