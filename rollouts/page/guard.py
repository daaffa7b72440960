"""Decides which requests the viewer answers: those of its own page in a browser on this machine (JUDGING.md).

Another site open in the same browser can make it send requests here (CSRF), and can make its own name point here (DNS
rebinding). So every request must carry our exact Host, no foreign Origin, and Sec-Fetch headers that say "same origin";
only the page itself may be reached by a link.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_BODY_BYTES = 4096
MAX_QUERY_BYTES = 4096
# A browser's own headers are about 1 kB; the HTTP library's limit holds for what is incomplete, not for what came at
# once.
MAX_HEADER_BYTES = 16384
TOKEN_HEADER = b"x-rounds-token"
# Scripts and styles of our own files only, nothing inline; text reaches the page only through textContent: no sink
# takes a string as markup.
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS = (
    (b"content-security-policy", CSP.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)
# Our own paths need no other character; so there is no encoding, no dot segment and no back-slash to think about.
_PATH = re.compile(rb"/[A-Za-z0-9_/-]*(?:\.[a-z]+)?")


class Guard:
    """Wraps the application. A request that is refused never reaches it."""

    def __init__(self, app: App, port: int, token: str) -> None:
        self._app = app
        self._hosts = {f"{name}:{port}".encode() for name in ("127.0.0.1", "localhost")}
        self._origins = {b"http://" + host for host in self._hosts}
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            raise RuntimeError("the viewer speaks HTTP only")
        refusal = self._refusal(scope)
        if refusal is not None:
            await _refuse(send, *refusal)
            return

        async def send_with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *HEADERS]
            await send(message)

        await self._app(scope, receive if scope["method"] == "POST" else _nothing, send_with_headers)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Status and reason, or None where the request may pass."""
        headers: list[tuple[bytes, bytes]] = scope["headers"]

        def all_of(name: bytes) -> list[bytes]:
            return [value for key, value in headers if key == name]

        if len(hosts := all_of(b"host")) != 1 or hosts[0] not in self._hosts:
            return 421, "this server answers to 127.0.0.1 and localhost at its own port only"
        if sum(len(name) + len(value) for name, value in headers) > MAX_HEADER_BYTES:
            return 431, f"headers have at most {MAX_HEADER_BYTES} bytes"
        if scope["method"] not in ("GET", "HEAD", "POST"):
            return 405, "only GET, HEAD and POST are known"
        if not _PATH.fullmatch(scope["raw_path"]) or b"//" in scope["raw_path"]:
            return 404, "there is no such page"
        if len(scope["query_string"]) > MAX_QUERY_BYTES:
            return 414, f"a query has at most {MAX_QUERY_BYTES} bytes"
        if any(origin not in self._origins for origin in all_of(b"origin")):
            return 403, "requests of another origin are refused"
        if not self._same_site(scope, all_of):
            return 403, "requests made by another site are refused"
        return self._post_refusal(all_of) if scope["method"] == "POST" else None

    def _same_site(self, scope: Scope, all_of: Callable[[bytes], list[bytes]]) -> bool:
        """Sec-Fetch-Site of every browser since 2023 is same-origin, or none for what the reader typed; a link may lead
        to the page itself."""
        sites = all_of(b"sec-fetch-site")
        if all(site in (b"same-origin", b"none") for site in sites):
            return True
        is_link = all_of(b"sec-fetch-mode") == [b"navigate"] and all_of(b"sec-fetch-dest") == [b"document"]
        return is_link and scope["raw_path"] == b"/" and scope["method"] == "GET"

    def _post_refusal(self, all_of: Callable[[bytes], list[bytes]]) -> tuple[int, str] | None:
        if len(all_of(b"origin")) != 1:
            return 403, "a change needs the Origin of the page"
        if all_of(b"content-type") != [b"application/json"]:
            return 415, "a change is sent as application/json"
        tokens = all_of(TOKEN_HEADER)
        if len(tokens) != 1 or not secrets.compare_digest(tokens[0], self._token):
            return 403, "a change needs the token of this session; load the page again"
        lengths = all_of(b"content-length")
        if len(lengths) != 1 or not lengths[0].isdigit() or int(lengths[0]) > MAX_BODY_BYTES:
            return 413, f"a change has at most {MAX_BODY_BYTES} bytes"
        return None


async def _nothing() -> MutableMapping[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _refuse(send: Send, status: int, reason: str) -> None:
    body = json.dumps({"error": reason}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
        *HEADERS,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
