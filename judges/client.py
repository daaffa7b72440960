"""One chat completion from an OpenAI-compatible endpoint, with retries of our own. The one home of `openai`.

The client library retries nothing (`max_retries=0`): backoff, Retry-After, deadline and concurrency are decided here, for the whole run.
The key is read from its environment variable when the first call is made and never stored, logged or put into an error.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import openai

from judges.limits import ShrinkingLimit, full_jitter, retry_after_sleep
from judges.verdict import Failure, JudgeConfigError, JudgeUnreachable


@dataclass(frozen=True)
class Endpoint:
    """Where and how to ask."""

    base_url: str
    model: str
    # Name of the environment variable that holds the key.
    api_key_env: str = "OPENAI_API_KEY"
    # One attempt may take so long; all attempts of one call together, waiting included, may take `deadline_seconds`.
    timeout_seconds: float = 30.0
    deadline_seconds: float = 300.0
    max_attempts: int = 14
    max_concurrency: int = 32
    # Base of the full-jitter backoff, in seconds.
    backoff_seconds: float = 0.5
    # Sent with every request and part of the cache key.
    sampling: Mapping[str, Any] = field(default_factory=lambda: {"temperature": 0.0, "max_tokens": 400})


class Said(NamedTuple):
    """What came back from a call: a text with its finish reason, or a failure."""

    text: str | None
    finish_reason: str | None
    num_tokens: int
    num_attempts: int
    failure: Failure | None = None
    problem: str = ""


class ChatClient:
    """Asks one endpoint. Belongs to the event loop of its first call."""

    def __init__(self, endpoint: Endpoint, seed: int | None = None) -> None:
        self.endpoint = endpoint
        self.counts: Counter[str] = Counter()
        self._rng = random.Random(seed)
        self._client: openai.AsyncOpenAI | None = None
        self._limit: ShrinkingLimit | None = None

    async def ask(self, messages: list[dict[str, Any]], response_format: Mapping[str, Any]) -> Said:
        """One answered chat completion. Never raises for what an endpoint does; a failure is a `Said` with `failure` set."""
        began = time.monotonic()
        problem = "no attempt was made"
        last: Failure = "unavailable"
        for attempt in range(self.endpoint.max_attempts):
            left = self.endpoint.deadline_seconds - (time.monotonic() - began)
            if left <= 0:
                return Said(None, None, 0, attempt, "timeout", f"deadline of {self.endpoint.deadline_seconds} s: {problem}")
            outcome = await self._attempt(messages, response_format, min(left, self.endpoint.timeout_seconds))
            if isinstance(outcome, Said):
                return outcome._replace(num_attempts=attempt + 1)
            last, problem = outcome.failure, outcome.problem
            if last == "refused":
                return Said(None, None, 0, attempt + 1, last, problem)
            pause = (
                full_jitter(attempt, self._rng, self.endpoint.backoff_seconds)
                if outcome.retry_after is None
                else retry_after_sleep(outcome.retry_after, self._rng)
            )
            if pause >= self.endpoint.deadline_seconds - (time.monotonic() - began):
                return Said(None, None, 0, attempt + 1, "timeout", f"the next attempt would come after the deadline: {problem}")
            if attempt + 1 < self.endpoint.max_attempts:
                self.counts["retries"] += 1
                await asyncio.sleep(pause)
        return Said(
            None,
            None,
            0,
            self.endpoint.max_attempts,
            last,
            f"{self.endpoint.max_attempts} attempts failed, the last with: {problem}",
        )

    async def _attempt(
        self, messages: list[dict[str, Any]], response_format: Mapping[str, Any], seconds: float
    ) -> Said | _Problem:
        client, limit = self._opened()
        async with limit:
            started = time.monotonic()
            self.counts["calls"] += 1
            try:
                reply = await asyncio.wait_for(
                    client.chat.completions.create(
                        model=self.endpoint.model,
                        messages=messages,
                        response_format=dict(response_format),  # type: ignore[call-overload]
                        timeout=seconds,
                        **self.endpoint.sampling,
                    ),
                    timeout=seconds,
                )
                said = _said(reply)
            except Exception as error:  # the boundary to a library and a network: every failure becomes a kind, none a number
                problem = self._problem(error)
                self.counts[problem.counter] += 1
                if problem.counter == "http_429":
                    limit.refused(started)
                return problem
            limit.succeeded()
            self.counts["tokens"] += said.num_tokens
            return said

    def _opened(self) -> tuple[openai.AsyncOpenAI, ShrinkingLimit]:
        if self._client is None or self._limit is None:
            key = os.environ.get(self.endpoint.api_key_env, "")
            if not key:
                raise JudgeConfigError(missing_key(self.endpoint.api_key_env))
            self._client = openai.AsyncOpenAI(base_url=self.endpoint.base_url, api_key=key, max_retries=0)
            self._limit = ShrinkingLimit(self.endpoint.max_concurrency)
        return self._client, self._limit

    def _problem(self, error: Exception) -> _Problem:
        text = self._redacted(f"{type(error).__name__}: {error}")
        if isinstance(error, (TimeoutError, openai.APITimeoutError)):
            return _Problem("timeout", "the endpoint did not answer in time", "timeouts")
        if isinstance(error, openai.APIStatusError):
            kind: Failure = "refused" if error.status_code in (400, 401, 403, 404, 405, 422) else "unavailable"
            return _Problem(kind, text, f"http_{error.status_code}", _retry_after(error.response.headers.get("retry-after")))
        if isinstance(error, openai.APIConnectionError):
            return _Problem("unavailable", text, "connection_errors")
        return _Problem("unavailable", f"unreadable response: {text}", "rubbish")

    def _redacted(self, text: str) -> str:
        key = os.environ.get(self.endpoint.api_key_env, "")
        return (text.replace(key, "[key]") if key else text)[:300]

    async def check(self) -> None:
        """Raise JudgeUnreachable unless the endpoint answers, takes the key and serves the model (asked by GET /models)."""
        where = f"judge.base_url={self.endpoint.base_url}"
        client, _ = self._opened()
        try:
            page = await asyncio.wait_for(client.models.list(timeout=10.0), timeout=10.0)
            served = [model.id for model in page.data]
        except openai.APIStatusError as error:
            if error.status_code in (401, 403):
                raise JudgeUnreachable(
                    f"{where} rejects the key in {self.endpoint.api_key_env} (HTTP {error.status_code}). Export a valid key."
                ) from None
            if error.status_code in (404, 405):
                return  # an endpoint without a model list; it does answer
            raise JudgeUnreachable(f"{where} answers with HTTP {error.status_code}, expected 200. Is the server ready?") from None
        except (TimeoutError, openai.APIError, OSError) as error:
            cause = type(error.__cause__ or error).__name__
            raise JudgeUnreachable(
                f"{where} does not answer ({cause}). Expected an OpenAI-compatible server with GET /models and POST /chat/completions.\n"
                "Start it, correct judge.base_url (it usually ends in /v1), or use judge=rules to go on without a judge model."
            ) from None
        except Exception as error:  # a server that talks, but not this protocol
            raise JudgeUnreachable(
                f"{where} answers, but not as an OpenAI-compatible server ({type(error).__name__}). Correct judge.base_url."
            ) from None
        if served and self.endpoint.model not in served:
            raise JudgeUnreachable(
                f"{where} does not serve judge.model={self.endpoint.model!r}, only {served[:8]}. Name one of these."
            )

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.close()
            self._client = None


class _Problem(NamedTuple):
    failure: Failure
    problem: str
    counter: str
    retry_after: float | None = None


def missing_key(name: str) -> str:
    """The message for a key that is not set."""
    return (
        f"judge=openai needs a key in the environment variable {name}, which is not set. Export it "
        f"(a local server takes any value: export {name}=none), or name another one with judge.api_key_env=NAME."
    )


def _said(reply: Any) -> Said:
    choice = reply.choices[0]
    usage = getattr(reply, "usage", None)
    tokens = getattr(usage, "total_tokens", 0)
    return Said(choice.message.content, choice.finish_reason, tokens if isinstance(tokens, int) else 0, 1)


def _retry_after(value: str | None) -> float | None:
    """Seconds of a Retry-After header; a date or nonsense counts as none given."""
    try:
        seconds = float(value) if value is not None else -1.0
    except ValueError:
        return None
    return seconds if 0.0 <= seconds < 3600.0 else None
