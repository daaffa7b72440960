"""`python -m rl.report FOLDER` writes report.html for a run that is going on, was interrupted, or is done, and for an
evaluation on benchmarks."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rl.run.folder import CONFIG
from rollouts.terminal import CANNOT, DONE, Ending, accept_any_stdout, complain, require

COMMAND = "python -m rl.report"
_EPILOG = f"""examples:
  {COMMAND} runs/med_grpo                                  the report of a run
  {COMMAND} runs/evaluate/mine                             that of an evaluation (rl.evaluate benchmark=[..])
  {COMMAND} runs/evaluate/mine --against runs/evaluate/base   beside another model, with the items that flipped
  {COMMAND} runs/evaluate/mine --export csv                and its numbers, in results.csv beside the page
  {COMMAND} runs/evaluate/curve                            several models beside each other (rl.evaluate models=[..])"""
# Made by rl.evaluate in the folder of an evaluation, and of nothing else.
EVALUATION = "benchmarks"
# Made by rl.evaluate models=[..], and by a run of its evaluations.
CURVE = "curve.json"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=COMMAND,
        description="Write report.html for a run or an evaluation on benchmarks, whatever of it is there yet.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "run", type=Path, metavar="FOLDER", help="folder of a run (its out_dir), or of an evaluation on benchmarks"
    )
    parser.add_argument(
        "--against", type=Path, metavar="FOLDER", help="evaluation: beside that of another model on the same items"
    )
    parser.add_argument(
        "--export",
        choices=("csv", "latex", "inspect"),
        help="evaluation: its numbers besides, as results.csv or results.tex, or its answers as logs of inspect_ai",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Returns its exit code (`rollouts.terminal`)."""
    arguments = _parser().parse_args(argv)
    folder, against = arguments.run, arguments.against
    if (folder / EVALUATION).is_dir():
        if against is not None and not (against / EVALUATION).is_dir():
            complain(f"{COMMAND}: --against {against} is no evaluation on benchmarks: it has no folder {EVALUATION}/")
            return CANNOT
        return _evaluation(folder, against, arguments.export)
    if against is not None or arguments.export is not None:
        complain(f"{COMMAND}: --against and --export are for evaluations on benchmarks; {folder} is none")
        return CANNOT
    if (folder / CURVE).is_file():
        return _curve(folder)
    if not (folder / CONFIG).exists():
        complain(
            f"{COMMAND}: {folder} is not a run: it has no {CONFIG}. Give the out_dir of `python -m rl.train`, or of"
            " `python -m rl.evaluate benchmark=[..]`."
        )
        return CANNOT
    require(COMMAND, "train")
    from rl.report.page import write_report  # needs Jinja2, which may not be there
    from rollouts.store.layout import StoreError

    with Ending(COMMAND, StoreError, OSError) as ending:
        print(write_report(folder))
    return ending.code


def _curve(folder: Path) -> int:
    require(COMMAND, "train")
    from rl.report.evaluation.curve import write_curve_report
    from rollouts.store.layout import StoreError

    with Ending(COMMAND, StoreError, OSError) as ending:
        print(write_curve_report(folder))
    return ending.code


def _evaluation(folder: Path, against: Path | None, export: str | None) -> int:
    require(COMMAND, "train")
    from rl.report.evaluation.flips import summary_of
    from rl.report.evaluation.numbers import as_csv, as_latex
    from rl.report.evaluation.page import write_evaluation_report
    from rollouts.store.disk import write_atomically
    from rollouts.store.layout import StoreError

    with Ending(COMMAND, StoreError, OSError) as ending:
        print(write_evaluation_report(folder, against))
        if export in ("csv", "latex"):
            path = folder / ("results.csv" if export == "csv" else "results.tex")
            made = as_csv if export == "csv" else as_latex
            write_atomically(path, made(summary_of(folder)).encode("utf-8", "backslashreplace"))
            print(path)
    if ending.code:
        return ending.code
    if export == "inspect":  # a command of its own, which knows more than this one
        command = [sys.executable, "-m", "rl.export", str(folder), "--to", "inspect", "--out", str(folder / "inspect")]
        return subprocess.run(command).returncode
    return DONE


if __name__ == "__main__":
    accept_any_stdout()
    sys.exit(main())
