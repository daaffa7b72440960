"""Asks an OpenAI-compatible endpoint for one chat completion, with retries of our own. The one home of `openai`.

The client library retries nothing (`max_retries=0`): this file decides backoff, Retry-After, deadline, concurrency,
breaker and budget, for the whole run. It reads the key from its environment variable when it opens a connection, and
masks it in whatever comes back (`judges/gateway/redaction.py`).
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

import httpx2
import openai

from judges.gateway.endpoint import Budget, Endpoint, key_fault, most_tokens_of
from judges.gateway.limits import (
    CircuitBreaker,
    GroupDeadlines,
    Health,
    ShrinkingLimit,
    full_jitter,
    retry_after_seconds,
    retry_after_sleep,
)
from judges.gateway.redaction import keep_secret, redact, well_formed
from judges.gateway.refusals import advice, error_inside, is_final, without_text, words_of
from judges.gateway.route import proxy_for
from judges.verdict import Failure, JudgeConfigError, JudgeUnreachable

log = logging.getLogger(__name__)

# Judgements let in for each call that can be in flight. Some sleep before their next attempt and leave their place to
# others.
_JUDGEMENTS_PER_PLACE = 4


class ChatReply(NamedTuple):
    """What a call brings: a text with its finish reason, or a failure with its problem."""

    text: str | None
    finish_reason: str | None
    num_tokens: int
    num_attempts: int
    failure: Failure | None = None
    problem: str = ""
    cost: float = 0.0
    # Problems of the failed attempts, in order.
    problems: tuple[str, ...] = ()
    # Why a reply holds no text, where something beside the text says so; "" = nothing does.
    no_text: str = ""


class ChatClient:
    """Asks one endpoint; a run has one for each model. It belongs to one event loop at a time: `close` it in one before
    asking in another."""

    def __init__(self, endpoint: Endpoint, seed: int | None = None, budget: Budget | None = None) -> None:
        """`seed`: of the backoff's jitter; None = random. `budget`: what the run may spend, shared with its other
        clients; None = no limit."""
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
        """Return the context that each judgement holds. It lets in, in order of arrival, a few times as many judgements
        as calls can be in flight, so that a deadline measures the endpoint and not the queue."""
        return self._entrance.slot()

    def deadline(self, group_key: str | None) -> AbstractContextManager[float]:
        """Return a context with a deadline, in seconds of the loop's clock. Judgements under one key that wait at the
        same time share it."""
        return self._deadlines.share(group_key)

    async def ask(
        self,
        messages: list[dict[str, Any]],
        response_format: Mapping[str, Any],
        *,
        deadline: float | None = None,
        sampling: Mapping[str, Any] | None = None,
    ) -> ChatReply:
        """Ask for one chat completion. Never raises for what an endpoint does: a failure is a `ChatReply` with
        `failure` set. Raises JudgeConfigError where the key is not set.

        `deadline`: in seconds of the loop's clock, from `deadline()`; None = one of its own. `sampling`: in place of
        the endpoint's.
        """
        request = {
            "messages": messages,
            "response_format": dict(response_format),
            **(self.endpoint.sampling if sampling is None else sampling),
        }
        problems: list[str] = []
        with self.deadline(None) as own:
            until = own if deadline is None else deadline
            try:
                async with asyncio.timeout_at(until):
                    reply = await self._ask_patiently(request, until, problems)
            except TimeoutError:
                stopped = "paused, the endpoint is down" if self._breaker.is_open else "no attempt came to an end"
                why = problems[-1] if problems else stopped
                reply = _failure("timeout", f"the deadline of {self.endpoint.deadline_seconds:g} s passed: {why}")
        return reply._replace(num_attempts=len(problems) + (reply.failure is None), problems=tuple(problems))

    async def _ask_patiently(self, request: Mapping[str, Any], until: float, problems: list[str]) -> ChatReply:
        """Make attempt after attempt until one brings a reply or no further attempt can help; add the failed ones to
        `problems`."""
        loop = asyncio.get_running_loop()
        for attempt in range(self.endpoint.max_attempts):
            outcome = await self._attempt(request, again=attempt > 0)
            if isinstance(outcome, ChatReply):
                return outcome
            if outcome.failure == "budget":
                return _failure("budget", outcome.problem)
            problems.append(outcome.problem)
            if outcome.failure == "refused":
                return _failure("refused", outcome.problem)
            if attempt + 1 == self.endpoint.max_attempts:
                return _failure(outcome.failure, f"{len(problems)} attempts failed, the last with: {outcome.problem}")
            pause = self._pause(attempt, outcome.retry_after)
            if pause >= until - loop.time():
                return _failure("timeout", f"the next attempt would come after the deadline: {outcome.problem}")
            self.counts["retries"] += 1
            await self._sleep(pause, outcome.retry_after)
        return _failure("unavailable", "judge.max_attempts allows no attempt")

    def _pause(self, attempt: int, retry_after: float | None) -> float:
        if retry_after is None:
            return full_jitter(attempt, self._rng, self.endpoint.backoff_seconds)
        return retry_after_sleep(retry_after, self._rng)

    async def _sleep(self, seconds: float, retry_after: float | None) -> None:
        """Wait before the next attempt; `retry_after`: seconds that the endpoint asked for. A method of its own, so
        that a benchmark can time it."""
        await asyncio.sleep(seconds)

    async def _attempt(self, request: Mapping[str, Any], *, again: bool) -> ChatReply | _Problem:
        """Make one request, once breaker, limit of calls in flight and budget let it through."""
        client = self._open()
        most_tokens = most_tokens_of(request)
        while True:
            probe = await self._breaker.enter()
            health: Health = "unknown"
            problem, began = "", 0.0
            try:
                async with self._limit.slot(again=again):
                    if self._breaker.is_open and not probe:
                        continue  # it opened while this call waited for its place
                    if refusal := await self.budget.reserve(most_tokens):
                        if not self.counts["over_budget"]:
                            log.warning(
                                "judging ends here: %s; every further judgement is an error, and none a number", refusal
                            )
                        self.counts["over_budget"] += 1
                        return _Problem("budget", refusal, "")
                    began = time.monotonic()
                    outcome = await self._send(client, request, most_tokens)
                    health = "alive" if isinstance(outcome, ChatReply) or outcome.alive else "down"
                    problem = outcome.problem
                    return outcome
            finally:
                self._breaker.leave(probe, health, began, problem)

    async def _send(
        self, client: openai.AsyncOpenAI, request: Mapping[str, Any], most_tokens: int
    ) -> ChatReply | _Problem:
        started, used = time.monotonic(), 0
        seconds = self.endpoint.timeout_seconds
        self.counts["calls"] += 1
        try:
            call = client.chat.completions.create(model=self.endpoint.model, timeout=seconds, **request)
            reply = await asyncio.wait_for(call, timeout=seconds)
            if inside := error_inside(reply):
                return self._count_problem(self._problem_inside(*inside), started)
            answer, used = self._read(reply, most_tokens)
        except (
            Exception
        ) as error:  # the boundary to a library and a network: every failure becomes a kind, none a number
            return self._count_problem(self._problem(error), started)
        finally:
            self.budget.settle(most_tokens, used)
        self._limit.grow()
        return answer

    def _count_problem(self, problem: _Problem, started: float) -> _Problem:
        self.counts[problem.counter] += 1
        if problem.counter == "http_429":
            self._limit.shrink(started, problem.retry_after)
        return problem

    def _read(self, reply: Any, most_tokens: int) -> tuple[ChatReply, int]:
        """Return what a reply says, and the tokens it takes from the budget: `most_tokens` where the endpoint does not
        tell."""
        choice = reply.choices[0]
        text, reason = choice.message.content, choice.finish_reason
        usage = getattr(reply, "usage", None)
        counts = [getattr(usage, name, None) for name in ("prompt_tokens", "completion_tokens")]
        read, written = (count if isinstance(count, int) and count >= 0 else 0 for count in counts)
        if not read + written:
            self.counts["usage_missing"] += 1
        cost = self.endpoint.prices.cost(read, written)
        self.counts["tokens"] += read + written
        self.cost += cost
        answer = ChatReply(
            text=_presentable(text) if isinstance(text, str) else None,
            finish_reason=_presentable(reason)[:40] if isinstance(reason, str) else None,
            num_tokens=read + written,
            num_attempts=1,
            cost=cost,
            no_text=without_text(choice.message, choice),
        )
        return answer, read + written or most_tokens

    def _open(self) -> openai.AsyncOpenAI:
        if self._client is None:
            if fault := key_fault(self.endpoint.api_key_env):
                raise JudgeConfigError(fault)
            key = os.environ[self.endpoint.api_key_env]
            keep_secret(key)
            self._client = openai.AsyncOpenAI(
                base_url=self.endpoint.base_url, api_key=key, max_retries=0, http_client=self._connections()
            )
        return self._client

    def _connections(self) -> httpx2.AsyncClient:
        """Return the connections, through the proxy of the environment or directly. Raises JudgeConfigError for a proxy
        that cannot work."""
        if proxy := proxy_for(self.endpoint.base_url, os.environ):
            return openai.DefaultAsyncHttpxClient(proxy=proxy.url)
        # With a transport of its own the library reads no proxy from the environment.
        return openai.DefaultAsyncHttpxClient(
            transport=httpx2.AsyncHTTPTransport(limits=openai.DEFAULT_CONNECTION_LIMITS)
        )

    async def check(self) -> None:
        """Raise JudgeUnreachable unless the endpoint answers, takes the key and serves the model (GET /models). Waits
        ten seconds at most."""
        # Raised outside the handlers of `_problem_with_model`: a chained exception would carry the request, and with it
        # the key.
        if problem := await self._problem_with_model():
            raise JudgeUnreachable(redact(problem))

    async def _problem_with_model(self) -> str:
        """Return why the model cannot be asked; "" = it can, or only a question can tell."""
        where = f"judge.base_url={self.endpoint.base_url}"
        client = self._open()
        try:
            body = await asyncio.wait_for(client.get("/models", cast_to=object, options={"timeout": 10.0}), 10.0)
        except openai.APIStatusError as error:
            if error.status_code in (404, 405):
                return ""  # an endpoint without a model list; a question tells more
            return f"{where} refuses GET /models: {self._problem(error).problem}"
        except (TimeoutError, openai.APIError, OSError) as error:
            return self._no_answer(where, error)
        except Exception as error:  # a server that talks, but not this protocol
            return f"{where} answers, but not as an OpenAI-compatible server ({_first_words(error)})."
        if isinstance(body, str):
            return (
                f"{where} answers GET /models with no JSON: {words_of(body)!r}. Correct judge.base_url (it usually"
                " ends in /v1): this looks like another server, or a login page before it."
            )
        models = _names_in(body)
        if models and self.endpoint.model not in models:
            return f"{where} does not serve judge.model={self.endpoint.model!r}, only {models[:8]}. Name one of these."
        return ""

    def _no_answer(self, where: str, error: Exception) -> str:
        proxy = proxy_for(self.endpoint.base_url, os.environ)
        through = f" through {proxy.address} of the environment" if proxy else ""
        mend = f"Correct {proxy.variable} or add the host to NO_PROXY; or start" if proxy else "Start"
        return (
            f"{where} does not answer{through} ({_cause(error)}). Expected an OpenAI-compatible server with GET /models"
            f" and POST /chat/completions.\n{mend} it, correct judge.base_url (it usually ends in /v1), or use"
            " judge=rules to go on without a judge model."
        )

    def _problem(self, error: Exception) -> _Problem:
        """Return what an exception of the client library means."""
        if isinstance(error, (TimeoutError, openai.APITimeoutError)):
            return _Problem("timeout", "the endpoint did not answer in time", "timeouts")
        if isinstance(error, openai.APIStatusError):
            headers = error.response.headers
            after = retry_after_seconds(headers.get("retry-after"), headers.get("date"))
            words = words_of(_body(error.response))
            # A quota that is used up may be named beside the words only.
            code = f"{error.code or ''} {error.type or ''}"
            text = f"HTTP {error.status_code}" + (f": {words!r}" if words else " without a word")
            return self._status_problem(error.status_code, f"{code} {words}", text, after)
        if isinstance(error, openai.APIConnectionError):
            return _Problem("unavailable", f"no connection ({_cause(error)})", "connection_errors")
        return _Problem("unavailable", f"unreadable response: {_first_words(error)}", "rubbish")

    def _problem_inside(self, status: int | None, text: str) -> _Problem:
        """Return what an error inside a reply with HTTP 200 means; `status`: the one it names."""
        if status is None:
            return _Problem("unavailable", text, "rubbish")
        return self._status_problem(status, text, text, None)

    def _status_problem(self, status: int, words: str, text: str, after: float | None) -> _Problem:
        failure: Failure = "refused" if is_final(status, words) else "unavailable"
        problem = f"{text}. {advice(status, words, self.endpoint)}"
        return _Problem(failure, problem, f"http_{status}", after, alive=status < 500)

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


def _cause(error: BaseException) -> str:
    """Return the names of an error and of its cause, which hold no key."""
    return type(error.__cause__ or error).__name__


def _first_words(error: Exception) -> str:
    """Return the kind of an error, and the beginning of the text that could not be read, where it holds one."""
    text = getattr(error, "doc", None) or getattr(error, "object", None)
    words = words_of(text) if isinstance(text, (str, bytes)) else words_of(str(error))
    return f"{type(error).__name__}: {words!r}"


def _body(response: httpx2.Response) -> Any:
    try:
        return response.json()
    except (ValueError, RecursionError):
        return response.text


def _names_in(body: Any) -> list[str]:
    """Return the names of a list of models, {"data": [..]} or a bare list; [] where it is of another shape."""
    rows = body.get("data") if isinstance(body, dict) else body
    if not isinstance(rows, list):
        return []
    return [str(row["id"]) for row in rows if isinstance(row, dict) and "id" in row]


def _failure(failure: Failure, problem: str) -> ChatReply:
    return ChatReply(None, None, 0, 0, failure, problem)


def _presentable(text: str) -> str:
    """Return what an endpoint said, without keys and fit to be stored."""
    return well_formed(str(redact(text)))
