"""Asks the sympy process (rewards/maths/sympy_child.py) with a deadline; a process that does not answer is killed and
the next question gets a new one."""

from __future__ import annotations

import atexit
import functools
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from rewards.maths.expressions import Tree
from rollouts import children

CHILD = Path(__file__).with_name("sympy_child.py")
# Loading sympy takes about a second, much longer where the machine is busy; a comparison takes a millisecond.
START_SECONDS, ANSWER_SECONDS = 60.0, 5.0


@functools.lru_cache(maxsize=4096)
def _equal(request: str) -> bool:
    answer = _PROCESS.ask(request)
    if "equal" not in answer:
        raise RuntimeError(f"sympy could not compare: {answer.get('error')}")
    return bool(answer["equal"])


def equal(left: Tree, right: Tree, left_factor: float = 1.0, right_factor: float = 1.0, tolerance: float = 0.0) -> bool:
    """True if left x its factor equals right x its factor within tolerance x |right|; values that are not real and
    finite equal nothing.

    Raises TimeoutError where the answer does not come in time, RuntimeError where the process fails: neither is a wrong
    answer.
    """
    factors = {"left_factor": repr(float(left_factor)), "right_factor": repr(float(right_factor))}
    return _equal(json.dumps({"left": left, "right": right, **factors, "tolerance": tolerance}))


class SympyProcess:
    """One child process, started when first asked; threads take turns."""

    def __init__(self, command: list[str] | None = None, answer_seconds: float = ANSWER_SECONDS) -> None:
        # -I: neither the current folder nor PYTHONPATH can slip another module in.
        self._command = command or [sys.executable, "-I", str(CHILD)]
        self._answer_seconds = answer_seconds
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._owner = 0

    def ask(self, request: str) -> dict[str, Any]:
        """The answer to one line of JSON. Raises TimeoutError or RuntimeError; the process is then gone, and the next
        call starts another."""
        with self._lock:
            try:
                answer: dict[str, Any] = json.loads(
                    children.ask(self._running(), request.encode() + b"\n", self._answer_seconds)
                )
                return answer
            except BaseException as error:
                self._end()
                if isinstance(error, TimeoutError):
                    raise TimeoutError(f"the sympy process gave {error}") from error
                if isinstance(error, EOFError):
                    raise RuntimeError("the sympy process ended") from error
                if isinstance(error, (OSError, ValueError)):
                    raise RuntimeError(f"the sympy process failed: {error}") from error
                raise

    def _running(self) -> subprocess.Popen[bytes]:
        if self._child is None or self._owner != os.getpid() or children.has_ended(self._child):
            # No signal at our death: it ends with its input, and the thread that starts it may end long before us.
            self._child = children.start(
                self._command,
                death_signal=None,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            self._owner = os.getpid()
            children.read_line(self._child, START_SECONDS)  # it says that it is there
        return self._child

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None and self._owner == os.getpid():
            children.close(child)

    def close(self) -> None:
        """End the process; a later question starts another."""
        with self._lock:
            self._end()


_PROCESS = SympyProcess()
atexit.register(_PROCESS.close)
