"""Measures how well a judge agrees with labels: sensitivity, specificity and Cohen's kappa, each with a 95 % interval.
Pure functions of counts.

What counts is what a judge pays: "correct" accepts a row, "incorrect" and "unsure" do not. A failed judgement is never
a number: it is counted beside the table, not in it.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from judges.verdict import Decision

Z_95 = 1.959963984540054  # 97.5 % point of the standard normal
_NUM_DRAWS = 4000


class Interval(NamedTuple):
    """A 95 % confidence interval, both ends inside the range of what is measured."""

    low: float
    high: float

    def overlaps(self, other: Interval) -> bool:
        """Whether the two intervals share a point."""
        return self.low <= other.high and other.low <= self.high


@dataclass(frozen=True)
class Table:
    """Rows by label and verdict."""

    right_accepted: int = 0
    right_refused: int = 0
    wrong_accepted: int = 0
    wrong_refused: int = 0
    # unsure: those of the refused rows that the judge was unsure about. failed: rows without a verdict, in no other
    # count.
    unsure: int = 0
    failed: int = 0

    @property
    def num_right(self) -> int:
        """Rows whose label is correct and that have a verdict."""
        return self.right_accepted + self.right_refused

    @property
    def num_wrong(self) -> int:
        """Rows whose label is incorrect and that have a verdict."""
        return self.wrong_accepted + self.wrong_refused

    @property
    def sensitivity(self) -> float:
        """Share of the right answers that are accepted, 0 to 1; NaN where there are none."""
        return _share(self.right_accepted, self.num_right)

    @property
    def specificity(self) -> float:
        """Share of the wrong answers that are not accepted, 0 to 1; NaN where there are none."""
        return _share(self.wrong_refused, self.num_wrong)

    @property
    def accuracy(self) -> float:
        """Share of all answers on which label and verdict agree, 0 to 1; NaN where there are none."""
        return _share(self.right_accepted + self.wrong_refused, self.num_right + self.num_wrong)

    @property
    def kappa(self) -> float:
        """Cohen's kappa (1960) of label and acceptance, -1 to 1; NaN where both are the same for every row and there is
        nothing to agree about."""
        return cohen_kappa(self.right_accepted, self.right_refused, self.wrong_accepted, self.wrong_refused)

    @property
    def sensitivity_interval(self) -> Interval:
        """Wilson's interval."""
        return wilson(self.right_accepted, self.num_right)

    @property
    def specificity_interval(self) -> Interval:
        """Wilson's interval."""
        return wilson(self.wrong_refused, self.num_wrong)

    @property
    def accuracy_interval(self) -> Interval:
        """Wilson's interval."""
        return wilson(self.right_accepted + self.wrong_refused, self.num_right + self.num_wrong)

    @property
    def kappa_interval(self) -> Interval:
        """See `kappa_interval`."""
        return kappa_interval(self.right_accepted, self.right_refused, self.wrong_accepted, self.wrong_refused)


def table_of(rows: Iterable[tuple[bool, Decision | None]]) -> Table:
    """Count rows (label is correct, verdict; None = the judgement failed)."""
    cells = {(True, True): 0, (True, False): 0, (False, True): 0, (False, False): 0}
    unsure = failed = 0
    for right, decision in rows:
        if decision is None:
            failed += 1
            continue
        cells[right, decision == "correct"] += 1
        unsure += decision == "unsure"
    return Table(cells[True, True], cells[True, False], cells[False, True], cells[False, False], unsure, failed)


def wilson(successes: float, total: float, z: float = Z_95) -> Interval:
    """Return Wilson's score interval (Wilson 1927) of the share successes / total; [0, 1] where there is nothing to
    count.

    Unlike p +- 1.96 sqrt(p(1-p)/n) it stays inside [0, 1] and has a width at 0 and at 1. Counts may be fractional, such
    as an effective number of items. Raises ValueError unless 0 <= successes <= total.
    """
    if not 0 <= successes <= total:
        raise ValueError(f"a share needs 0 <= successes <= total, got {successes} of {total}")
    if total == 0:
        return Interval(0.0, 1.0)
    share = successes / total
    denominator = 1 + z * z / total
    centre = (share + z * z / (2 * total)) / denominator
    half = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total)) / denominator
    # At the edges the exact bounds are 0 and 1; rounding would leave 1e-17 beyond them.
    return Interval(
        0.0 if successes == 0 else max(0.0, centre - half), 1.0 if successes == total else min(1.0, centre + half)
    )


def cohen_kappa(both: float, only_label: float, only_verdict: float, neither: float) -> float:
    """Return (p_o - p_e) / (1 - p_e) of a 2 x 2 table, of counts or shares (Cohen 1960); NaN where p_e is 1 or the
    table is empty."""
    total = both + only_label + only_verdict + neither
    if total <= 0:
        return math.nan
    observed = (both + neither) / total
    labels, verdicts = (both + only_label) / total, (both + only_verdict) / total
    expected = labels * verdicts + (1 - labels) * (1 - verdicts)
    return (observed - expected) / (1 - expected) if expected < 1 else math.nan


def kappa_interval(both: int, only_label: int, only_verdict: int, neither: int, seed: int = 0) -> Interval:
    """Return a 95 % credible interval of kappa: its percentiles under the posterior Dirichlet(counts + 1/2) of the four
    cells (Jeffreys' prior).

    After Basu, Banerjee and Sen (Biometrics 56, 2000). The asymptotic interval and the bootstrap have no width at
    perfect agreement, where a judge on 20 rows would look as certain as one on 20,000; this interval has. As for
    Jeffreys' interval of a share, an end that would leave the point estimate out moves to it. [-1, 1] where kappa is
    not defined. 4,000 draws, seeded by `seed`.
    """
    point = cohen_kappa(both, only_label, only_verdict, neither)
    if math.isnan(point):
        return Interval(-1.0, 1.0)
    draw = random.Random(seed).gammavariate
    cells = (both, only_label, only_verdict, neither)
    # Four gamma variates are a Dirichlet vector up to their sum, and kappa does not depend on the sum.
    kappas = sorted(cohen_kappa(*(draw(count + 0.5, 1.0) for count in cells)) for _ in range(_NUM_DRAWS))
    low, high = kappas[round(0.025 * _NUM_DRAWS)], kappas[round(0.975 * _NUM_DRAWS) - 1]
    return Interval(min(low, point), max(high, point))


def _share(count: int, total: int) -> float:
    return count / total if total else math.nan
