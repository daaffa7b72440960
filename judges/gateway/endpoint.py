"""Where and how a judge model is asked: the settings of one endpoint, and what a request to it can cost at most."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from judges.gateway.budget import Prices
from judges.verdict import JudgeConfigError

# Tokens an image may cost at most, for the budget's reservation; the largest tilings of today's models stay below.
_MOST_TOKENS_PER_IMAGE = 4096
_DEFAULT_REPLY_TOKENS = 4096
_REPLY_LIMITS = ("max_completion_tokens", "max_tokens")


@dataclass(frozen=True)
class Endpoint:
    """Where and how to ask."""

    base_url: str
    model: str
    # Name of the environment variable that holds the key.
    api_key_env: str = "OPENAI_API_KEY"
    # One attempt may take so long; all attempts and re-asks of the judgements of one group together, waiting included,
    # `deadline_seconds`.
    timeout_seconds: float = 30.0
    deadline_seconds: float = 300.0
    max_attempts: int = 14
    max_concurrency: int = 32
    # Base of the full-jitter backoff, in seconds.
    backoff_seconds: float = 0.5
    # Sent with every request and part of the cache key.
    sampling: Mapping[str, Any] = field(default_factory=lambda: {"temperature": 0.0, "max_tokens": 400})
    # After so many failed attempts in a row everything waits for so long, then one probe decides.
    breaker_failures: int = 10
    breaker_pause_seconds: float = 5.0
    # Hard limits of a run; None = none.
    max_calls: int | None = None
    max_tokens: int | None = None
    prices: Prices = field(default_factory=Prices)

    def __post_init__(self) -> None:
        if re.match(r"https?://[^/]*@", self.base_url):
            raise JudgeConfigError(
                "judge.base_url holds a user name or password, which would end in logs. Put the key into an environment"
                " variable and name it with judge.api_key_env."
            )


def missing_key(name: str) -> str:
    """The message for a key that is not set."""
    return (
        f"judge=openai needs a key in the environment variable {name}, which is not set. Export it "
        f"(a local server takes any value: export {name}=none), or name another one with judge.api_key_env=NAME."
    )


def sampling_with_room(sampling: Mapping[str, Any], least_reply_tokens: int) -> dict[str, Any]:
    """The sampling parameters, with the limit of the reply raised to `least_reply_tokens` where it is lower."""
    limits = {
        name: max(sampling[name], least_reply_tokens) for name in _REPLY_LIMITS if isinstance(sampling.get(name), int)
    }
    return {**sampling, **limits}


def most_tokens_of(request: Mapping[str, Any]) -> int:
    """The most tokens a request can cost with its reply: no tokenizer makes more tokens than bytes; an image counts
    apart."""
    limit = next((request[name] for name in _REPLY_LIMITS if request.get(name)), _DEFAULT_REPLY_TOKENS)
    num_bytes = len(json.dumps(request["response_format"]))
    num_images = 0
    for message in request["messages"]:
        content = message["content"]
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        num_images += sum(part["type"] == "image_url" for part in parts)
        num_bytes += 16 + sum(len(part["text"].encode()) for part in parts if part["type"] == "text")
    return num_bytes + num_images * _MOST_TOKENS_PER_IMAGE + int(limit)
