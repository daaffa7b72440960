"""Scores groups several times, without the sorting and sharing of the scorer, so that faults of a reward show."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Sequence
from typing import NamedTuple

from rewards.calling import BoundReward
from rewards.check.inputs import Group
from rewards.plugins.pool import Pool
from rewards.rubric import Rubric
from rollouts.records import Outcome

# Values that differ by less are the same.
SAME = 1e-9


class Measurement(NamedTuple):
    """The outcomes of one reward on groups, member by member, from several passes over the same completions."""

    bound: BoundReward
    # The groups that were reached before the time was up, and how many there were.
    groups: list[Group]
    num_groups: int
    first: list[list[Outcome]]
    # Wall seconds of each completion in the first pass.
    seconds: list[list[float]]
    # The first groups once more, in the same order, and with groups and members in reverse (put back in place); as many
    # as the time allowed.
    again: list[list[Outcome]]
    reversed: list[list[Outcome]]
    # Each of these groups' completions scored as answers to another group's question; None = there is no other group
    # with as many.
    swapped: list[list[Outcome] | None]


async def measure(rubric: Rubric, groups: Sequence[Group], budget_seconds: float) -> Measurement:
    """Four passes over the groups, one call at a time. The reward's child processes are ended, the judge is not closed.

    `budget_seconds`: the first pass ends with the group in which they are spent; the other three take as many groups as
    fit in as much again.
    """
    bound = rubric.rewards_for(groups[0].sample)[next(iter(rubric.weights))]
    pool = Pool(bound, dataclasses.replace(rubric.limits, workers=1)) if bound.reward.source is not None else None
    caller = _Caller(bound, pool)
    try:
        await caller.outcomes(groups[0])  # imports, caches and child processes warm up here
        first: list[list[Outcome]] = []
        seconds: list[list[float]] = []
        for group in groups:
            outcomes, taken = await caller.outcomes(group)
            first.append(outcomes)
            seconds.append(taken)
            if sum(map(sum, seconds)) > budget_seconds:
                break
        spent = itertools.accumulate(3 * sum(taken) for taken in seconds)
        few = groups[: max(1, sum(total <= budget_seconds for total in spent))]
        again = [(await caller.outcomes(group))[0] for group in few]
        backwards = [
            (await caller.outcomes(group._replace(members=group.members[::-1])))[0][::-1] for group in few[::-1]
        ]
        swapped = [(await caller.outcomes(group))[0] if group is not None else None for group in _swap(few)]
    finally:
        if pool is not None:
            await pool.close()
    return Measurement(bound, list(groups[: len(first)]), len(groups), first, seconds, again, backwards[::-1], swapped)


def _swap(groups: Sequence[Group]) -> list[Group | None]:
    """Each group with as many completions of the next group of its origin and answer type."""
    swaps: list[Group | None] = []
    for group in groups:
        alike = [
            other
            for other in groups
            if (other.origin, other.sample.answer_type) == (group.origin, group.sample.answer_type)
        ]
        others = [other for other in alike if other is not group and len(other.members) >= len(group.members)]
        swaps.append(group._replace(members=others[0].members[: len(group.members)]) if others else None)
    return swaps


class _Caller:
    def __init__(self, bound: BoundReward, pool: Pool | None) -> None:
        self._bound, self._pool = bound, pool

    async def outcomes(self, group: Group) -> tuple[list[Outcome], list[float]]:
        """One outcome and its seconds for each member, in the order given."""
        if self._bound.reward.is_group:
            outcomes, seconds = await self._call(group, slice(None))
            return outcomes, [seconds / len(outcomes)] * len(outcomes)
        calls = [await self._call(group, slice(index, index + 1)) for index in range(len(group.members))]
        return [outcomes[0] for outcomes, _ in calls], [seconds for _, seconds in calls]

    async def _call(self, group: Group, part: slice) -> tuple[list[Outcome], float]:
        began = time.perf_counter()
        members = group.members[part]
        if self._pool is not None:
            outcomes = await self._pool.later(group.sample, members, group.sample.id)
        elif self._bound.reward.is_async:
            outcomes = await self._bound.later(group.sample, members, group.sample.id)
        else:
            outcomes = self._bound.now(group.sample, members, group.sample.id)
        return outcomes, time.perf_counter() - began


def same(one: Outcome, other: Outcome) -> bool:
    """Whether two outcomes pay the same or fail the same."""
    if one.value is None or other.value is None:
        return one.status == other.status
    return abs(one.value - other.value) <= SAME
