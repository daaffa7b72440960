"""Which groups of a step are asked first and trained on last, so that judges think while the machine has other work.

Groups that have to be waited for (a judge, a plugin's process) are asked first and trained on last; otherwise the order
of the prompts stays. The order follows from the samples and the rewards alone, never from how fast a judge answers, so
a slow judge and an instant one give the same weights to the last bit. Its price: the mini-batches of a step are not
mixed. The first updates of a step see what rules score, the last ones what a judge scores, under weights that have
moved by as many updates; the clipped ratio accounts for that as it does for any order. Which prompts a step holds is
untouched (rl/algo/order.py). Where an estimator needs the whole step (`Estimator.needs_whole_step`), nothing is gained
by waiting for parts of it, and the order is that of the prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Part(NamedTuple):
    """A piece of a step: once these groups are scored as well, these mini-batches can be trained on. Both are places in
    the order of training."""

    groups: slice
    minibatches: range


def asking_order(waits: Sequence[bool]) -> list[int]:
    """Places of the groups in the order of their requests: those that have to be waited for first."""
    return sorted(range(len(waits)), key=lambda place: not waits[place])


def training_order(waits: Sequence[bool], whole_step: bool) -> list[int]:
    """Places of the groups in the order of training: those that have to be waited for last. `whole_step`: no update can
    be made before all are there, so the order of the prompts stays."""
    places = range(len(waits))
    return list(places) if whole_step else sorted(places, key=lambda place: waits[place])


def parts(num_groups: int, num_generations: int, num_minibatches: int, whole_step: bool) -> list[Part]:
    """The step in pieces: each mini-batch with the groups it needs beyond those before it, or all at once where the
    whole step is needed.

    A mini-batch is an equal share of the num_groups x num_generations completions, so it may begin or end inside a
    group.
    """
    if whole_step:
        return [Part(slice(0, num_groups), range(num_minibatches))]
    rows = num_groups * num_generations // num_minibatches
    ends = [-(-(minibatch + 1) * rows // num_generations) for minibatch in range(num_minibatches)]
    pieces: list[Part] = []
    for place, (start, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
        if start == end:  # it lies within a group that came with the mini-batch before it
            pieces[-1] = pieces[-1]._replace(minibatches=range(pieces[-1].minibatches.start, place + 1))
        else:
            pieces.append(Part(slice(start, end), range(place, place + 1)))
    return pieces
