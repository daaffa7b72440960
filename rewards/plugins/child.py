"""The process in which a reward of others runs: `python -m rewards.plugins.child SOCKET PARENT`. Started by
`rewards.plugins.children`, not by hand.

It loads one reward, answers calls over its socket, and ends when that closes. What the reward prints goes to the
scorer's log. A reward of one completion or group at a time is called directly; asynchronous ones run side by side and
may ask the scorer's judge through the socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
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

from judges.verdict import Assessment, Criteria, JudgeMedia, Question, Verdict
from rewards.calling import BoundReward, failed
from rewards.contract import Limits, Member, Reward, RewardError, Source, check_arguments
from rewards.plugins import wire
from rewards.plugins.loading import ROOM, load, ready, why_not
from rollouts.records import Outcome, Sample

# Bytes of what one call may return, evidence included.
MAX_REPLY = 1 << 20
# The share of its memory limit at which a child is replaced before it fails for lack of room.
RETIRE_AT = 0.75
PR_SET_PDEATHSIG = 1
# The call on whose behalf code runs, in tasks that the reward starts as well: its clock stands while the judge is
# asked.
_CALL: ContextVar[int] = ContextVar("call")


@dataclass(frozen=True)
class Setup:
    """The first message of the parent."""

    source: Source
    arguments: Mapping[str, Any]
    limits: Limits
    # Name of the judge; "" = there is none.
    judge: str


@dataclass(frozen=True)
class Call:
    """One completion, or one group, to score."""

    call: int
    sample: Sample
    members: tuple[Member, ...]
    group_key: str | None


class ParentJudge:
    """The judge as a reward in a child sees it: every question goes to the scorer's one judge and its limits."""

    def __init__(self, name: str, writer: asyncio.StreamWriter) -> None:
        self.name = name
        self._writer = writer
        self._numbers = itertools.count()
        self._asked: dict[int, asyncio.Future[wire.Frame]] = {}

    async def judge(
        self,
        question: str,
        reference: str,
        aliases: Sequence[str],
        answer: str,
        language: str = "en",
        *,
        media: Sequence[JudgeMedia] = (),
        group_key: str | None = None,
    ) -> Verdict:
        """As `judges.Judge.judge`."""
        asked = Question(question, reference, answer, tuple(aliases), language, tuple(media), group_key)
        return wire.build(Verdict, await self._ask("question", asked))

    async def assess(self, asked: Criteria) -> Assessment:
        """As `judges.Judge.assess`."""
        return wire.build(Assessment, await self._ask("criteria", asked))

    async def _ask(self, kind: str, asked: Question | Criteria) -> Any:
        number = next(self._numbers)
        self._asked[number] = asyncio.get_running_loop().create_future()
        self._writer.write(wire.encode({"ask": number, "call": _CALL.get(), kind: asked}))
        try:
            body = (await self._asked[number]).body
        finally:
            del self._asked[number]
        if "refused" in body:
            raise RewardError(f"the judge was not asked: {body['refused']}")
        return body["said"]

    def answered(self, frame: wire.Frame) -> None:
        """Hand the parent's answer to whoever asked."""
        waiting = self._asked.get(frame.body["answer"])
        if waiting is not None and not waiting.done():
            waiting.set_result(frame)


class Child:
    """One reward, its limits, and the socket on which it is called."""

    def __init__(self, connection: socket.socket, told: Setup, reward: Reward) -> None:
        self.connection, self.told = connection, told
        self.reward = reward
        self._memory_bytes = int(told.limits.memory_gib * 2**30)
        self._pid = os.getpid()

    def serve(self) -> None:
        """Answer calls, one at a time, until the socket closes."""
        bound = BoundReward(self.reward, None, self.told.arguments)
        while (frame := wire.receive(self.connection)) is not None:
            call = wire.build(Call, frame.body, frame.attached)
            self._allow_cpu()
            try:
                outcomes = bound.now(call.sample, call.members, call.group_key)
            except BaseException as error:  # sys.exit and the like: an outcome of this call
                outcomes = [failed(error)] * len(call.members)
            if os.getpid() != self._pid:  # the reward forked, and this is the copy
                os._exit(0)
            self.connection.sendall(self._reply(call.call, outcomes))

    async def serve_side_by_side(self) -> None:
        """The same for an asynchronous reward, many calls at a time."""
        reader, writer = await asyncio.open_connection(sock=self.connection)
        judge = ParentJudge(self.told.judge, writer)
        bound = BoundReward(self.reward, judge if self.told.judge else None, self.told.arguments)  # type: ignore[arg-type]
        running: dict[int, asyncio.Task[None]] = {}
        while (frame := await wire.read(reader)) is not None:
            if "answer" in frame.body:
                judge.answered(frame)
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
            late = f"no outcome within {self.told.limits.timeout_seconds:g} s (reward.plugin_timeout_seconds)"
            outcomes = [failed(TimeoutError(late))] * len(call.members)
        except BaseException as error:  # as above
            outcomes = [failed(error)] * len(call.members)
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
        """CPU seconds up to the deadline of this call and some: a last resort where nobody is left to kill this process
        or its copies."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        more = (self.told.limits.timeout_seconds + 10.0) * (os.cpu_count() or 1)
        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(used.ru_utime + used.ru_stime + more), hard))


def _address_space() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def _confine(limits: Limits) -> None:
    num_bytes = int(limits.memory_gib * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (num_bytes, num_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _die_with(parent: int) -> None:
    """The kernel kills this process when its parent ends, however that ends; where it has ended already, so does
    this."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


def main(argv: Sequence[str]) -> None:
    """Load the reward that the parent names, tell it what was found, then serve."""
    _die_with(int(argv[1]))
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
    told = wire.build(Setup, first.body)
    _confine(told.limits)
    try:
        reward = load(told.source)
        check_arguments(reward, told.arguments)
        connection.sendall(wire.encode({"ready": ready(reward)}))
    except BaseException as error:  # sys.exit in a module, too, is a reward that does not load
        connection.sendall(wire.encode({"failed": why_not(error, told.source)}))
        return
    child = Child(connection, told, reward)
    if reward.is_async:
        asyncio.run(child.serve_side_by_side())
    else:
        child.serve()


if __name__ == "__main__":
    main(sys.argv[1:])
