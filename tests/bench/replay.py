"""Completions a minute of a replay with a rule reward: `python -m tests.bench.replay [RUN]` (without RUN one of 1,000
groups is made).

The whole command is measured in a process of its own, start, reading, scoring, advantages, writing and report included.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.bench.make_run import make_run


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.replay", description=__doc__.split("\n\n")[0])
    parser.add_argument("run", nargs="?", type=Path, metavar="RUN")
    parser.add_argument(
        "overrides", nargs="*", default=["reward.routes.open=rouge_l"], help="(default: reward.routes.open=rouge_l)"
    )
    asked = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as parent:
        run = asked.run or make_run(Path(parent) / "run", groups=1000)
        out = Path(parent) / "out"
        started = time.monotonic()
        subprocess.run(
            [sys.executable, "-m", "rl.replay", str(run), *asked.overrides, "--out", str(out)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        wall, used = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
        count = json.loads((out / "replay_report.json").read_text())["num_completions"]
    cpu = used.ru_utime + used.ru_stime
    print(f"{count} completions: {wall:.1f} s wall = {count / wall * 60:,.0f} a minute")
    print(f"{cpu:.1f} s CPU = {count / cpu * 60:,.0f} a minute of one core; peak {used.ru_maxrss / 1024:,.0f} MiB")
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    return 0


if __name__ == "__main__":
    sys.exit(main())
