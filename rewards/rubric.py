"""What a completion is paid: a weighted sum of rewards, accuracy routed by the answer type of the sample."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from judges import Judge
from rewards import (
    box_iou,
    format,
    giou,
    judge,
    keypoints,
    length,
    majority_vote,
    numeric,
    option_match,
    perception,
    radcliq,
    report,
    rouge_l,
    rubric_judge,
    yes_no,
)
from rewards.calling import BoundReward, bind
from rewards.parsing import parse
from rewards.registry import RewardError
from rollouts.records import AnswerType, Outcome, Parsed, Sample

# The shipped rewards; importing their files registers them.
SHIPPED = (
    box_iou,
    format,
    giou,
    judge,
    keypoints,
    length,
    majority_vote,
    numeric,
    option_match,
    perception,
    radcliq,
    report,
    rouge_l,
    rubric_judge,
    yes_no,
)
# The name under which the routed reward stands in weights and outcomes.
ACCURACY = "accuracy"


@dataclass(frozen=True)
class Scored:
    """What scoring one completion gave."""

    parsed: Parsed
    # Reward name ("accuracy", "format", ..) -> outcome, and -> its weight in the total.
    outcomes: Mapping[str, Outcome]
    weights: Mapping[str, float]
    # Weighted sum; None = a required reward is not ok, then `valid` is False.
    total: float | None
    valid: bool


class Rubric:
    """Weights, routes and bound rewards, checked once when built.

    weights: reward name -> weight; "accuracy" stands for the reward that `routes` names for the sample's answer_type. A reward of weight 0
    is measured and not required. arguments: reward name -> its arguments. Raises RewardError for an unknown reward, answer type or
    argument, for weights that sum to zero, and for a reward that needs a judge where there is none.
    """

    def __init__(
        self,
        weights: Mapping[str, float],
        routes: Mapping[str, str] | None = None,
        judge: Judge | None = None,
        arguments: Mapping[str, Mapping[str, Any]] | None = None,
        prefill: str = "",
    ) -> None:
        self.weights = dict(weights)
        self.judge = judge
        # What the chat template prefills of the answer; put back before reading.
        self.prefill = prefill
        arguments = dict(arguments or {})
        _check_weights(self.weights)
        routes = dict(routes or {}) if ACCURACY in self.weights else {}
        _check_routes(routes, self.weights)
        named = [name for name in self.weights if name != ACCURACY] + list(routes.values())
        if unused := sorted(set(arguments) - set(named)):
            raise RewardError(f"arguments are given for {unused[0]!r}, which no weight and no route names")
        bound = {name: bind(name, arguments.get(name), judge) for name in named}
        self._fixed = {name: bound[name] for name in self.weights if name != ACCURACY}
        self._routed = {answer_type: bound[name] for answer_type, name in routes.items()}

    @property
    def has_group_rewards(self) -> bool:
        """Whether any reward compares the completions of a group, so that a group can only be scored whole."""
        return any(bound.reward.is_group for bound in (*self._fixed.values(), *self._routed.values()))

    def rewards_for(self, sample: Sample) -> dict[str, BoundReward]:
        """Outcome name -> reward for a sample. Raises RewardError for an answer type without a route."""
        if ACCURACY not in self.weights:
            return self._fixed
        if sample.answer_type not in self._routed:
            raise RewardError(
                f"sample {sample.id!r} has answer_type {sample.answer_type!r}, routes know {sorted(self._routed)}. "
                f"Add reward.routes.{sample.answer_type}=NAME or leave such samples out."
            )
        return {ACCURACY: self._routed[sample.answer_type], **self._fixed}

    def check_sample_types(self, answer_types: set[str]) -> None:
        """Raise RewardError for answer types of a data set that no route knows; called before the first rollout."""
        if ACCURACY in self.weights and (missing := sorted(answer_types - set(self._routed))):
            raise RewardError(
                f"no route for answer_type {missing[0]!r}; routes know {sorted(self._routed)}. Add reward.routes.{missing[0]}=NAME."
            )

    def parse(self, sample: Sample, completion: str, finish_reason: str = "stop") -> Parsed:
        """Read a completion as an answer to this sample: options count only where they were shown, which they were not on an open item."""
        shown = sample.options if sample.answer_type in ("mcq", "multi", "yes_no") else None
        return parse(completion, shown, prefill=self.prefill, finish_reason=finish_reason)

    def total(self, parsed: Parsed, outcomes: Mapping[str, Outcome]) -> Scored:
        """Add up: sum of weight x value over the rewards with a weight; None where one of these is not ok."""
        required = [name for name, weight in self.weights.items() if weight]
        values = [outcomes[name].value for name in required]
        if any(outcomes[name].status != "ok" or value is None for name, value in zip(required, values, strict=True)):
            return Scored(parsed, dict(outcomes), dict(self.weights), None, False)
        total = sum(self.weights[name] * value for name, value in zip(required, values, strict=True) if value is not None)
        return Scored(parsed, dict(outcomes), dict(self.weights), float(total), True)


def _check_weights(weights: Mapping[str, float]) -> None:
    for name, weight in weights.items():
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or abs(weight) == float("inf") or weight != weight:
            raise RewardError(f"the weight of {name!r} is {weight!r}, expected a finite number")
    if abs(sum(weights.values())) < 1e-12:
        raise RewardError(
            f"the weights {dict(weights)} sum to zero: every completion would be paid the same. Give at least one a weight."
        )


def _check_routes(routes: Mapping[str, str], weights: Mapping[str, float]) -> None:
    if ACCURACY in weights and not routes:
        raise RewardError("weights name 'accuracy' and routes are empty; give routes such as {'mcq': 'option_match'}")
    for answer_type in routes:
        if answer_type not in get_args(AnswerType):
            near = difflib.get_close_matches(answer_type, get_args(AnswerType), 1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise RewardError(
                f"routes name the answer type {answer_type!r}, which does not exist.{hint} There are {', '.join(get_args(AnswerType))}."
            )
