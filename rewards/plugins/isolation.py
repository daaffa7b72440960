"""Calls a reward of others in child processes, so that nothing it does costs more than the outcome of that call
(JUDGING.md).

An exception, a hang, `os._exit`, a segmentation fault, an allocation beyond the limit or rubbish on the socket gives
that outcome a status; the child is killed with everything it started, and the next call gets a new one. All of this
runs on the scorer's event loop.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from judges import Judge
from judges.verdict import Criteria, Question
from rewards.calling import BoundReward
from rewards.contract import Limits, Member, RewardError
from rewards.plugins import handshake, wire
from rollouts import children
from rollouts.records import Outcome, Sample

log = logging.getLogger("rewards.plugins")
# Calls of an asynchronous reward that one child holds at a time. Another reward is called alone.
SIDE_BY_SIDE = 64
# Seconds within which a child answers that it cancelled a call; else it is stuck.
GRACE_SECONDS = 1.0
TICK_SECONDS = 0.05
# Questions that one call may put to the judge. The judge has a budget of its own; this stops one reward gone wild.
MAX_QUESTIONS = 256
MAX_LOG_LINES = 200
KEPT_OUTPUT = 8_000


class Lost(Exception):
    """A child ended while it held calls. Internal: it becomes an outcome, or the call is made again alone."""

    def __init__(self, outcome: Outcome, shared: bool) -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome
        # Whether other calls were in that child, so that nobody knows whose fault it was.
        self.shared = shared


@dataclass
class _Call:
    reply: asyncio.Future[wire.Frame]
    # Questions that wait for the judge, while the clock stands; and the number of all questions.
    asking: int = 0
    num_questions: int = 0
    # Its time is up; an answer now comes too late.
    late: bool = False


class Child:
    """One child process with the calls it holds."""

    def __init__(self, bound: BoundReward, limits: Limits) -> None:
        self.bound, self.limits = bound, limits
        self.calls: dict[int, _Call] = {}
        self.dead = False
        # No further call: it is short of memory. It ends when its last call is done.
        self.retired = False
        self._process: subprocess.Popen[bytes] | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._numbers = itertools.count()
        self._printed = b""
        self._num_lines = 0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._last = Outcome(None, "error", "its process is gone")

    async def start(self) -> None:
        """Start the process and let it load the reward. Raises Lost where it does not load, OSError where the machine
        starts no process."""
        reading, writing = os.pipe()
        try:
            self._process, connection = handshake.start(writing)
        finally:
            os.close(writing)
            self._own(self._drain(reading))
        reader, self._writer = await asyncio.open_connection(sock=connection)
        reward = self.bound.reward
        assert reward.source is not None
        self._send(handshake.setup(reward.source, self.bound.arguments, self.limits, self.bound.judge))
        try:
            first = await asyncio.wait_for(wire.read(reader), handshake.LOAD_SECONDS)
            if first is None:
                await self._lose("error")
            else:
                handshake.read_ready(reward.name, reward.source, first.body)
        except TimeoutError:
            await self._lose("timeout", f"it was still importing after {handshake.LOAD_SECONDS:g} s")
        except (RewardError, wire.WireError) as error:
            await self._lose("error", str(error))
        if self.dead:
            raise Lost(self._last, shared=False)
        self._own(self._listen(reader))

    async def call(self, sample: Sample, members: Sequence[Member], group_key: str | None) -> list[Outcome]:
        """Return one outcome a member. Raises Lost where the child ends first."""
        if self.dead:
            raise Lost(self._last, shared=True)
        number = next(self._numbers)
        call = self.calls[number] = _Call(asyncio.get_running_loop().create_future())
        try:
            request = {"call": number, "sample": sample, "members": list(members), "group_key": group_key}
            self._send(request)
            await self._wait(number, call)
            return self._read(await call.reply, len(members))
        except asyncio.CancelledError:
            self._abandon(number)
            raise
        finally:
            self.calls.pop(number, None)
            if self.retired and not self.calls:
                await self.close()

    async def _wait(self, number: int, call: _Call) -> None:
        """Wait until the call is done or its time is up. Seconds in which the judge thinks are not the reward's."""
        spent = 0.0
        while not call.reply.done():
            began = time.monotonic()
            await asyncio.wait([call.reply], timeout=TICK_SECONDS)
            spent += 0.0 if call.asking else time.monotonic() - began
            if not call.reply.done() and not self.dead and self._process and children.has_ended(self._process):
                await self._lose("error")
            elif not call.reply.done() and spent > self.limits.timeout_seconds:
                await self._too_late(number, call)

    async def _too_late(self, number: int, call: _Call) -> None:
        if self.bound.reward.is_async:
            self._send({"cancel": number})
            await asyncio.wait([call.reply], timeout=GRACE_SECONDS)
        if call.reply.done() or self.dead or self._process is None:
            return
        call.late = True
        os.kill(self._process.pid, signal.SIGUSR1)  # it prints where it stands, even inside C code
        deadline = time.monotonic() + handshake.STACK_SECONDS
        while not self._place() and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.1)  # the rest of the stack
        await self._lose(
            "timeout", f"no outcome within {self.limits.timeout_seconds:g} s (reward.plugin_timeout_seconds)"
        )

    def _read(self, frame: wire.Frame, num_members: int) -> list[Outcome]:
        try:
            outcomes = wire.build(tuple[Outcome, ...], frame.body.get("outcomes"))
        except wire.WireError as error:
            return [Outcome(None, "error", f"the outcome is not readable: {error}")] * num_members
        if len(outcomes) != num_members:
            return [
                Outcome(None, "error", f"{len(outcomes)} outcomes came back for {num_members} completions")
            ] * num_members
        return list(outcomes)

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        """Read frames of the child until it closes its end or writes something that is no frame."""
        try:
            while (frame := await wire.read(reader)) is not None:
                number = frame.body.get("done", frame.body.get("call"))
                call = self.calls.get(number) if isinstance(number, int) else None
                if "ask" in frame.body:
                    self._own(self._answer(frame, call))
                elif call is not None and not call.reply.done() and not call.late:
                    self.retired = self.retired or frame.body.get("retire") is True
                    call.reply.set_result(frame)
        except wire.WireError as error:
            await self._lose("error", f"it wrote rubbish to the scorer: {error}")
        else:
            await self._lose("error")

    async def _answer(self, frame: wire.Frame, call: _Call | None) -> None:
        """Put a question of the reward to the judge."""
        answer: dict[str, Any] = {"answer": frame.body["ask"]}
        judge = self.bound.judge
        if call is None or judge is None:
            answer["refused"] = "it asks on behalf of no call" if judge else "there is none"
        elif call.num_questions >= MAX_QUESTIONS:
            answer["refused"] = f"one call may ask {MAX_QUESTIONS} questions"
        else:
            call.num_questions += 1
            call.asking += 1
            try:
                answer["said"] = await _put(judge, frame)
            except Exception as error:  # a judge does not raise; whatever it is becomes the reward's error, not ours
                answer["refused"] = f"{type(error).__name__}: {error}"
            finally:
                call.asking -= 1
        self._send(answer)

    def _send(self, body: Mapping[str, Any]) -> None:
        if self._writer is not None and not self.dead:
            self._writer.write(wire.encode(body))

    async def _drain(self, reading: int) -> None:
        """Write what the reward prints to the log. Keep its end: that is where a crash shows its stack."""
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, os.fdopen(reading, "rb", 0))
        try:
            line = b""
            while part := await reader.read(1 << 16):
                self._printed = (self._printed + part)[-KEPT_OUTPUT:]
                *lines, line = (line + part)[-(1 << 17) :].split(b"\n")
                for text in lines[: max(0, MAX_LOG_LINES - self._num_lines)]:
                    self._num_lines += 1
                    log.info("%s: %s", self.bound.reward.name, text[:500].decode(errors="replace"))
        finally:
            transport.close()

    async def _lose(self, status: Literal["error", "timeout"], reason: str = "") -> None:
        """Give the child's calls their outcome and end the process. `reason`: "" = how the process itself ended."""
        if self.dead or self._process is None:
            return
        self.dead = True
        deadline = time.monotonic() + handshake.CLOSING_SECONDS
        while not reason and not children.has_ended(self._process) and time.monotonic() < deadline:
            await asyncio.sleep(0.005)
        reason = reason or handshake.ending(self._process)
        await self._kill(self._process)
        await asyncio.sleep(0.02)  # the last of what it printed
        evidence = {"output": self._output()} if self._output() else None
        self._last = Outcome(None, status, reason + self._place(), evidence=evidence)
        shared = len(self.calls) > 1
        for call in self.calls.values():
            if not call.reply.done():
                call.reply.set_exception(Lost(self._last, shared))
        await self.close()

    def _output(self) -> str:
        """The end of what the child printed."""
        return self._printed.decode(errors="replace").strip()[-4_000:]

    def _place(self) -> str:
        """Where the child stood when it printed its stack; "" = it has printed none."""
        return handshake.place_in(self._output(), self.bound.reward.source) if self.bound.reward.source else ""

    async def _kill(self, process: subprocess.Popen[bytes]) -> None:
        children.kill(process)
        while not children.has_ended(process):
            await asyncio.sleep(0.005)

    def _abandon(self, number: int) -> None:
        """Drop a call that nobody waits for. A child that cannot drop it is killed."""
        if self.bound.reward.is_async:
            self._send({"cancel": number})
        elif not self.dead:
            self.dead = True
            self._own(self.close())

    async def close(self) -> None:
        """End the process and everything it started, and reap it. A second call does nothing."""
        self.dead = True
        if self._writer is not None:
            self._writer.close()
        if self._process is not None:
            await self._kill(self._process)
            self._process.wait()
        for task in self._tasks - {asyncio.current_task()}:
            task.cancel()

    def _own(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _put(judge: Judge, frame: wire.Frame) -> Any:
    if "criteria" in frame.body:
        return await judge.assess(wire.build(Criteria, frame.body["criteria"], frame.attached))
    return await judge.judge(wire.build(Question, frame.body.get("question"), frame.attached))
