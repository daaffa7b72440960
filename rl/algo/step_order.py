"""Which groups of a step are asked first and trained on last, so that judges think while the machine has other work.

Groups that have to be waited for (a judge, a plugin's process) are asked first and trained on last; otherwise the order
of the prompts stays. The order follows from the samples and the rewards alone, never from how fast a judge answers, so
a slow judge and an instant one give the
same weights to the last bit. Its price: the mini-batches of a step are not mixed. The first updates of a step see what
rules score, the last ones what a judge scores, under weights that have moved by as many updates; the clipped ratio
accounts for that as it does for any order. Which prompts a step holds is untouched (rl/algo/order.py). Where an
advantage or a denominator needs the whole step, nothing is gained by waiting for parts of it, and the order is that of
the prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rl.config import GrpoConfig


class Part(NamedTuple):
    """A piece of a step: once these groups are scored, too, these mini-batches can be trained on. Numbers count in the
    order of training."""

    groups: slice
    minibatches: range


def needs_whole_step(grpo: GrpoConfig) -> bool:
    """Whether an update cannot be made before the last score of the step is there: a std or a denominator runs over all
    groups."""
    return (
        grpo.scale_rewards == "batch"
        or grpo.multi_objective_aggregation == "normalize_then_sum"
        or grpo.loss_type == "dapo"
    )


def asking_order(waits: Sequence[bool]) -> list[int]:
    """Places of the groups in the order of their requests: those that have to be waited for first."""
    return sorted(range(len(waits)), key=lambda place: not waits[place])


def training_order(waits: Sequence[bool], grpo: GrpoConfig) -> list[int]:
    """Places of the groups in the order of training: those that have to be waited for last."""
    return (
        list(range(len(waits))) if needs_whole_step(grpo) else sorted(range(len(waits)), key=lambda place: waits[place])
    )


def parts(num_groups: int, grpo: GrpoConfig) -> list[Part]:
    """The step in pieces: each mini-batch with the groups it needs beyond those before it, or everything at once.

    A mini-batch is an equal share of the completions, so it may begin or end inside a group.
    """
    if needs_whole_step(grpo):
        return [Part(slice(0, num_groups), range(grpo.num_minibatches))]
    rows = num_groups * grpo.num_generations // grpo.num_minibatches
    ends = [-(-(minibatch + 1) * rows // grpo.num_generations) for minibatch in range(grpo.num_minibatches)]
    found: list[Part] = []
    for place, (start, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
        if start == end:  # it lies within a group that came with the mini-batch before it
            found[-1] = found[-1]._replace(minibatches=range(found[-1].minibatches.start, place + 1))
        else:
            found.append(Part(slice(start, end), range(place, place + 1)))
    return found
