"""Runs a rubric on completions as they arrive: rules at once, judges on one thread with its own event loop, identical
answers of a group once."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Coroutine, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from rewards.calling import BoundReward, failure_of
from rewards.contract import Member
from rewards.plugins.pool import Pool
from rewards.rubric import Rubric, Scored
from rollouts.records import Outcome, Sample

# Groups whose answers are remembered; older ones are forgotten, which costs a question asked again and nothing else.
MAX_GROUPS = 4096
Shared = dict[tuple[str, str, str], "asyncio.Task[list[Outcome]]"]


@dataclass
class _Gathering:
    """The members of a group that a group-level reward waits for, and where each one's outcome goes."""

    members: list[Member] = field(default_factory=list)
    places: list[asyncio.Future[Outcome]] = field(default_factory=list)


class Scorer:
    """Scores completions. One for a whole run; a context manager, closed at its end. Threads may share it."""

    def __init__(self, rubric: Rubric, timeout_seconds: float = 900.0) -> None:
        self.rubric = rubric
        self._timeout_seconds = timeout_seconds
        self._groups: OrderedDict[str, Shared] = OrderedDict()
        self._gathering: dict[tuple[str, str], _Gathering] = {}
        # Reward of others (by the identity of what the rubric bound) -> its child processes.
        self._pools: dict[int, Pool] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._closed = False

    def submit(
        self,
        sample: Sample,
        completion: str,
        group_key: str,
        finish_reason: str = "stop",
        *,
        num_tokens: int | None = None,
        group_size: int | None = None,
        prefill: str = "",
    ) -> Future[Scored]:
        """Score one completion. What needs no waiting is done before this returns; the future never holds an exception
        of a reward.

        `group_key`: completions under one key share judgements of identical answers. `finish_reason` "length" makes an
        unfinished answer none. `num_tokens`: completion tokens, None where only the text is known. `group_size`:
        completions that will come under this key; group-level rewards run when they are there, and abstain where it is
        None. `prefill`: what the chat template has written of the answer, put back in front before it is read. Raises
        RewardError for an answer type without a route, RuntimeError after `close`.
        """
        if self._closed:
            raise RuntimeError("this scorer is closed")
        parsed = self.rubric.parse(sample, completion, finish_reason, prefill)
        member = Member(parsed, completion, num_tokens, finish_reason)
        rewards = self.rubric.rewards_for(sample)
        waiting = {name: bound for name, bound in rewards.items() if bound.waits or bound.reward.is_group}
        outcomes = {
            name: bound.now(sample, [member], group_key)[0] for name, bound in rewards.items() if name not in waiting
        }
        if not waiting:
            done: Future[Scored] = Future()
            done.set_result(self.rubric.total(member.parsed, outcomes))
            return done
        return asyncio.run_coroutine_threadsafe(
            self._finish(sample, member, outcomes, waiting, group_key, group_size), self._running()
        )

    def score_group(
        self,
        sample: Sample,
        completions: Sequence[str],
        group_key: str | None = None,
        *,
        num_tokens: Sequence[int] | None = None,
        finish_reasons: Sequence[str] | None = None,
    ) -> list[Scored]:
        """Score all completions of one prompt and wait for them. `num_tokens` and `finish_reasons`: one a completion,
        where known."""
        size = len(completions)
        tokens: Sequence[int | None] = num_tokens or [None] * size
        reasons = finish_reasons or ["stop"] * size
        futures = [
            self.submit(sample, completion, group_key or sample.id, reason, num_tokens=count, group_size=size)
            for completion, count, reason in zip(completions, tokens, reasons, strict=True)
        ]
        return [future.result() for future in futures]

    async def _finish(
        self,
        sample: Sample,
        member: Member,
        outcomes: dict[str, Outcome],
        waiting: dict[str, BoundReward],
        group_key: str,
        group_size: int | None,
    ) -> Scored:
        calls = [
            self._in_group(name, bound, sample, member, group_key, group_size)
            if bound.reward.is_group
            else self._alone(name, bound, sample, member, group_key)
            for name, bound in waiting.items()
        ]
        results = await asyncio.gather(*calls)
        return self.rubric.total(member.parsed, {**outcomes, **dict(zip(waiting, results, strict=True))})

    async def _alone(self, name: str, bound: BoundReward, sample: Sample, member: Member, group_key: str) -> Outcome:
        if not bound.reward.by_answer:
            return (await self._limited(self._ask(bound, sample, [member], group_key), 1))[0]
        shared = self._groups.setdefault(group_key, {})
        self._groups.move_to_end(group_key)
        while len(self._groups) > MAX_GROUPS:
            self._groups.popitem(last=False)
        key = (name, sample.id, member.parsed.answer or "")
        if key not in shared:
            shared[key] = asyncio.ensure_future(self._limited(self._ask(bound, sample, [member], group_key), 1))
        return (await asyncio.shield(shared[key]))[0]

    async def _in_group(
        self, name: str, bound: BoundReward, sample: Sample, member: Member, group_key: str, group_size: int | None
    ) -> Outcome:
        if group_size is None:
            return Outcome(
                None, "abstain", "this reward compares the completions of a group, and this one was scored alone"
            )
        gathering = self._gathering.setdefault((name, group_key), _Gathering())
        place: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        gathering.members.append(member)
        gathering.places.append(place)
        if len(gathering.members) == group_size:
            del self._gathering[name, group_key]
            outcomes = await self._ask_group(bound, sample, gathering.members, group_key)
            for waiting, outcome in zip(gathering.places, outcomes, strict=True):
                if not waiting.done():
                    waiting.set_result(outcome)
        try:
            return await asyncio.wait_for(place, self._timeout_seconds)
        except TimeoutError:
            if self._gathering.get((name, group_key)) is gathering:
                del self._gathering[name, group_key]
            there = f"{len(gathering.members)} of {group_size} members were there"
            return failure_of(
                TimeoutError(f"the group was not complete and scored within {self._timeout_seconds} s: {there}")
            )

    async def _ask_group(
        self, bound: BoundReward, sample: Sample, members: Sequence[Member], group_key: str
    ) -> list[Outcome]:
        """One outcome a member. The reward sees them in an order of their texts, so that it cannot depend on which
        arrived first."""
        order = sorted(
            range(len(members)),
            key=lambda i: (members[i].completion, members[i].num_tokens or 0, members[i].finish_reason),
        )
        call = self._ask(bound, sample, [members[i] for i in order], group_key)
        back = dict(zip(order, await self._limited(call, len(members)), strict=True))
        return [back[i] for i in range(len(members))]

    async def _ask(
        self, bound: BoundReward, sample: Sample, members: Sequence[Member], group_key: str
    ) -> list[Outcome]:
        if bound.reward.source is not None:
            if id(bound) not in self._pools:
                self._pools[id(bound)] = Pool(bound, self.rubric.limits)
            return await self._pools[id(bound)].later(sample, members, group_key)
        if bound.waits:
            return await bound.later(sample, members, group_key)
        return bound.now(sample, members, group_key)

    async def _limited(self, call: Coroutine[Any, Any, list[Outcome]], num_members: int) -> list[Outcome]:
        try:
            return await asyncio.wait_for(call, self._timeout_seconds)
        except TimeoutError:
            return [failure_of(TimeoutError(f"no outcome within {self._timeout_seconds} s"))] * num_members

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
        for pool in self._pools.values():
            await pool.close()
        if self.rubric.judge is not None:
            await self.rubric.judge.close()

    def __enter__(self) -> Scorer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
