"""The process in which a reward of others runs: `python -m rewards.plugins.child SOCKET`. `rewards.plugins.handshake`
starts it, not a person.

It loads one reward, answers calls over its socket, and ends when that closes. What the reward prints goes to the
scorer's log. A reward of one completion or group at a time is called directly; asynchronous ones run side by side and
may ask the scorer's judge through the socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import itertools
import math
import os
import resource
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from judges.verdict import Assessment, Criteria, Question, Verdict
from rewards.calling import BoundReward, failure_of
from rewards.contract import Limits, Member, Reward, RewardError, Source, check_arguments
from rewards.plugins import wire
from rewards.plugins.loading import ROOM, load, ready, why_not
from rollouts.records import Outcome, Sample

# Bytes of what one call may return, evidence included.
MAX_REPLY = 1 << 20
# The share of its memory limit at which a child is replaced before it fails for lack of room.
RETIRE_AT = 0.75
# The message for a reward that gives the judge anything but one Question.
HOW_TO_ASK = (
    "judge.judge takes one Question: await judge.judge(Question(question, reference, answer, aliases=(..), media=(..),"
    " group_key=..)), with `from judges import Question`"
)
# Number of the call that runs, also in tasks that the reward starts. The call's clock stands while the judge thinks.
_CALL: ContextVar[int] = ContextVar("call")


@dataclass(frozen=True)
class Setup:
    """The first message of the parent."""

    source: Source
    arguments: Mapping[str, Any]
    limits: Limits
    # Name of the judge; "" = there is none.
    judge: str
    # Whether the judge looks at images.
    shows_images: bool


@dataclass(frozen=True)
class Call:
    """One completion, or one group, to score."""

    call: int
    sample: Sample
    members: tuple[Member, ...]
    group_key: str | None


class ParentJudge:
    """The judge as a reward in a child sees it. Every question goes to the scorer's one judge, under its limits."""

    def __init__(self, name: str, shows_images: bool, writer: asyncio.StreamWriter) -> None:
        self.name = name
        self.shows_images = shows_images
        self._writer = writer
        self._numbers = itertools.count()
        self._pending: dict[int, asyncio.Future[wire.Frame]] = {}

    async def judge(self, question: object = None, *others: object, **named: object) -> Verdict:
        """Do what `judges.Judge.judge` does. Raises TypeError, which says how to ask, for anything but one Question;
        RewardError where the scorer does not ask."""
        if others or named or not isinstance(question, Question):
            raise TypeError(HOW_TO_ASK)
        return wire.build(Verdict, await self._ask("question", question))

    async def assess(self, criteria: Criteria) -> Assessment:
        """Do what `judges.Judge.assess` does. Raises RewardError where the scorer does not ask."""
        return wire.build(Assessment, await self._ask("criteria", criteria))

    async def _ask(self, kind: str, request: Question | Criteria) -> Any:
        number = next(self._numbers)
        self._pending[number] = asyncio.get_running_loop().create_future()
        self._writer.write(wire.encode({"ask": number, "call": _CALL.get(), kind: request}))
        try:
            body = (await self._pending[number]).body
        finally:
            del self._pending[number]
        if "refused" in body:
            raise RewardError(f"the judge was not asked: {body['refused']}")
        return body["said"]

    def hand_over(self, frame: wire.Frame) -> None:
        """Give the parent's answer to the call that waits for it."""
        waiting = self._pending.get(frame.body["answer"])
        if waiting is not None and not waiting.done():
            waiting.set_result(frame)


