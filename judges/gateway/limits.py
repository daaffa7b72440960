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

# What an attempt says of the endpoint: alive (any reply that is not its failure), down, or nothing (the caller went
# away).
Health = Literal["alive", "down", "unknown"]


class ShrinkingLimit:
    """A semaphore whose size halves on 429 and grows by one per round of successes (additive increase, multiplicative
    decrease).

    A call that is tried again goes before calls that have not begun. While the limit is shrunk it may use half as many
    places more: it has waited its Retry-After, and calls that hang must not make it wait longer. Never more than
    `most`. It belongs to one event loop at a time.
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
        """Hold one of the places; waits in the order of arrival. `again`: goes before all calls that were never
        tried."""
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

    def shrink(self, started: float, retry_after: float | None = None) -> None:
        """Take note of a 429 to a call that began at monotonic time `started`, in seconds. One wave of refusals shrinks
        once.

        The limit does not shrink again before `retry_after` seconds have passed: until then nobody can see what the
        last halving was worth.
        """
        now = time.monotonic()
        if started >= self._last_shrink and now >= self._quiet_until:
            self.size = max(1.0, self.size / 2)
            self._last_shrink, self._quiet_until = now, now + (retry_after or 0.0)

    def grow(self) -> None:
        """Take note of a call that was answered."""
        self.size = min(float(self.most), self.size + 1.0 / max(1.0, self.size))
        self._wake()


class GroupDeadlines:
    """One deadline for all calls of a group that wait at the same time. It goes with the last of them, so that a group
    can be asked again."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        # Group -> (deadline on the loop's clock, calls that wait under it).
        self._groups: dict[str, tuple[float, int]] = {}

    @contextmanager
    def share(self, group_key: str | None) -> Iterator[float]:
        """Hold the deadline of a call that begins now, in seconds of the running loop's clock. `group_key` None: a
        deadline of its own."""
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
    """Opens after `failures` failed attempts in a row, for `pause_seconds`; then it lets exactly one probe through,
    whose result decides.

    An attempt that began before the last success says nothing of now: calls that hang end together, long after, and are
    no outage. Counts in `counts`: `breaker_opened`, `breaker_probes`, `breaker_paused_milliseconds`. It belongs to one
    event loop at a time.
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
        """Wait while the breaker is open. True: this caller is the probe, and must call `leave` whatever happens."""
        while self._opened_at is not None:
            seconds = self._until - time.monotonic()
            if seconds <= 0 and not self._probing:
                self._probing = True
                self._counts["breaker_probes"] += 1
                return True
            await self._wait_for_change(None if self._probing else seconds)
        return False

    def leave(self, probe: bool, health: Health, began: float, problem: str = "") -> None:
        """Report how an attempt that began at monotonic time `began`, in seconds, went. A probe that learned nothing
        gives its turn to the next caller."""
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
            self._wake_all()

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
        self._wake_all()

    async def _wait_for_change(self, seconds: float | None) -> None:
        """Wait until the state changes, at most `seconds`."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(turn)
        try:
            await asyncio.wait([turn], timeout=seconds)
        finally:
            self._waiting.discard(turn)

    def _wake_all(self) -> None:
        for turn in self._waiting:
            if not turn.done():
                turn.set_result(None)


def full_jitter(attempt: int, rng: random.Random, base_seconds: float = 0.5, most_seconds: float = 20.0) -> float:
    """Return seconds to sleep after failed attempt 0, 1, ..: uniform in 0 .. min(most, base * 2^attempt) (AWS "full
    jitter")."""
    return rng.uniform(0.0, min(most_seconds, base_seconds * 2.0 ** min(attempt, 60)))


def retry_after_sleep(seconds: float, rng: random.Random) -> float:
    """Return the seconds that Retry-After asks for and at most 3 % more, so that not all callers come back in the same
    instant."""
    return seconds * rng.uniform(1.0, 1.03)


def retry_after_seconds(value: str | None, server_date: str | None = None) -> float | None:
    """Return the seconds from now that a Retry-After header asks for (RFC 9110, 10.2.3: seconds, or an HTTP-date); None
    for nonsense and for no header.

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
        instant = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)
