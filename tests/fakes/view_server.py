"""The viewer as a reader starts it, in a process of its own, and raw requests to it: for tests that talk real HTTP."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from rollouts.page.listing import list_groups
from rollouts.page.viewer import Viewer
from tests.paths import REPOSITORY

_DEADLINE_SECONDS = 120


class Answer(NamedTuple):
    """What came back. `status` 0 = the connection was closed without an answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Served(NamedTuple):
    """A running viewer."""

    port: int
    process: subprocess.Popen[str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def get(self, path: str, **headers: str) -> Answer:
        """A GET with our Host; header names with _ for -."""
        lines = {"Host": f"127.0.0.1:{self.port}", **{name.replace("_", "-"): value for name, value in headers.items()}}
        return self.raw(
            f"GET {path} HTTP/1.1\r\n"
            + "".join(f"{k}: {v}\r\n" for k, v in lines.items())
            + "Connection: close\r\n\r\n"
        )

    def post(self, path: str, body: bytes, **headers: str) -> Answer:
        """A POST as the page makes it; a header given as None is left out, another value replaces ours."""
        lines = {
            "Host": f"127.0.0.1:{self.port}",
            "Origin": f"http://127.0.0.1:{self.port}",
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value is not None)
        return self.raw(f"POST {path} HTTP/1.1\r\n{head}Connection: close\r\n\r\n".encode() + body)

    def raw(self, request: str | bytes) -> Answer:
        """Exactly these bytes on a connection of their own, and what comes back until it is closed."""
        data = request.encode("latin-1") if isinstance(request, str) else request
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
            connection.sendall(data)
            received = b""
            with contextlib.suppress(ConnectionError, TimeoutError):
                while chunk := connection.recv(65536):
                    received += chunk
        return parsed(received)

    def when_ready(self) -> dict[str, Any]:
        """What the page asks to follow a run, once every step was read."""
        end = time.monotonic() + _DEADLINE_SECONDS
        while time.monotonic() < end:
            about: dict[str, Any] = self.get("/api/about").json()
            if about["ready"]:
                return about
            time.sleep(0.1)
        raise AssertionError(f"the run was not read within {_DEADLINE_SECONDS} s")


def parsed(received: bytes) -> Answer:
    """Status, headers and body of an HTTP/1.1 answer."""
    head, _, body = received.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    match = re.match(r"HTTP/1\.1 (\d{3})", lines[0])
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    return Answer(int(match[1]) if match else 0, headers, body)


@contextlib.contextmanager
def serving(*arguments: str | Path) -> Iterator[Served]:
    """`python -m rollouts.view ARGUMENTS --port 0` until the block ends."""
    command = [sys.executable, "-m", "rollouts.view", *map(str, arguments), "--port", "0"]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline() if process.stdout else ""
        match = re.match(r"http://127\.0\.0\.1:(\d+)/", line)
        if match is None:
            raise AssertionError(f"the viewer did not start: {line}{process.stderr.read() if process.stderr else ''}")
        served = Served(int(match[1]), process)
        served.when_ready()
        yield served
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe:
                pipe.close()


def viewing(*runs: Path) -> Viewer:
    """What the server asks, in this process, with everything read."""
    viewer = Viewer(list(runs))
    viewer.index.refresh()
    return viewer


def found(viewer: Viewer, text: str) -> set[tuple[int, str, int]]:
    """(step, prompt, sample) of every completion that a search finds."""
    groups = list_groups(viewer.index, text, "step", 0)["groups"]
    return {
        (one["step"], one["prompt"], i)
        for one in groups
        for i in (one["hits"] if one["hits"] is not None else range(one["num"]))
    }
