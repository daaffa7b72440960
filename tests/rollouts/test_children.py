"""Child processes: what is left of them, whoever dies first and however."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rollouts import children
from tests.paths import REPOSITORY

# Notes its own process and that of a grandchild, then sleeps; "deaf" ignores SIGTERM.
FAMILY = """
import os, signal, subprocess, sys, time
if "deaf" in sys.argv: signal.signal(signal.SIGTERM, signal.SIG_IGN)
grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
with open(sys.argv[1] + ".part", "w") as notes: print(os.getpid(), grandchild.pid, os.getsid(0), file=notes)
os.rename(sys.argv[1] + ".part", sys.argv[1])
time.sleep(600)
"""
# Starts a family as `children.start` does, and sleeps.
PARENT = """
import sys, time
from rollouts import children
family = children.start([sys.executable, "-c", *sys.argv[1:]])
time.sleep(600)
"""


def until(holds: Callable[[], object], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether a process runs; one that waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def noted(notes: Path) -> list[int]:
    until(notes.exists)
    return [int(word) for word in notes.read_text().split()]


def python(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", code, *arguments]


def test_a_child_leads_a_session_of_its_own_under_the_number_that_is_returned(tmp_path: Path) -> None:
    process = children.start(python(FAMILY, str(tmp_path / "notes")))
    child, _, session = noted(tmp_path / "notes")
    assert child == session == process.pid != os.getsid(0)
    children.end(process)


@pytest.mark.parametrize("grace_seconds", [0.0, 20.0])
def test_the_end_of_a_child_is_the_end_of_its_group(tmp_path: Path, grace_seconds: float) -> None:
    process = children.start(python(FAMILY, str(tmp_path / "notes")))
    family = noted(tmp_path / "notes")[:2]
    assert all(map(alive, family))
    assert children.how_it_ended(process) == ""
    children.end(process, grace_seconds)
    until(lambda: not any(map(alive, family)))
    number = signal.SIGTERM if grace_seconds else signal.SIGKILL
    assert (process.returncode, children.how_it_ended(process)) == (-number, f"was killed by {number.name}")
    children.end(process)  # a second time does nothing


def test_a_child_that_is_deaf_to_sigterm_is_killed_when_its_grace_is_over(tmp_path: Path) -> None:
    process = children.start(python(FAMILY, str(tmp_path / "notes"), "deaf"))
    family = noted(tmp_path / "notes")[:2]
    began = time.monotonic()
    children.end(process, 0.3)
    assert time.monotonic() - began >= 0.3
    assert process.returncode == -signal.SIGKILL
    until(lambda: not any(map(alive, family)))


def test_the_grandchildren_of_a_child_that_died_by_itself_are_ended_too(tmp_path: Path) -> None:
    process = children.start(python(FAMILY, str(tmp_path / "notes")))
    child, grandchild, _ = noted(tmp_path / "notes")
    os.kill(child, signal.SIGSEGV)
    assert children.wait(process, 30.0)
    assert children.how_it_ended(process) == "was killed by SIGSEGV"
    assert alive(grandchild)
    children.end(process)
    until(lambda: not alive(grandchild))


def test_kill_9_of_the_parent_kills_the_child(tmp_path: Path) -> None:
    parent = subprocess.Popen(python(PARENT, FAMILY, str(tmp_path / "notes")), cwd=REPOSITORY)
    child, grandchild, _ = noted(tmp_path / "notes")
    parent.kill()
    parent.wait()
    until(lambda: not alive(child))
    # Nobody is left to end the group: a child whose own children must not stay hands the signal on, as the guard does.
    assert alive(grandchild)
    os.kill(grandchild, signal.SIGKILL)


def test_a_launcher_whose_parent_has_died_starts_nothing(tmp_path: Path) -> None:
    # The number of a process that is gone stands for a parent that died between fork and prctl.
    gone = subprocess.Popen(python("pass"))
    gone.wait()
    command = python("import pathlib, sys; pathlib.Path(sys.argv[1]).touch()", str(tmp_path / "started"))
    launcher = [sys.executable, "-I", "-S", children.__file__, str(gone.pid), str(int(signal.SIGKILL))]
    assert subprocess.run([*launcher, *command], timeout=60).returncode == 0
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize("death_signal", [signal.SIGKILL, None])
def test_the_signal_comes_with_the_end_of_the_thread_that_started_it(death_signal: signal.Signals | None) -> None:
    running = []

    def begin() -> None:
        waits = python("import sys; print('up', flush=True); sys.stdin.read()")
        process = children.start(waits, death_signal=death_signal, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        running.append(process)

    thread = threading.Thread(target=begin)
    thread.start()
    thread.join()
    (process,) = running
    assert children.wait(process, 30.0 if death_signal else 0.5) is (death_signal is not None)
    process.stdin.close()
    process.stdout.close()
    assert children.wait(process, 30.0)
    children.end(process)


def test_how_a_child_ended_in_words_before_and_after_it_is_reaped() -> None:
    process = children.start(python("raise SystemExit(3)"))
    assert children.wait(process, 30.0)
    assert process.returncode is None
    assert children.how_it_ended(process) == "ended with exit code 3"
    children.end(process)
    assert (process.returncode, children.how_it_ended(process)) == (3, "ended with exit code 3")


def test_a_wait_has_a_limit() -> None:
    process = children.start(python("import time; time.sleep(600)"))
    began = time.monotonic()
    assert not children.wait(process, 0.2)
    assert 0.2 <= time.monotonic() - began < 20.0
    children.end(process)


def test_the_last_words_are_the_end_of_what_it_wrote() -> None:
    with tempfile.TemporaryFile() as log:
        process = children.start(python("print('a' * 9000); print('no such file')"), stdout=log.fileno())
        assert children.wait(process, 30.0)
        children.end(process)
        assert children.last_words(log.fileno(), 16) == "aa\nno such file"
        assert children.last_words(log.fileno()).endswith("no such file")
        assert len(children.last_words(log.fileno())) < 4_000


def test_the_file_loads_the_standard_library_only() -> None:
    code = "import sys; from rollouts import children; print([n for n in sys.modules if '.' in n and n[:4] == 'roll'])"
    done = subprocess.run(python(code), cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "['rollouts.children']", done.stderr
