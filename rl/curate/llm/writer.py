"""Asks the recipe's endpoint through the judge's gateway: its limiter, retries, breaker, budget and cache, and its way
of keeping data apart from instructions (judges/JUDGING.md)."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from judges.gateway.endpoint import Budget, Endpoint, Prices
from judges.model.asking import Answer, Asker, Task
from judges.model.cache import VerdictCache
from judges.model.prompts import load_prompt
from judges.model.reply import Form
from judges.verdict import JudgeConfigError, JudgeMedia
from rl.curate.recipe.schema import Llm

_PROMPTS = Path(__file__).parent / "prompts"
# Requests whose pictures are in memory at the same time.
_AT_ONCE = 64


class WriterError(ValueError):
    """The endpoint cannot be asked at all: no key, a damaged cache; the message says what to do."""


@dataclass(frozen=True)
class Request:
    """One thing to be written."""

    form: Form
    # Name of a prompt of this room.
    prompt: str
    # What the user message holds beside the nonce.
    data: Mapping[str, Any]
    # SHA-256 of the picture's source and what opens it; None = text only. Opened only where the cache has no reply.
    picture: tuple[str, Callable[[], bytes]] | None = None


@dataclass(frozen=True)
class Written:
    """A reply that can be used, or why there is none: exactly one of both."""

    content: Mapping[str, Any] | None
    problem: str = ""
    # Whether another run may fare better: the endpoint failed, and not what it wrote.
    failed: bool = False


@dataclass
class Writer:
    """One endpoint for one run. It keeps every usable reply, and every refused one, so that a second run asks
    nothing."""

    settings: Llm
    cache_path: Path
    # Base of the full-jitter backoff, in seconds.
    backoff_seconds: float = 0.5
    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        from judges.gateway.client import ChatClient  # openai takes a second to load

        settings = self.settings
        try:
            endpoint = Endpoint(
                settings.base_url,
                settings.model,
                settings.api_key_env,
                timeout_seconds=settings.timeout_seconds,
                deadline_seconds=settings.deadline_seconds,
                max_attempts=settings.max_attempts,
                max_concurrency=settings.max_concurrency,
                backoff_seconds=self.backoff_seconds,
                sampling=settings.sampling,
                prices=Prices(settings.price_input, settings.price_output),
            )
            self._cache = VerdictCache(self.cache_path)
        except JudgeConfigError as error:
            raise WriterError(_ours(str(error))) from error
        except sqlite3.Error as error:
            raise WriterError(
                f"the replies kept in {self.cache_path} cannot be read: {error}; remove the file"
            ) from error
        self._client = ChatClient(endpoint, budget=Budget(settings.max_calls, settings.max_tokens))
        self._asker = Asker(self._client, self._cache, False, settings.max_reasks, False, self.counts)

    def write(self, requests: Sequence[Request], advance: Callable[[int], None]) -> list[Written]:
        """What came of each request, in order. Raises WriterError where the endpoint cannot be asked at all."""
        try:
            return asyncio.run(self._all(requests, advance))
        except JudgeConfigError as error:
            raise WriterError(_ours(str(error))) from error

    async def _all(self, requests: Sequence[Request], advance: Callable[[int], None]) -> list[Written]:
        async def one(request: Request) -> Written:
            written = await self._one(request)
            advance(1)
            return written

        done: list[Written] = []
        try:
            for start in range(0, len(requests), _AT_ONCE):
                done += await asyncio.gather(*map(one, requests[start : start + _AT_ONCE]))
        finally:
            await self._client.close()
        return done

    async def _one(self, request: Request) -> Written:
        prompt = load_prompt(str(_PROMPTS / request.prompt), "en")
        key = self._key(request, prompt.version)
        if refused := self._cache.get(f"{key}:refused"):
            self.counts["from_cache"] += 1
            return Written(None, str(refused["reason"]))
        if (stored := self._cache.get(key)) is not None:
            self.counts["from_cache"] += 1
            return Written(stored)
        media: tuple[JudgeMedia, ...] = ()
        if request.picture is not None:
            media = (JudgeMedia(request.picture[0], request.picture[1]()),)
        answer = await self._asker.answer(Task(request.form, prompt, dict(request.data), key, {}, media))
        return self._kept(key, answer)

    def _kept(self, key: str, answer: Answer) -> Written:
        if answer.content is not None:
            self.counts["usable_replies"] += 1
            return Written(answer.content)
        self.counts[f"failed_{answer.failure}"] += 1
        if answer.failure != "unreadable":
            return Written(None, f"the endpoint failed: {answer.failure}", failed=True)
        problem = answer.reason.rpartition("none of them valid: ")[2]
        self._cache.put(f"{key}:refused", {"reason": problem})
        return Written(None, problem)

    def _key(self, request: Request, prompt_version: str) -> str:
        """SHA-256 of all that a reply depends on."""
        parts = {
            "model": self.settings.model,
            "prompt": prompt_version,
            "form": request.form.version,
            "sampling": dict(self.settings.sampling),
            "data": dict(request.data),
            "picture": request.picture[0] if request.picture else None,
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True, ensure_ascii=True).encode("ascii")).hexdigest()

    def version(self, prompt: str) -> str:
        """Name and digest of a prompt of this room."""
        return load_prompt(str(_PROMPTS / prompt), "en").version

    def traffic(self) -> dict[str, float]:
        """What was asked in this run: calls, tokens, retries, faults, cost."""
        return {name: float(count) for name, count in sorted((self.counts + self._client.counts).items())} | {
            "cost": self._client.cost
        }

    def close(self) -> None:
        """Close the cache; a second call does nothing."""
        self._cache.close()


def _ours(text: str) -> str:
    """The gateway speaks of the judge's settings; here they stand under llm."""
    return text.replace("judge=openai", "the language model of a recipe").replace("judge.", "llm.")
