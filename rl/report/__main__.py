"""`python -m rl.report RUN` writes report.html for a run that is going on, was interrupted, or is done."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rl.run.folder import CONFIG
from rollouts.terminal import accept_any_stdout, complain, require


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit code 0 = written, 2 = the folder is no run."""
    parser = argparse.ArgumentParser(
        prog="python -m rl.report", description="Write report.html for a run, whatever of it is there yet."
    )
    parser.add_argument(
        "run", type=Path, metavar="RUN", help="folder of a run (its out_dir), finished or still going on"
    )
    run_dir = parser.parse_args(argv).run
    if not (run_dir / CONFIG).exists():
        complain(f"rl.report: {run_dir} is not a run: it has no {CONFIG}. Give the out_dir of `python -m rl.train`.")
        return 2
    require("python -m rl.report", "train")
    from rl.report.page import write_report  # needs Jinja2, which may not be there

    print(write_report(run_dir))
    return 0


if __name__ == "__main__":
    accept_any_stdout()
    sys.exit(main())
