"""How two lists of labels, or two rankings, agree: Cohen's kappa, macro-F1, Kendall's tau-b."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Literal


def kappa(
    first: Sequence[Hashable], second: Sequence[Hashable], *, weights: Literal["none", "quadratic"] = "none"
) -> float | None:
    """Cohen's kappa (1960) of two raters over any number of classes, at most 1; None where it is not defined.

    Not defined: no rows, or both always say the same one thing, so that there is nothing to agree about; never 1.
    `weights`: "quadratic" for ordered classes (Cohen 1968), whose order is that of `sorted`.

    Raises:
        ValueError: the lists differ in length.
    """
    if len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} labels; kappa is of the same rows")
    classes = sorted({*first, *second}, key=lambda label: (str(type(label)), label))
    place = {label: number for number, label in enumerate(classes)}
    n = len(first)

    def cost(a: int, b: int) -> float:
        return float((a - b) ** 2) if weights == "quadratic" else float(a != b)

    rows, columns = Counter(map(place.__getitem__, first)), Counter(map(place.__getitem__, second))
    observed = math.fsum(cost(place[a], place[b]) for a, b in zip(first, second, strict=True)) * n
    expected = math.fsum(cost(a, b) * rows[a] * columns[b] for a in rows for b in columns)
    return None if expected == 0 else 1 - observed / expected


def macro_f1(
    gold: Sequence[str], answers: Sequence[str | None], *, labels: Sequence[str] | None = None
) -> float | None:
    """Mean over the classes of 2 TP / (2 TP + FP + FN), 0 to 1; None without rows.

    A `None` in `answers` is an answer that could not be read: a miss of its gold class, and no class of its own.
    `labels`: the classes, also those that no row has; None = those of the gold and those that were said. A class that
    nobody has and nobody says counts 0.

    Raises:
        ValueError: the lists differ in length, or `labels` lacks a class of the gold.
    """
    if len(gold) != len(answers):
        raise ValueError(f"{len(gold)} gold labels and {len(answers)} answers; macro-F1 is of the same rows")
    classes = sorted({*gold, *(one for one in answers if one is not None)}) if labels is None else list(labels)
    if lacking := sorted(set(gold) - set(classes)):
        raise ValueError(f"the gold holds {lacking[0]!r}, which is none of the labels {classes}")
    if not gold:
        return None
    hits = Counter(one for one, other in zip(gold, answers, strict=True) if one == other)
    wanted, given = Counter(gold), Counter(answers)
    scores = [2 * hits[one] / (wanted[one] + given[one]) if wanted[one] + given[one] else 0.0 for one in classes]
    return math.fsum(scores) / len(scores)


def kendall_tau_b(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Kendall's tau-b of two rankings of the same things: 1 = the same order, -1 = the opposite, ties accounted for;
    None where one ranks nothing.

    (concordant - discordant) / sqrt(pairs not tied in the first x pairs not tied in the second), Kendall 1945.
    """
    agree = untied_first = untied_second = 0
    for j in range(len(first)):
        for i in range(j):
            sign_first = (first[j] > first[i]) - (first[j] < first[i])
            sign_second = (second[j] > second[i]) - (second[j] < second[i])
            agree += sign_first * sign_second
            untied_first += sign_first != 0
            untied_second += sign_second != 0
    if not untied_first or not untied_second:
        return None
    return agree / math.sqrt(untied_first * untied_second)
