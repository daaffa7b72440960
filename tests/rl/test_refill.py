"""grpo.refill=next: groups that teach nothing are replaced, counted and stored; which prompts stand in follows from the
step alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from rl.algo.order import plan, replacements
from rollouts.engine.requests import Refusal, Request, RequestKey, SamplingSettings
from rollouts.records import Completion
from tests.rl.test_step import GRPO, SEED, Engine, model
from tests.rl.test_streaming import Killed, Learnt, after_calls, learn

__all__ = ["model"]  # the fixture, which pytest finds by its name here
SIZE = {"seed": SEED, "num_samples": 8, "prompts_per_step": GRPO.prompts_per_step}


class Certain(Engine):
    """Gives the same answer to some prompts every time, and half of the time each of two answers to the others."""

    def __init__(self, certain: set[str], delays: int = 0) -> None:
        super().__init__(delays=delays)
        self.certain = certain

    def sample(
        self, requests: Sequence[Request], settings: SamplingSettings
    ) -> Iterator[tuple[RequestKey, Completion | Refusal]]:
        for key, _ in super().sample(requests, settings):
            answer = "left" if key.prompt_id in self.certain or key.sample_index % 2 else "right"
            text = f"<think>Hm.</think>\n<answer>{answer}</answer>"
            ids = tuple(text.encode())
            yield key, Completion(ids, text, "stop", (-1.0,) * len(ids), 0, settings.policy_version, "scripted")


def names(places: Sequence[int]) -> list[str]:
    return [f"q{place}" for place in places]


def learn_with(folder: Path, model: Path, certain: set[str], **changes: Any) -> tuple[Learnt, Certain]:
    engine = Certain(certain, delays=changes.pop("delays", 0))
    return learn(model, folder, engine, refill="next", **changes), engine


def test_what_stands_in_is_none_of_the_step_and_follows_from_it_alone() -> None:
    for step in range(1, 9):
        others = replacements(step, **SIZE)
        assert sorted([*others, *plan(step, **SIZE)]) == list(range(8))
        assert others == replacements(step, **SIZE)
    assert len({tuple(replacements(step, **SIZE)) for step in range(1, 9)}) > 1


def test_groups_paid_alike_are_replaced_by_the_next_prompts_and_stored(model: Path, tmp_path: Path) -> None:
    asked, others = names(plan(1, **SIZE)), names(replacements(1, **SIZE))
    # Two groups of the step teach nothing, and the first prompt that stands in neither: a second round takes the third.
    certain = {asked[0], asked[2], others[0]}
    done, engine = learn_with(tmp_path / "run", model, certain)
    assert [set(one) for one in engine.requested[:3]] == [set(asked), set(others[:2]), {others[2]}]
    first = [one for one in done.records if one.step == 1]
    trained = {one.prompt_id for one in first if one.valid}
    assert trained == {asked[1], asked[3], others[1], others[2]} == set().union(*done.started[:4])
    replaced = [one for one in first if not one.valid]
    assert {one.prompt_id for one in replaced} == certain and len(replaced) == 12
    assert all(one.advantage == 0.0 and one.total is not None for one in replaced)
    numbers = {name: done.metrics[1][f"refill/{name}"] for name in ("num_groups", "rounds", "left")}
    assert numbers == {"num_groups": 3.0, "rounds": 2.0, "left": 0.0}
    assert done.metrics[1]["num_completions"] == 16.0 and done.metrics[1]["frac_reward_zero_std"] == 0.0


def test_rounds_are_limited_and_what_is_left_is_counted(model: Path, tmp_path: Path) -> None:
    done, engine = learn_with(tmp_path / "run", model, set(names(range(8))), refill_rounds=1)
    assert len(engine.requested) == 6, "three steps of one round each"
    assert done.metrics[1]["refill/rounds"] == 1.0 and done.metrics[1]["refill/left"] == 4.0
    assert sum(one.valid for one in done.records) == 3 * 16, "what teaches nothing is trained on where rounds are over"


def test_a_killed_run_resumes_to_the_same_bits(model: Path, tmp_path: Path) -> None:
    certain = {"q0", "q3", "q5"}
    whole, _ = learn_with(tmp_path / "whole", model, certain)
    states: dict[int, Any] = {}

    def break_at(run: Any) -> None:
        run.writer.append_group = after_calls(7, run.writer.append_group)

    with pytest.raises(Killed):
        learn_with(tmp_path / "run", model, certain, states=states, break_at=break_at)
    resumed, _ = learn_with(tmp_path / "run", model, certain, states=states, delays=3)
    assert all(torch.equal(weight, resumed.weights[name]) for name, weight in whole.weights.items())
    assert resumed.records == whole.records and any(one.valid is False for one in whole.records)
