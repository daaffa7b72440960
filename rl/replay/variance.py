"""The variance of a judge: it judges the same answers several times, never from a cache."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from rewards.rubric import Scored
from rollouts.measures import mean_or_none, std
from rollouts.store.codec import Row


def repetition_rows(rows: Sequence[Row], scored: Sequence[Scored], repetition: int) -> list[Row]:
    """One row a completion and reward of one repetition; `rows` and `scored` are in the same order."""
    return [
        {
            "step": row["step"], "prompt_id": row["prompt_id"], "sample_index": row["sample_index"],
            "repetition": repetition,
            "reward": name, "status": outcome.status, "value": outcome.value,
        }
        for row, one in zip(rows, scored, strict=True)
        for name, outcome in one.outcomes.items()
    ]  # fmt: skip


def variance(rows: Iterable[Row]) -> dict[str, dict[str, Any]]:
    """How much the values of one completion differ between repetitions, by reward.

    num_completions: with a value in at least two repetitions, what the means are over. share_unanimous: of these, all
    their values equal.
    pair_agreement: chance that two repetitions of one completion are equal. mean_std: mean over completions of the std
    (ddof 1) of their values.
    num_unsettled: with a value in some repetitions and none (abstain, error, timeout) in others.
    """
    values: dict[str, dict[tuple[Any, ...], list[float | None]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        values[row["reward"]][row["step"], row["prompt_id"], row["sample_index"]].append(row["value"])
    return {name: _of_reward(list(completions.values())) for name, completions in values.items()}


def _of_reward(completions: Sequence[Sequence[float | None]]) -> dict[str, Any]:
    given = [[value for value in values if value is not None] for values in completions]
    several = [values for values in given if len(values) > 1]
    return {
        "num_completions": len(several),
        "share_unanimous": mean_or_none([float(len(set(values)) == 1) for values in several]),
        "pair_agreement": mean_or_none(
            [mean_or_none([float(a == b) for a, b in itertools.combinations(values, 2)]) or 0.0 for values in several]
        ),
        "mean_std": mean_or_none([std(values) for values in several]),
        "num_unsettled": sum(0 < len(some) < len(all_) for some, all_ in zip(given, completions, strict=True)),
    }
