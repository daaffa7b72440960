"""Which servers this process runs: judges on the same model share one, its last user stops it, and none outlives the
run."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from judges.local.server import JudgeServer

_shared: dict[Path, tuple[JudgeServer, int]] = {}
_lock = threading.Lock()


def shared(model: str | Path, log_folder: str | Path | None = None) -> JudgeServer:
    """The one server of this process on a model, not necessarily started. Every judge on it calls `release` once."""
    path = Path(model).resolve()
    with _lock:
        server, users = _shared.get(path) or (JudgeServer(path, log_folder), 0)
        _shared[path] = (server, users + 1)
    return server


def release(server: JudgeServer) -> None:
    """Give a shared server back; its last user stops it."""
    with _lock:
        _, users = _shared.get(server.model, (server, 1))
        if users > 1:
            _shared[server.model] = (server, users - 1)
            return
        _shared.pop(server.model, None)
    server.close()


def raise_if_gone() -> None:
    """Raise JudgeUnreachable if a server of this process has ended for good."""
    for server, _ in list(_shared.values()):
        server.raise_if_gone()


@contextmanager
def none_left() -> Iterator[None]:
    """Stop every server at the end, whoever forgot it and whatever happened."""
    try:
        yield
    finally:
        with _lock:
            servers = [server for server, _ in _shared.values()]
            _shared.clear()
        for server in servers:
            server.close()
