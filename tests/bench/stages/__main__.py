"""`python -m tests.bench.stages --out FOLDER`: the four stages, and each left out once, on the same held-out items.

`--on fleming_vl` (embedded data, drawn in memory) or `--on hospital` (the made-up hospital's files, which are
written first); `--only all_four` for the seeds without the ablation.

Prints, for each seed, the accuracy of the last model of each variant with its interval, and what leaving a stage out
changed (paired by item). Runs that are finished in FOLDER are read and not made again, so the command
can be called as often as wanted.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from examples.hospital.make import places
from rl.stages.book import StageBook, StageRecord, added, in_percent
from rollouts.terminal import open_console, table

VARIANTS: dict[str, tuple[str, ...]] = {
    "all four": (),
    "without interleaved": ("interleaved",),
    "without captions": ("captions",),
    "without instruction": ("instruction",),
    "without grpo": ("grpo",),
}


def run(experiment: str, folder: Path, skip: Sequence[str], seed: int, more: Sequence[str]) -> None:
    """One run of the recipe, unless it is there and finished."""
    if (folder / "summary.json").is_file():
        return
    settings = [f"out_dir={folder}", f"seed={seed}", f"stages.skip=[{','.join(skip)}]", *more]
    settings += ["resume=true"] if folder.is_dir() else []
    subprocess.run([sys.executable, "-m", "rl.train", f"+experiment={experiment}", *settings], check=True)


def data_of(experiment: str, folder: Path, skip: Sequence[str]) -> list[str]:
    """The settings that say where the data of the stages lie: the made-up hospital, which is written unless it is
    there; none where they are drawn in memory."""
    if experiment != "hospital":
        return []
    if not (folder / "questions.jsonl").is_file():
        subprocess.run([sys.executable, "-m", "examples.hospital.make", "--out", str(folder)], check=True)
    return places(folder, skip)


def named(variant: str) -> str:
    """A variant as folders are called."""
    return variant.replace(" ", "_")


def last_of(folder: Path) -> tuple[StageRecord, float]:
    """The last stage of a finished run, and the run's seconds."""
    seconds = json.loads((folder / "summary.json").read_text(encoding="utf-8"))["seconds"]
    return StageBook(folder).records[-1], float(seconds)


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.stages", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where the runs are kept")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("settings", nargs="*", metavar="SETTING=VALUE", help="settings of every run")
    parser.add_argument("--on", choices=("fleming_vl", "hospital"), default="fleming_vl", help="the experiment")
    parser.add_argument("--only", choices=[named(name) for name in VARIANTS], help="this variant alone")
    asked = parser.parse_args(argv)
    for seed in asked.seeds:
        rows = []
        whole: StageRecord | None = None
        for name, skip in VARIANTS.items():
            if asked.only not in (None, named(name)):
                continue
            folder = asked.out / f"{named(name)}-{seed}"
            where = data_of(asked.on, asked.out / "hospital", skip)
            run(asked.on, folder, skip, seed, [*where, *asked.settings])
            last, seconds = last_of(folder)
            whole = whole or last
            change = added(whole, last)
            told = ("", "") if not skip else (f"{100 * change['difference']:+.1f}", f"{change['p_value']:.3f}")
            rows.append((name, last.stage, in_percent(last.greedy["all"]), *told, f"{seconds:.0f}"))
        columns = ("stages", "last", "right, greedy", "against all four", "p", "seconds")
        open_console().print(table(f"seed {seed}", columns, rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
