"""`python -m tests.bench.stages --out FOLDER`: the four stages, and each left out once, on the same held-out items.

Prints, for each seed, the accuracy of the last model of each variant with its interval, and what leaving a stage out
changed (McNemar's mid-p, paired by item). Runs that are finished in FOLDER are read and not made again, so the command
can be called as often as wanted.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rl.stages.book import StageBook, added, in_percent
from rollouts.terminal import open_console, table

VARIANTS: dict[str, tuple[str, ...]] = {
    "all four": (),
    "without interleaved": ("interleaved",),
    "without captions": ("captions",),
    "without instruction": ("instruction",),
    "without grpo": ("grpo",),
}


def run(folder: Path, skip: Sequence[str], seed: int, more: Sequence[str]) -> None:
    """One run of the recipe, unless it is there and finished."""
    if (folder / "summary.json").is_file():
        return
    settings = [f"out_dir={folder}", f"seed={seed}", f"stages.skip=[{','.join(skip)}]", *more]
    settings += ["resume=true"] if folder.is_dir() else []
    subprocess.run([sys.executable, "-m", "rl.train", "+experiment=fleming_vl", *settings], check=True)


def last_of(folder: Path) -> tuple[str, list[bool | None], str, float]:
    """The last stage of a finished run: its name, its verdicts, its accuracy in words, and the run's seconds."""
    record = StageBook(folder).records[-1]
    seconds = json.loads((folder / "summary.json").read_text(encoding="utf-8"))["seconds"]
    return record.stage, record.right, in_percent(record.greedy["all"]), float(seconds)


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.stages", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where the runs are kept")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("settings", nargs="*", metavar="SETTING=VALUE", help="settings of every run")
    asked = parser.parse_args(argv)
    for seed in asked.seeds:
        rows = []
        whole: list[bool | None] = []
        for name, skip in VARIANTS.items():
            folder = asked.out / f"{name.replace(' ', '_')}-{seed}"
            run(folder, skip, seed, asked.settings)
            stage, right, words, seconds = last_of(folder)
            whole = whole or right
            change = added(whole, right)
            told = ("", "") if not skip else (f"{100 * change['difference']:+.1f}", f"{change['p_value']:.3f}")
            rows.append((name, stage, words, *told, f"{seconds:.0f}"))
        columns = ("stages", "last", "right, greedy", "against all four", "p", "seconds")
        open_console().print(table(f"seed {seed}", columns, rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
