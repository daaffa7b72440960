"""Keeps one server process alive, and takes it down with the run: run as a script, `python -I server_guard.py COMMAND
ARGUMENT..`.

It reads its standard input, whose other end the run holds: "ready" means that the server has come up, so from now on a
server that dies is started again; the end of the input means that the run has ended, however it ended, so the server
and all it started are killed. Standard library
only, and never imported by the run: it must survive whatever happens there.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from types import FrameType

GRACE_SECONDS = 5.0
MAX_RESTARTS = 10
# A server that lived so long before it died does not count towards MAX_RESTARTS.
LONG_LIFE_SECONDS = 600.0
_PR_SET_PDEATHSIG = 1
_LOOK_SECONDS = 0.2


class _Ended(Exception):
    """The run is gone, or asks to stop."""


def main(command: list[str]) -> int:
    """Run the command until the input ends; the exit code of a server that never came up, or that died too often."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the run, which then stops us in order
    signal.signal(signal.SIGTERM, _on_terminate)
    _die_with_parent(signal.SIGTERM)
    server: subprocess.Popen[bytes] | None = None
    ready, deaths = False, 0
    # vLLM leaves files in the folder for temporary files, so it gets one that goes with it.
    folder = tempfile.TemporaryDirectory(prefix="judge_server_", ignore_cleanup_errors=True)
    environment = {**os.environ, "TMPDIR": folder.name}
    try:
        with selectors.DefaultSelector() as inputs:
            inputs.register(sys.stdin.fileno(), selectors.EVENT_READ)
            while True:
                started = time.monotonic()
                # A group of its own, so that what the server starts is killed with it and this process is not.
                server = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, process_group=0, preexec_fn=_die_with_guard, env=environment
                )
                ready = _until_death(server, inputs, ready)
                _kill_group(server)
                deaths = 1 if time.monotonic() - started > LONG_LIFE_SECONDS else deaths + 1
                print(f"guard: the server ended with {server.returncode}", file=sys.stderr, flush=True)
                if not ready or deaths > MAX_RESTARTS:
                    return abs(server.returncode) or 1
                print(
                    f"guard: starting it again ({deaths} of at most {MAX_RESTARTS} times)", file=sys.stderr, flush=True
                )
                time.sleep(min(2.0 ** (deaths - 1), 30.0) * 0.5)
    except _Ended:
        return 0
    finally:
        # The end of the run may reach us twice, by our input and by a signal.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if server is not None:
            _stop(server)
        folder.cleanup()


def _until_death(server: subprocess.Popen[bytes], inputs: selectors.BaseSelector, ready: bool) -> bool:
    """Wait for the server to die, and tell whether it had come up. Raises _Ended when the input ends."""
    while server.poll() is None:
        if inputs.select(timeout=_LOOK_SECONDS):
            said = os.read(sys.stdin.fileno(), 4096)
            if not said:
                raise _Ended
            ready = ready or b"ready" in said
    return ready


def _stop(server: subprocess.Popen[bytes]) -> None:
    if server.poll() is None:
        server.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(GRACE_SECONDS)
    _kill_group(server)


def _kill_group(server: subprocess.Popen[bytes]) -> None:
    """Kill what is left of the server's group; its engine is a process of its own and can outlive it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)
    server.wait()


def _on_terminate(number: int, frame: FrameType | None) -> None:
    raise _Ended


def _die_with_parent(number: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(number))


def _die_with_guard() -> None:
    _die_with_parent(signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
