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
from itertools import groupby, pairwise
from typing import NamedTuple


class Piece(NamedTuple):
    """Rows that are trained on in one go, a mini-batch or some of it: places in the order of training."""

    rows: slice
    minibatch: int
    # Whether the mini-batch ends with it, and the optimiser's step comes.
    ends: bool


class Part(NamedTuple):
    """A part of a step: once these groups are scored as well, these pieces can be trained on. The groups are places in
    the order of training."""

    groups: slice
    pieces: tuple[Piece, ...]


def asking_order(waits: Sequence[bool]) -> list[int]:
    """Places of the groups in the order of their requests: those that have to be waited for first."""
    return sorted(range(len(waits)), key=lambda place: not waits[place])


def training_order(waits: Sequence[bool], whole_step: bool) -> list[int]:
    """Places of the groups in the order of training: those that have to be waited for last. `whole_step`: no update can
    be made before all are there, so the order of the prompts stays."""
    places = range(len(waits))
    return list(places) if whole_step else sorted(places, key=lambda place: waits[place])


def cuts_between(tokens: Sequence[int], budget: int) -> list[int]:
    """Before which groups a mini-batch may be cut into pieces: each piece holds as many groups as surely fit into one
    forward pass, at least one. Smaller pieces would make more passes, and each costs time of its own; a cut at the
    passes' own borders lets the first begin while the others are drawn, for nothing.

    Args:
        tokens: of each group at most, in the order of training.
        budget: tokens of a forward pass (grpo.micro_batch_tokens).
    """
    cuts, filled = list[int](), 0
    for place, size in enumerate(tokens):
        if filled and filled + size > budget:
            cuts.append(place)
            filled = 0
        filled += size
    return cuts


def parts(
    num_groups: int, num_generations: int, num_minibatches: int, whole_step: bool, cuts: Sequence[int] = ()
) -> list[Part]:
    """The step in the order in which it is trained on, each part with the groups it needs beyond those before it; all
    at once where the whole step is needed.

    A mini-batch is an equal share of the num_groups x num_generations completions, so it may begin or end inside a
    group. `cuts`: groups before which it is cut into pieces.
    """
    size = num_groups * num_generations // num_minibatches
    ends = [size * (minibatch + 1) for minibatch in range(num_minibatches)]
    borders = sorted({0, *ends, *(cut * num_generations for cut in cuts)})
    pieces = [Piece(slice(start, end), start // size, end in ends) for start, end in pairwise(borders)]

    def needed(piece: Piece) -> int:
        return num_groups if whole_step else -(-piece.rows.stop // num_generations)

    step, before = list[Part](), 0
    for end, together in groupby(pieces, key=needed):
        step.append(Part(slice(before, end), tuple(together)))
        before = end
    return step
