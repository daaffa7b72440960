"""One step's rollouts and updates as numbers with the names people know: TRL's, verl's `timing_s/*` and
`rollout_corr/*`, tinker's `by_group/*`.

A failed judgement is never a number: rows that are not valid are out of every reward mean and out of their group, and
are counted. A mean over nothing is NaN, which metrics.jsonl writes as null.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import get_args

import numpy as np

from rl.run.watch import policy_metrics
from rollouts.measures import k3, mean, std
from rollouts.records import ACCURACY, Outcome, Rollout, Status

# tinker's threshold: a group whose members were all paid the same is good from half the reward on.
GOOD_REWARD = 0.5
# What the metrics of a step say of the judge; every other judge/* is a counter that a run only adds to.
JUDGE_STEP_METRICS = frozenset(
    f"judge/{name}"
    for name in ("verdicts", "failed_ratio", "mean_seconds", "cost", "against_rule_ratio", "accepted_with_rule_opinion")
)
# Names of the gap between engine and policy (verl's).
GAP = "rollout_corr/"
_ADDED_UP = ("update/skipped", "update/num_rows")


def step_metrics(
    rollouts: Sequence[Rollout],
    updates: Sequence[Mapping[str, float]] = (),
    timings: Mapping[str, float] | None = None,
    *,
    min_valid: int = 2,
    num_refused: int = 0,
) -> dict[str, float]:
    """All numbers of one step.

    Args:
        rollouts: every completion of the step, valid or not, in any order.
        updates: what each optimiser update returned, in order (loss, kl, entropy, clip_ratio/*, grad_norm,
            learning_rate, ...).
        timings: wall seconds by name (sync, gen, reward, old_log_prob, ref, update_actor, step), reported as
            `timing_s/{name}`.
        min_valid: groups with fewer valid members are not trained on; they are out of the group shares and counted in
            `by_group/dropped`.
        num_refused: rows that the processor or the engine did not take, which have no rollouts.
    """
    return {
        **reward_metrics(rollouts),
        **group_metrics(rollouts, min_valid),
        **completion_metrics(rollouts),
        **accuracy_metrics(rollouts),
        **outcome_metrics(rollouts),
        **policy_metrics(rollouts),
        **engine_gap(rollouts),
        **update_metrics(updates),
        "rows/refused": float(num_refused),
        **{f"timing_s/{name}": float(seconds) for name, seconds in (timings or {}).items()},
    }


def reward_metrics(rollouts: Sequence[Rollout]) -> dict[str, float]:
    """TRL's `reward`, `reward_std` and `rewards/{name}/mean|std`: over valid completions, std over the whole step with
    ddof 1."""
    totals = [rollout.total for rollout in rollouts if rollout.valid and rollout.total is not None]
    metrics = {"reward": mean(totals), "reward_std": std(totals)}
    for name, outcomes in _by_reward(rollouts).items():
        values = [outcome.value for outcome in outcomes if outcome.value is not None]
        metrics |= {f"rewards/{name}/mean": mean(values), f"rewards/{name}/std": std(values)}
    return metrics


def group_metrics(rollouts: Sequence[Rollout], min_valid: int = 2) -> dict[str, float]:
    """Shares of groups whose valid members were paid differently, all well, or all badly. Equal means exactly equal: a
    std computed in floating point can be 1e-17 where every reward is the same (NeMo-RL #4158)."""
    groups: dict[tuple[str, int, str], list[float]] = defaultdict(list)
    for rollout in rollouts:
        members = groups[rollout.key[:3]]
        if rollout.valid and rollout.total is not None:
            members.append(rollout.total)
    large_enough = [totals for totals in groups.values() if len(totals) >= min_valid]
    equal = [totals[0] for totals in large_enough if all(total == totals[0] for total in totals)]
    good = sum(total >= GOOD_REWARD for total in equal)
    return {
        "frac_reward_zero_std": _share(len(equal), len(large_enough)),
        "by_group/frac_mixed": _share(len(large_enough) - len(equal), len(large_enough)),
        "by_group/frac_all_good": _share(good, len(large_enough)),
        "by_group/frac_all_bad": _share(len(equal) - good, len(large_enough)),
        "by_group/dropped": float(len(groups) - len(large_enough)),
    }


def completion_metrics(rollouts: Sequence[Rollout]) -> dict[str, float]:
    """TRL's `completions/*` over all completions, lengths in tokens; `terminated` leaves out those that were cut."""
    lengths = [len(rollout.completion.token_ids) for rollout in rollouts]
    ended = [len(rollout.completion.token_ids) for rollout in rollouts if rollout.completion.finish_reason == "stop"]
    invalid = sum(not rollout.valid for rollout in rollouts)
    return {
        "num_completions": float(len(rollouts)),
        "num_completion_tokens": float(sum(lengths)),
        "completions/mean_length": mean(lengths),
        "completions/min_length": float(min(lengths, default=math.nan)),
        "completions/max_length": float(max(lengths, default=math.nan)),
        "completions/mean_terminated_length": mean(ended),
        "completions/clipped_ratio": _share(
            sum(rollout.completion.finish_reason == "length" for rollout in rollouts), len(rollouts)
        ),
        "completions/format_rate": _share(sum(rollout.parsed.well_formed for rollout in rollouts), len(rollouts)),
        # Answers that can be read in two ways; they are paid nothing.
        "parse/unclear_ratio": _share(sum(rollout.parsed.verdict == "unclear" for rollout in rollouts), len(rollouts)),
        "completions/invalid": float(invalid),
        "completions/invalid_ratio": _share(invalid, len(rollouts)),
    }


def accuracy_metrics(rollouts: Sequence[Rollout], reward: str = ACCURACY) -> dict[str, float]:
    """Share of the completions with a verdict that are right (an accuracy reward of 1, as in evaluation): in all, by
    answer type and by modality."""
    right: dict[str, list[bool]] = defaultdict(list)
    for rollout in rollouts:
        outcome = rollout.outcomes.get(reward)
        if outcome is None or outcome.value is None:
            continue
        names = ["accuracy", f"accuracy/{rollout.sample.answer_type}"]
        if rollout.sample.modality:
            names.append(f"vision/accuracy/{rollout.sample.modality}")
        for name in names:
            right[name].append(outcome.value == 1.0)
    images = [sum(medium.num_frames for medium in rollout.sample.media) for rollout in rollouts]
    return {name: mean(values) for name, values in sorted(right.items())} | {"vision/images_per_prompt": mean(images)}


def outcome_metrics(rollouts: Sequence[Rollout]) -> dict[str, float]:
    """`reward_status/{name}/{status}` as shares of all completions, and `judge/*` over the outcomes whose evidence
    names a judge."""
    metrics: dict[str, float] = {}
    for name, outcomes in _by_reward(rollouts).items():
        for status in get_args(Status):
            metrics[f"reward_status/{name}/{status}"] = _share(sum(o.status == status for o in outcomes), len(outcomes))
    # Identical answers of a group share one verdict, which was asked and paid for once.
    verdicts = {
        id(outcome): outcome
        for rollout in rollouts
        for outcome in rollout.outcomes.values()
        if "judge" in (outcome.evidence or {})
    }.values()
    metrics["judge/verdicts"] = float(len(verdicts))
    if verdicts:
        metrics["judge/failed_ratio"] = _share(sum(outcome.status != "ok" for outcome in verdicts), len(verdicts))
        metrics["judge/mean_seconds"] = mean([outcome.seconds for outcome in verdicts])
        metrics["judge/cost"] = math.fsum(outcome.cost for outcome in verdicts)
    return metrics


def engine_gap(rollouts: Sequence[Rollout]) -> dict[str, float]:
    """How far the engine's log-probs are from the policy's on the same tokens (verl's `rollout_corr/*`; rollout =
    engine, per-token means).

    kl = mean(engine - policy), k3_kl = mean(exp(policy - engine) - (policy - engine) - 1), log_ppl_abs_diff = mean over
    completions of the
    |difference of their mean log-probs|; `logprob_abs_diff_mean` and `_max` are ours and should stay below 1e-4 in
    fp32. Empty where the policy's were not computed (grpo.old_logprobs=engine): then the forward pass of the step's
    first update tells all but the maximum.
    """
    pairs = [(rollout.completion.logprobs, rollout.old_logprobs) for rollout in rollouts if rollout.old_logprobs]
    if not pairs:
        return {}
    gaps = [np.asarray(policy, dtype=np.float64) - np.asarray(engine, dtype=np.float64) for engine, policy in pairs]
    gap_N = np.concatenate(gaps)
    return {
        "rollout_corr/kl": float(-gap_N.mean()),
        "rollout_corr/k3_kl": float(k3(0.0, gap_N).mean()),
        "rollout_corr/log_ppl_abs_diff": mean([abs(float(gap.mean())) for gap in gaps]),
        "rollout_corr/logprob_abs_diff_mean": float(np.abs(gap_N).mean()),
        "rollout_corr/logprob_abs_diff_max": float(np.abs(gap_N).max()),
    }


def update_metrics(updates: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The updates of one step as one: means over the updates that were finite, counts added up, the last learning rate.

    `clip_ratio/low_min` and `clip_ratio/high_max` are TRL's extremes, here over the updates of the step.
    """
    values: dict[str, list[float]] = defaultdict(list)
    for update in updates:
        for name, value in update.items():
            values[name].append(float(value))
    metrics = {name: mean([value for value in seen if math.isfinite(value)]) for name, seen in values.items()}
    metrics |= {name: math.fsum(values[name]) for name in _ADDED_UP if name in values}
    for name, source, extreme in (
        ("clip_ratio/low_min", "clip_ratio/low_mean", min),
        ("clip_ratio/high_max", "clip_ratio/high_mean", max),
        ("grad_norm_max", "grad_norm", max),
    ):
        if source in values:
            metrics[name] = extreme(values[source])
    # Only the first update sees the weights that drew.
    metrics = {name: value for name, value in metrics.items() if not name.startswith(GAP)}
    metrics |= {name: value for name, value in (updates[0] if updates else {}).items() if name.startswith(GAP)}
    if "learning_rate" in values:
        metrics["learning_rate"] = values["learning_rate"][-1]
    return metrics


def _by_reward(rollouts: Iterable[Rollout]) -> dict[str, list[Outcome]]:
    outcomes: dict[str, list[Outcome]] = defaultdict(list)
    for rollout in rollouts:
        for name, outcome in rollout.outcomes.items():
            outcomes[name].append(outcome)
    return outcomes


def _share(count: int, total: int) -> float:
    return count / total if total else math.nan
