"""`python -m examples.inspect.shots RUN OUT`: the pictures of this page, taken anew in a real Chromium from a run of
your own."""

from __future__ import annotations

import sys
from pathlib import Path

from playwright.sync_api import Browser

from tests.fakes.browser import chromium
from tests.fakes.view_server import serving

LARGE, PHONE = {"width": 1360, "height": 850}, {"width": 390, "height": 844}
# File name, where on the page, window, light or dark, keys pressed one after the other, what must be there before the
# picture is taken.
SHOTS = (
    ("overview", "#/", LARGE, "light", (), ".steps tbody tr"),
    ("list", "#/groups?q=is%3Adisagree&sort=-disagree", LARGE, "light", (), ".groups img"),
    ("group", "#/groups?q=is%3Adisagree+modality%3Aultrasound&sort=-disagree", LARGE, "light", ("j", "Enter"), ".card"),
    (
        "transcript",
        "#/groups?q=is%3Adisagree+modality%3Aultrasound&sort=-disagree",
        LARGE,
        "dark",
        ("j", "Enter", "e"),
        ".transcript",
    ),
    ("tokens", "#/groups?q=modality%3ACT+is%3Amixed&sort=-spread", LARGE, "dark", ("j", "Enter", "t", "t"), ".tok"),
    ("phone", "#/groups?q=is%3Adisagree+modality%3Aultrasound&sort=-disagree", PHONE, "light", ("j", "Enter"), ".card"),
)


def main() -> None:
    """Writes one PNG a shot."""
    run, out = map(Path, sys.argv[1:3])
    out.mkdir(parents=True, exist_ok=True)
    with serving(run) as server, chromium() as browser:
        for name, place, window, scheme, keys, there in SHOTS:
            take(browser, server.url + place, out / f"{name}.png", window, scheme, keys, there)


def take(
    browser: Browser, address: str, path: Path, window: dict[str, int], scheme: str, keys: tuple[str, ...], there: str
) -> None:
    """One picture."""
    page = browser.new_context(viewport=window, color_scheme=scheme).new_page()
    page.goto(address)
    page.locator(".trails, .groups li").first.wait_for(timeout=60_000)
    for key in keys:
        page.keyboard.press(key)
        page.wait_for_timeout(1500)
    page.locator(there).first.wait_for(timeout=60_000)
    page.wait_for_timeout(1500)
    page.screenshot(path=path)
    page.context.close()


if __name__ == "__main__":
    main()
