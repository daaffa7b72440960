"""How many calls may be in flight, and how long to wait before the next attempt."""

from __future__ import annotations

import asyncio
import random
import time
from types import TracebackType


class ShrinkingLimit:
    """A semaphore whose size halves on 429 and grows by one per round of successes (additive increase, multiplicative decrease)."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.size = float(most)
        self._in_flight = 0
        self._condition = asyncio.Condition()
        self._last_shrink = -1.0

    async def __aenter__(self) -> ShrinkingLimit:
        async with self._condition:
            await self._condition.wait_for(lambda: self._in_flight < max(1, int(self.size)))
            self._in_flight += 1
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        async with self._condition:
            self._in_flight -= 1
            self._condition.notify_all()

    def refused(self, started: float) -> None:
        """A call that began at monotonic time `started` got 429. One wave of refusals shrinks once."""
        if started >= self._last_shrink:
            self.size = max(1.0, self.size / 2)
            self._last_shrink = time.monotonic()

    def succeeded(self) -> None:
        """A call was answered."""
        self.size = min(float(self.most), self.size + 1.0 / max(1.0, self.size))


def full_jitter(attempt: int, rng: random.Random, base_seconds: float = 0.5, most_seconds: float = 20.0) -> float:
    """Seconds to sleep after failed attempt 0, 1, ..: uniform in 0 .. min(most, base * 2^attempt) (AWS "full jitter")."""
    return rng.uniform(0.0, min(most_seconds, base_seconds * 2.0**attempt))


def retry_after_sleep(seconds: float, rng: random.Random) -> float:
    """A little more than Retry-After asks for (at most 5 %), so that not all callers come back in the same instant."""
    return seconds * rng.uniform(1.0, 1.05)
