"""Whether two runs learned the same: `python -m tests.proof_of_value RUN_A RUN_B` compares their metrics.jsonl.

A change that is meant to change no number is proved by a run before it and one after it, with the same command and
seed: every number of every step is equal to the last bit. Times are no numbers of learning. A name that only one of
the runs logs is told and is no difference.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

# What a clock says, and what follows from it.
CLOCK = ("timing_s/", "timing_per_token_ms/", "perf/", "judge/mean_seconds")


def read(run: Path) -> list[dict[str, float]]:
    """The steps of a run's metrics.jsonl, without what a clock said."""
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [{name: value for name, value in json.loads(line).items() if not name.startswith(CLOCK)} for line in lines]


def differences(a: Sequence[Mapping[str, float]], b: Sequence[Mapping[str, float]]) -> list[str]:
    """A line for each number that both runs logged and that is not the same; one where the runs differ in length."""
    told = [] if len(a) == len(b) else [f"{len(a)} steps against {len(b)}"]
    for ours, theirs in zip(a, b, strict=False):
        told += [
            f"step {ours['step']:g}, {name}: {ours[name]!r} against {theirs[name]!r}"
            for name in sorted(ours.keys() & theirs.keys())
            if ours[name] != theirs[name]
        ]
    return told


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0 = every number is the same, 1 = some are not."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.proof_of_value",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("a", type=Path, metavar="RUN_A", help="folder of the run before the change")
    parser.add_argument("b", type=Path, metavar="RUN_B", help="folder of the run after it")
    runs = parser.parse_args(argv)
    a, b = read(runs.a), read(runs.b)
    names = [set().union(*(step.keys() for step in steps)) for steps in (a, b)]
    faults = differences(a, b)
    print(*faults[:40], sep="\n", end="\n" if faults else "")
    for run, only in ((runs.a, names[0] - names[1]), (runs.b, names[1] - names[0])):
        if only:
            print(f"only {run} logs {', '.join(sorted(only))}")
    count = sum(len(step) for step in a)
    print(
        f"{len(faults)} of {count} numbers in {len(a)} steps differ" if faults else f"all {count} numbers are the same"
    )
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
