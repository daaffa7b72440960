"""When a call may go: how many are in flight, how long to wait before the next attempt, until when a group may wait at
all, and the pause while an endpoint is down (JUDGING.md, Calls)."""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal

log = logging.getLogger(__name__)

# What an attempt said of the endpoint: alive (any reply that is not its failure), down, or nothing (the caller went
# away).
Health = Literal["alive", "down", "unknown"]


class ShrinkingLimit:
    """A semaphore whose size halves on 429 and grows by one per round of successes (additive increase, multiplicative
    decrease).

    A call that is tried again goes before those not yet begun, and of a limit that has shrunk it may use half as many
    places more: it has waited its Retry-After, and calls that hang must not make it wait longer. Never more than
    `most`. Belongs to one event loop at a time.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.size = float(most)
        self._in_flight = 0
        self._again: deque[asyncio.Future[None]] = deque()
        self._fresh: deque[asyncio.Future[None]] = deque()
        self._last_shrink = self._quiet_until = -1.0

    @asynccontextmanager
    async def slot(self, *, again: bool = False) -> AsyncIterator[None]:
        """Hold one of the places; waits in the order of arrival. `again`: before all that were never tried."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        (self._again if again else self._fresh).append(turn)
        self._wake()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # the place was given in the moment of the cancellation
                self._give_back()
            raise
        try:
            yield
        finally:
            self._give_back()

    def _give_back(self) -> None:
        self._in_flight -= 1
        self._wake()

    def _wake(self) -> None:
        size = max(1, int(self.size))
        self._admit(self._again, min(self.most, size + max(1, size // 2)))
        self._admit(self._fresh, size)

    def _admit(self, queue: deque[asyncio.Future[None]], places: int) -> None:
        while queue and self._in_flight < places:
            turn = queue.popleft()
            if not turn.done():  # a cancelled waiter gives its turn to the next
                self._in_flight += 1
                turn.set_result(None)

    def refused(self, started: float, retry_after: float | None = None) -> None:
        """A call that began at monotonic time `started` got 429. One wave of refusals shrinks once.

        Nor does it shrink again before `retry_after` has passed: until then nobody can see what the last halving was
        worth.
        """
        now = time.monotonic()
        if started >= self._last_shrink and now >= self._quiet_until:
            self.size = max(1.0, self.size / 2)
            self._last_shrink, self._quiet_until = now, now + (retry_after or 0.0)

    def succeeded(self) -> None:
        """A call was answered."""
        self.size = min(float(self.most), self.size + 1.0 / max(1.0, self.size))
        self._wake()


class GroupDeadlines:
    """One deadline for all calls of a group that wait at the same time; it is forgotten with the last of them, so that
    a group can be asked again."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        # Group -> (deadline on the loop's clock, calls that wait under it).
        self._groups: dict[str, tuple[float, int]] = {}

    @contextmanager
    def share(self, group_key: str | None) -> Iterator[float]:
        """The deadline, in the running loop's time, of a call that begins now. None = a deadline of its own."""
        deadline = asyncio.get_running_loop().time() + self.seconds
        if group_key is None:
            yield deadline
            return
        deadline, waiting = self._groups.get(group_key, (deadline, 0))
        self._groups[group_key] = (deadline, waiting + 1)
        try:
            yield deadline
        finally:
            waiting = self._groups[group_key][1] - 1
            if waiting:
                self._groups[group_key] = (deadline, waiting)
            else:
                del self._groups[group_key]


class CircuitBreaker:
    """Opens after `failures` failed attempts in a row, for `pause_seconds`; then exactly one probe is let through, and
    its result decides.

    An attempt that began before the last success says nothing of now: hung calls end together, long after, and are no
    outage. Counts in `counts`: `breaker_opened`, `breaker_probes`, `breaker_paused_milliseconds`. Belongs to one event
    loop at a time.
    """

    def __init__(self, name: str, failures: int, pause_seconds: float, counts: Counter[str]) -> None:
        self._name = name
        self._failures = failures
        self._pause_seconds = pause_seconds
        self._counts = counts
        self._in_a_row = 0
        self._last_success = -1.0
        self._opened_at: float | None = None
        self._until = 0.0
        self._probing = False
        self._waiting: set[asyncio.Future[None]] = set()

    @property
    def is_open(self) -> bool:
        """Whether calls wait now."""
        return self._opened_at is not None

    async def enter(self) -> bool:
        """Wait while the breaker is open. True: this caller is the probe, and must `leave` whatever happens."""
        while self._opened_at is not None:
            left = self._until - time.monotonic()
            if left <= 0 and not self._probing:
                self._probing = True
                self._counts["breaker_probes"] += 1
                return True
            await self._changed(None if self._probing else left)
        return False

    def leave(self, probe: bool, health: Health, began: float, problem: str = "") -> None:
        """Tell how an attempt that began at monotonic time `began` went. A probe that learned nothing gives its turn to
        the next caller."""
        if probe:
            self._probing = False
        if health == "alive":
            self._in_a_row = 0
            self._last_success = time.monotonic()
            if self._opened_at is not None:
                self._close()
        elif health == "down" and began > self._last_success:
            self._in_a_row += 1
            if probe or (self._opened_at is None and self._in_a_row >= self._failures):
                self._open(problem)
        if probe:
            self._tell()

    def _open(self, problem: str) -> None:
        first = self._opened_at is None
        self._opened_at = self._opened_at if self._opened_at is not None else time.monotonic()
        self._until = time.monotonic() + self._pause_seconds
        self._counts["breaker_opened"] += int(first)
        what = f"{self._in_a_row} attempts in a row failed" if first else "the probe failed, too"
        log.warning(
            "%s: %s (%s). Paused for %g s; nothing is scored meanwhile.",
            self._name,
            what,
            problem[:200],
            self._pause_seconds,
        )

    def _close(self) -> None:
        paused = time.monotonic() - (self._opened_at or 0.0)
        self._opened_at = None
        # Whole milliseconds keep a counter of the run an exact number.
        self._counts["breaker_paused_milliseconds"] += round(1000 * paused)
        log.warning("%s answers again after %.1f s; judging goes on.", self._name, paused)
        self._tell()

    async def _changed(self, seconds: float | None) -> None:
        """Wait until the state changes, at most `seconds`."""
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(told)
        try:
            await asyncio.wait([told], timeout=seconds)
        finally:
            self._waiting.discard(told)

    def _tell(self) -> None:
        for told in self._waiting:
            if not told.done():
                told.set_result(None)


def full_jitter(attempt: int, rng: random.Random, base_seconds: float = 0.5, most_seconds: float = 20.0) -> float:
    """Seconds to sleep after failed attempt 0, 1, ..: uniform in 0 .. min(most, base * 2^attempt) (AWS "full
    jitter")."""
    return rng.uniform(0.0, min(most_seconds, base_seconds * 2.0 ** min(attempt, 60)))


def retry_after_sleep(seconds: float, rng: random.Random) -> float:
    """A little more than Retry-After asks for (at most 3 %), so that not all callers come back in the same instant."""
    return seconds * rng.uniform(1.0, 1.03)


def retry_after_seconds(value: str | None, server_date: str | None = None) -> float | None:
    """Seconds from now that a Retry-After header asks for (RFC 9110, 10.2.3: seconds, or an HTTP-date); None for
    nonsense or no header.

    `server_date`: the Date header of the same reply. A date is measured against it, so that a wrong clock on either
    side does not count.
    """
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        until = _instant(value)
        if until is None:
            return None
        now = _instant(server_date) if server_date else None
        seconds = max(0.0, (until - (now or datetime.now(UTC))).total_seconds())
    return seconds if math.isfinite(seconds) and seconds >= 0.0 else None


def _instant(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
