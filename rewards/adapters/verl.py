"""A reward of this project as verl's `compute_score`; nothing of verl is imported.

# my_score.py; verl: reward.custom_reward_function.path=my_score.py reward.custom_reward_function.name=compute_score
from rewards.adapters.verl import as_compute_score
compute_score = as_compute_score("option_match")
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from judges import Judge
from rewards.adapters.one_reward import Group, OneReward
from rewards.contract import RewardError


class RewardFailed(RuntimeError):
    """A reward has no value for a completion. verl holds numbers only, so this stops it: a failure must not become
    one."""


def as_compute_score(
    spec: str,
    *,
    judge: Judge | None = None,
    prefill: str = "",
    label_free: bool = False,
    attempts: int = 3,
    timeout_seconds: float = 900.0,
    **arguments: Any,
) -> Callable[..., float]:
    """`compute_score(data_source, solution_str, ground_truth, extra_info=None, **_) -> float` for verl's reward
    managers.

    `extra_info` holds the other fields of the sample (`question`, `options`, `answer_type`, `boxes`, ..) as in
    `data=jsonl`. verl's reward tensor has no place for "no value", and 0.0 would be a wrong answer of the model: where
    a reward abstains, fails or times out it is asked again, `attempts` times in all, and then RewardFailed is raised,
    which ends verl's step. Raises RewardError for a reward that compares a group: verl scores one by one.
    """
    if attempts < 1:
        raise RewardError(f"attempts is {attempts}, expected at least 1")
    one = OneReward(spec, arguments, judge, prefill=prefill, label_free=label_free, timeout_seconds=timeout_seconds)
    if one.is_group:
        one.close()
        raise RewardError(
            f"reward {one.name!r} compares the completions of a group, and verl's compute_score sees one at a time"
        )

    def compute_score(
        data_source: str, solution_str: str, ground_truth: Any, extra_info: Mapping[str, Any] | None = None, **_: Any
    ) -> float:
        sample = one.sample({**(extra_info or {}), "answer": ground_truth}, source=str(data_source))
        for _attempt in range(attempts):
            [outcome] = one.score([Group(sample, [solution_str])])
            if outcome.value is not None:
                return outcome.value
        raise RewardFailed(
            f"reward {one.name!r} on {sample.id!r}: {outcome.status} after {attempts} attempts: {outcome.reason}"
        )

    return compute_score
