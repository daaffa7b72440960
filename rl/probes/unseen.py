"""Unseen combinations (Med-MAT's question): is a task solved on a modality and a body part that training has each seen,
but never together?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from rl.probes.probe import ProbeImpossible
from rollouts.records import Sample, stable_hash

# seen = training has this very combination; recombined = each part, never together; novel = a part that training lacks.
Seen = Literal["seen", "recombined", "novel"]
PARTS = ("modality", "anatomy", "task")


def combination(sample: Sample, parts: Sequence[str] = PARTS) -> tuple[str, ...] | None:
    """The parts of an item, from its modality and its tags; None = one of them is not known."""
    found = tuple(sample.modality if part == "modality" else sample.tags.get(part, "") for part in parts)
    return found if all(found) else None


def strata(train: Sequence[Sample], held_out: Sequence[Sample], parts: Sequence[str] = PARTS) -> dict[str, Seen]:
    """Id of each held-out item whose parts are known -> how much of its combination training has seen.

    Raises:
        ProbeImpossible: no item of either set names all parts, or no held-out combination is a new one.
    """
    known = {found for sample in train if (found := combination(sample, parts))}
    asked = {sample.id: found for sample in held_out if (found := combination(sample, parts))}
    if not known or not asked:
        which = "training" if not known else "held-out"
        raise ProbeImpossible(
            f"unseen combinations need rows that name {', '.join(parts)} (modality as a field, the others as tags), and"
            f" no {which} row does. Name them in the data, or leave the probe out."
        )
    members = [{one[place] for one in known} for place in range(len(parts))]

    def place(found: tuple[str, ...]) -> Seen:
        if found in known:
            return "seen"
        return "recombined" if all(part in seen for part, seen in zip(found, members, strict=True)) else "novel"

    return {name: place(found) for name, found in asked.items()}


def hold_out(
    samples: Sequence[Sample], share: float, seed: int = 0, parts: Sequence[str] = PARTS
) -> tuple[list[Sample], list[Sample]]:
    """Training and held-out rows such that about `share` of the combinations are held out, each of whose parts still
    occurs in training. Rows that do not name all parts stay in training.

    Raises:
        ProbeImpossible: no combination can be held out: each has a part that stands in no other.
        ValueError: `share` does not lie between 0 and 1.
    """
    if not 0 < share < 1:
        raise ValueError(f"share is {share}, expected more than 0 and less than 1")
    there = sorted({found for sample in samples if (found := combination(sample, parts))})
    kept, out = set(there), set[tuple[str, ...]]()
    for found in sorted(there, key=lambda one: stable_hash("hold out", seed, *one)):
        if len(out) >= share * len(there):
            break
        rest = kept - {found}
        if all(any(other[place] == found[place] for other in rest) for place in range(len(parts))):
            kept, out = rest, out | {found}
    if not out:
        raise ProbeImpossible(
            f"none of {len(there)} combinations of {', '.join(parts)} can be held out: each has a part that occurs in"
            " no other"
        )
    held = [sample for sample in samples if combination(sample, parts) in out]
    return [sample for sample in samples if combination(sample, parts) not in out], held
