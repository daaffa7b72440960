"""The quick evaluation of a run: the same few items for every seed, greedy, and never a failure counted as wrong."""

from __future__ import annotations

import dataclasses
import math
import random

import pytest

from rl.config import Config, EvalConfig
from rl.evaluate.asking import EvalResult, evaluate
from rl.evaluate.quick import quick_evaluation, quick_metrics, quick_subset
from tests.rl.evaluate.test_evaluate import FakeRollout, FakeScorer, held_out, item

ITEMS = [item(name) for name in "abcdefgh"]
CONFIG = Config(eval=EvalConfig(num_samples=2, every_steps=5, quick_items=4))


def test_the_subset_depends_on_the_items_alone() -> None:
    chosen = quick_subset(ITEMS, 3)
    assert len(chosen) == 3 and [one.id for one in chosen] == sorted(one.id for one in chosen)
    shuffled = random.Random(1).sample(ITEMS, len(ITEMS))
    assert {one.id for one in quick_subset(shuffled, 3)} == {one.id for one in chosen}
    # A larger one holds the smaller one; more than there are is all of them.
    assert {one.id for one in chosen} < {one.id for one in quick_subset(ITEMS, 4)}
    assert quick_subset(ITEMS, 99) == tuple(ITEMS)


def test_right_wrong_and_unscored_are_counted_apart() -> None:
    # Of four items one is right, one wrong, one not judged, one right but without the tags: 2 of 3 are right.
    names = [one.id for one in quick_subset(ITEMS, 4)]
    script = dict(zip(names, (["yes"], ["no"], ["?"], ["bare"]), strict=True))
    samples = [dataclasses.replace(one, gold_text="bare") if one.id == names[3] else one for one in ITEMS]
    quick = quick_evaluation(FakeRollout(script), FakeScorer(), held_out(samples), CONFIG)
    assert quick(7) == {
        "eval/accuracy": pytest.approx(2 / 3), "eval/num_items": 3.0, "eval/num_unscored": 1.0,
        "eval/format_rate": 0.75, "eval/mean_length": 3.0,
    }  # fmt: skip


def test_where_nothing_could_be_judged_there_is_no_accuracy() -> None:
    script = {one.id: ["?"] for one in ITEMS}
    metrics = quick_evaluation(FakeRollout(script), FakeScorer(), held_out(ITEMS), CONFIG)(1)
    assert math.isnan(metrics["eval/accuracy"]) and metrics["eval/num_items"] == 0


def test_only_the_subset_is_asked_once_greedily_with_the_weights_of_the_step() -> None:
    rollout, scorer = FakeRollout({one.id: ["yes"] for one in ITEMS}), FakeScorer()
    quick_evaluation(rollout, scorer, held_out(ITEMS), CONFIG)(7)
    ((requests, settings),) = rollout.asked
    assert [request.prompt_id for request in requests] == [one.id for one in quick_subset(ITEMS, 4)]
    assert (settings.temperature, settings.policy_version) == (0.0, 7)
    # A group of its own for each step, so that no verdict of an earlier step is taken for one of this.
    assert all(group.startswith("eval/step 7/greedy/") for group in scorer.groups)


def test_the_sft_model_is_not_asked_again() -> None:
    right = random.Random(0).sample("abcdefgh", 4)
    script = {one.id: ["yes" if one.id in right else "no"] * 2 for one in ITEMS}
    script |= {f"{one.id} blank": ["no"] for one in ITEMS}
    rollout = FakeRollout(script)
    whole: EvalResult = evaluate(rollout, FakeScorer(), held_out(ITEMS), CONFIG, name="SFT", policy_version=0)
    quick = quick_evaluation(rollout, FakeScorer(), held_out(ITEMS), CONFIG)
    calls = len(rollout.asked)
    taken = quick.of(whole)
    assert len(rollout.asked) == calls
    assert taken == quick(0) != quick_metrics(whole)
