"""The judge of judge=local, which brings its server along, and the servers that this process runs: judges on one model
share one, its last user stops it, and none outlives the run."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from judges.guards.suspicion import suspicious
from judges.local.server import JudgeServer
from judges.verdict import Assessment, Criteria, Judge, JudgeUnreachable, Question, Verdict

_servers: dict[Path, tuple[JudgeServer, int]] = {}
_lock = threading.Lock()


def take_server(model: str | Path, log_folder: str | Path | None = None) -> JudgeServer:
    """Return the one server of this process on a model; it may not have been started. Who takes it gives it back once.

    `model`: folder of the model. `log_folder`: as for `JudgeServer`; the first caller's counts. Raises JudgeConfigError
    where vLLM is not installed.
    """
    path = Path(model).resolve()
    with _lock:
        server, users = _servers.get(path) or (JudgeServer(path, log_folder), 0)
        _servers[path] = (server, users + 1)
    return server


def give_server_back(server: JudgeServer) -> None:
    """Give a server back. Its last user stops it, which takes up to ten seconds."""
    with _lock:
        _, users = _servers.get(server.model, (server, 1))
        if users > 1:
            _servers[server.model] = (server, users - 1)
            return
        _servers.pop(server.model, None)
    server.close()


def raise_if_server_gone() -> None:
    """Raise JudgeUnreachable if a server of this process has ended for good."""
    for server, _ in list(_servers.values()):
        server.raise_if_gone()


@contextmanager
def no_server_left() -> Iterator[None]:
    """Stop every server of this process at the end, also where an error left a judge open."""
    try:
        yield
    finally:
        with _lock:
            servers = [server for server, _ in _servers.values()]
            _servers.clear()
        for server in servers:
            server.close()


def _doubt(verdict: Verdict, question: Question) -> Verdict:
    """Turn an accepted answer that speaks to its grader into unsure, which pays nothing: a model of this size does not
    have the last word on it."""
    mark = suspicious(question) if verdict.decision == "correct" and verdict.layer in ("judge", "cache") else ""
    return replace(verdict, decision="unsure", reason=f"accepted, but the answer holds {mark}") if mark else verdict


class LocalJudge:
    """A judge whose server is a process of the run. Judgements wait until the server answers; closing the judge gives
    it back."""

    is_instant = False

    def __init__(self, judge: Judge, server: JudgeServer) -> None:
        self.name = f"local:{server.served_name}"
        self._judge = judge
        self.server = server
        self._closed = False

    @property
    def shows_images(self) -> bool:
        """False: the local judge reads text only."""
        return False

    async def judge(self, question: Question) -> Verdict:
        """Return the verdict of the model; "unavailable" where its server is gone for good. Never raises for any
        answer."""
        if trouble := await self._trouble():
            return Verdict(None, "unavailable", trouble)
        return _doubt(await self._judge.judge(question), question)

    async def assess(self, criteria: Criteria) -> Assessment:
        """Refuse: the model was taught to compare short answers, and nothing else."""
        return Assessment(
            None, "refused", "judge=local compares short answers with a reference; criteria need judge=openai"
        )

    async def _trouble(self) -> str:
        self.server.start()
        while not self.server.up.is_set():
            if trouble := self.server.trouble():
                return trouble
            await asyncio.sleep(0.05)
        return ""

    async def check(self) -> None:
        """Wait for the server, then check that the model keeps to the schema. Raises JudgeUnreachable."""
        if trouble := await self._trouble():
            raise JudgeUnreachable(trouble)
        await self._judge.check()

    def check_now(self) -> None:
        """`check` for callers without an event loop."""
        self.server.wait()
        self._judge.check_now()

    def describe(self) -> str:
        """Say which model decides, and that it is ours."""
        seconds = self.server.seconds_to_start
        progress = "starting" if self.server.is_started else "starts with the first question"
        state = progress if seconds is None else f"up after {seconds:.0f} s"
        where = f"served by vLLM on this machine ({state}), log in {self.server.log_path}"
        return f"judge=local: open answers are judged by the model in {self.server.model}, {where}"

    def metrics(self) -> dict[str, float]:
        """Return the judge's counters, and how often its server was started again."""
        return self._judge.metrics() | {"judge/server_restarts": float(self.server.num_restarts)}

    async def close(self) -> None:
        """Close connections and give the server back; the last judge on a server stops it. A second call does
        nothing."""
        await self._judge.close()
        if not self._closed:
            self._closed = True
            await asyncio.to_thread(give_server_back, self.server)
