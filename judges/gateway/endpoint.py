"""Where and how a judge model is asked, and what that may cost: the settings of one endpoint, prices, and the budget of
a whole run (JUDGING.md, Calls)."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from judges.verdict import JudgeConfigError

# Tokens an image may cost at most, for the budget's reservation; the largest tilings of today's models stay below.
_MOST_TOKENS_PER_IMAGE = 4096
_DEFAULT_REPLY_TOKENS = 4096
_REPLY_LIMITS = ("max_completion_tokens", "max_tokens")


class Prices(NamedTuple):
    """Money per million tokens, in any one currency; 0 = the cost is not counted."""

    input_per_million: float = 0.0
    output_per_million: float = 0.0

    def cost(self, input_tokens: int, output_tokens: int) -> float:
        """Return the money that so many tokens cost."""
        return (input_tokens * self.input_per_million + output_tokens * self.output_per_million) / 1_000_000


@dataclass(frozen=True)
class Endpoint:
    """The settings of one endpoint. Raises JudgeConfigError for an address that holds a user name or password."""

    base_url: str
    model: str
    # Name of the environment variable that holds the key.
    api_key_env: str = "OPENAI_API_KEY"
    # Seconds of one attempt; `deadline_seconds`: of all attempts and re-asks of one group together, waiting included.
    timeout_seconds: float = 30.0
    deadline_seconds: float = 300.0
    max_attempts: int = 14
    max_concurrency: int = 32
    # Base of the full-jitter backoff, in seconds.
    backoff_seconds: float = 0.5
    # Sent with every request and part of the cache key.
    sampling: Mapping[str, Any] = field(default_factory=lambda: {"temperature": 0.0, "max_tokens": 400})
    # After so many failed attempts in a row all calls wait for so many seconds; then one probe decides.
    breaker_failures: int = 10
    breaker_pause_seconds: float = 5.0
    prices: Prices = field(default_factory=Prices)

    def __post_init__(self) -> None:
        if re.match(r"https?://[^/]*@", self.base_url):
            raise JudgeConfigError(
                "judge.base_url holds a user name or password, which would end in logs. Put the key into an environment"
                " variable and name it with judge.api_key_env."
            )


def key_fault(name: str) -> str:
    """Return why no request can carry the key of the environment variable `name`, without the key; "" = one can.

    An HTTP header takes printable ASCII only (RFC 9110, 5.5), and a key that was read from a file often ends in a line
    end.
    """
    key = os.environ.get(name, "")
    if not key:
        return (
            f"judge=openai needs a key in the environment variable {name}, which is not set. Export it "
            f"(a local server takes any value: export {name}=none), or name another one with judge.api_key_env=NAME."
        )
    if key != key.strip():
        what = "a line end" if set(key) & set("\r\n") else "a blank"
        return f"the key in {name} begins or ends with {what}, which no request can carry. Export it without."
    if "\n" in key or "\r" in key:
        return f"the key in {name} holds a line end inside, which no request can carry. Export one line of it."
    if not (key.isascii() and key.isprintable()):
        return (
            f"the key in {name} holds a character that is not printable ASCII, which no request can carry. Was it"
            " copied from a document? Export it anew."
        )
    return ""


def sampling_with_room(sampling: Mapping[str, Any], least_reply_tokens: int) -> dict[str, Any]:
    """Return the sampling parameters, with a reply limit below `least_reply_tokens` raised to it."""
    limits = {
        name: max(sampling[name], least_reply_tokens) for name in _REPLY_LIMITS if isinstance(sampling.get(name), int)
    }
    return {**sampling, **limits}


def most_tokens_of(request: Mapping[str, Any]) -> int:
    """Return the most tokens that a request and its reply can cost. No tokenizer makes more tokens than bytes; images
    count apart."""
    limit = next((request[name] for name in _REPLY_LIMITS if request.get(name)), _DEFAULT_REPLY_TOKENS)
    num_bytes = len(json.dumps(request["response_format"]))
    num_images = 0
    for message in request["messages"]:
        content = message["content"]
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        num_images += sum(part["type"] == "image_url" for part in parts)
        num_bytes += 16 + sum(len(part["text"].encode()) for part in parts if part["type"] == "text")
    return num_bytes + num_images * _MOST_TOKENS_PER_IMAGE + int(limit)


class Budget:
    """At most so many calls and tokens; None = no limit. Several clients of one event loop may share it.

    `calls`, `tokens`: what the run has spent before it was resumed.

    A call reserves the most it can cost before it is sent, so that the limits hold with any number of calls in flight.
    A call that fails counts as a call; its tokens count where the endpoint says how many they were.
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
        """Take one call that costs at most `most_tokens`. Returns "" where it is granted, and `settle` must follow;
        else says what is spent. Waits while calls in flight may still leave room."""
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
            await self._next_settlement()  # calls in flight may cost less than they reserved
        self.calls += 1
        self._reserved += most_tokens
        return ""

    def settle(self, most_tokens: int, num_tokens: int) -> None:
        """Give a reservation of `most_tokens` back and count the `num_tokens` that were used."""
        self._reserved -= most_tokens
        self.tokens += num_tokens
        for turn in self._waiting:
            if not turn.done():
                turn.set_result(None)

    async def _next_settlement(self) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        finally:
            self._waiting.remove(turn)
