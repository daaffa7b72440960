"""How often a paired test finds a difference that is not there, and one that is, on the group sizes of real benchmarks.

`python -m tests.bench.evaluation.clusters` simulates two models on SLAKE's English test (1,061 rows, 96 images) and
PathVQA's (6,719 rows, 858 images): rows are discordant with chance 0.2, and the side that wins a discordant row is
alike within an image (correlation 0.3 between two discordant rows). It prints the share of runs in which p is at most
5 %, for McNemar over rows and for sign flips of the images' sums: without a difference, then with the difference that
`minimum_detectable` promises to find in 80 % of runs. About a minute on two cores.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rl.statistics.clusters import sums
from rl.statistics.pairs import mcnemar, minimum_detectable, paired_permutation
from rollouts.terminal import open_console, table

# Rows of an image -> how many such images the test split has.
SIZES: dict[str, dict[int, int]] = {
    "SLAKE-EN": {
        5: 2, 6: 2, 7: 7, 8: 16, 9: 15, 10: 10, 11: 5, 12: 6, 13: 1, 14: 5, 15: 22, 16: 2, 17: 1, 18: 1, 20: 1,
    },
    "PathVQA": {
        1: 5, 2: 28, 3: 66, 4: 122, 5: 40, 6: 76, 7: 138, 8: 129, 9: 34, 10: 25, 11: 46, 12: 40, 13: 24, 14: 4, 15: 15,
        16: 27, 17: 12, 18: 8, 19: 7, 20: 3, 21: 3, 22: 2, 23: 1, 25: 1, 27: 1, 28: 1,
    },
}  # fmt: skip
DISCORDANT, ALIKE = 0.2, 0.3


class Rates(NamedTuple):
    """Shares of runs in which p is at most 5 %."""

    rows: float
    clusters: float


def places_of(name: str) -> NDArray[np.intp]:
    """The image of each row, as a number."""
    sizes = [size for size, number in SIZES[name].items() for _ in range(number)]
    return np.repeat(np.arange(len(sizes)), sizes)


def design_effect_of(name: str) -> float:
    """Of differences as they are simulated here without one: 1 + (Kish's size - 1) x correlation of two rows."""
    sizes = np.bincount(places_of(name))
    return 1 + (float((sizes**2).sum() / sizes.sum()) - 1) * DISCORDANT * ALIKE


def differences(name: str, true: float, num_runs: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Per run the difference of each row, -1, 0 or 1, with mean `true`."""
    places, generator = places_of(name), np.random.default_rng(seed)
    num_images = int(places[-1]) + 1
    up = (1 + true / DISCORDANT) / 2
    for _ in range(num_runs):
        shared = np.where(generator.random(num_images) < up, 1.0, -1.0)[places]
        own = np.where(generator.random(len(places)) < up, 1.0, -1.0)
        side = np.where(generator.random(len(places)) < math.sqrt(ALIKE), shared, own)
        yield np.where(generator.random(len(places)) < DISCORDANT, side, 0.0)


def rates(name: str, true: float, num_runs: int, *, seed: int = 0, num_draws: int = 2_000) -> Rates:
    """How often the old test (rows) and the new one (images) reject."""
    places = places_of(name)
    by_rows = by_images = 0
    for run, changes in enumerate(differences(name, true, num_runs, seed)):
        by_rows += mcnemar(int((changes < 0).sum()), int((changes > 0).sum())) <= 0.05
        by_image = sums(changes, places, int(places[-1]) + 1).tolist()
        by_images += paired_permutation(by_image, num_draws=num_draws, seed=run) <= 0.05
    return Rates(by_rows / num_runs, by_images / num_runs)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.evaluation.clusters", description=__doc__.partition("\n\n")[0]
    )
    parser.add_argument("--runs", type=int, default=2_000, help="simulated comparisons of each line (default 2000)")
    runs = parser.parse_args().runs
    lines = []
    for name in SIZES:
        num_rows, deff = len(places_of(name)), design_effect_of(name)
        detectable = minimum_detectable(DISCORDANT, num_rows, deff)
        for true in (0.0, detectable):
            found = rates(name, true, runs)
            what = "none" if not true else f"{100 * true:.2f} points, the detectable one"
            lines.append((name, f"{num_rows:,}", f"{deff:.2f}", what, *(f"{100 * share:.1f} %" for share in found)))
    columns = ("sizes of", "rows", "deff", "true difference", "rows: p <= 5 %", "images: p <= 5 %")
    open_console().print(table(f"{runs} simulated comparisons a line", columns, lines))


if __name__ == "__main__":
    main()
