"""Prints the table of tests/bench/memory; exit code 1 where a bound or the agreement of a tenth does not hold."""

from __future__ import annotations

import sys

from rich.console import Console

from rl.doctor.memory import GIB
from rollouts.terminal import table
from tests.bench.memory.tracker import MODEL, cases, micro_batch, track


def main(argv: list[str]) -> int:
    """Measure, print, and say by the exit code whether bounds and agreement hold."""
    num_layers = int(argv[0]) if argv else None
    rows, good, console = [], True, Console()
    for case in cases():
        found = track(case, num_layers)
        ratio = found.doctor / found.tracked
        bad = abs(ratio - 1) > 0.1 or (case.most_gib is not None and found.tracked > case.most_gib * GIB)
        bound = "" if case.most_gib is None else f"{case.most_gib:g}"
        rows.append((case.name, f"{found.tracked / GIB:.1f}", f"{found.doctor / GIB:.1f}", f"{ratio:.2f}", bound))
        console.print(f"{case.name}: {found.tracked / GIB:.1f}, doctor {found.doctor / GIB:.1f}")
        good &= not bad
    title = f"{MODEL}, a tree of {micro_batch().input_ids.numel():,} tokens, GiB a rank"
    console.print(table(title, ("update", "tracker", "doctor", "ratio", "at most"), rows))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
