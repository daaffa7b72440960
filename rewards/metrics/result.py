"""What a metric returns: a number with its signature, the numbers of each row, and how to make it of other rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Redaction = Literal["kept", "removed"]


@dataclass(frozen=True)
class TextRow:
    """A stored answer and what it is compared with."""

    # None or blank = no answer; it counts 0 in every metric and is counted.
    answer: str | None
    # At least one text.
    references: tuple[str, ...]
    language: Literal["en", "zh"] = "en"

    def __post_init__(self) -> None:
        if not self.references or not all(text.strip() for text in self.references):
            raise ValueError(f"a row needs at least one reference that is not empty, got {list(self.references)}")

    @property
    def is_empty(self) -> bool:
        """Whether there is no answer."""
        return not (self.answer or "").strip()


@dataclass(frozen=True)
class Handling:
    """What is done to both sides before they are cut; part of every signature."""

    # Which parts of a report the texts hold, in words: "findings", "findings+impression".
    sections: str = "as stored"
    # De-identified places (XXXX): left on both sides, or taken out of both.
    redaction: Redaction = "kept"


@dataclass(frozen=True)
class MetricResult:
    """A metric over rows."""

    name: str
    # None = not computed, and `reason` says why; never 0 for that.
    value: float | None
    reason: str
    # Everything that another number of this name may differ in.
    signature: str
    # Each row's own number, in order; None = the metric has none for single rows, or nothing was computed. A row is
    # None where the metric's own model gave no verdict that could be read; it is in no sum.
    items: tuple[float | None, ...] | None
    # Rows x sums, and from their sum to the metric: a resampled corpus is a weighted sum. Empty where not computed.
    sums: NDArray[np.float64]
    finish: Callable[[NDArray[np.float64]], float | None]
    num_rows: int
    num_empty: int
    # Answers that print XXXX, which only a model that learned de-identified reports writes.
    num_redacted: int
    # 1 = more is better, -1 = less is better.
    direction: Literal[1, -1] = 1
    # Rows without a verdict of the metric's model.
    num_unjudged: int = 0


def mean_of_column(sums: NDArray[np.float64]) -> float | None:
    """Of sums (value, 1): the mean; None without rows."""
    return float(sums[0] / sums[1]) if sums[1] else None


def sums_of(items: Sequence[float | None]) -> NDArray[np.float64]:
    """Rows x (value, 1); (0, 0) for a row without a value."""
    return np.array([(0.0, 0.0) if item is None else (item, 1.0) for item in items], dtype=np.float64).reshape(-1, 2)
