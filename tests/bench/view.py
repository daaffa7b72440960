"""`python -m tests.bench.view RUN`: seconds and memory of the page on a large run, in a real Chromium, as a reader
would feel them.

RUN is what `python -m tests.bench.make_run RUN --groups 7500` wrote (60,000 completions with images). Times are taken
inside the browser, from the key or the click until the new content is on the page and painted, the image of a group
decoded; medians and the worst. Memory is the peak resident set of the server.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from playwright.sync_api import Page
from rich.console import Console
from rich.table import Table

from tests.fakes.browser import chromium
from tests.fakes.view_server import Served, serving

LIMITS = {"page open": 2.0, "filter": 0.3, "next group": 0.1}
MAX_MIB = 500
SEARCHES = (
    *("is:disagree", "is:all-wrong", "modality:CT", "status:error", "reward:<0.5", "lesion"),
    *("is:zero-variance type:open", "step:40..60 is:wrong"),
)
_CHARTS_THERE = "document.querySelectorAll('.chart').length === 5"
_SEARCH = "(text) => { location.hash = '#/groups?q=' + encodeURIComponent(text); }"
_IMAGE_THERE = "document.querySelector('.stage img')?.complete && document.querySelector('.stage img').naturalWidth > 0"


def wait_for(page: Page, there: str) -> None:
    """Until the condition holds and the page was painted, looked at in every frame. (The page's policy forbids
    Playwright's own way, eval.)"""
    look = f"const look = () => requestAnimationFrame(({there}) ? () => requestAnimationFrame(done) : look); look();"
    page.evaluate(f"() => new Promise((done) => {{ {look} }})")


def seconds_until(page: Page, act: Callable[[], object], there: str) -> float:
    """Seconds from `act` until the condition holds and the page was painted."""
    began = time.perf_counter()
    act()
    wait_for(page, there)
    return time.perf_counter() - began


def measure(server: Served, page: Page, rounds: int) -> dict[str, list[float]]:
    """Seconds by what was done."""
    found: dict[str, list[float]] = {"page open": [], "filter": [], "next group": [], "next group with its image": []}
    for _ in range(rounds):
        page.goto("about:blank")
        found["page open"].append(
            seconds_until(page, lambda: page.goto(server.url, wait_until="commit"), _CHARTS_THERE)
        )
    for search in SEARCHES * rounds:
        page.goto(f"{server.url}#/groups")
        wait_for(page, "document.querySelector('.found') && document.querySelectorAll('.groups li').length > 0")
        page.evaluate("document.querySelector('.found').textContent = ''")
        there = "document.querySelector('.found').textContent !== ''"
        found["filter"].append(seconds_until(page, functools.partial(page.evaluate, _SEARCH, search), there))
    page.goto(f"{server.url}#/groups?q=is%3Amixed")
    page.locator(".groups a").first.click()
    wait_for(page, _IMAGE_THERE)
    for at in range(2, 2 + 8 * rounds):
        page.wait_for_timeout(150)
        there = f"document.querySelector('.moves').textContent.includes('{at} of')"
        began = time.perf_counter()
        found["next group"].append(seconds_until(page, functools.partial(page.keyboard.press, "j"), there))
        wait_for(page, _IMAGE_THERE)
        found["next group with its image"].append(time.perf_counter() - began)
    return found


def peak_mib(server: Served) -> float:
    """The largest resident set the server ever had."""
    status = Path(f"/proc/{server.process.pid}/status")
    if status.exists():
        return int(status.read_text().split("VmHWM:")[1].split()[0]) / 1024
    return psutil.Process(server.process.pid).memory_info().rss / 2**20


def main() -> int:
    """Prints the table; 1 where a limit is passed."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.view", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    console = Console()
    began = time.perf_counter()
    with serving(asked.run) as server, chromium() as browser:
        indexed = time.perf_counter() - began
        page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
        found = measure(server, page, asked.rounds)
        mib = peak_mib(server)
        overview = server.get("/api/overview").json()
    table = Table(
        title=(
            f"{overview['completions']['num']:,} completions in {overview['groups']['num']:,} groups; load"
            f" {psutil.getloadavg()[0]:.1f}"
        )
    )
    for head in ("what", "median s", "worst s", "limit s"):
        table.add_column(head, justify="left" if head == "what" else "right")
    for name, seconds in found.items():
        table.add_row(
            name,
            f"{statistics.median(seconds):.3f}",
            f"{max(seconds):.3f}",
            f"{LIMITS[name]:.1f}" if name in LIMITS else "",
        )
    table.add_row("command until every step is read", f"{indexed:.1f}", "", "")
    console.print(table)
    console.print(f"server: {mib:.0f} MiB at the peak, limit {MAX_MIB}")
    late = [name for name, limit in LIMITS.items() if statistics.median(found[name]) > limit]
    return 1 if late or mib > MAX_MIB else 0


if __name__ == "__main__":
    sys.exit(main())
