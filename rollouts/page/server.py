"""The viewer's local server: the page's own files, JSON about the run, images by hash, and one change, a label."""

from __future__ import annotations

import asyncio
import json
import secrets
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from rollouts.page.export import FILES, export_page
from rollouts.page.group import NoSuchGroup
from rollouts.page.guard import Guard
from rollouts.page.listing import list_groups, position_of
from rollouts.page.query import IS_COMPLETION, IS_GROUP, SORTS
from rollouts.page.viewer import Viewer
from rollouts.store.folder import Refused

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
}


def make_app(viewer: Viewer, port: int) -> tuple[Guard, str]:
    """The guarded application and the token that a change must carry."""
    token = secrets.token_urlsafe(24)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    _add_files(app)
    _add_questions(app, viewer, token)
    _add_images(app, viewer)
    for kind, status in (
        (FileNotFoundError, 404),
        (NoSuchGroup, 404),
        (ValueError, 422),
        (TypeError, 422),
        (OSError, 500),
    ):
        app.add_exception_handler(kind, _error_handler(status))
    return Guard(app, port, token), token


def _error_handler(status: int) -> Callable[[Request, Exception], Response]:
    def handler(_: Request, error: Exception) -> Response:
        return JSONResponse({"error": str(error)[:500]}, status)

    return handler


def _add_files(app: FastAPI) -> None:
    files = {name: path for name, path in FILES.items() if path.suffix in TYPES}

    @app.get("/")
    def page() -> Response:
        return Response(files["index.html"].read_bytes(), media_type=TYPES[".html"])

    @app.get("/favicon.ico")
    def icon() -> Response:
        return Response(status_code=204)

    @app.get("/static/{name}")
    def file(name: str) -> Response:
        if name not in files:
            raise FileNotFoundError("there is no such file")
        return Response(files[name].read_bytes(), media_type=TYPES[files[name].suffix])


def _add_questions(app: FastAPI, viewer: Viewer, token: str) -> None:
    @app.get("/api/session")
    def session() -> Response:
        filters = {name: note for known in (IS_COMPLETION, IS_GROUP) for name, (_, note) in known.items()}
        return _json({"token": token, "filters": filters, "sorts": list(SORTS), "num_runs": len(viewer.index.runs)})

    @app.get("/api/about")
    def about() -> Response:
        return _json(viewer.about())

    @app.get("/api/overview")
    def overview(q: str = "") -> Response:
        return _json(viewer.overview(q))

    @app.get("/api/groups")
    def groups(q: str = "", sort: str = "step", offset: int = 0) -> Response:
        return _json(list_groups(viewer.index, q, sort, max(0, min(offset, 2**31))))

    @app.get("/api/position")
    def position(step: int, prompt: str, q: str = "", sort: str = "step") -> Response:
        return _json(position_of(viewer.index, q, sort, step, prompt))

    @app.get("/api/group")
    def group(step: int, prompt: str) -> Response:
        return _json(viewer.group(step, prompt))

    @app.get("/api/tokens")
    def tokens(step: int, prompt: str, side: int = 0) -> Response:
        return _json(viewer.tokens(side, step, prompt))

    @app.get("/api/export")
    def export(q: str = "", sort: str = "step", limit: int = 50) -> Response:
        html = export_page(viewer, q, sort, max(1, min(limit, 500)))
        headers = {"content-disposition": 'attachment; filename="rounds-groups.html"'}
        return Response(html, media_type="application/octet-stream", headers=headers)

    @app.post("/api/label")
    async def label(request: Request) -> Response:
        body = json.loads(await request.body())
        if not isinstance(body, dict):
            raise Refused("a label is one JSON object")
        return _json(await asyncio.to_thread(viewer.label, body))


def _add_images(app: FastAPI, viewer: Viewer) -> None:
    @app.get("/media/{sha256}.png")
    def image(sha256: str) -> Response:
        return Response(viewer.images.png(sha256), media_type="image/png")

    @app.get("/outline/{sha256}.png")
    def outline(sha256: str) -> Response:
        return Response(viewer.images.outline(sha256), media_type="image/png")

    @app.get("/source.png")
    def source(step: int, prompt: str, medium: int, index: int) -> Response:
        return Response(viewer.source(step, prompt, medium, index), media_type="image/png")

    @app.get("/thumb/{sha256}.png")
    def thumbnail(sha256: str) -> Response:
        return Response(viewer.images.thumbnail(sha256), media_type="image/png")


def _json(value: Any) -> Response:
    return Response(
        json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")), media_type="application/json"
    )


def bind(port: int) -> socket.socket:
    """A socket on 127.0.0.1 only. Raises OSError where the port is taken."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(("127.0.0.1", port))
        # From here on a browser waits for its answer instead of failing.
        listening.listen(128)
    except OSError:
        listening.close()
        raise
    return listening


def serve(viewer: Viewer, listening: socket.socket) -> None:
    """Answer until interrupted, by Ctrl-C or SIGTERM."""
    guard, _ = make_app(viewer, listening.getsockname()[1])
    # h11 reads requests strictly; nothing but this process's own errors is logged, so that no text of a run reaches the
    # terminal.
    config = uvicorn.Config(
        guard,
        http="h11",
        ws="none",
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=16384,
        limit_concurrency=200,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=1,
    )
    # uvicorn raises the signal that stopped it once more, and a bare SIGTERM would end this process before it has
    # tidied up.
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    viewer.start()
    try:
        uvicorn.Server(config).run(sockets=[listening])
    finally:
        viewer.close()
        signal.signal(signal.SIGTERM, before)
