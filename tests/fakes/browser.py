"""A real Chromium or Chrome for tests of the page: the one of the system, or Playwright's own where it was
installed."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
# No sandbox, because tests may run as root in a container; nothing that phones home.
ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
    "--no-first-run", "--disable-quic",
)  # fmt: skip


def executable() -> str | None:
    """Path of a browser: $ROUNDS_CHROMIUM, else one on PATH; None = there is none outside Playwright."""
    return os.environ.get("ROUNDS_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A headless browser. Skips the test, with the reason, where there is none."""
    with sync_playwright() as playwright:
        path = executable()
        if path is None and not Path(playwright.chromium.executable_path).exists():
            pytest.skip(
                "no Chromium: install one (apt-get install chromium, or playwright install chromium) or set"
                " ROUNDS_CHROMIUM"
            )
        browser = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield browser
        browser.close()


class Watch:
    """What a page said and did that it should not: errors, dialogs, requests to anything but the viewer."""

    def __init__(self, context: BrowserContext, own: str) -> None:
        self.troubles: list[str] = []
        self.requests: list[str] = []
        context.on("console", lambda message: self._said(message.type, message.text))
        context.on("weberror", lambda error: self.troubles.append(str(error.error)))
        context.on("dialog", lambda dialog: (self.troubles.append(f"dialog {dialog.message}"), dialog.dismiss()))
        context.on("request", lambda request: self._requested(request.url, own))

    def _said(self, kind: str, text: str) -> None:
        # 422 is the answer to a search that cannot be read, which the page shows beside the search box.
        if kind == "error" and "status of 422" not in text:
            self.troubles.append(text)

    def _requested(self, url: str, own: str) -> None:
        self.requests.append(url)
        if not url.startswith((own, "data:", "blob:")):
            self.troubles.append(f"request to {url}")
