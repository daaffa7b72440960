"""Signs of a policy that pleases its judge: numbers by hand, and warnings that are told once."""

from __future__ import annotations

import dataclasses
import math

from rl.run.watch import Watch, policy_metrics
from rollouts.records import Outcome, Parsed, Rollout, Sample
from tests.fakes import fake_rollouts


def row(
    prompt: int, index: int, text: str, answer: str | None = None, accuracy: Outcome | None = None, gold: str = "nodule"
) -> Rollout:
    sample = Sample(f"p{prompt}", "What does this radiograph show?", "open", gold)
    one = fake_rollouts.rollout(sample, index=index)
    completion = dataclasses.replace(one.completion, text=text)
    outcomes = {"accuracy": accuracy or Outcome(0.0)}
    return dataclasses.replace(one, completion=completion, parsed=Parsed(None, answer), outcomes=outcomes)


def accepted(layer: str = "judge") -> Outcome:
    return Outcome(1.0, evidence={"decision": "correct", "layer": layer})


def test_repeats_are_counted_within_groups() -> None:
    # Group 0: three of three equal, 2 repeats of 2 possible. Group 1: two equal of three, 1 of 2. The same text in both
    # is no repeat.
    rows = [*(row(0, k, "a") for k in range(3)), row(1, 0, "a"), row(1, 1, "b"), row(1, 2, "b")]
    assert policy_metrics(rows)["completions/identical_ratio"] == 3 / 4
    assert math.isnan(policy_metrics([row(0, 0, "a")])["completions/identical_ratio"])


def test_one_answer_to_everything_is_seen_across_groups() -> None:
    rows = [row(0, 0, "x", "A nodule"), row(1, 0, "y", "a  nodule"), row(2, 0, "z", "effusion"), row(3, 0, "cut", None)]
    assert policy_metrics(rows)["completions/one_answer_ratio"] == 2 / 3
    assert math.isnan(policy_metrics(rows[3:])["completions/one_answer_ratio"])


def test_accepted_answers_are_compared_with_a_rule_and_a_shared_verdict_counts_once() -> None:
    shared = accepted()
    rows = [
        row(0, 0, "a", "an effusion", shared),  # nothing in common with the reference
        row(0, 1, "b", "an effusion", shared),
        row(0, 2, "c", "a lung nodule", accepted()),  # holds the reference
        row(0, 3, "d", "nodule or effusion", accepted()),  # the reference in a list
        row(0, 4, "e", "a mass", accepted("rules")),  # no model decided
        row(0, 5, "f", "a mass", Outcome(0.0, evidence={"decision": "incorrect", "layer": "judge"})),
    ]
    metrics = policy_metrics(rows)
    assert metrics["judge/accepted_with_rule_opinion"] == 3.0
    assert metrics["judge/against_rule_ratio"] == 2 / 3


def step(
    reward: float = 0.5,
    length: float = 40.0,
    identical: float = 0.2,
    one_answer: float = 0.2,
    against: float = 0.0,
    count: float = 0.0,
):
    return {
        "reward": reward,
        "completions/mean_length": length,
        "completions/identical_ratio": identical,
        "completions/one_answer_ratio": one_answer,
        "judge/against_rule_ratio": against if count else math.nan,
        "judge/accepted_with_rule_opinion": count,
    }


def warnings(*steps: dict[str, float]) -> list[str]:
    watch = Watch()
    return [warning for metrics in steps for warning in watch.see(metrics)]


def test_a_reward_that_rises_while_the_length_collapses_is_told_once() -> None:
    found = warnings(*[step()] * 5, *[step(reward=0.8, length=10.0)] * 8)
    assert len(found) == 1
    assert "rose from 0.500 to 0.800 while completions shrank from 40 to 10" in found[0]
    # A model that learns keeps its length; one that only gets shorter is not paid for it.
    assert warnings(*[step()] * 5, *[step(reward=0.9, length=35.0)] * 8) == []
    assert warnings(*[step()] * 5, *[step(length=10.0)] * 8) == []


def test_sameness_is_told() -> None:
    assert "repeat another of their group" in warnings(*[step(identical=0.97)] * 10)[0]
    assert "the same one, whatever is asked" in warnings(*[step(one_answer=0.9)] * 10)[0]


def test_a_judge_that_accepts_against_the_rule_is_told_when_there_are_enough_verdicts() -> None:
    # Five steps of 4 verdicts are 20; of 3 they are 15, too few.
    assert "a rule calls 50% wrong" in warnings(*[step(against=0.5, count=4.0)] * 10)[0]
    assert warnings(*[step(against=0.5, count=3.0)] * 10) == []
    assert warnings(*[step(against=0.1, count=40.0)] * 10) == []


def test_a_resumed_run_is_compared_with_its_own_beginning() -> None:
    watch = Watch([step()] * 9)
    assert watch.see(step()) == []
    found = [warning for _ in range(5) for warning in watch.see(step(reward=0.9, length=5.0))]
    assert len(found) == 1
    # metrics.jsonl writes a number that is not finite as null.
    assert Watch([{"reward": None}] * 12).see({"reward": None}) == []
