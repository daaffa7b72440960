"""What groups of answers say, as pure functions of stored rows: all right in a group, answers that change, the same
answer to both of a pair.

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
    said: str | None


@dataclass(frozen=True)
class Groups:
    """How groups fared."""

    # Group -> whether all of it is right; None = unjudged.
    all_right: Mapping[str, bool | None]

    @property
    def num_unjudged(self) -> int:
        """Groups without a verdict; they are in no share."""
        return sum(right is None for right in self.all_right.values())

    @property
    def share(self) -> float | None:
        """Share of the judged groups that are all right; None = there is none."""
        judged = [right for right in self.all_right.values() if right is not None]
        return sum(judged) / len(judged) if judged else None


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

    num_pairs: int
    # Pairs in which an answer could not be read: in no share, because a model that refuses would look less confused.
    num_unread: int
    num_same: int

    @property
    def share(self) -> float | None:
        """Same answer to both, of the pairs that were read; None = none was."""
        read = self.num_pairs - self.num_unread
        return self.num_same / read if read else None


def confusion(rows: Sequence[Answered]) -> Confusion:
    """How many pairs got the same answer twice.

    Raises:
        ValueError: a group is no pair.
    """
    pairs: dict[str, list[str | None]] = {}
    for row in rows:
        pairs.setdefault(row.group, []).append(row.said)
    if odd := [name for name, said in pairs.items() if len(said) != 2]:
        raise ValueError(f"confusion is of pairs, but {len(odd)} groups have another size, such as {odd[0]!r}")
    unread = sum(None in said for said in pairs.values())
    return Confusion(len(pairs), unread, sum(None not in said and said[0] == said[1] for said in pairs.values()))


def changed(plain: Sequence[str | None], probed: Sequence[str | None]) -> list[float | None]:
    """For each pair of answers 1.0 where they differ, 0.0 where they are the same, None where either could not be read:
    the flips of a probe, and of swapped images the sensitivity to the image.

    Raises:
        ValueError: other lengths.
    """
    if len(plain) != len(probed):
        raise ValueError(f"{len(plain)} plain and {len(probed)} probed answers; flips are of pairs")
    pairs = zip(plain, probed, strict=True)
    return [None if one is None or other is None else float(one != other) for one, other in pairs]


def letters(rows: Sequence[Answered]) -> dict[str, float]:
    """Share of each choice among those that were read, sorted: one letter that stands out is a bias."""
    counts = Counter(row.said for row in rows if row.said is not None)
    total = sum(counts.values())
    return {said: counts[said] / total for said in sorted(counts)}
