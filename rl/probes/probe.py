"""What a probe is: a pure function from a held-out item to the items that are asked in its place.

Every item that a probe makes keeps the id of the one it was made from in `pair_id`, so that both answers are compared
as a pair, and names probe and variant in its tags. Its own id is new. A probe never works on an item that a probe made:
what is changed is one thing.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from rl.data.sets import UnusableData
from rollouts.records import Sample, stable_hash

# Tags of an item that a probe made.
PROBE, VARIANT = "probe", "variant"
# Why a probe cannot be made of an item; "" = it can.
Fault = Callable[[Sample], str]


class ProbeImpossible(UnusableData):
    """A set of items cannot have a probe, or there is no such probe; the message says why and what could be done."""


@dataclass(frozen=True)
class Setting:
    """What probes may use beside the item itself."""

    # Every item of the set: where other images come from.
    samples: Sequence[Sample]
    # Every choice follows from it and from the item's id, or its image's hash.
    seed: int = 0

    @cached_property
    def with_images(self) -> Mapping[tuple[str, ...], Mapping[str, Sequence[Sample]]]:
        """Items with images by `alike`, once with their question and once without it, then by gold answer; of each gold
        in an order of the seed. Made once, so that a large set takes no longer an item than a small one."""
        groups: dict[tuple[str, ...], dict[str, list[Sample]]] = {}
        for one in sorted(self.samples, key=lambda one: stable_hash("with images", self.seed, one.id)):
            if one.media:
                for key in (alike(one), (*alike(one), folded(one.question))):
                    groups.setdefault(key, {}).setdefault(folded(one.gold_text), []).append(one)
        return groups


def alike(sample: Sample) -> tuple[str, ...]:
    """What items must share for one's images to stand in another's place: modality, source, kinds of media."""
    return (sample.modality, sample.source, *(medium.kind for medium in sample.media))


def folded(text: str) -> str:
    """A text without differences of case and blanks."""
    return " ".join(text.casefold().split())


@dataclass(frozen=True)
class Probe:
    """One probe."""

    name: str
    # What is changed, in words for tables and reports.
    changes: str
    # What a difference to the plain item means.
    shows: str
    # What an item needs, in words for the table of probes.
    needs: str
    fault: Fault
    # The items asked in an item's place, through `variant`; none where the setting holds nothing to change it by.
    make: Callable[[Sample, Setting], list[Sample]]


@dataclass(frozen=True)
class Probed:
    """A probe on a set of items."""

    probe: Probe
    # In the order of the items; `pair_id` says of which.
    samples: tuple[Sample, ...]
    # Why items were left out -> how many.
    left_out: Mapping[str, int] = field(default_factory=dict)


def variant(sample: Sample, probe: str, name: str = "", **changes: Any) -> Sample:
    """The item with these changes, named after probe and variant, with the id of the item as its pair."""
    label = f"{probe}:{name}" if name else probe
    tags = {**sample.tags, PROBE: probe, VARIANT: name}
    return dataclasses.replace(sample, id=f"{sample.id}#{label}", pair_id=sample.id, tags=tags, **changes)


def apply(probe: Probe, setting: Setting) -> Probed:
    """The probe on every item that can have it.

    Raises:
        ProbeImpossible: no item can have it, or an item was made by a probe already.
    """
    made: list[Sample] = []
    left_out: Counter[str] = Counter()
    for sample in setting.samples:
        if PROBE in sample.tags:
            raise ProbeImpossible(
                f"probe {probe.name}: item {sample.id!r} was made by the probe {sample.tags[PROBE]}; probes are made of"
                " plain items, never of each other"
            )
        fault = probe.fault(sample)
        variants = [] if fault else probe.make(sample, setting)
        made += variants
        if not variants:
            left_out[fault or "nothing in this set to change it by"] += 1
    if not made:
        reasons = "; ".join(f"{count} x {why}" for why, count in left_out.most_common(3)) or "it holds no item"
        raise ProbeImpossible(
            f"probe {probe.name} needs {probe.needs}, and this set has no such item ({len(setting.samples)} items:"
            f" {reasons}). Leave it out of probes=[..]."
        )
    return Probed(probe, tuple(made), dict(left_out))


def needs_image(sample: Sample) -> str:
    """Why a probe of images cannot be made of an item."""
    return "" if sample.media else "it has no image"


def needs_options(sample: Sample) -> str:
    """Why a probe of options cannot be made of an item."""
    return "" if sample.options and sample.answer_type in ("mcq", "multi") else "it is no multiple choice"
