"""A fast local judge endpoint that fails as told: errors, refusals with Retry-After, hangs, rubbish, cut connections.
It remembers what it was asked.

`python -m tests.fakes.fault_server SEED RETRY_AFTER HTTP_500 HTTP_429 HANG RUBBISH CUT` serves in a process of its own:
its first line is the port, and `GET /journal` gives what it saw. In a test it runs in a thread (`FaultServer`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.scripted_judge import MODEL, data_of, is_probe, verdict_json

KINDS = ("http_500", "http_429", "hang", "rubbish", "cut")


@dataclass
class Faults:
    """The share of each fault among all requests; the rest is answered."""

    http_500: float = 0.10
    http_429: float = 0.10
    hang: float = 0.05
    rubbish: float = 0.03
    cut: float = 0.02
    # Seconds, as sent in the header of every 429.
    retry_after: float = 1.0
    seed: int = 0


def right(candidate: str) -> bool:
    """The truth of the made-up answers: "finding 120" is right, because its number can be divided by three."""
    return int(candidate.split()[-1]) % 3 == 0


@dataclass
class Journal:
    """What the server saw: for each candidate, when it was asked and what it got, in order."""

    asked: dict[str, list[tuple[float, str]]] = field(default_factory=dict)

    def note(self, candidate: str, kind: str) -> None:
        self.asked.setdefault(candidate, []).append((time.monotonic(), kind))


class _Connection(asyncio.Protocol):
    """Keep-alive HTTP/1.1, one request after the other, as clients with a pool send them."""

    def __init__(self, faults: Faults, rng: random.Random, journal: Journal) -> None:
        self._faults, self._rng, self._journal = faults, rng, journal
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].decode("latin-1").lower()
            length = int(head.split("content-length:")[1].split("\r\n")[0]) if "content-length:" in head else 0
            if len(self._buffer) < end + 4 + length:
                return
            body, self._buffer = self._buffer[end + 4 : end + 4 + length], self._buffer[end + 4 + length :]
            self._answer(head.split(" ")[1], body)

    def _answer(self, path: str, body: bytes) -> None:
        if path.endswith("/journal"):
            self._send(200, json.dumps(self._journal.asked).encode())
        elif path.endswith("/models"):
            self._send(200, json.dumps({"object": "list", "data": [{"id": MODEL, "object": "model"}]}).encode())
        else:
            self._judge(json.loads(body))

    def _judge(self, request: dict[str, Any]) -> None:
        data = data_of(request)
        kind = "ok" if is_probe(request) else self._drawn()
        if not is_probe(request):
            self._journal.note(data["candidate"], kind)
        if kind == "http_500":
            self._send(500, b'{"error": {"message": "out of order"}}')
        elif kind == "http_429":
            self._send(429, b'{"error": {"message": "too many"}}', f"retry-after: {self._faults.retry_after:g}\r\n")
        elif kind == "rubbish":
            self._send(200, b"\x00\xff<html>gateway</html>")
        elif kind == "cut":
            self._transport.abort()
        elif kind == "ok":
            verdict = "correct" if is_probe(request) or right(data["candidate"]) else "incorrect"
            self._send(200, _completion(verdict_json(data["nonce"], verdict)))
        # A hang says nothing until the client goes away.

    def _drawn(self) -> str:
        draw = self._rng.random()
        for kind in KINDS:
            draw -= getattr(self._faults, kind)
            if draw < 0:
                return kind
        return "ok"

    def _send(self, status: int, payload: bytes, headers: str = "") -> None:
        head = (
            f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(payload)}\r\n{headers}\r\n"
        )
        self._transport.write(head.encode("latin-1") + payload)


def _completion(content: str) -> bytes:
    message = {"role": "assistant", "content": content}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    usage = {"prompt_tokens": 600, "completion_tokens": 40, "total_tokens": 640}
    return json.dumps(
        {"id": "x", "object": "chat.completion", "created": 0, "model": MODEL, "choices": [choice], "usage": usage}
    ).encode()


async def _serve(faults: Faults, journal: Journal) -> asyncio.Server:
    rng = random.Random(faults.seed)
    return await asyncio.get_running_loop().create_server(
        lambda: _Connection(faults, rng, journal), "127.0.0.1", 0, backlog=512
    )


class FaultServer:
    """The server in a thread of this process; a context manager."""

    def __init__(self, faults: Faults) -> None:
        self.journal = Journal()
        self._faults = faults
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> FaultServer:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(_serve(self._faults, self.journal), self._loop).result(5)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"
        return self

    def __exit__(self, *exc: object) -> None:
        self._loop.call_soon_threadsafe(self._server.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()


async def main(faults: Faults) -> None:
    """Serve until the process is ended."""
    server = await _serve(faults, Journal())
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    seed, retry_after, *shares = sys.argv[1:]
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(Faults(*map(float, shares), retry_after=float(retry_after), seed=int(seed))))
