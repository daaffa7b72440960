"""Gets one judgement from a model: cache, one question per attempt under a new nonce, strict reading, re-asking,
failing (JUDGING.md, layers 3 to 5)."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import re
import secrets
import sqlite3
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from judges.gateway.client import ChatClient, ChatReply
from judges.gateway.endpoint import sampling_with_room
from judges.gateway.redaction import well_formed
from judges.model.cache import VerdictCache
from judges.model.prompts import Prompt
from judges.model.reply import Form
from judges.verdict import Failure, JudgeMedia

log = logging.getLogger(__name__)

MAX_STORED_REPLY_CHARS = 4000
# The opening of a chat template's control token or of a markup tag. JSON holds it as an escape, so that no tokenizer
# sees it.
_MARKUP = re.compile(
    r"<(?=[|/a-zA-Z!])"
    r"|\[(?=/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|IMG\w*|[gs]?MASK|[se]op"
    r"|PREFIX|SUFFIX|MIDDLE|CLS|SEP|PAD|UNK|BOS|EOS)\])"
)


@dataclass(frozen=True)
class Task:
    """One judgement to get."""

    form: Form
    prompt: Prompt
    # Content of the user message beside the nonce, JSON-ready and clean.
    data: Mapping[str, Any]
    cache_key: str
    # Head of the transcript, before the attempts.
    about: Mapping[str, Any]
    # Images to show; () = text only.
    media: tuple[JudgeMedia, ...] = ()
    group_key: str | None = None


@dataclass(frozen=True)
class Answer:
    """The result of a judgement: the content of a readable reply, or a failure. Exactly one of `content` and `failure`
    is set."""

    content: Mapping[str, Any] | None
    failure: Failure | None = None
    reason: str = ""
    # "judge" or "cache".
    layer: str = "judge"
    transcript: Mapping[str, Any] = field(default_factory=dict)
    num_calls: int = 0
    num_tokens: int = 0
    cost: float = 0.0


def as_json(data: Mapping[str, Any], nonce: str) -> str:
    """Return all data as one JSON object. Nothing is pasted into a sentence, so there is no fence to break."""
    text = well_formed(json.dumps({"nonce": nonce, **data}, ensure_ascii=False))
    return _MARKUP.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


class Asker:
    """Gets judgements from one client. The same judgement asked twice at the same time is one call; a stored one is
    none."""

    def __init__(
        self,
        client: ChatClient,
        cache: VerdictCache | None,
        offline: bool,
        max_reasks: int,
        nonce_in_schema: bool,
        counts: Counter[str],
    ) -> None:
        self._client = client
        self._cache = cache
        self._offline = offline
        self._max_reasks = max_reasks
        self._nonce_in_schema = nonce_in_schema
        self._counts = counts
        self._in_flight: dict[str, asyncio.Task[Answer]] = {}

    async def answer(self, task: Task) -> Answer:
        """Return the judgement. Never raises for what an endpoint does. Its deadline begins when it is let in, not
        while it waits behind others."""
        if answer := self._answer_without_call(task):
            return answer
        async with self._client.entrance():
            with self._client.deadline(task.group_key) as until:
                return await self._answer_by(task, until)

    def _answer_without_call(self, task: Task) -> Answer | None:
        """Return a stored reply, or the failure "offline" where asking is switched off; None = the model must be
        asked."""
        if self._cache is not None and (stored := self._cache.get(task.cache_key)):
            content = {name: value for name, value in stored.items() if name != "transcript"}
            return Answer(content, reason=stored["reason"], layer="cache", transcript=stored["transcript"])
        if self._offline:
            return Answer(
                None, "offline", f"not in the cache, and asking is switched off (key {task.cache_key[:12]})", "cache"
            )
        return None

    async def _answer_by(self, task: Task, until: float) -> Answer:
        """Return the judgement, shared with the same one in flight, until the loop's time `until`."""
        while True:
            if answer := self._answer_without_call(task):
                return answer
            running = self._in_flight.get(task.cache_key)
            if running is None:
                return await self._ask_alone(task, until)
            self._counts["shared_in_flight"] += 1
            seconds_left = until - asyncio.get_running_loop().time()
            await asyncio.wait([running], timeout=seconds_left)
            if not running.done() or seconds_left <= 0:
                return Answer(
                    None,
                    "timeout",
                    "the same judgement, which another group asked for, did not end before the deadline",
                )
            # Another group's deadline is not this one's: a judgement that ended with it, or with its caller, is asked
            # again.
            if not running.cancelled() and running.result().failure != "timeout":
                answer = running.result()
                return replace(
                    answer, layer="cache" if answer.content else "judge", num_calls=0, num_tokens=0, cost=0.0
                )

    async def _ask_alone(self, task: Task, until: float) -> Answer:
        running = asyncio.ensure_future(self._ask_and_keep(task, until))
        self._in_flight[task.cache_key] = running
        # Before those that share it go on: they must find the place free.
        running.add_done_callback(lambda _: self._in_flight.pop(task.cache_key, None))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            running.cancel()
            raise

    async def _ask_and_keep(self, task: Task, until: float) -> Answer:
        answer = await self.converse(task, until)
        self._keep(task, answer)
        return answer

    def _keep(self, task: Task, answer: Answer) -> None:
        if self._cache is None or answer.content is None:
            return
        try:
            self._cache.put(task.cache_key, {**answer.content, "transcript": dict(answer.transcript)})
        except sqlite3.Error as error:  # a full disk must not lose a verdict that was paid for
            self._counts["cache_write_failures"] += 1
            log.warning("a verdict could not be kept in the judge's cache: %s", error)

    async def converse(self, task: Task, until: float) -> Answer:
        """Ask until a reply can be read, at most `1 + max_reasks` times and until the loop's time `until` (seconds).
        Neither cache nor sharing."""
        attempts: list[dict[str, Any]] = []
        transcript = {**task.about, "prompt": task.prompt.version, "attempts": attempts}
        sampling = sampling_with_room(self._client.endpoint.sampling, task.form.least_reply_tokens)
        calls = tokens = 0
        cost = 0.0
        problem = ""
        for _ in range(1 + self._max_reasks):
            nonce, began = secrets.token_hex(8), time.monotonic()
            text = as_json(task.data, nonce)
            reply = await self._client.ask(
                _messages(task, text), self._response_format(task.form, nonce), deadline=until, sampling=sampling
            )
            calls, tokens, cost = calls + reply.num_attempts, tokens + reply.num_tokens, cost + reply.cost
            content, problem = None, reply.problem
            if reply.failure is None:
                content, problem = task.form.read(reply.text, nonce, reply.finish_reason)
                problem = problem and (reply.no_text or problem)
            attempts.append(_attempt(task, text, reply, problem, time.monotonic() - began))
            if reply.failure is not None:
                return Answer(None, reply.failure, reply.problem, "judge", transcript, calls, tokens, cost)
            if content is not None:
                return Answer(content, None, content["reason"], "judge", transcript, calls, tokens, cost)
            self._counts["unreadable_replies"] += 1
        reason = f"{len(attempts)} replies, none of them valid: {problem}"
        return Answer(None, "unreadable", reason, "judge", transcript, calls, tokens, cost)

    def _response_format(self, form: Form, nonce: str) -> dict[str, Any]:
        schema = form.schema
        if self._nonce_in_schema:
            schema = {**schema, "properties": {**schema["properties"], "nonce": {"type": "string", "enum": [nonce]}}}
        return {"type": "json_schema", "json_schema": {"name": form.name, "strict": True, "schema": schema}}


