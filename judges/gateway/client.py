"""One chat completion from an OpenAI-compatible endpoint, with retries of our own. The one home of `openai`.

The client library retries nothing (`max_retries=0`): backoff, Retry-After, deadline, concurrency, breaker and budget
are decided here, for the whole run. The key is read from its environment variable when a connection is opened, and
masked in whatever comes back (`judges/gateway/redaction.py`).
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, NamedTuple

import openai

from judges.gateway.endpoint import Budget, Endpoint, missing_key, most_tokens_of
from judges.gateway.limits import (
    CircuitBreaker,
    GroupDeadlines,
    Health,
    ShrinkingLimit,
    full_jitter,
    retry_after_seconds,
    retry_after_sleep,
)
from judges.gateway.redaction import keep_secret, redacted, well_formed
from judges.verdict import Failure, JudgeConfigError, JudgeUnreachable

__all__ = ["ChatClient", "Endpoint", "Said", "missing_key"]

log = logging.getLogger(__name__)

# HTTP statuses that another attempt may mend; every other 4xx is about the request itself.
_WORTH_ANOTHER_TRY = (408, 409, 425, 429)
# Judgements let in for each call that can be in flight: those that sleep before their next attempt leave their place to
# others.
_JUDGEMENTS_PER_PLACE = 4


class Said(NamedTuple):
    """What came back from a call: a text with its finish reason, or a failure."""

    text: str | None
    finish_reason: str | None
    num_tokens: int
    num_attempts: int
    failure: Failure | None = None
    problem: str = ""
    cost: float = 0.0
    # What went wrong with the attempts before, in order.
    problems: tuple[str, ...] = ()


class ChatClient:
    """Asks one endpoint; one for a whole run. Belongs to one event loop at a time: `close` in one before asking in
    another."""

    def __init__(self, endpoint: Endpoint, seed: int | None = None, budget: Budget | None = None) -> None:
        """`budget`: what the run may spend, shared with its other clients; None = no limit."""
        self.endpoint = endpoint
        self.counts: Counter[str] = Counter()
        self.cost = 0.0
        self.budget = budget or Budget()
        self._rng = random.Random(seed)
        self._client: openai.AsyncOpenAI | None = None
        keep_secret(os.environ.get(endpoint.api_key_env, ""))
        self._limit = ShrinkingLimit(endpoint.max_concurrency)
        self._entrance = ShrinkingLimit(_JUDGEMENTS_PER_PLACE * endpoint.max_concurrency)
        self._deadlines = GroupDeadlines(endpoint.deadline_seconds)
        name = f"the judge {endpoint.model} at {endpoint.base_url}"
        self._breaker = CircuitBreaker(name, endpoint.breaker_failures, endpoint.breaker_pause_seconds, self.counts)

    def entrance(self) -> AbstractAsyncContextManager[None]:
        """Held by each judgement: lets in, in order, a few times as many as can be in flight. A deadline measures the
        endpoint and not the queue."""
        return self._entrance.slot()

    def deadline(self, group_key: str | None) -> AbstractContextManager[float]:
        """The deadline, in the loop's time, that a judgement shares with the others of its group that wait at the same
        time."""
        return self._deadlines.share(group_key)

    async def ask(
        self,
        messages: list[dict[str, Any]],
        response_format: Mapping[str, Any],
        *,
        deadline: float | None = None,
        sampling: Mapping[str, Any] | None = None,
    ) -> Said:
        """One answered chat completion. Never raises for what an endpoint does; a failure is a `Said` with `failure`
        set.

        `deadline`: in the loop's time, from `deadline()`; None = one of its own. `sampling`: instead of the endpoint's.
        """
        request = {
            "messages": messages,
            "response_format": dict(response_format),
            **(self.endpoint.sampling if sampling is None else sampling),
        }
        tried: list[str] = []
        with self.deadline(None) as own:
            until = own if deadline is None else deadline
            try:
                async with asyncio.timeout_at(until):
                    said = await self._until_answered(request, until, tried)
            except TimeoutError:
                stopped = "paused, the endpoint is down" if self._breaker.is_open else "no attempt came to an end"
                why = tried[-1] if tried else stopped
                said = _failed("timeout", f"the deadline of {self.endpoint.deadline_seconds:g} s passed: {why}")
        return said._replace(num_attempts=len(tried) + (said.failure is None), problems=tuple(tried))

    async def _until_answered(self, request: Mapping[str, Any], until: float, tried: list[str]) -> Said:
        loop = asyncio.get_running_loop()
        for attempt in range(self.endpoint.max_attempts):
            outcome = await self._attempt(request, again=attempt > 0)
            if isinstance(outcome, Said):
                return outcome
            if outcome.failure == "budget":
                return _failed("budget", outcome.problem)
            tried.append(outcome.problem)
            if outcome.failure == "refused":
                return _failed("refused", outcome.problem)
            if attempt + 1 == self.endpoint.max_attempts:
                return _failed(outcome.failure, f"{len(tried)} attempts failed, the last with: {outcome.problem}")
            pause = self._pause(attempt, outcome.retry_after)
            if pause >= until - loop.time():
                return _failed("timeout", f"the next attempt would come after the deadline: {outcome.problem}")
            self.counts["retries"] += 1
            await self._sleep(pause, outcome.retry_after)
        return _failed("unavailable", "judge.max_attempts allows no attempt")

    def _pause(self, attempt: int, retry_after: float | None) -> float:
        if retry_after is None:
            return full_jitter(attempt, self._rng, self.endpoint.backoff_seconds)
        return retry_after_sleep(retry_after, self._rng)

    async def _sleep(self, seconds: float, retry_after: float | None) -> None:
        """Wait before the next attempt; `retry_after`: what the endpoint asked for. A method of its own, so that a
        benchmark can time it."""
        await asyncio.sleep(seconds)

    async def _attempt(self, request: Mapping[str, Any], *, again: bool) -> Said | _Problem:
        """One request, once the breaker, the limit of calls in flight and the budget let it through."""
        client = self._opened()
        most_tokens = most_tokens_of(request)
        while True:
            probe = await self._breaker.enter()
            health: Health = "unknown"
            problem, began = "", 0.0
            try:
                async with self._limit.slot(again=again):
                    if self._breaker.is_open and not probe:
                        continue  # it opened while this call waited for its place
                    if spent := await self.budget.reserve(most_tokens):
                        if not self.counts["over_budget"]:
                            log.warning(
                                "judging ends here: %s; every further judgement is an error, and none a number", spent
                            )
                        self.counts["over_budget"] += 1
                        return _Problem("budget", spent, "")
                    began = time.monotonic()
                    outcome = await self._sent(client, request, most_tokens)
                    health = "alive" if isinstance(outcome, Said) or outcome.alive else "down"
                    problem = outcome.problem
                    return outcome
            finally:
                self._breaker.leave(probe, health, began, problem)

    async def _sent(self, client: openai.AsyncOpenAI, request: Mapping[str, Any], most_tokens: int) -> Said | _Problem:
        started, used = time.monotonic(), 0
        seconds = self.endpoint.timeout_seconds
        self.counts["calls"] += 1
        try:
            call = client.chat.completions.create(model=self.endpoint.model, timeout=seconds, **request)
            said, used = self._read(await asyncio.wait_for(call, timeout=seconds), most_tokens)
        except (
            Exception
        ) as error:  # the boundary to a library and a network: every failure becomes a kind, none a number
            problem = _problem(error)
            self.counts[problem.counter] += 1
            if problem.counter == "http_429":
                self._limit.refused(started, problem.retry_after)
            return problem
        finally:
            self.budget.settle(most_tokens, used)
        self._limit.succeeded()
        return said

    def _read(self, reply: Any, most_tokens: int) -> tuple[Said, int]:
        """What a reply says, and the tokens it takes from the budget: the most it can have cost where the endpoint does
        not tell."""
        choice = reply.choices[0]
        text, reason = choice.message.content, choice.finish_reason
        usage = getattr(reply, "usage", None)
        counted = [getattr(usage, name, None) for name in ("prompt_tokens", "completion_tokens")]
        read, written = (count if isinstance(count, int) and count >= 0 else 0 for count in counted)
        if not read + written:
            self.counts["usage_missing"] += 1
        cost = self.endpoint.prices.cost(read, written)
        self.counts["tokens"] += read + written
        self.cost += cost
        said = Said(
            text=_shown(text) if isinstance(text, str) else None,
            finish_reason=_shown(reason)[:40] if isinstance(reason, str) else None,
            num_tokens=read + written,
            num_attempts=1,
            cost=cost,
        )
        return said, read + written or most_tokens

    def _opened(self) -> openai.AsyncOpenAI:
        if self._client is None:
            key = os.environ.get(self.endpoint.api_key_env, "")
            if not key:
                raise JudgeConfigError(missing_key(self.endpoint.api_key_env))
            keep_secret(key)
            self._client = openai.AsyncOpenAI(base_url=self.endpoint.base_url, api_key=key, max_retries=0)
        return self._client

    async def check(self) -> None:
        """Raise JudgeUnreachable unless the endpoint answers, takes the key and serves the model (asked by GET
        /models)."""
        # Raised outside the handlers of `_not_served`: a chained exception would carry the request, and with it the
        # key.
        if problem := await self._not_served():
            raise JudgeUnreachable(redacted(problem))

    async def _not_served(self) -> str:
        where = f"judge.base_url={self.endpoint.base_url}"
        client = self._opened()
        try:
            page = await asyncio.wait_for(client.models.list(timeout=10.0), timeout=10.0)
            served = [model.id for model in page.data]
        except openai.APIStatusError as error:
            if error.status_code in (401, 403):
                return (
                    f"{where} rejects the key in {self.endpoint.api_key_env} (HTTP {error.status_code}). Export a valid"
                    " key."
                )
            if error.status_code in (404, 405):
                return ""  # an endpoint without a model list; it does answer
            return f"{where} answers with HTTP {error.status_code}, expected 200. Is the server ready?"
        except (TimeoutError, openai.APIError, OSError) as error:
            return (
                f"{where} does not answer ({type(error.__cause__ or error).__name__}). Expected an OpenAI-compatible"
                " server with GET /models and POST /chat/completions.\nStart it, correct judge.base_url (it usually"
                " ends in /v1), or use judge=rules to go on without a judge model."
            )
        except Exception as error:  # a server that talks, but not this protocol
            return (
                f"{where} answers, but not as an OpenAI-compatible server ({type(error).__name__}). Correct"
                " judge.base_url."
            )
        if served and self.endpoint.model not in served:
            return f"{where} does not serve judge.model={self.endpoint.model!r}, only {served[:8]}. Name one of these."
        return ""

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
    # The endpoint works: it refused this request, or asks to be left alone for a while.
    alive: bool = False


def _problem(error: Exception) -> _Problem:
    text = _shown(f"{type(error).__name__}: {error}")[:300]
    if isinstance(error, (TimeoutError, openai.APITimeoutError)):
        return _Problem("timeout", "the endpoint did not answer in time", "timeouts")
    if isinstance(error, openai.APIStatusError):
        status = error.status_code
        # A quota that is used up comes as 429, and no waiting mends it.
        refused = error.code == "insufficient_quota" or (400 <= status < 500 and status not in _WORTH_ANOTHER_TRY)
        headers = error.response.headers
        after = retry_after_seconds(headers.get("retry-after"), headers.get("date"))
        return _Problem("refused" if refused else "unavailable", text, f"http_{status}", after, alive=status < 500)
    if isinstance(error, openai.APIConnectionError):
        return _Problem("unavailable", text, "connection_errors")
    return _Problem("unavailable", f"unreadable response: {text}", "rubbish")


def _failed(failure: Failure, problem: str) -> Said:
    return Said(None, None, 0, 0, failure, problem)


def _shown(text: str) -> str:
    """What an endpoint said, fit to be shown and stored."""
    return well_formed(str(redacted(text)))
