"""What judging may cost: a hard limit of calls and tokens for a whole run, and prices (JUDGING.md, Calls)."""

from __future__ import annotations

import asyncio
from typing import NamedTuple


class Prices(NamedTuple):
    """Money per million tokens, in any one currency; 0 = not counted."""

    input_per_million: float = 0.0
    output_per_million: float = 0.0

    def cost(self, input_tokens: int, output_tokens: int) -> float:
        """Money for so many tokens."""
        return (input_tokens * self.input_per_million + output_tokens * self.output_per_million) / 1_000_000


class Budget:
    """At most so many calls and tokens; None = no limit. May be shared by several clients of one event loop.

    `calls`, `tokens`: what was spent before, by the part of a run that is resumed.

    A call reserves the most it can cost before it is sent, so that the limits hold with any number of calls in flight.
    A call that fails counts as a call; its tokens are counted where the endpoint says how many they were.
    """

    def __init__(
        self, max_calls: int | None = None, max_tokens: int | None = None, calls: int = 0, tokens: int = 0
    ) -> None:
        self.max_calls = max_calls
        self.max_tokens = max_tokens
        self.calls = calls
        self.tokens = tokens
        self._reserved = 0
        self._waiting: list[asyncio.Future[None]] = []

    async def reserve(self, most_tokens: int) -> str:
        """Take one call that costs at most `most_tokens`. "" = granted, and `settle` must follow; else what is
        spent."""
        while True:
            if self.max_calls is not None and self.calls >= self.max_calls:
                return f"the budget of {self.max_calls} calls is spent (judge.max_calls)"
            if self.max_tokens is not None and self.tokens + most_tokens > self.max_tokens:
                return (
                    f"{self.tokens} of {self.max_tokens} tokens are spent (judge.max_tokens), and the next call may"
                    f" take {most_tokens}"
                )
            if self.max_tokens is None or self.tokens + self._reserved + most_tokens <= self.max_tokens:
                break
            await self._settled()  # calls in flight may cost less than they reserved
        self.calls += 1
        self._reserved += most_tokens
        return ""

    def settle(self, most_tokens: int, num_tokens: int) -> None:
        """Give a reservation back and count what was really used."""
        self._reserved -= most_tokens
        self.tokens += num_tokens
        for told in self._waiting:
            if not told.done():
                told.set_result(None)

    async def _settled(self) -> None:
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(told)
        try:
            await told
        finally:
            self._waiting.remove(told)
