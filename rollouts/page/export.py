"""One HTML file with chosen groups: the same front end, its data and images inside, readable without a server and
without a network.

The policy in the file allows exactly the script and the style that this package ships, by their SHA-256; the data is in
a block that no browser runs.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rollouts.page.listing import list_groups
from rollouts.page.query import IS_COMPLETION, IS_GROUP, SORTS
from rollouts.page.viewer import Viewer
from rollouts.store.layout import StoreError

# The page's own files by name: a browser asks for them by name alone (`/static/dom.js`), not by folder.
FILES = {path.name: path for path in (Path(__file__).parent / "static").rglob("*.*")}
STYLES = ("theme.css", "layout.css", "group.css")
# Images beyond this are left out, and the page says so where they would stand.
MAX_IMAGE_BYTES = 48_000_000
_IMPORT = re.compile(r'^import \{[^}]*\} from "/static/([a-z]+\.js)";\n', re.MULTILINE)


class NothingToExport(StoreError):
    """No group is found by the search."""


def export_page(viewer: Viewer, text: str, sort: str, limit: int) -> bytes:
    """The page with the first `limit` groups that a search finds.

    Raises:
        BadQuery: the search or the order cannot be read. NothingToExport: nothing is found.
    """
    script, style = _script(), "\n".join(FILES[name].read_text(encoding="utf-8") for name in STYLES)
    data = json.dumps(_page_data(viewer, text, sort, limit), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # Inside a script element only "</script" and "<!--" end or change what is read; without "<" there is neither.
    data = data.replace("<", "\\u003c")
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; img-src data:; base-uri 'none';"
        " form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>Rounds</title>
<style>{style}</style>
</head>
<body>
<a class="skip" href="#main">Skip to content</a>
<header id="bar"></header>
<main id="main" tabindex="-1"><p class="quiet pad">Reading the page…</p></main>
<div id="note" role="status" aria-live="polite"></div>
<script type="application/json" id="carried">{data}</script>
<script type="module">{script}</script>
</body>
</html>
""".encode()


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _script() -> str:
    """All modules as one, each after those it imports. They share no top-level name (a test holds that), so no renaming
    is needed."""
    done: dict[str, str] = {}

    def add(name: str) -> None:
        if name in done:
            return
        source = FILES[name].read_text(encoding="utf-8")
        for imported in _IMPORT.findall(source):
            add(imported)
        done[name] = re.sub(r"^export ", "", _IMPORT.sub("", source), flags=re.MULTILINE)

    add("app.js")
    script = "\n".join(done.values())
    if "</script" in script or "<!--" in script:
        raise ValueError("the page's own script holds what would end a script element")
    return script


def _page_data(viewer: Viewer, text: str, sort: str, limit: int) -> dict[str, Any]:
    listed: list[dict[str, Any]] = []
    while len(listed) < limit:
        page = list_groups(viewer.index, text, sort, len(listed), min(100, limit - len(listed)))["groups"]
        listed += page
        if not page:
            break
    if not listed:
        raise NothingToExport(f"no group is found by {text!r}" if text else "the run has written no group yet")
    pages, tokens, images = {}, {}, _Images(viewer)
    for group in listed:
        page = pages[f"{group['step']}/{group['prompt']}"] = viewer.group(group["step"], group["prompt"])
        for shown in filter(None, (page, page.get("other"))):
            images.add_all(shown)
            place = (shown["side"], shown["step"], shown["prompt"])
            tokens["/".join(map(str, place))] = viewer.tokens(*place)
    filters = {name: note for known in (IS_COMPLETION, IS_GROUP) for name, (_, note) in known.items()}
    known_sorts = [name for name in SORTS if name != "-step"]
    return {
        "session": {"filters": filters, "sorts": known_sorts, "num_runs": len(viewer.index.runs)},
        "overview": viewer.overview(text),
        "groups": listed,
        "group": pages,
        "tokens": tokens,
        "images": images.urls,
    }


class _Images:
    """The images of the exported groups as data URLs, once each, up to a sum of bytes."""

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self._num_bytes = 0
        self.urls: dict[str, str] = {}

    def add_all(self, page: dict[str, Any]) -> None:
        for medium in page["media"]:
            # What is sent on reads no file of this machine.
            medium["source"] = False
            for frame in medium["frames"]:
                frame["problem"] = frame["problem"] or self._add("", frame["sha256"], self._viewer.images.png)
                if frame["mask"] is not None and self._add("outline ", frame["mask"], self._viewer.images.outline):
                    frame["mask"] = None

    def _add(self, what: str, sha256: str, read: Callable[[str], bytes]) -> str | None:
        name = what + sha256
        if name in self.urls:
            return None
        try:
            png = read(sha256)
        except (OSError, ValueError) as error:
            return str(error)
        if self._num_bytes + len(png) > MAX_IMAGE_BYTES:
            return (
                f"left out: the images of this page are more than {MAX_IMAGE_BYTES // 1_000_000} MB; export fewer"
                " groups"
            )
        self._num_bytes += len(png)
        self.urls[name] = "data:image/png;base64," + base64.b64encode(png).decode()
        return None
