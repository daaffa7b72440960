"""Unseen combinations (Med-MAT's question): is a task solved on a modality and a body part that training has each seen,
but never together?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from rl.probes.probe import ProbeImpossible
from rollouts.records import Sample

# seen = training has this very combination; recombined = each part, never together; novel = a part that training lacks.
Seen = Literal["seen", "recombined", "novel"]
PARTS = ("modality", "anatomy", "task")


def combination(sample: Sample, parts: Sequence[str] = PARTS) -> tuple[str, ...] | None:
    """The parts of an item, from its modality and its tags; None = one of them is not known."""
    values = tuple(sample.modality if part == "modality" else sample.tags.get(part, "") for part in parts)
    return values if all(values) else None


def strata(train: Sequence[Sample], held_out: Sequence[Sample], parts: Sequence[str] = PARTS) -> dict[str, Seen]:
    """Id of each held-out item whose parts are known -> how much of its combination training has seen.

    Raises:
        ProbeImpossible: no item of either set names all parts, or no held-out combination is a new one.
    """
    known = {key for sample in train if (key := combination(sample, parts))}
    keys = {sample.id: key for sample in held_out if (key := combination(sample, parts))}
    if not known or not keys:
        which = "training" if not known else "held-out"
        raise ProbeImpossible(
            f"unseen combinations need rows that name {', '.join(parts)} (modality as a field, the others as tags), and"
            f" no {which} row does. Name them in the data, or leave the probe out."
        )
    members = [{one[place] for one in known} for place in range(len(parts))]

    def place(key: tuple[str, ...]) -> Seen:
        if key in known:
            return "seen"
        return "recombined" if all(part in seen for part, seen in zip(key, members, strict=True)) else "novel"

    return {name: place(key) for name, key in keys.items()}
