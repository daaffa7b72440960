"""The main command from nothing: `python -m tests.bench.cold [overrides]` prints its wall seconds by phase and the
memory of all its processes.

SFT is trained anew, in a cache of its own. Memory is the sum of PSS (shared pages counted once) over the command and
everything it started, sampled every two seconds. Start-up to the first rollout is the time until the first completion
is judged, less SFT and the making of data.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

# Summing the pages of a dozen processes takes a tenth of a second of CPU.
SECONDS_BETWEEN_SAMPLES = 2.0
PHASES = (
    ("data", r"^data: "),
    ("SFT", r"^SFT: "),
    ("workers", r"^workers: "),
    ("first completion", r"^evaluate SFT 1/"),
    ("evaluation of the SFT model", r"^format rate"),
    ("GRPO", r"^evaluate GRPO 1/"),
    ("evaluation of the GRPO model, report", r"^done in"),
)


def memory_gib(process: psutil.Process) -> float:
    """PSS of a process and all its descendants, now."""
    total = 0
    for one in (process, *process.children(recursive=True)):
        try:
            total += one.memory_full_info().pss
        except psutil.Error:  # it ended meanwhile
            continue
    return total / 2**30


def watch(process: psutil.Process, peak: list[float]) -> None:
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        try:
            peak[0] = max(peak[0], memory_gib(process))
        except psutil.NoSuchProcess:
            return
        time.sleep(SECONDS_BETWEEN_SAMPLES)


def main(overrides: list[str]) -> None:
    marks: list[tuple[str, float]] = []
    left = list(PHASES)
    with tempfile.TemporaryDirectory() as parent:
        command = [sys.executable, "-m", "rl.train", "+experiment=med_grpo", f"out_dir={Path(parent) / 'run'}"]
        started = time.monotonic()
        process = subprocess.Popen(
            [*command, f"sft.cache_dir={Path(parent) / 'sft'}", *overrides],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        peak = [0.0]
        threading.Thread(target=watch, args=(psutil.Process(process.pid), peak), daemon=True).start()
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            if left and re.match(left[0][1], line):
                marks.append((left.pop(0)[0], time.monotonic() - started))
        if process.wait() != 0:
            sys.exit(f"the command ended with {process.returncode}")
        total = time.monotonic() - started
    table = Table("phase", "ends after s", "takes s")
    seconds: dict[str, float] = {}
    before = 0.0
    for name, mark in marks:
        seconds[name] = mark - before
        table.add_row(name, f"{mark:.1f}", f"{seconds[name]:.1f}")
        before = mark
    console = Console()
    console.print(table)
    console.print(f"whole command: {total:.1f} s; peak memory of all processes: {peak[0]:.2f} GiB")
    console.print(f"start-up to the first rollout: {seconds['workers'] + seconds['first completion']:.1f} s")


if __name__ == "__main__":
    main(sys.argv[1:])
