"""What groups of answers say, as pure functions of stored rows: all right in a group, the same answer to both of a
pair, which letters are chosen.

A row without a verdict (nobody could judge it) is never a wrong answer: a group that holds one is unjudged unless
another of its rows is wrong already. An answer that could not be read is wrong, and says nothing of what was chosen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Answered:
    """One stored answer."""

    # Items that belong together: a ProbMed image in one dimension, both of MediConfusion, an item and its variants.
    group: str
    # None = no verdict.
    correct: bool | None
    # What was committed to (a letter, yes or no, folded text); None = nothing that could be read.
    choice: str | None


@dataclass(frozen=True)
class Groups:
    """How groups fared."""

    # Group -> whether all of it is right; None = unjudged.
    all_right: Mapping[str, bool | None]

    @property
    def num_unjudged(self) -> int:
        """Groups without a verdict; they are in no share."""
        return sum(right is None for right in self.all_right.values())


def all_right(rows: Sequence[Answered]) -> Groups:
    """Groups of which every row is right: ProbMed's accuracy of an image in one dimension, MediConfusion's of a set."""
    groups: dict[str, list[bool | None]] = {}
    for row in rows:
        groups.setdefault(row.group, []).append(row.correct)
    return Groups({name: _both(verdicts) for name, verdicts in groups.items()})


def _both(verdicts: Sequence[bool | None]) -> bool | None:
    if any(verdict is False for verdict in verdicts):
        return False
    return None if any(verdict is None for verdict in verdicts) else True


@dataclass(frozen=True)
class Confusion:
    """Pairs of which both got the same answer though their right answers differ (MediConfusion)."""

    # Pair -> 1 where both got the same answer, else 0; None = an answer could not be read: it is in no share, because a
    # model that refuses would look less confused.
    same: Mapping[str, float | None]

    @property
    def num_pairs(self) -> int:
        """All pairs, those that could not be read among them."""
        return len(self.same)

    @property
    def num_unread(self) -> int:
        """Pairs in which an answer could not be read."""
        return sum(one is None for one in self.same.values())


def confusion(rows: Sequence[Answered]) -> Confusion:
    """Which pairs got the same answer twice.

    Raises:
        ValueError: a group is no pair.
    """
    pairs: dict[str, list[str | None]] = {}
    for row in rows:
        pairs.setdefault(row.group, []).append(row.choice)
    if odd := [name for name, choices in pairs.items() if len(choices) != 2]:
        raise ValueError(f"confusion is of pairs, but {len(odd)} groups have another size, such as {odd[0]!r}")
    return Confusion(
        {name: None if None in choices else float(choices[0] == choices[1]) for name, choices in pairs.items()}
    )


def letters(rows: Sequence[Answered]) -> dict[str, float]:
    """Share of each choice among those that were read, sorted: one letter that stands out is a bias."""
    counts = Counter(row.choice for row in rows if row.choice is not None)
    total = sum(counts.values())
    return {choice: counts[choice] / total for choice in sorted(counts)}
