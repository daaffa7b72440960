"""Every number of a step, redone by hand in the comments."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from verl.trainer.ppo.rollout_corr_helper import compute_offpolicy_metrics

from rl.run.metrics import completion_metrics, engine_gap, group_metrics, reward_metrics, step_metrics, update_metrics
from rollouts.records import Outcome, Rollout
from tests.fakes import fake_rollouts


def row(prompt: int, index: int, total: float | None, **changes: object) -> Rollout:
    one = fake_rollouts.rollout(fake_rollouts.sample(prompt, "mcq"), index=index)
    return dataclasses.replace(one, total=total, valid=total is not None, **changes)


def test_reward_and_its_std_leave_out_what_is_not_valid():
    # (1 + 0 + 0.5) / 3 = 0.5; deviations 0.5, -0.5, 0: sqrt((0.25 + 0.25) / 2) = 0.5
    metrics = reward_metrics([row(0, 0, 1.0), row(0, 1, 0.0), row(0, 2, 0.5), row(0, 3, None)])
    assert metrics["reward"] == 0.5
    assert metrics["reward_std"] == 0.5


def test_each_reward_has_its_own_mean_over_the_outcomes_that_are_ok():
    outcomes = ({"accuracy": Outcome(1.0)}, {"accuracy": Outcome(0.0)}, {"accuracy": Outcome(None, status="timeout")})
    metrics = reward_metrics([row(0, k, 1.0, outcomes=o) for k, o in enumerate(outcomes)])
    assert metrics["rewards/accuracy/mean"] == 0.5
    # deviations 0.5 and -0.5: sqrt(0.5 / 1)
    assert metrics["rewards/accuracy/std"] == pytest.approx(math.sqrt(0.5))


def test_groups_are_mixed_all_good_or_all_bad_by_exact_equality():
    # 0.1 + 0.2 is not 0.3 in floating point: the first group is mixed, by 5e-17, and that is what the advantage divides
    # by.
    rows = [row(0, 0, 0.1 + 0.2), row(0, 1, 0.3)]
    rows += [row(1, k, 1.0) for k in range(2)]
    rows += [row(2, 0, 0.1), row(2, 1, 0.1), row(2, 2, None)]
    # One valid member only: dropped, not "all good".
    rows += [row(3, 0, 1.0), row(3, 1, None)]
    metrics = group_metrics(rows)
    assert metrics["by_group/frac_mixed"] == pytest.approx(1 / 3)
    assert metrics["by_group/frac_all_good"] == pytest.approx(1 / 3)
    assert metrics["by_group/frac_all_bad"] == pytest.approx(1 / 3)
    assert metrics["frac_reward_zero_std"] == pytest.approx(2 / 3)
    assert metrics["by_group/dropped"] == 1


def test_the_same_prompt_in_two_steps_is_two_groups():
    assert (
        group_metrics([row(0, 0, 1.0), row(0, 1, 1.0), row(0, 0, 0.0, step=2), row(0, 1, 0.0, step=2)])[
            "by_group/frac_mixed"
        ]
        == 0
    )


def test_lengths_and_cuts_count_every_completion():
    rows = [row(0, k, 1.0) for k in range(3)] + [row(0, 3, None)]
    ends = [(4, "stop"), (8, "length"), (6, "stop"), (2, "stop")]
    rows = [
        dataclasses.replace(
            one, completion=dataclasses.replace(one.completion, token_ids=(7,) * length, finish_reason=end)
        )
        for one, (length, end) in zip(rows, ends, strict=True)
    ]
    metrics = completion_metrics(rows)
    # (4 + 8 + 6 + 2) / 4 = 5; ended by themselves: (4 + 6 + 2) / 3 = 4
    assert (metrics["completions/mean_length"], metrics["completions/mean_terminated_length"]) == (5, 4)
    assert (metrics["completions/min_length"], metrics["completions/max_length"]) == (2, 8)
    assert (
        metrics["completions/clipped_ratio"],
        metrics["completions/invalid"],
        metrics["completions/invalid_ratio"],
    ) == (
        0.25,
        1,
        0.25,
    )


def test_the_gap_between_engine_and_policy_is_verls():
    engine, policy = ((-1.0, -2.0), (-0.5, -1.5)), ((-1.1, -1.8), (-0.5, -1.2))
    rows = []
    for index, (one, other) in enumerate(zip(engine, policy, strict=True)):
        made = row(0, index, 1.0, old_logprobs=other)
        rows.append(dataclasses.replace(made, completion=dataclasses.replace(made.completion, logprobs=one)))
    metrics = engine_gap(rows)
    # policy - engine: -0.1, 0.2, 0, 0.3; mean 0.1, so kl = -0.1; mean |.| = 0.15, max 0.3
    assert metrics["rollout_corr/kl"] == pytest.approx(-0.1)
    assert metrics["rollout_corr/logprob_abs_diff_mean"] == pytest.approx(0.15)
    assert metrics["rollout_corr/logprob_abs_diff_max"] == pytest.approx(0.3)
    theirs = compute_offpolicy_metrics(
        torch.tensor(policy).double(),  # of float32, as records keep them
        torch.tensor(engine).double(),
        torch.ones(2, 2, dtype=torch.float64),
    )
    for name in ("kl", "k3_kl", "log_ppl_abs_diff"):
        assert metrics[f"rollout_corr/{name}"] == pytest.approx(theirs[name], abs=1e-9)


def test_the_gap_of_a_step_is_that_of_its_first_update():
    updates = [{"loss": 0.2, "rollout_corr/kl": 1e-6}, {"loss": 0.4, "rollout_corr/kl": 0.3}]
    assert update_metrics(updates)["rollout_corr/kl"] == 1e-6
    # A first mini-batch without a valid row saw nothing.
    assert "rollout_corr/kl" not in update_metrics([{"update/skipped": 0.0}, updates[1]])


def test_updates_of_a_step_become_one():
    updates = [
        {
            "loss": 0.2,
            "kl": 0.01,
            "grad_norm": 1.0,
            "learning_rate": 1e-6,
            "clip_ratio/low_mean": 0.0,
            "clip_ratio/high_mean": 0.1,
        },
        {
            "loss": 0.4,
            "kl": 0.03,
            "grad_norm": 3.0,
            "learning_rate": 2e-6,
            "clip_ratio/low_mean": 0.2,
            "clip_ratio/high_mean": 0.3,
        },
        {"loss": math.nan, "update/skipped": 1.0, "update/num_rows": 32.0},
    ]
    metrics = update_metrics(updates)
    assert metrics["loss"] == pytest.approx(0.3)
    assert metrics["kl"] == pytest.approx(0.02)
    assert (metrics["grad_norm"], metrics["grad_norm_max"], metrics["learning_rate"]) == (2.0, 3.0, 2e-6)
    assert (metrics["clip_ratio/low_mean"], metrics["clip_ratio/low_min"], metrics["clip_ratio/high_max"]) == (
        0.1,
        0.0,
        0.3,
    )
    assert (metrics["update/skipped"], metrics["update/num_rows"]) == (1.0, 32.0)


def test_a_whole_step_carries_every_documented_name():
    groups = next(fake_rollouts.steps(1, prompts_per_step=6, failures=0.3))
    rows = [one for group in groups for one in group]
    rows = [dataclasses.replace(one, parsed=dataclasses.replace(one.parsed, verdict="stated")) for one in rows]
    rows[0] = dataclasses.replace(rows[0], parsed=dataclasses.replace(rows[0].parsed, letters=(), verdict="unclear"))
    metrics = step_metrics(rows, [{"loss": 0.1, "kl": 0.0, "entropy": 1.5}], {"gen": 1.5, "step": 4})
    documented = (
        "reward reward_std frac_reward_zero_std rewards/accuracy/mean rewards/format/mean completions/mean_length"
        " completions/clipped_ratio"
    )
    documented += (
        " kl entropy loss timing_s/gen timing_s/step accuracy accuracy/mcq vision/accuracy/ct completions/format_rate"
        " judge/cost parse/unclear_ratio"
    )
    documented += " by_group/frac_mixed by_group/frac_all_good by_group/frac_all_bad rollout_corr/k3_kl num_completions"
    assert set(documented.split()) <= set(metrics)
    assert sum(
        metrics[f"reward_status/accuracy/{status}"] for status in ("ok", "abstain", "error", "timeout")
    ) == pytest.approx(1)
    assert metrics["parse/unclear_ratio"] == 1 / len(rows)
    failed = sum(not one.valid for one in rows)
    assert metrics["completions/invalid"] == failed > 0
    judged = [one.outcomes["accuracy"].value for one in rows if one.valid]
    assert metrics["accuracy"] == pytest.approx(sum(judged) / len(judged))
    assert metrics["timing_s/step"] == 4.0


def test_the_order_of_completions_changes_nothing():
    rows = [one for group in next(fake_rollouts.steps(1)) for one in group]
    assert step_metrics(rows) == step_metrics(rows[::-1])


def test_a_verdict_shared_by_identical_answers_is_counted_and_paid_once():
    shared = {"accuracy": Outcome(1.0, evidence={"judge": "openai:x"}, cost=0.25, seconds=2.0)}
    own = {"accuracy": Outcome(None, status="timeout", evidence={"judge": "openai:x"}, cost=0.5, seconds=4.0)}
    metrics = step_metrics(
        [row(0, 0, 1.0, outcomes=shared), row(0, 1, 1.0, outcomes=shared), row(0, 2, None, outcomes=own)]
    )
    assert (metrics["judge/verdicts"], metrics["judge/cost"], metrics["judge/mean_seconds"]) == (2, 0.75, 3.0)
    assert metrics["judge/failed_ratio"] == 0.5


def test_a_step_without_a_valid_completion_has_no_reward_rather_than_zero():
    metrics = step_metrics([row(0, k, None) for k in range(8)])
    assert math.isnan(metrics["reward"])
    assert math.isnan(metrics["frac_reward_zero_std"])
    assert metrics["by_group/dropped"] == 1
