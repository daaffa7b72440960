"""Runs a rubric on completions as they arrive: rules at once, judges on one thread with its own event loop, identical answers of a group once."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Coroutine, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Any

from rewards.registry import BoundReward, failed
from rewards.rubric import Rubric, Scored
from rollouts.records import Outcome, Parsed, Sample

# Groups whose answers are remembered; older ones are forgotten, which costs a question asked again and nothing else.
MAX_GROUPS = 4096
Shared = dict[tuple[str, str, str], "asyncio.Task[Outcome]"]


class Scorer:
    """Scores completions. One for a whole run; a context manager, closed at its end. Threads may share it."""

    def __init__(self, rubric: Rubric, timeout_seconds: float = 900.0) -> None:
        self.rubric = rubric
        self._timeout_seconds = timeout_seconds
        self._groups: OrderedDict[str, Shared] = OrderedDict()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._closed = False

    def submit(self, sample: Sample, completion: str, group_key: str, finish_reason: str = "stop") -> Future[Scored]:
        """Score one completion. What needs no waiting is done before this returns; the future never holds an exception of a reward.

        `group_key`: completions under one key share judgements of identical answers. `finish_reason` "length" makes an unfinished answer none.
        Raises RewardError for an answer type without a route, RuntimeError after `close`.
        """
        if self._closed:
            raise RuntimeError("this scorer is closed")
        parsed = self.rubric.parse(sample, completion, finish_reason)
        rewards = self.rubric.rewards_for(sample)
        outcomes = {name: bound.now(parsed, sample, completion) for name, bound in rewards.items() if not bound.reward.is_async}
        waiting = {name: bound for name, bound in rewards.items() if bound.reward.is_async}
        if not waiting:
            done: Future[Scored] = Future()
            done.set_result(self.rubric.total(parsed, outcomes))
            return done
        return asyncio.run_coroutine_threadsafe(
            self._finish(sample, completion, parsed, outcomes, waiting, group_key), self._running()
        )

    def score_group(self, sample: Sample, completions: Sequence[str], group_key: str | None = None) -> list[Scored]:
        """Score all completions of one prompt and wait for them."""
        futures = [self.submit(sample, completion, group_key or sample.id) for completion in completions]
        return [future.result() for future in futures]

    async def _finish(
        self,
        sample: Sample,
        completion: str,
        parsed: Parsed,
        outcomes: dict[str, Outcome],
        waiting: dict[str, BoundReward],
        group_key: str,
    ) -> Scored:
        tasks = {name: self._task(name, bound, sample, completion, parsed, group_key) for name, bound in waiting.items()}
        found = await asyncio.gather(*(asyncio.shield(task) for task in tasks.values()))
        return self.rubric.total(parsed, {**outcomes, **dict(zip(tasks, found, strict=True))})

    def _task(
        self, name: str, bound: BoundReward, sample: Sample, completion: str, parsed: Parsed, group_key: str
    ) -> asyncio.Task[Outcome]:
        if not bound.reward.by_answer:
            return asyncio.ensure_future(self._limited(bound.later(parsed, sample, completion)))
        shared = self._groups.setdefault(group_key, {})
        self._groups.move_to_end(group_key)
        while len(self._groups) > MAX_GROUPS:
            self._groups.popitem(last=False)
        key = (name, sample.id, parsed.answer or "")
        if key not in shared:
            shared[key] = asyncio.ensure_future(self._limited(bound.later(parsed, sample, completion)))
        return shared[key]

    async def _limited(self, call: Coroutine[Any, Any, Outcome]) -> Outcome:
        try:
            return await asyncio.wait_for(call, self._timeout_seconds)
        except TimeoutError:
            return failed(TimeoutError(f"no outcome within {self._timeout_seconds} s"))

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="rewards", daemon=True)
                self._thread.start()
            return self._loop

    def close(self) -> None:
        """Cancel what is still asked, close the judge's connections, end the thread. A second call does nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        if self._loop is None or self._thread is None:
            if self.rubric.judge is not None:
                asyncio.run(self.rubric.judge.close())
            return
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(timeout=30.0)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=30.0)
        self._loop.close()

    async def _stop(self) -> None:
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self.rubric.judge is not None:
            await self.rubric.judge.close()

    def __enter__(self) -> Scorer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
