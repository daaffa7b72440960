"""`python -m rl.compare RUN [CONTROL ..]`: what a run gained over its SFT model, over its controls and over other runs,
paired by held-out item."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rollouts.terminal import CANNOT, Ending, accept_any_stdout, complain, require

COMMAND = "python -m rl.compare"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=COMMAND,
        description="What a run gained over its SFT model, over its controls and over other runs: differences paired by"
        " held-out item, with intervals over images and pairs. No model is loaded. A single RUN brings the controls"
        " along that lie in it (rl.train controls=[blind,random_reward]). Evaluations on benchmarks (rl.evaluate"
        " benchmark=[..]), any number of them, are each compared with the first.",
        epilog="Folders that answered other items, or were read, judged or seeded otherwise, are refused.",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="the out_dir of a finished run")
    parser.add_argument("other", type=Path, nargs="*", metavar="OTHER", help="controls of it, or other runs")
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write all numbers as JSON")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Returns its exit code (`rollouts.terminal`)."""
    given = _parser().parse_args(argv)
    resolved = [folder.resolve() for folder in (given.run, *given.other)]
    if twice := [str(folder) for folder in given.other if resolved.count(folder.resolve()) > 1]:
        complain(f"{COMMAND}: {twice[0]} is given twice, and differs from itself in nothing; give another folder")
        return CANNOT
    require(COMMAND, "train")
    if (given.run / "benchmarks").is_dir():
        return _evaluations([given.run, *given.other], given.out)
    from rl.compare.folders import NotComparable, open_folders
    from rl.compare.gains import gains
    from rl.compare.table import print_gains
    from rollouts.store.disk import write_atomically

    with Ending(COMMAND, NotComparable, OSError) as ending:
        result = gains(open_folders([given.run, *given.other]))
        if given.out is not None:
            write_atomically(given.out, (json.dumps(result, indent=2, ensure_ascii=False) + "\n").encode())
    if not ending.code:
        print_gains(result)
    return ending.code


def _evaluations(folders: Sequence[Path], out: Path | None) -> int:
    """Evaluations on benchmarks (`rl.evaluate benchmark=[..]`): each minus the first."""
    from rl.data.sets import UnusableData
    from rl.evaluate.suite.comparing import compare, print_comparison
    from rollouts.store.disk import write_atomically
    from rollouts.store.layout import StoreError

    with Ending(COMMAND, UnusableData, StoreError, OSError) as ending:
        comparison = compare(folders)
        if out is not None:
            write_atomically(out, (json.dumps(comparison, indent=2, ensure_ascii=False) + "\n").encode())
    if not ending.code:
        print_comparison(comparison)
    return ending.code


if __name__ == "__main__":
    accept_any_stdout()
    sys.exit(main())
