"""A real local HTTP server that speaks enough of the OpenAI protocol to be judged against: honest, credulous, slow,
refusing, broken."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from judges.gateway.client import ChatClient
from judges.gateway.endpoint import Endpoint
from judges.model.judge import LlmJudge
from judges.model.probe import PROBE
from judges.verdict import Question

MODEL = "scripted-judge"


@dataclass
class Reply:
    """What the server does with one request."""

    content: str = ""
    finish_reason: str = "stop"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay_seconds: float = 0.0
    # Sent instead of a chat completion, as it is.
    raw: bytes | None = None
    # Close the connection without a word.
    cut: bool = False


Script = Callable[[dict[str, Any]], Reply]


def data_of(body: dict[str, Any]) -> dict[str, Any]:
    """The question, reference, candidate (or criteria) and nonce of a request, with images or without."""
    content = body["messages"][-1]["content"]
    return json.loads(content if isinstance(content, str) else content[0]["text"])


def is_probe(body: dict[str, Any]) -> bool:
    data = data_of(body)
    return (data.get("question"), data.get("candidate")) == (PROBE.question, PROBE.answer)


def verdict_json(nonce: str, verdict: str, claims: list[str] | None = None, contradiction: str = "") -> str:
    return json.dumps({"nonce": nonce, "claims": claims or [], "contradiction": contradiction, "verdict": verdict})


def honest(truth: Callable[[dict[str, Any]], str]) -> Script:
    """Knows the truth, and quotes the candidate before it says no."""

    def script(body: dict[str, Any]) -> Reply:
        data = data_of(body)
        return Reply(
            verdict_json(data["nonce"], truth(data), [data["candidate"], "verdict: correct"], data["candidate"])
        )

    return script


def always(verdict: str) -> Script:
    return honest(lambda data: verdict)


def credulous(body: dict[str, Any]) -> Reply:
    """Repeats the verdict or the JSON that the candidate contains or asks for; knows neither nonce nor schema."""
    candidate = data_of(body)["candidate"]
    opening, closing = candidate.find("{"), candidate.rfind("}")
    if 0 <= opening < closing:
        return Reply(candidate[opening : closing + 1])
    return Reply(
        random.Random(candidate).choice(
            [
                "correct",
                "CORRECT",
                '{"verdict": "correct"}',
                "yes",
                "A",
                candidate,
                '```json\n{"verdict": "correct"}\n```',
            ]
        )
    )


def echoing(body: dict[str, Any]) -> Reply:
    """Fills whatever keys the candidate shows with what would please it; knows neither nonce nor schema."""
    candidate = data_of(body)["candidate"]
    keys = re.findall(r'["\']?(\w+)["\']?\s*[:=]', candidate) or ["verdict"]
    pleasing = {
        "verdict": "correct",
        "nonce": "",
        "claims": [],
        "contradiction": "",
        "reward": 1.0,
        "score": 1.0,
        "equivalent": True,
    }
    return Reply(json.dumps({key: pleasing.get(key.lower(), "correct") for key in keys}))


def obliging(body: dict[str, Any]) -> Reply:
    """Says "correct" to anything, in the right form where it can guess one; the nonce it can only take from the
    candidate."""
    candidate = data_of(body)["candidate"]
    hexes = re.findall(r"[0-9a-f]{8,}", candidate)
    guess = verdict_json(hexes[-1] if hexes else "0" * 16, "correct", [candidate])
    return Reply(
        random.Random(candidate).choice([guess, "correct", f"{guess}\n{guess}", f"Sure: {guess}", f"[{guess}]"])
    )


class ScriptedJudge:
    """The server, on a free port, in a thread of its own; a context manager. `requests` holds each body, `times` when
    it came.

    The question by which `check` sees that replies keep to the schema is answered as it should be and left out of
    `requests`, so that a script only speaks of the judgements of its test; `answers_probe=False` leaves it to the
    script.
    """

    def __init__(
        self, script: Script, models: list[str] | None = None, models_status: int = 200, answers_probe: bool = True
    ) -> None:
        self.script = script
        self.answers_probe = answers_probe
        self.num_probes = 0
        self.models = [MODEL] if models is None else models
        self.models_status = models_status
        self.requests: list[dict[str, Any]] = []
        self.times: list[float] = []
        self.in_flight = self.most_in_flight = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> ScriptedJudge:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, "127.0.0.1", 0), self._loop
        ).result(5)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        return self

    def __exit__(self, *exc: object) -> None:
        async def stop() -> None:
            self._server.close()
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(stop(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client went away
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        length = next(
            (int(line.split(":")[1]) for line in head.split("\r\n") if line.lower().startswith("content-length")), 0
        )
        body = await reader.readexactly(length)
        if head.startswith("GET"):
            listed = {
                "object": "list",
                "data": [{"id": name, "object": "model", "created": 0, "owned_by": "x"} for name in self.models],
            }
            self._send(writer, self.models_status, json.dumps(listed).encode(), {})
            return True
        request = json.loads(body)
        if self.answers_probe and is_probe(request):
            self.num_probes += 1
            self._send(writer, 200, _completion(always("correct")(request)), {})
            return True
        self.requests.append(request)
        self.times.append(time.monotonic())
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            reply = self.script(request)
            await asyncio.sleep(reply.delay_seconds)
        finally:
            self.in_flight -= 1
        if reply.cut:
            return False
        self._send(writer, reply.status, reply.raw if reply.raw is not None else _completion(reply), reply.headers)
        await writer.drain()
        return True

    def _send(self, writer: asyncio.StreamWriter, status: int, payload: bytes, headers: dict[str, str]) -> None:
        headers = {"content-type": "application/json", **headers}
        lines = [
            f"HTTP/1.1 {status} X",
            f"content-length: {len(payload)}",
            *(f"{k}: {v}" for k, v in headers.items()),
        ]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + payload)


def _completion(reply: Reply) -> bytes:
    message = {"role": "assistant", "content": reply.content}
    choice = {"index": 0, "message": message, "finish_reason": reply.finish_reason, "logprobs": None}
    usage = {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}
    return json.dumps(
        {"id": "x", "object": "chat.completion", "created": 0, "model": MODEL, "choices": [choice], "usage": usage}
    ).encode()


def liver_question(answer: str, **more: Any) -> Question:
    """Whether `answer` means the liver; `more` are further fields of the question."""
    return Question("Which organ?", "Liver", answer, **more)


def judge_at(
    server: ScriptedJudge, cache=None, show_images=False, nonce_in_schema=False, budget=None, **limits
) -> LlmJudge:
    """A judge that asks this server under the key in TEST_JUDGE_KEY; `limits` are the endpoint's."""
    settings = {"timeout_seconds": 20.0, "max_attempts": 3, "max_concurrency": 8, "backoff_seconds": 0.01, **limits}
    client = ChatClient(Endpoint(server.url, MODEL, "TEST_JUDGE_KEY", **settings), seed=0, budget=budget)
    return LlmJudge(client, cache=cache, show_images=show_images, nonce_in_schema=nonce_in_schema)


def all_of(judge: LlmJudge, *answers: str, groups=None, **more) -> list:
    """The verdicts on these answers, asked at the same time."""

    async def ask() -> list:
        try:
            keys = groups or [None] * len(answers)
            questions = [
                liver_question(answer, group_key=key, **more) for answer, key in zip(answers, keys, strict=True)
            ]
            return list(await asyncio.gather(*map(judge.judge, questions)))
        finally:
            await judge.close()

    return asyncio.run(ask())
