"""Starts the child process in which a reward of others runs, tells it what to load and reads what it says of it. Loads
neither the reward nor its imports."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from judges import Judge
from rewards.contract import Limits, Reward, RewardError, Source
from rewards.plugins import wire
from rollouts import children

# Seconds that loading may take: a large library on a busy machine, but not for ever.
LOAD_SECONDS = 120.0
# Seconds within which a child whose socket is closed has ended; else it has closed the socket itself.
CLOSING_SECONDS = 0.5
# Seconds within which a stuck child prints its stack, however busy the machine is.
STACK_SECONDS = 2.0
# Variables that a child gets from our environment. The trainer's keys are none of a plugin's business.
ENVIRONMENT = (
    "PATH HOME USER LANG LC_ALL TZ TMPDIR LD_LIBRARY_PATH VIRTUAL_ENV PYTHONPATH HF_HOME HF_HUB_OFFLINE"
    " TRANSFORMERS_OFFLINE SSL_CERT_FILE"
).split()
# The same result on every machine: one hash seed, one thread, no GPU (the trainer's).
FIXED = {
    "PYTHONHASHSEED": "0",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "PYTHONUNBUFFERED": "1",
}
_STACK_LINE = re.compile(r'File "([^"\n]+)", line (\d+) in (\S+)')


class Link(NamedTuple):
    """A child process and our end of the socket to it."""

    process: subprocess.Popen[bytes]
    connection: socket.socket


def start(log: int) -> Link:
    """Start a child that has nothing of ours but a socket. What it prints goes to the file descriptor `log`. Raises
    OSError where the machine starts no process."""
    ours, theirs = socket.socketpair()
    root = str(Path(__file__).resolve().parents[2])
    environment = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ} | FIXED
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (root, environment.get("PYTHONPATH"))))
    command = [sys.executable, "-P", "-m", "rewards.plugins.child", str(theirs.fileno())]
    with theirs:
        process = children.start(command, stdout=log, stderr=log, pass_fds=[theirs.fileno()], env=environment)
    return Link(process, ours)


def setup(source: Source, arguments: Mapping[str, Any], limits: Limits, judge: Judge | None = None) -> dict[str, Any]:
    """Return the first message to a child (`rewards.plugins.child.Setup`): what to load, with which arguments and
    limits, and what a reward may know of the judge."""
    about = {"judge": judge.name if judge else "", "shows_images": bool(judge and judge.shows_images)}
    return {"source": source, "arguments": dict(arguments), "limits": limits, **about}


def describe(spec: str, source: Source, arguments: Mapping[str, Any], limits: Limits) -> Reward:
    """Import a reward of others in a child process and return what the child says it is.

    Raises RewardError with the end of the traceback where it does not import within LOAD_SECONDS, where it has no such
    function, and for arguments it does not take.
    """
    try:
        first = wire.encode(setup(source, arguments, limits))
    except wire.WireError as error:
        raise RewardError(f"reward {spec!r}: its arguments must be values that YAML can hold ({error})") from None
    with tempfile.TemporaryFile() as log:
        process, connection = start(log.fileno())
        try:
            connection.settimeout(LOAD_SECONDS)
            connection.sendall(first)
            answer = wire.receive(connection)
            if answer is None:
                children.wait(process, CLOSING_SECONDS)
            ended = ending(process)
        except (OSError, wire.WireError) as error:
            answer, ended = (
                None,
                _stuck(process, log.fileno(), source) if isinstance(error, TimeoutError) else str(error),
            )
        finally:
            connection.close()
            children.end(process)
        if answer is None:
            raise RewardError(
                f"reward {spec!r} ({source}) does not load: {ended}\n{children.last_words(log.fileno())}".rstrip()
            )
    return read_ready(spec, source, answer.body)


def _stuck(process: subprocess.Popen[bytes], log: int, source: Source) -> str:
    os.kill(process.pid, signal.SIGUSR1)  # it prints its stack
    deadline = time.monotonic() + STACK_SECONDS
    while not place_in(children.last_words(log), source) and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.1)  # the rest of the stack
    return f"it was still importing after {LOAD_SECONDS:g} s{place_in(children.last_words(log), source)}"


def read_ready(spec: str, source: Source, body: Mapping[str, Any]) -> Reward:
    """Return the reward that a child's first answer describes. Raises RewardError where the answer says that it cannot
    work."""
    if isinstance(body.get("failed"), str):
        raise RewardError(f"reward {spec!r}: {body['failed']}")
    try:
        ready = wire.build(Ready, body.get("ready"))
    except wire.WireError as error:
        raise RewardError(f"reward {spec!r} ({source}) answered oddly: {error}") from None
    return Reward(
        ready.name,
        None,
        ready.arguments,
        frozenset(ready.supplied),
        ready.by_answer,
        ready.is_async,
        ready.home,
        source,
    )


@dataclass(frozen=True)
class Ready:
    """What a child says of the reward it loaded."""

    name: str
    # Argument -> its default as text.
    arguments: Mapping[str, str]
    supplied: tuple[str, ...]
    by_answer: bool
    is_async: bool
    home: str


def ending(process: subprocess.Popen[bytes]) -> str:
    """Say how a process whose socket is closed came to its end."""
    return f"its process {children.how_it_ended(process) or 'closed the connection to the scorer'}"


def place_in(printed: str, source: Source) -> str:
    """Return " at path:line in function" from the stack that a stuck or crashed child printed, in the reward's own file
    if there is such a line; else ""."""
    stack = printed[printed.rfind("most recent call first") :] if "most recent call first" in printed else ""
    frames = _STACK_LINE.findall(stack)
    chosen = [frame for frame in frames if frame[0] == source.path] or frames
    return f" at {chosen[0][0]}:{chosen[0][1]} in {chosen[0][2]}" if chosen else ""
