"""The LLM judge: prechecks, cache, one structured question per attempt, strict reading, re-asking, failing (JUDGING.md, layers 1 to 5)."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import secrets
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from judges.cache import VerdictCache, cache_key
from judges.client import ChatClient
from judges.reply import SCHEMA, SCHEMA_VERSION, parse_reply
from judges.rules import clean, precheck
from judges.verdict import JudgeMedia, Question, Verdict

PROMPT_FOLDER = Path(__file__).parent / "prompts"
_RESPONSE_FORMAT = {"type": "json_schema", "json_schema": {"name": "verdict", "strict": True, "schema": SCHEMA}}
# What opens a chat template's control token or a markup tag; inside JSON it is written as an escape, so that no tokenizer sees it.
_MARKUP = re.compile(r"<(?=[|/a-zA-Z!])")


class Prompt(NamedTuple):
    """A system prompt from a file; `version` is its name and the first digits of its SHA-256, so that an edited file is another version."""

    version: str
    text: str


def load_prompt(name: str, language: str) -> Prompt:
    """The prompt `NAME.LANGUAGE.md`, or the English one where there is none in that language. Raises FileNotFoundError for an unknown name."""
    path = PROMPT_FOLDER / f"{name}.{language}.md"
    path = path if path.exists() else PROMPT_FOLDER / f"{name}.en.md"
    if not path.exists():
        raise FileNotFoundError(f"no judge prompt named {name!r}; there are {sorted(p.stem for p in PROMPT_FOLDER.glob('*.md'))}")
    text = path.read_text(encoding="utf-8")
    return Prompt(f"{path.stem}@{hashlib.sha256(text.encode()).hexdigest()[:12]}", text)


def user_message(question: Question, nonce: str) -> str:
    """All data as one JSON object; nothing is pasted into a sentence, so there is no fence to break."""
    data = {
        "nonce": nonce,
        "question": clean(question.question),
        "reference": clean(question.reference),
        "accepted_wordings": [clean(alias) for alias in question.aliases],
        "candidate": clean(question.answer),
    }
    return _MARKUP.sub("\\\\u003c", json.dumps(data, ensure_ascii=False))


class LlmJudge:
    """Asks an OpenAI-compatible endpoint. A reply that is not one valid verdict is asked again up to `max_reasks` times, then judging failed."""

    def __init__(
        self,
        client: ChatClient,
        prompt: str = "equivalence_1",
        cache: VerdictCache | None = None,
        offline: bool = False,
        max_reasks: int = 2,
    ) -> None:
        self.name = f"openai:{client.endpoint.model}"
        self._client = client
        self._prompts = {language: load_prompt(prompt, language) for language in ("en", "zh")}
        self._cache = cache
        self._offline = offline
        self._max_reasks = max_reasks
        self._counts: Counter[str] = Counter()

    async def judge(
        self,
        question: str,
        reference: str,
        aliases: tuple[str, ...],
        answer: str,
        language: str = "en",
        *,
        media: Sequence[JudgeMedia] = (),
        group_key: str | None = None,
    ) -> Verdict:
        """The verdict on one answer. Never raises on an answer or a reply; a missing key raises JudgeConfigError."""
        began = time.monotonic()
        asked = Question(question, reference, answer, tuple(aliases), language, tuple(media), group_key)
        verdict = precheck(asked) or await self._ask(asked)
        self._counts[verdict.decision or f"failed_{verdict.failure}"] += 1
        self._counts[f"by_{verdict.layer}"] += 1
        return Verdict(**{**vars(verdict), "seconds": time.monotonic() - began})

    async def _ask(self, asked: Question) -> Verdict:
        prompt = self._prompts.get(asked.language, self._prompts["en"])
        endpoint = self._client.endpoint
        key = cache_key(
            asked, model=endpoint.model, prompt_version=prompt.version, schema_version=SCHEMA_VERSION, sampling=endpoint.sampling
        )
        if self._cache is not None and (stored := self._cache.get(key)):
            return Verdict(stored["decision"], reason=stored["reason"], layer="cache", transcript=stored["transcript"])
        if self._offline:
            return Verdict(None, "offline", f"not in the cache, and asking is switched off (key {key[:12]})", "cache")
        verdict = await self._asked_until_readable(asked, prompt)
        if self._cache is not None and verdict.decision is not None:
            self._cache.put(key, {"decision": verdict.decision, "reason": verdict.reason, "transcript": dict(verdict.transcript)})
        return verdict

    async def _asked_until_readable(self, asked: Question, prompt: Prompt) -> Verdict:
        attempts: list[dict[str, Any]] = []
        transcript = {
            "judge": self.name,
            "prompt": prompt.version,
            "reference": asked.reference,
            "answer": asked.answer,
            "attempts": attempts,
        }
        calls = tokens = 0
        for _ in range(1 + self._max_reasks):
            nonce = secrets.token_hex(8)
            messages = [{"role": "system", "content": prompt.text}, {"role": "user", "content": user_message(asked, nonce)}]
            said = await self._client.ask(messages, _RESPONSE_FORMAT)
            calls, tokens = calls + said.num_attempts, tokens + said.num_tokens
            if said.failure:
                attempts.append({"problem": said.problem})
                return Verdict(None, said.failure, said.problem, "judge", transcript, 0.0, calls, tokens)
            reply = parse_reply(said.text, nonce, said.finish_reason)
            attempts.append({"reply": str(said.text)[:4000], "finish_reason": said.finish_reason, "problem": reply.problem})
            if reply.decision:
                reason = f"judge: {reply.contradiction}" if reply.contradiction else "judge"
                return Verdict(reply.decision, None, reason, "judge", transcript, 0.0, calls, tokens)
            self._counts["reasks"] += 1
        return Verdict(
            None,
            "unreadable",
            f"{len(attempts)} replies, none a valid verdict: {attempts[-1]['problem']}",
            "judge",
            transcript,
            0.0,
            calls,
            tokens,
        )

    async def check(self) -> None:
        """Raise JudgeUnreachable or JudgeConfigError unless the endpoint can be asked."""
        if not self._offline:
            await self._client.check()

    def check_now(self) -> None:
        """`check` in an event loop of its own; connections are opened anew in the loop that judges."""

        async def once() -> None:
            try:
                await self.check()
            finally:
                await self._client.close()

        asyncio.run(once())

    def describe(self) -> str:
        """Says which model decides, where, and under which prompt."""
        endpoint = self._client.endpoint
        return f"judge=openai: open answers are judged by {endpoint.model} at {endpoint.base_url}, prompt {self._prompts['en'].version}"

    def metrics(self) -> dict[str, float]:
        """`judge/correct`, `judge/failed_timeout`, `judge/calls`, `judge/retries`, `judge/http_429`, .. since the start."""
        return {f"judge/{name}": float(count) for name, count in sorted((self._counts + self._client.counts).items())}

    async def close(self) -> None:
        """Close connections and cache."""
        await self._client.close()
        if self._cache is not None:
            self._cache.close()
