"""Every probe by its name, and the one way to make those that were asked for."""

from __future__ import annotations

from collections.abc import Sequence

from rl.probes import corruptions, images, options, prompts, sentences
from rl.probes.probe import Probe, Probed, ProbeImpossible, Setting, apply
from rollouts.nearest import did_you_mean
from rollouts.records import Sample

PROBES: dict[str, Probe] = {
    probe.name: probe for module in (images, options, corruptions, sentences, prompts) for probe in module.PROBES
}
# Names that stand for several.
FAMILIES: dict[str, tuple[str, ...]] = {
    "corruptions": tuple(probe.name for probe in corruptions.PROBES),
    "bias": tuple(probe.name for probe in sentences.PROBES),
}


def named(names: Sequence[str]) -> list[Probe]:
    """The probes of these names, in their order, each once; a family's name gives all of its probes.

    Raises:
        ProbeImpossible: there is no such probe.
    """
    probes: dict[str, Probe] = {}
    for name in names:
        if name not in PROBES and name not in FAMILIES:
            known = [*PROBES, *FAMILIES]
            hint = did_you_mean(name, known, f"; there are {', '.join(known)}")
            raise ProbeImpossible(f"probes=[..]: there is no probe named {name!r}{hint}")
        probes |= {one: PROBES[one] for one in FAMILIES.get(name, (name,))}
    return list(probes.values())


def make(names: Sequence[str], samples: Sequence[Sample], seed: int = 0) -> list[Probed]:
    """The items of these probes on a set; the same arguments give the same items.

    Raises:
        ProbeImpossible: there is no such probe, or the set cannot have it.
    """
    setting = Setting(samples, seed)
    return [apply(probe, setting) for probe in named(names)]


def table() -> list[tuple[str, str, str, str]]:
    """Name, what is changed, what it shows and what it needs, of every probe."""
    return [(probe.name, probe.changes, probe.shows, probe.needs) for probe in PROBES.values()]
