"""Ctrl-C and `kill` become one exception that unwinds every context, so that workers are stopped in whatever phase a
run is."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any, NoReturn

CAUGHT = (signal.SIGINT, signal.SIGTERM)
# Signals that came since `install`.
_received: list[int] = []


class Interrupted(SystemExit):
    """The run was asked to stop; exit code 130 for Ctrl-C and 143 for `kill`."""


def install() -> dict[signal.Signals, Any]:
    """From now on SIGINT and SIGTERM raise Interrupted in the main thread; returns the handlers there were before.

    Call it again after a library has put its own handler in place (Ray does at its start). Outside the main thread
    nothing can be installed.
    """
    if threading.current_thread() is not threading.main_thread():
        return {}
    before = {number: signal.signal(number, _raise) for number in CAUGHT}
    if _raise not in before.values():
        _received.clear()
    return before


def restore(handlers: dict[signal.Signals, Any]) -> None:
    """Put back what `install` returned."""
    for number, handler in handlers.items():
        signal.signal(number, signal.SIG_DFL if handler is None else handler)


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """No interruption inside: for stopping workers, which must not stop half-way because somebody presses Ctrl-C
    twice."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in CAUGHT}
    try:
        yield
    finally:
        restore(before)


def raise_if_interrupted(error: BaseException | None) -> None:
    """Raise Interrupted for a bare SystemExit that follows a signal: Ray makes that of an Interrupted that is raised
    inside one of its waits."""
    if isinstance(error, SystemExit) and not isinstance(error, Interrupted) and _received:
        raise Interrupted(128 + _received[-1]) from None


def _raise(number: int, _frame: FrameType | None) -> NoReturn:
    _received.append(number)
    raise Interrupted(128 + number)
