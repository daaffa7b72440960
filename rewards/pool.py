"""A few child processes for one reward of others: calls go to the idlest, and a crash among several calls is pinned on the one whose fault it is."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from rewards import wire
from rewards.calling import BoundReward
from rewards.children import Limits
from rewards.contract import Member
from rewards.isolation import SIDE_BY_SIDE, Child, Lost
from rollouts.records import Outcome, Sample


class _Slot:
    """A place for one child, which is started when it is first needed and again after it died."""

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
                self._started = [child for child in self._started if not child.dead] + [Child(self._bound, self._limits)]
                await self._started[-1].start()
            return self._started[-1]

    async def close(self) -> None:
        for child in self._started:
            await child.close()


class Pool:
    """The child processes of one reward. Belongs to one event loop; `close` leaves no process."""

    def __init__(self, bound: BoundReward, limits: Limits) -> None:
        self._slots = [_Slot(bound, limits) for _ in range(limits.workers)]
        # Where calls are made again, one at a time, after a child died with several in its hands.
        self._alone = _Slot(bound, limits)
        self._one_at_a_time = asyncio.Lock()
        self._room = asyncio.Semaphore(limits.workers * (SIDE_BY_SIDE if bound.reward.is_async else 1))

    async def later(self, sample: Sample, members: Sequence[Member], group_key: str | None = None) -> list[Outcome]:
        """One outcome a member, as `BoundReward.later`; whatever the reward does to its process is an outcome too."""
        try:
            async with self._room:
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
