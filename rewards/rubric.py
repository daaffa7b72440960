"""What a completion is paid: a weighted sum of rewards behind gates, accuracy routed by the answer type of the
sample."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, get_args

from judges import Judge
from rewards.answers.read import parse
from rewards.binding import bind
from rewards.calling import BoundReward
from rewards.contract import Limits, RewardError
from rewards.relabelled import with_letters
from rewards.shipped import boxes, choice, coin, form, numeric, reports, verdicts, votes
from rollouts.nearest import did_you_mean
from rollouts.records import ACCURACY, AnswerType, Outcome, Parsed, Sample

# The files of the shipped rewards; importing them registers the rewards.
SHIPPED = (boxes, choice, coin, form, numeric, reports, verdicts, votes)


class RewardSettings(Protocol):
    """The settings of a rubric, by attribute; any record with these names will do."""

    @property
    def weights(self) -> Mapping[str, float]: ...
    @property
    def routes(self) -> Mapping[str, str]: ...
    @property
    def arguments(self) -> Mapping[str, Mapping[str, Any]]: ...
    @property
    def gates(self) -> Mapping[str, float]: ...
    @property
    def plugin_timeout_seconds(self) -> float: ...
    @property
    def plugin_memory_gib(self) -> float: ...
    @property
    def plugin_workers(self) -> int: ...


@dataclass(frozen=True)
class Scored:
    """What scoring one completion gave."""

    parsed: Parsed
    # Reward name ("accuracy", "format", ..) -> outcome, and -> its weight in the total.
    outcomes: Mapping[str, Outcome]
    weights: Mapping[str, float]
    # Weighted sum, 0 behind a closed gate; None = a required reward is not ok, then `valid` is False.
    total: float | None
    valid: bool
    # Whether a gate is closed, so that the completion is paid nothing whatever its rewards say.
    gated: bool = False


class Rubric:
    """Weights, routes, gates and bound rewards, checked once when built. A reward is named as `rewards.registry.find`
    reads it.

    weights: reward -> weight; "accuracy" stands for the reward that `routes` names for the sample's answer_type. A
    reward of weight 0
    is measured and not required. arguments: reward -> its arguments. gates: reward -> the least value below which the
    total is 0; a gate is required, and measured where it has no weight. limits: of rewards in child processes.
    Raises RewardError for an unknown reward, answer type or argument, for a reward that does not import, for two
    rewards of one name, for weights that sum to zero, and for a reward that needs a judge where there is none.
    """

    def __init__(
        self,
        weights: Mapping[str, float],
        routes: Mapping[str, str] | None = None,
        judge: Judge | None = None,
        arguments: Mapping[str, Mapping[str, Any]] | None = None,
        *,
        gates: Mapping[str, float] | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.judge = judge
        self.limits = limits or Limits()
        arguments, gates = dict(arguments or {}), dict(gates or {})
        _check_weights(weights, gates)
        measured = [*weights, *(name for name in gates if name not in weights)]
        routes = dict(routes or {}) if ACCURACY in measured else {}
        _check_routes(routes, measured)
        specs = dict.fromkeys([name for name in measured if name != ACCURACY] + list(routes.values()))
        _check_arguments(arguments, specs)
        bound = {spec: bind(spec, arguments.get(spec), judge, self.limits) for spec in specs}
        _check_names(bound)
        named = {spec: reward.reward.name for spec, reward in bound.items()} | {ACCURACY: ACCURACY}
        # By the reward's own name, under which its outcome stands.
        self.weights = {named[spec]: float(weights.get(spec, 0.0)) for spec in measured}
        self.gates = {named[spec]: float(least) for spec, least in gates.items()}
        self._fixed = {named[spec]: bound[spec] for spec in measured if spec != ACCURACY}
        self._routed = {answer_type: bound[spec] for answer_type, spec in routes.items()}

    @property
    def has_group_rewards(self) -> bool:
        """Whether any reward compares the completions of a group, so that a group can only be scored whole."""
        return any(bound.reward.is_group for bound in (*self._fixed.values(), *self._routed.values()))

    def plugins(self) -> dict[str, str]:
        """The rewards that run in child processes: name -> file and line."""
        everything = [*self._fixed.values(), *self._routed.values()]
        return {bound.reward.name: bound.reward.home for bound in everything if bound.reward.source is not None}

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
                f"no route for answer_type {missing[0]!r}; routes know {sorted(self._routed)}. Add"
                f" reward.routes.{missing[0]}=NAME."
            )

    def parse(self, sample: Sample, completion: str, finish_reason: str = "stop", prefill: str = "") -> Parsed:
        """Read a completion as an answer to this sample: options count only where they were shown, which they were not
        on an open item. `prefill`: what the chat template has written of the answer (rollouts/prompt/prefill.py)."""
        shown = sample.options if sample.answer_type in ("mcq", "multi", "yes_no") else None
        if sample.labels != sample.letters:
            completion = with_letters(completion, sample.labels)
        return parse(completion, shown, prefill=prefill, finish_reason=finish_reason)

    def total(self, parsed: Parsed, outcomes: Mapping[str, Outcome]) -> Scored:
        """Add up: sum of weight x value over the rewards with a weight, 0 behind a closed gate; None where a reward
        with a weight or a gate is not ok."""
        values = {name: outcomes[name].value for name, weight in self.weights.items() if weight or name in self.gates}
        paid = {name: value for name, value in values.items() if value is not None and outcomes[name].status == "ok"}
        if len(paid) < len(values):
            return Scored(parsed, dict(outcomes), dict(self.weights), None, False)
        gated = any(paid[name] < least for name, least in self.gates.items())
        total = 0.0 if gated else float(sum(self.weights[name] * value for name, value in paid.items()))
        return Scored(parsed, dict(outcomes), dict(self.weights), total, True, gated)


def make_rubric(settings: RewardSettings, judge: Judge | None = None) -> Rubric:
    """The rubric of a configuration. Raises RewardError as `Rubric` does."""
    limits = Limits(settings.plugin_timeout_seconds, settings.plugin_memory_gib, settings.plugin_workers)
    return Rubric(settings.weights, settings.routes, judge, settings.arguments, gates=settings.gates, limits=limits)


def _check_weights(weights: Mapping[str, float], gates: Mapping[str, float]) -> None:
    for what, numbers in (("weight", weights), ("gate", gates)):
        for name, value in numbers.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
                raise RewardError(f"the {what} of {name!r} is {value!r}, expected a finite number")
    if abs(sum(weights.values())) < 1e-12:
        raise RewardError(
            f"the weights {dict(weights)} sum to zero: every completion would be paid the same. Give at least one a"
            " weight."
        )


def _check_routes(routes: Mapping[str, str], measured: Sequence[str]) -> None:
    if ACCURACY in measured and not routes:
        raise RewardError("weights name 'accuracy' and routes are empty; give routes such as {'mcq': 'option_match'}")
    for answer_type in routes:
        if answer_type not in get_args(AnswerType):
            hint = did_you_mean(answer_type, get_args(AnswerType), ".")
            raise RewardError(
                f"routes name the answer type {answer_type!r}, which does not exist{hint} There are"
                f" {', '.join(get_args(AnswerType))}."
            )


def _check_arguments(arguments: Mapping[str, Mapping[str, Any]], specs: Mapping[str, None]) -> None:
    for name in arguments:
        if name not in specs:
            hint = did_you_mean(name, specs)
            raise RewardError(f"arguments are given for {name!r}, which no weight, no gate and no route names{hint}")


def _check_names(bound: Mapping[str, BoundReward]) -> None:
    """Two rewards of one name would stand in each other's place in outcomes and metrics."""
    homes: dict[str, str] = {ACCURACY: "the routed reward"}
    for reward in (one.reward for one in bound.values()):
        if homes.setdefault(reward.name, reward.home) != reward.home:
            raise RewardError(
                f"two rewards are named {reward.name!r}: {homes[reward.name]} and {reward.home}. Rename one."
            )
