"""A circuit breaker that pauses: while an endpoint is down nothing is asked, nothing is scored, and every caller waits
(JUDGING.md, Calls)."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from typing import Literal

log = logging.getLogger(__name__)

# What an attempt said of the endpoint: alive (any reply that is not its failure), down, or nothing (the caller went
# away).
Health = Literal["alive", "down", "unknown"]


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