class Worker:
    """One reward with its limits, and the socket on which it is called."""

    def __init__(self, connection: socket.socket, setup: Setup, reward: Reward) -> None:
        self.connection, self.setup = connection, setup
        self.reward = reward
        self._memory_bytes = int(setup.limits.memory_gib * 2**30)
        self._pid = os.getpid()

    def serve(self) -> None:
        """Answer calls, one at a time, until the socket closes."""
        bound = BoundReward(self.reward, None, self.setup.arguments)
        while (frame := wire.receive(self.connection)) is not None:
            call = wire.build(Call, frame.body, frame.attached)
            self._allow_cpu()
            try:
                outcomes = bound.now(call.sample, call.members, call.group_key)
            except BaseException as error:  # sys.exit and the like: an outcome of this call
                outcomes = [failure_of(error)] * len(call.members)
            if os.getpid() != self._pid:  # the reward forked, and this is the copy
                os._exit(0)
            self.connection.sendall(self._reply(call.call, outcomes))

    async def serve_side_by_side(self) -> None:
        """Answer calls of an asynchronous reward, many at a time, until the socket closes."""
        reader, writer = await asyncio.open_connection(sock=self.connection)
        judge = ParentJudge(self.setup.judge, self.setup.shows_images, writer)
        bound = BoundReward(self.reward, judge if self.setup.judge else None, self.setup.arguments)  # type: ignore[arg-type]
        running: dict[int, asyncio.Task[None]] = {}
        while (frame := await wire.read(reader)) is not None:
            if "answer" in frame.body:
                judge.hand_over(frame)
            elif "cancel" in frame.body:
                if task := running.get(frame.body["cancel"]):
                    task.cancel()
            else:
                call = wire.build(Call, frame.body, frame.attached)
                self._allow_cpu()
                task = asyncio.create_task(self._one(bound, call, writer))
                running[call.call] = task
                task.add_done_callback(partial(self._forget, running, call.call))

    @staticmethod
    def _forget(running: dict[int, asyncio.Task[None]], number: int, task: asyncio.Task[None]) -> None:
        running.pop(number, None)

    async def _one(self, bound: BoundReward, call: Call, writer: asyncio.StreamWriter) -> None:
        _CALL.set(call.call)
        try:
            outcomes = await bound.later(call.sample, call.members, call.group_key)
        except asyncio.CancelledError:
            late = f"no outcome within {self.setup.limits.timeout_seconds:g} s (reward.plugin_timeout_seconds)"
            outcomes = [failure_of(TimeoutError(late))] * len(call.members)
        except BaseException as error:  # as above
            outcomes = [failure_of(error)] * len(call.members)
        if os.getpid() != self._pid:
            os._exit(0)
        writer.write(self._reply(call.call, outcomes))
        with contextlib.suppress(ConnectionError):
            await writer.drain()

    def _reply(self, number: int, outcomes: Sequence[Outcome]) -> bytes:
        short = [outcome.reason.startswith("MemoryError") for outcome in outcomes]
        outcomes = [
            replace(outcome, reason=f"{outcome.reason} ({ROOM})") if out_of_room else outcome
            for outcome, out_of_room in zip(outcomes, short, strict=True)
        ]
        retire = any(short) or _address_space() > RETIRE_AT * self._memory_bytes
        try:
            reply = wire.encode({"done": number, "outcomes": list(outcomes), "retire": retire})
        except wire.WireError as error:
            reply, problem = b"", f"the outcome cannot be stored: {error}"
        else:
            problem = (
                f"the outcome has {len(reply):,} bytes, at most {MAX_REPLY:,} are kept"
                if len(reply) > MAX_REPLY
                else ""
            )
        if problem:
            reply = wire.encode(
                {"done": number, "outcomes": [Outcome(None, "error", problem)] * len(outcomes), "retire": retire}
            )
        return reply

    def _allow_cpu(self) -> None:
        """Allow CPU seconds up to the deadline of this call and some more: a last resort where nobody is left to kill
        this process or its copies."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        more = (self.setup.limits.timeout_seconds + 10.0) * (os.cpu_count() or 1)
        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(used.ru_utime + used.ru_stime + more), hard))


def _address_space() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def _confine(limits: Limits) -> None:
    num_bytes = int(limits.memory_gib * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (num_bytes, num_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main(argv: Sequence[str]) -> None:
    """Load the reward that the parent names, tell the parent what it is, then serve."""
    printed = os.fdopen(
        os.dup(2), "w"
    )  # a copy, so that a reward that closes its streams can still be asked where it stands
    faulthandler.enable(printed)
    faulthandler.register(signal.SIGUSR1, printed, all_threads=False)
    connection = socket.socket(fileno=int(argv[0]))
    connection.set_inheritable(False)
    first = wire.receive(connection)
    if first is None:
        return
    setup = wire.build(Setup, first.body)
    _confine(setup.limits)
    try:
        reward = load(setup.source)
        check_arguments(reward, setup.arguments)
        connection.sendall(wire.encode({"ready": ready(reward)}))
    except BaseException as error:  # sys.exit in a module, too, is a reward that does not load
        connection.sendall(wire.encode({"failed": why_not(error, setup.source)}))
        return
    worker = Worker(connection, setup, reward)
    if reward.is_async:
        asyncio.run(worker.serve_side_by_side())
    else:
        worker.serve()


if __name__ == "__main__":
    main(sys.argv[1:])
