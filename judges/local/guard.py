"""Keeps one server process alive, and takes it down with the run: run as a script, `python -I guard.py COMMAND
ARGUMENT..`.

It reads its standard input, whose other end the run holds: "ready" means that the server has come up, so from now on a
server that dies is started again; the end of the input means that the run has ended, however it ended, so the server
and all it started are killed. SIGTERM means the same. Nothing but the standard library and `rollouts.children`, and
never imported by the run: it must survive whatever happens there.
"""

from __future__ import annotations

import os
import selectors
import signal
import sys
import tempfile
import time
from pathlib import Path

# -I looks into no folder; the checkout this file lies in is the one that counts.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from rollouts import children

GRACE_SECONDS = 5.0
MAX_RESTARTS = 10
# A server that lived so long before it died does not count towards MAX_RESTARTS.
LONG_LIFE_SECONDS = 600.0
_LOOK_SECONDS = 0.2


class _Run:
    """What the run says on our standard input."""

    def __init__(self) -> None:
        # Whether the server has come up once, and whether the run has ended or asks to stop.
        self.is_up = self.is_over = False
        self._inputs = selectors.DefaultSelector()
        self._inputs.register(sys.stdin.fileno(), selectors.EVENT_READ)

    def stop(self, *_: object) -> None:
        """Take note of SIGTERM. It raises nothing, so that it interrupts neither a start nor an end."""
        self.is_over = True

    def listen(self) -> None:
        """Wait a moment for a word of the run."""
        if self._inputs.select(timeout=_LOOK_SECONDS):
            words = os.read(sys.stdin.fileno(), 4096)
            self.is_up = self.is_up or b"ready" in words
            self.is_over = self.is_over or not words


def main(command: list[str]) -> int:
    """Run the command until the input ends. Returns 0, or the exit code of a server that never came up or that died too
    often."""
    run, deaths = _Run(), 0
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the run, which then stops us in order
    signal.signal(signal.SIGTERM, run.stop)
    # vLLM leaves files in the folder for temporary files, so it gets one that goes with it.
    with tempfile.TemporaryDirectory(prefix="judge_server_", ignore_cleanup_errors=True) as folder:
        while True:
            started = time.monotonic()
            code = _serve(command, {**os.environ, "TMPDIR": folder}, run)
            if run.is_over:
                return 0
            deaths = 1 if time.monotonic() - started > LONG_LIFE_SECONDS else deaths + 1
            print(f"guard: the server ended with {code}", file=sys.stderr, flush=True)
            if not run.is_up or deaths > MAX_RESTARTS:
                return abs(code) or 1
            print(f"guard: starting it again ({deaths} of at most {MAX_RESTARTS} times)", file=sys.stderr, flush=True)
            again = time.monotonic() + min(2.0 ** (deaths - 1), 30.0) * 0.5
            while time.monotonic() < again and not run.is_over:
                run.listen()


def _serve(command: list[str], environment: dict[str, str], run: _Run) -> int:
    """Run the server until it dies or the run is over, and leave nothing of its group; its exit code."""
    server = children.start(command, env=environment)
    try:
        while not (run.is_over or children.has_ended(server)):
            run.listen()
    finally:
        children.end(server, GRACE_SECONDS)
    return server.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