def _messages(task: Task, text: str) -> list[dict[str, Any]]:
    content: str | list[dict[str, Any]] = text
    if task.media:
        content = [{"type": "text", "text": text}, *(_image(one) for one in task.media)]
    return [{"role": "system", "content": task.prompt.text}, {"role": "user", "content": content}]


def _image(media: JudgeMedia) -> dict[str, Any]:
    return {
        "type": "image_url",
        "image_url": {"url": "data:image/png;base64," + base64.b64encode(media.png).decode("ascii")},
    }


def _attempt(task: Task, text: str, reply: ChatReply, problem: str, seconds: float) -> dict[str, Any]:
    """Return what the transcript keeps of one question and its reply: the messages as sent, an image by its hash."""
    user: str | Sequence[Mapping[str, str]] = text
    if task.media:
        user = [{"type": "text", "text": text}, *({"type": "image", "sha256": one.sha256} for one in task.media)]
    return {
        "messages": [{"role": "system", "content": task.prompt.text}, {"role": "user", "content": user}],
        "reply": None if reply.text is None else reply.text[:MAX_STORED_REPLY_CHARS],
        "finish_reason": reply.finish_reason,
        "problem": problem,
        "failed_attempts": list(reply.problems),
        "num_tokens": reply.num_tokens,
        "cost": reply.cost,
        "seconds": round(seconds, 3),
    }
