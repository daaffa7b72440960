"""Child processes that do not outlive us: a session of their own, a signal when we die, an end of the whole group.

Run as a program, this file is the launcher through which `start` goes: it asks the kernel for the signal, sees that its
parent is still there, and becomes the command. So the promise holds from the command's first instruction on, and no
code runs between fork and exec, which would not be safe in a process with threads. Standard library only: judges and
rewards import this file, and the guard of the judge's server does.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence

# Longest wait for the kernel to take away what was killed; memory of a GPU takes its time.
REAP_SECONDS = 60.0
_LOOK_SECONDS = 0.005
_STOP_SECONDS = 0.2
_PR_SET_PDEATHSIG = 1  # prctl(2)


def start(
    command: Sequence[str],
    *,
    death_signal: signal.Signals | None = signal.SIGKILL,
    stdin: int = subprocess.DEVNULL,
    stdout: int | None = None,
    stderr: int | None = None,
    pass_fds: Sequence[int] = (),
    env: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a command in a session of its own, so that Ctrl-C reaches us only and `end` reaches all it starts.

    `death_signal`: what the kernel sends it when the thread that called `start` ends, which is the end of the process
    where that thread is the main one (Linux only, prctl(2)); None = nothing, for a child that ends with its input and
    is started by whichever thread comes first. `stdin`, `stdout`, `stderr`, `pass_fds`, `env`: as for
    `subprocess.Popen`. Raises OSError where the machine starts no process.
    """
    if death_signal is not None:
        launcher = [sys.executable, "-I", "-S", __file__]
        command = [*launcher, str(os.getpid()), str(int(death_signal)), *command]
    return subprocess.Popen(
        command, stdin=stdin, stdout=stdout, stderr=stderr, pass_fds=pass_fds, env=env, start_new_session=True
    )


def has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether a child has ended. It is not reaped, so that its number still names its group, which `end` needs."""
    return process.returncode is not None or _exit_of(process) is not None


def _exit_of(process: subprocess.Popen[bytes]) -> os.waitid_result | None:
    try:
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:  # another thread has reaped it this moment
        process.poll()
        return None


def wait(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait until a child has ended, at most so many seconds; whether it has. It is not reaped."""
    deadline = time.monotonic() + seconds
    while not has_ended(process) and time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS)
    return has_ended(process)


def how_it_ended(process: subprocess.Popen[bytes]) -> str:
    """The end of a child in words, "ended with exit code 3" or "was killed by SIGSEGV"; "" while it runs."""
    if process.returncode is not None:
        status, killed = abs(process.returncode), process.returncode < 0
    elif (exit := _exit_of(process)) is not None:
        status, killed = exit.si_status, exit.si_code != os.CLD_EXITED
    else:
        return ""
    return f"was killed by {signal.Signals(status).name}" if killed else f"ended with exit code {status}"


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a child and all of its group, and come back at once. Nothing happens once it is reaped: its number may
    belong to somebody else by then."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def end(process: subprocess.Popen[bytes], grace_seconds: float = 0.0) -> None:
    """End a child and all of its group, and reap it: SIGTERM and so many seconds of grace for the child, then SIGKILL
    for whatever is left. A second call does nothing.

    Raises subprocess.TimeoutExpired where the kernel does not let go of it within REAP_SECONDS.
    """
    if grace_seconds and not has_ended(process):
        process.terminate()
        wait(process, grace_seconds)
    kill(process)
    process.wait(REAP_SECONDS)


def close(process: subprocess.Popen[bytes]) -> None:
    """End a child at once, with its group, and close our ends of its pipes. A second call does nothing."""
    end(process)
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            with contextlib.suppress(OSError):  # what was not sent goes with it
                pipe.close()


def ask(
    process: subprocess.Popen[bytes], line: bytes, seconds: float, stopped: Callable[[], bool] = lambda: False
) -> bytes:
    """Send a line to a child and wait for the line that answers it, `seconds` in all. `stopped`: looked at every 0.2 s
    while waiting; once it is true, that is the end of the time.

    Raises TimeoutError, EOFError where the child closed its output, OSError where it takes nothing any more.
    """
    assert process.stdin is not None
    until, sent, number = _Until(seconds, stopped), 0, process.stdin.fileno()
    # Not all at once: a child that does not read would keep us here.
    os.set_blocking(number, False)
    while sent < len(line):
        until.ready(number, selectors.EVENT_WRITE)
        sent += os.write(number, line[sent : sent + 65536])
    return _line(process, until)


def read_line(process: subprocess.Popen[bytes], seconds: float, stopped: Callable[[], bool] = lambda: False) -> bytes:
    """The line that a child writes next, of one that writes nothing more until it is asked. As `ask`."""
    return _line(process, _Until(seconds, stopped))


def _line(process: subprocess.Popen[bytes], until: _Until) -> bytes:
    assert process.stdout is not None
    parts, number = [b""], process.stdout.fileno()
    while not parts[-1].endswith(b"\n"):
        until.ready(number, selectors.EVENT_READ)
        if not (part := os.read(number, 1 << 16)):
            raise EOFError("the child closed its output")
        parts.append(part)
    return b"".join(parts)


class _Until:
    """So many seconds from now, or until `stopped` says so."""

    def __init__(self, seconds: float, stopped: Callable[[], bool]) -> None:
        self._seconds, self._stopped = seconds, stopped
        self._deadline = time.monotonic() + seconds

    def ready(self, number: int, event: int) -> None:
        """Wait until a pipe can be read or written. Raises TimeoutError."""
        with selectors.DefaultSelector() as selector:
            selector.register(number, event)
            while not selector.select(min(_STOP_SECONDS, max(0.0, self._deadline - time.monotonic()))):
                if self._stopped() or time.monotonic() >= self._deadline:
                    raise TimeoutError(f"no answer within {self._seconds:.3g} s")


def last_words(log: int, num_bytes: int = 4_000) -> str:
    """The last bytes that a child wrote to the file behind a descriptor, as text."""
    size = os.fstat(log).st_size
    return os.pread(log, num_bytes, max(0, size - num_bytes)).decode(errors="replace").strip()


def _launch(parent: int, death_signal: int, command: Sequence[str]) -> None:
    """Become the command, tied to the parent's life."""
    with contextlib.suppress(OSError, AttributeError):  # AttributeError: no prctl, so this is no Linux
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, death_signal)
    if os.getppid() != parent:  # it died before the kernel was asked
        os._exit(0)
    os.execvp(command[0], list(command))


if __name__ == "__main__":
    _launch(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
