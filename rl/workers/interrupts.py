"""Ctrl-C and `kill` become one exception that unwinds every context, so that workers are stopped in whatever phase a
run is."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

CAUGHT = (signal.SIGINT, signal.SIGTERM)
# Signals that came since `install`.
_received: list[int] = []
# One for each `put_off` that is being gone through.
_put_off: list[None] = []
# What told of ignored exceptions before each first `install`.
_hooks: list[Callable[[Any], Any]] = [sys.__unraisablehook__]


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
        if sys.unraisablehook is not _tell_unraisable:
            _hooks.append(sys.unraisablehook)
            sys.unraisablehook = _tell_unraisable
    return before


def restore(handlers: dict[signal.Signals, Any]) -> None:
    """Put back what `install` returned."""
    for number, handler in handlers.items():
        signal.signal(number, signal.SIG_DFL if handler is None else handler)
    if handlers and _raise not in handlers.values() and sys.unraisablehook is _tell_unraisable:
        sys.unraisablehook = _hooks.pop()


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


@contextlib.contextmanager
def put_off() -> Iterator[None]:
    """The first interruption inside is raised at the end: for what a library must not be torn out of, such as a start
    that forks and imports, and would leave its locks taken. The second is raised at once."""
    _put_off.append(None)
    try:
        yield
    finally:
        _put_off.pop()
    raise_if_lost()


def raise_if_interrupted(error: BaseException | None) -> None:
    """Raise Interrupted for a bare SystemExit that follows a signal: Ray makes that of an Interrupted that is raised
    inside one of its waits."""
    if isinstance(error, SystemExit) and not isinstance(error, Interrupted) and _received:
        raise Interrupted(128 + _received[-1]) from None


def raise_if_lost() -> None:
    """Raise Interrupted for a signal whose exception went nowhere: Python ignores what is raised inside a finaliser or
    a hook of fork, of which a library's start is full. To be called wherever the main thread waits; it does nothing in
    other threads, and while an exception unwinds."""
    if _received and sys.exc_info()[0] is None and threading.current_thread() is threading.main_thread():
        raise Interrupted(128 + _received[-1])


def _tell_unraisable(unraisable: Any) -> None:
    """As before, but not of an interruption that Python ignored: `raise_if_lost` will raise it."""
    if unraisable.exc_type is not Interrupted:
        _hooks[-1](unraisable)


def _raise(number: int, _frame: FrameType | None) -> None:
    _received.append(number)
    if _put_off and len(_received) == 1:
        return
    raise Interrupted(128 + number)
