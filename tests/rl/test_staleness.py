"""grpo.max_staleness=1: a step is drawn with the weights before the last step's, while that one is trained on; the same
bits whatever is fast or slow, and after a stop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from rl.config import GrpoConfig
from rl.config.schedule import stale
from tests.rl.test_step import Engine, model
from tests.rl.test_streaming import InOrder, Killed, Learnt, after_calls, learn

__all__ = ["model"]  # the fixture, which pytest finds by its name here
STALE: dict[str, Any] = {"max_staleness": 1, "old_logprobs": "policy", "num_steps": 5, "save_steps": 3}


@pytest.fixture(scope="module")
def whole(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Learnt:
    return learn(model, tmp_path_factory.mktemp("stale"), Engine(), **STALE)


def test_what_follows_a_checkpoint_is_never_stale() -> None:
    steps = range(1, 8)
    assert [stale(step, GrpoConfig(max_staleness=1, save_steps=3)) for step in steps] == [
        False, True, True, False, True, True, False,
    ]  # fmt: skip
    assert not any(stale(step, GrpoConfig(save_steps=3)) for step in steps)


def test_every_completion_says_which_weights_drew_it(whole: Learnt) -> None:
    versions = {
        step: {one.completion.policy_version for one in whole.records if one.step == step} for step in range(1, 6)
    }
    # The engine of these tests refuses to draw as another version than it was given. Step 4 follows a checkpoint.
    assert versions == {1: {0}, 2: {0}, 3: {1}, 4: {3}, 5: {3}}
    assert all("tis/weight" in metrics for metrics in whole.metrics.values())


def test_the_next_step_is_drawn_while_this_one_is_trained_on(model: Path, tmp_path: Path) -> None:
    started: list[set[str]] = []
    asked: list[int] = []
    engine = InOrder(on_asked=lambda: asked.append(len(started)))
    learn(model, tmp_path / "run", engine, started=started, **STALE)
    # Four updates a step. Steps 2, 3 and 5 begin before the updates of the step before them, steps 1 and 4 after.
    assert asked == [0, 0, 4, 12, 12]


@pytest.mark.parametrize("delays", [2, 30])
def test_speed_changes_no_bit(model: Path, tmp_path: Path, whole: Learnt, delays: int) -> None:
    learn(model, tmp_path / "run", Engine(delays=delays), **STALE).assert_equals(whole)


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("start_update", 14),
        pytest.param("start_update", 18, marks=pytest.mark.slow),
        pytest.param("start_log_probs", 5, marks=pytest.mark.slow),
    ],
)
def test_a_killed_run_resumes_to_the_same_bits(
    model: Path,
    tmp_path: Path,
    whole: Learnt,
    name: str,
    count: int,
) -> None:
    states: dict[int, Any] = {}

    def break_at(run: Any) -> None:
        owner = run.cluster.policy if name == "start_update" else run.cluster.reference
        setattr(owner, name, after_calls(count, getattr(owner, name)))

    with pytest.raises(Killed):
        learn(model, tmp_path / "run", InOrder(), states=states, break_at=break_at, **STALE)
    assert list(states) == [3]
    resumed = learn(model, tmp_path / "run", Engine(delays=3), states=states, **STALE)
    assert all(torch.equal(weight, resumed.weights[name]) for name, weight in whole.weights.items())
    assert resumed.records == whole.records
