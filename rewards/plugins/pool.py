"""Keeps a few child processes for one reward of others. Calls go to the idlest, and a crash among several calls is
pinned on the guilty one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from rewards.calling import BoundReward
from rewards.contract import Limits, Member
from rewards.plugins import wire
from rewards.plugins.isolation import SIDE_BY_SIDE, Child, Lost
from rollouts.records import Outcome, Sample

# After so many timeouts in a row the reward is not called for a while. Otherwise a step of a hundred hangs would take
# an hour before the failure rate sees them and ends the run.
MAX_LATE = 16
PAUSE_SECONDS = 60.0


class _Slot:
    """A place for one child. It starts the child at the first call, and again after it died."""

    def __init__(self, bound: BoundReward, limits: Limits) -> None:
        self._bound, self._limits = bound, limits
        self.load = 0
        self._started: list[Child] = []
        self._starting = asyncio.Lock()

    async def call(self, sample: Sample, members: Sequence[Member], group_key: str | None) -> list[Outcome]:
        self.load += 1
        try:
            return await (await self._child()).call(sample, members, group_key)
        finally:
            self.load -= 1

    async def _child(self) -> Child:
        async with self._starting:
            if not self._started or self._started[-1].dead or self._started[-1].retired:
                self._started = [child for child in self._started if not child.dead] + [
                    Child(self._bound, self._limits)
                ]
                await self._started[-1].start()
            return self._started[-1]

    async def close(self) -> None:
        for child in self._started:
            await child.close()


class Pool:
    """The child processes of one reward. Belongs to one event loop; `close` leaves no process."""

    def __init__(self, bound: BoundReward, limits: Limits) -> None:
        self._slots = [_Slot(bound, limits) for _ in range(limits.workers)]
        # Makes calls again, one at a time, after a child died while it held several.
        self._alone = _Slot(bound, limits)
        self._one_at_a_time = asyncio.Lock()
        self._room = asyncio.Semaphore(limits.workers * (SIDE_BY_SIDE if bound.reward.is_async else 1))
        # Number of calls in a row that timed out, and when the last call ended (monotonic seconds).
        self._num_late = 0
        self._last_end = 0.0

    async def later(self, sample: Sample, members: Sequence[Member], group_key: str | None = None) -> list[Outcome]:
        """Return one outcome a member, as `BoundReward.later`. Whatever the reward does to its process is an outcome,
        too."""
        async with self._room:
            if self._num_late >= MAX_LATE and time.monotonic() < self._last_end + PAUSE_SECONDS:
                reason = f"not called: its last {self._num_late} calls all came to no outcome in time"
                return [Outcome(None, "timeout", reason)] * len(members)
            outcomes = await self._call(sample, members, group_key)
            self._last_end = time.monotonic()
            late = any(outcome.status == "timeout" for outcome in outcomes)
            self._num_late = self._num_late + 1 if late else 0
            return outcomes

    async def _call(self, sample: Sample, members: Sequence[Member], group_key: str | None) -> list[Outcome]:
        try:
            return await min(self._slots, key=lambda slot: slot.load).call(sample, members, group_key)
        except Lost as lost:
            if not lost.shared:
                return [lost.outcome] * len(members)
        except (OSError, wire.WireError) as error:
            return [Outcome(None, "error", f"the reward could not be called: {error}")] * len(members)
        async with self._one_at_a_time:
            try:
                return await self._alone.call(sample, members, group_key)
            except Lost as lost:
                return [lost.outcome] * len(members)

    async def close(self) -> None:
        """End every child."""
        for slot in (*self._slots, self._alone):
            await slot.close()
