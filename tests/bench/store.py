"""What storing costs of a step: `python -m tests.bench.store RUN` for a run of `python -m rl.train`.

From the run's own metrics: the seconds of recording over the seconds of the step, step by step, in one run on one
machine. Beside it the rollouts of its last step are stored again a few times, alone, and their CPU time is set against
the run's median step.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rl.run.tracking import read_metrics
from rollouts.records import Rollout
from rollouts.store.layout import list_steps
from rollouts.store.reader import read_step
from rollouts.store.writer import RunWriter


def store_again(groups: Sequence[Sequence[Rollout]], rounds: int) -> tuple[list[float], list[float]]:
    """CPU seconds and wall seconds of storing one step, each round in a new folder, images included."""
    cpu, wall = [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            writer = RunWriter(folder)
            before = time.process_time(), time.monotonic()
            for group in groups:
                writer.append_group(group)
            writer.finish_step(groups[0][0].step)
            cpu.append(time.process_time() - before[0])
            wall.append(time.monotonic() - before[1])
    return cpu, wall


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.store", description=__doc__.split("\n\n")[0])
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("--rounds", type=int, default=20)
    asked = parser.parse_args(argv)
    steps = [one for one in read_metrics(asked.run) if one.get("timing_s/record")][1:]
    if not steps:
        parser.error(f"{asked.run} holds no timings of two steps or more: give a run of python -m rl.train")
    shares = [float(one["timing_s/record"] or 0.0) / float(one["timing_s/step"] or 1.0) for one in steps]
    seconds = statistics.median(float(one["timing_s/step"] or 0.0) for one in steps)
    print(
        f"recording in the run, over {len(shares)} steps: median {statistics.median(shares):.2%} of a step,"
        f" {min(shares):.2%} to {max(shares):.2%}"
    )
    last = list_steps(asked.run)[-1]
    groups = [
        list(members) for _, members in itertools.groupby(read_step(asked.run, last), key=lambda one: one.prompt_id)
    ]
    cpu, wall = store_again(groups, asked.rounds)
    num = sum(map(len, groups))
    print(
        f"storing {num} completions alone, best of {asked.rounds}: {min(cpu) * 1000:.1f} ms CPU, {min(wall) * 1000:.1f}"
        f" ms wall, {min(cpu) / seconds:.2%} of the median step of {seconds:.2f} s (load average"
        f" {os.getloadavg()[0]:.1f})"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
