"""What a run says: live in a terminal, plain lines in a log, and a clean terminal after Ctrl-C."""

from __future__ import annotations

import io
import math
import os
import pty
import signal
import subprocess
import sys
import time

import pytest

from rl.run.progress import Display, duration, numbers_line
from tests.paths import REPOSITORY


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.04, "0.0 s"), (59.9, "59.9 s"), (59.96, "1 min 00 s"), (65, "1 min 05 s"), (7384, "2 h 03 min")],
)
def test_durations_read_like_durations(seconds, expected):
    assert duration(seconds) == expected


def test_numbers_stand_in_a_fixed_order_and_what_is_undefined_is_left_out():
    metrics = {"timing_s/step": 3.21, "kl": 0.0123, "reward": 0.5, "accuracy": math.nan, "loss": None, "unknown": 1.0}
    assert numbers_line(metrics) == "reward 0.500  kl 0.0123  step 3.2s"
    assert numbers_line({"accuracy": 0.5, "eval/accuracy": 0.25}) == "acc 50.0%  held-out 25.0%"


def test_without_a_terminal_there_are_plain_lines_for_first_and_last():
    out = io.StringIO()
    with Display(out) as display:
        with display.bar("GRPO", total=50) as bar:
            for step in range(50):
                bar.advance({"reward": step / 50})
        with display.phase("evaluating"):
            pass
        display.warn("[red]format rate[/red] 3 %")
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("GRPO 1/50  reward 0.000  [")
    assert " left]" in lines[0]
    assert lines[1].startswith("GRPO 50/50  reward 0.980  [")
    assert lines[2:] == ["evaluating ...", "evaluating: 0.0 s", "warning: [red]format rate[/red] 3 %"]
    assert "\x1b" not in out.getvalue()


def test_a_resumed_bar_counts_from_where_it_was():
    out = io.StringIO()
    with Display(out) as display, display.bar("GRPO", total=3, done=1) as bar:
        bar.advance()
        bar.advance()
    assert [line.split("[")[0].strip() for line in out.getvalue().splitlines()] == ["GRPO 2/3", "GRPO 3/3"]


def test_a_phase_that_fails_says_so_and_lets_the_error_through():
    out = io.StringIO()
    with Display(out) as display, pytest.raises(ValueError, match="broken"), display.phase("SFT"):
        raise ValueError("broken")
    assert out.getvalue().splitlines()[-1].startswith("SFT: failed after")


_LIVE = """
import time
from rl.run.progress import Display
with Display() as display:
    display.say("hello")
    with display.bar("GRPO", total=100) as bar, display.phase("thinking"):
        for _ in range(100):
            bar.advance({"reward": 0.5})
            time.sleep(0.1)
"""


def test_ctrl_c_in_a_terminal_gives_the_cursor_back():
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "PYTHONPATH": str(REPOSITORY), "COLUMNS": "120"}
    child = subprocess.Popen([sys.executable, "-c", _LIVE], stdout=theirs, stderr=subprocess.DEVNULL, env=environment)
    os.close(theirs)
    seen = b""
    deadline = time.monotonic() + 30
    while b"reward 0.500" not in seen and time.monotonic() < deadline:
        seen += os.read(ours, 4096)
    child.send_signal(signal.SIGINT)
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:
            break
        seen += piece
        if not piece:
            break
    os.close(ours)
    assert child.wait(timeout=10) != 0
    assert b"hello" in seen
    assert b"interrupted after" in seen
    # Hidden while live, shown again at the end.
    assert seen.rfind(b"\x1b[?25h") > seen.rfind(b"\x1b[?25l") >= 0
