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

_shared: dict[Path, tuple[JudgeServer, int]] = {}
_lock = threading.Lock()


def take_server(model: str | Path, log_folder: str | Path | None = None) -> JudgeServer:
    """The one server of this process on a model, not necessarily started. Who takes it gives it back once.

    `model`: folder of the model. `log_folder`: as for `JudgeServer`; of the first who asks. Raises JudgeConfigError
    where vLLM is not installed.
    """
    path = Path(model).resolve()
    with _lock:
        server, users = _shared.get(path) or (JudgeServer(path, log_folder), 0)
        _shared[path] = (server, users + 1)
    return server


def give_server_back(server: JudgeServer) -> None:
    """Give a server back; its last user stops it, which takes up to ten seconds."""
    with _lock:
        _, users = _shared.get(server.model, (server, 1))
        if users > 1:
            _shared[server.model] = (server, users - 1)
            return
        _shared.pop(server.model, None)
    server.close()


def raise_if_server_gone() -> None:
    """Raise JudgeUnreachable if a server of this process has ended for good."""
    for server, _ in list(_shared.values()):
        server.raise_if_gone()


@contextmanager
def no_server_left() -> Iterator[None]:
    """Stop every server of this process at the end, also where an error left a judge open."""
    try:
        yield
    finally:
        with _lock:
            servers = [server for server, _ in _shared.values()]
            _shared.clear()
        for server in servers:
            server.close()


def _doubted(verdict: Verdict, asked: Question) -> Verdict:
    """A model of this size has the last word on no answer that speaks to its grader: what it accepts of them is unsure,
    and pays nothing."""
    mark = suspicious(asked) if verdict.decision == "correct" and verdict.layer in ("judge", "cache") else ""
    return replace(verdict, decision="unsure", reason=f"accepted, but the answer holds {mark}") if mark else verdict


class LocalJudge:
    """A judge whose server is a process of the run: judgements wait until it answers. Closing it stops the server."""

    def __init__(self, judge: Judge, server: JudgeServer) -> None:
        self.name = f"local:{server.served_name}"
        self._judge = judge
        self.server = server
        self._closed = False

    @property
    def shows_images(self) -> bool:
        """The local judge reads text only."""
        return False

    async def judge(self, asked: Question) -> Verdict:
        """The verdict of the served model; "unavailable" when its server is gone for good. Never raises on any
        answer."""
        if said := await self._trouble():
            return Verdict(None, "unavailable", said)
        return _doubted(await self._judge.judge(asked), asked)

    async def assess(self, asked: Criteria) -> Assessment:
        """Refused: the model was taught to compare short answers, nothing else."""
        return Assessment(
            None, "refused", "judge=local compares short answers with a reference; criteria need judge=openai"
        )

    async def _trouble(self) -> str:
        self.server.start()
        while not self.server.up.is_set():
            if said := self.server.trouble():
                return said
            await asyncio.sleep(0.05)
        return ""

    async def check(self) -> None:
        """Wait for the server, then see that it keeps to the schema. Raises JudgeUnreachable."""
        if said := await self._trouble():
            raise JudgeUnreachable(said)
        await self._judge.check()

    def check_now(self) -> None:
        """`check` for callers without an event loop."""
        self.server.wait()
        self._judge.check_now()

    def describe(self) -> str:
        """Says which model decides, and that it is ours."""
        seconds = self.server.seconds_to_start
        begun = "starting" if self.server.started else "starts with the first question"
        state = begun if seconds is None else f"up after {seconds:.0f} s"
        where = f"served by vLLM on this machine ({state}), log in {self.server.log_path}"
        return f"judge=local: open answers are judged by the model in {self.server.model}, {where}"

    def metrics(self) -> dict[str, float]:
        """Those of the judge, and how often its server was started again."""
        return self._judge.metrics() | {"judge/server_restarts": float(self.server.num_restarts)}

    async def close(self) -> None:
        """Give connections and server back; the last judge on a server stops it."""
        await self._judge.close()
        if not self._closed:
            self._closed = True
            await asyncio.to_thread(give_server_back, self.server)
