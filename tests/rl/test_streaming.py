"""The streamed step: early mini-batches are trained on while later groups are drawn, and no bit of what is learnt
depends on it, on how fast anything is, or on a run that was stopped in the middle."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from rewards.rubric import Rubric
from rewards.scorer import Scorer
from rl.config import ComputeConfig, Config, ModelConfig
from rl.drawing import LostCompletions
from rl.grpo import train
from rl.policy.objectives import GrpoObjective
from rl.policy.policy import Policy, Reference
from rollouts.engine.requests import Refusal, Request, RequestKey, SamplingSettings
from rollouts.prompt.processing import load_processor
from rollouts.records import Completion, Rollout
from rollouts.store.writer import RunWriter, read_rollouts
from tests.rl.test_step import (
    GRPO,
    HOLDS_FOUR,
    SEED,
    Engine,
    Frozen,
    Judge,
    Learner,
    OneRun,
    Workers,
    at_once,
    model,
    samples,
    slowly,
)

__all__ = ["model"]  # the fixture, which pytest finds by its name here
STEPS = 3


class InOrder(Engine):
    """Hands completions over in the order of the requests; `on_arrival` is called before each, `on_asked` when they are
    asked for."""

    def __init__(
        self, on_arrival: Callable[[], None] = lambda: None, on_asked: Callable[[], None] = lambda: None
    ) -> None:
        super().__init__()
        self.on_arrival, self.on_asked = on_arrival, on_asked

    def arrivals(
        self, requests: Sequence[Request], settings: SamplingSettings, patience: float
    ) -> Iterator[tuple[RequestKey, Completion | Refusal] | None]:
        self.on_asked()
        return self._in_order(requests, settings)

    def _in_order(
        self, requests: Sequence[Request], settings: SamplingSettings
    ) -> Iterator[tuple[RequestKey, Completion | Refusal] | None]:
        drawn = dict(self.sample(requests, settings))
        for request in requests:
            self.on_arrival()
            yield request.key, drawn[request.key]


class Synced(Workers):
    """Weights that go nowhere, and engines that know which version they were given."""

    def start_sync(self, version: int) -> Callable[[], None]:
        self.rollout.version = version
        return lambda: None


@dataclasses.dataclass
class Learnt:
    """What some steps left."""

    weights: dict[str, torch.Tensor]
    records: list[Rollout]
    metrics: dict[int, dict[str, float]]
    # Prompts of each update, in order.
    started: list[set[str]]

    def assert_equals(self, other: Learnt) -> None:
        assert all(torch.equal(weight, other.weights[name]) for name, weight in self.weights.items())
        assert self.records == other.records and self.records
        assert self.metrics == other.metrics


class Checkpointed(OneRun):
    """A run that keeps the policy's state after each step, as a checkpoint does."""

    states: dict[int, Any]

    def save(self, step: int) -> None:
        super().save(step)
        self.states[step] = self.cluster.policy.policy.state()


def learn(
    model: Path,
    folder: Path,
    engine: Engine,
    judge: Judge | None = None,
    *,
    side_by_side: bool = True,
    states: dict[int, Any] | None = None,
    break_at: Callable[[Checkpointed], None] = lambda run: None,
    after: Callable[[], None] = lambda: None,
    started: list[set[str]] | None = None,
    compute: ComputeConfig = HOLDS_FOUR,
    **changes: Any,
) -> Learnt:
    """Three steps of GRPO, from the last of `states` on where there is one; `break_at` may break the run."""
    grpo = dataclasses.replace(GRPO, **{"num_steps": STEPS, "save_steps": 1, **changes})
    config = Config(seed=SEED, grpo=grpo, model=ModelConfig(path=str(model)), compute=compute)
    policy = Policy(model, GrpoObjective(grpo), total_updates=(grpo.num_steps or 0) * grpo.num_minibatches)
    states = {} if states is None else states
    done = max(states, default=0)
    if done:
        policy.load_state(*states[done])
    started = [] if started is None else started
    frozen = Frozen(Reference(model, temperature=grpo.temperature))
    workers = Synced(engine, Learner(policy, started, after), frozen, side_by_side)
    rubric = Rubric(config.reward.weights, config.reward.routes, judge or Judge(at_once))  # type: ignore[arg-type]
    with Scorer(rubric) as scorer:
        writer = RunWriter(folder)
        writer.drop_steps_after(done)
        run = Checkpointed(
            config, workers, scorer, writer, load_processor(model), samples(), "run", start_step=done + 1
        )
        run.states = states
        break_at(run)
        try:
            train(run)
        finally:
            writer.close()
    records = [dataclasses.replace(one, timings={}, outcomes={}) for one in read_rollouts(folder)]
    metrics = {step: without_seconds(one) for step, one in run.reported.items()}
    return Learnt(policy.weights(), records, metrics, started)


def without_seconds(metrics: Mapping[str, float]) -> dict[str, float]:
    times = ("timing_s/", "judge/mean_seconds")
    return {name: value for name, value in metrics.items() if not name.startswith(times) and value == value}


@pytest.fixture(scope="module")
def whole(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Learnt:
    """Each step drawn and scored as a whole before its first update."""
    return learn(model, tmp_path_factory.mktemp("whole"), Engine(), side_by_side=False)


@pytest.mark.parametrize("delays", [0, 3, 40])
def test_a_streamed_step_equals_one_that_is_drawn_first_bit_by_bit(
    model: Path,
    tmp_path: Path,
    whole: Learnt,
    delays: int,
) -> None:
    learn(model, tmp_path / "run", Engine(delays=delays), Judge(slowly if delays else at_once)).assert_equals(whole)
    assert any(one.advantage for one in whole.records), "the rewards differ, or there is nothing to compare"


def test_mini_batches_are_trained_on_while_later_groups_are_drawn(model: Path, tmp_path: Path, whole: Learnt) -> None:
    started: list[set[str]] = []
    seen: list[int] = []
    done = learn(model, tmp_path / "run", InOrder(lambda: seen.append(len(started))), started=started)
    done.assert_equals(whole)
    # 16 completions a step, four groups, four mini-batches. Judged ones are asked first and trained last, so the first
    # update comes when the first ruled group is there, and at least one more before the last completion.
    first_step = seen[:16]
    assert first_step[0] == 0 and first_step[-1] >= 1, first_step
    assert first_step == sorted(first_step)


def test_a_step_that_engines_hold_whole_is_drawn_first_and_by_all_cores(model: Path, tmp_path: Path) -> None:
    started: list[set[str]] = []
    seen: list[int] = []
    alone: list[bool] = []
    passes: list[int] = []

    def watch(run: Checkpointed) -> None:
        reference = run.cluster.reference
        ask = reference.start_log_probs
        reference.start_log_probs = lambda rows: passes.append(len(rows)) or ask(rows)  # type: ignore[func-returns-value]
        run.cluster.policy.alone = alone

    engine = InOrder(lambda: seen.append(len(started)))
    learn(model, tmp_path / "run", engine, started=started, break_at=watch, compute=ComputeConfig())
    # 16 completions a step, which any engine holds; four updates, and one pass of the reference over all of it.
    assert seen == [4 * step for step in range(STEPS) for _ in range(16)]
    assert passes == [16] * STEPS
    assert alone == [False] * (4 * STEPS), "all cores are the policy's from the start, so none are added"


def test_the_next_step_is_asked_when_the_last_update_has_begun(model: Path, tmp_path: Path, whole: Learnt) -> None:
    started: list[set[str]] = []
    asked: list[tuple[int, int | None]] = []
    engine = InOrder(on_asked=lambda: asked.append((len(started), engine.version)))
    learn(model, tmp_path / "run", engine, started=started).assert_equals(whole)
    # Four updates a step, whose weights are on their way by then.
    assert asked == [(4 * step, step) for step in range(STEPS)]


@pytest.mark.parametrize(("change", "expected"), [({}, [False, False, True, True]), ({"num_minibatches": 1}, [False]),
                                                  ({"old_logprobs": "policy"}, [False] * 4)])  # fmt: skip
def test_the_second_half_of_a_step_that_streams_has_the_machine_alone(
    model: Path, tmp_path: Path, change: dict[str, Any], expected: list[bool]
) -> None:
    alone: list[bool] = []
    learn(model, tmp_path / "run", Engine(), break_at=lambda run: setattr(run.cluster.policy, "alone", alone), **change)
    assert alone == expected * STEPS


@pytest.mark.parametrize("size", [8, 16])
def test_a_mini_batch_is_trained_on_piece_by_piece(
    model: Path, tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A group of four completions fills a pass.
    minibatches = {"num_minibatches": 16 // size, "micro_batch_tokens": 300}
    whole = learn(model, tmp_path / "whole", Engine(), side_by_side=False, **minibatches)
    pieces: list[int] = []
    accumulate = Policy.accumulate
    monkeypatch.setattr(
        Policy, "accumulate", lambda policy, rows: (pieces.append(len(rows)), accumulate(policy, rows))[1]
    )
    done = learn(model, tmp_path / "run", Engine(delays=3), Judge(slowly), **minibatches)
    done.assert_equals(whole)
    # A piece is a group of four rows; the last of a mini-batch comes with the optimiser's step.
    assert pieces == [4] * (4 - 16 // size) * STEPS


@pytest.mark.parametrize("change", [{"old_logprobs": "policy"}, {"loss_type": "dapo"}, {"scale_rewards": "batch"}])
def test_what_does_not_stream_draws_everything_before_the_first_update(
    model: Path,
    tmp_path: Path,
    change: dict[str, Any],
) -> None:
    started: list[set[str]] = []
    seen: list[int] = []
    learn(model, tmp_path / "run", InOrder(lambda: seen.append(len(started))), started=started, **change)
    assert seen == [4 * step for step in range(STEPS) for _ in range(16)]


def test_old_log_probs_are_the_engines_and_the_store_says_which_were_computed(
    model: Path,
    tmp_path: Path,
    whole: Learnt,
) -> None:
    assert all(one.old_logprobs is None and one.ref_logprobs for one in whole.records)
    # The scripted engine says -1 for every token: the ratio of the first update is exp(policy + 1) on the mean.
    computed = learn(model, tmp_path / "run", Engine(), old_logprobs="policy")
    assert all(one.old_logprobs and one.old_logprobs != one.completion.logprobs for one in computed.records)
    assert whole.metrics[1]["ratio"] != pytest.approx(computed.metrics[1]["ratio"], abs=1e-3)


class Killed(BaseException):
    """Nothing catches it, as nothing catches SIGKILL."""


def after_calls(count: int, call: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which does not return from its call of this number."""
    numbers = itertools.count(1)

    def counted(*arguments: Any, **named: Any) -> Any:
        answer = call(*arguments, **named)
        if next(numbers) == count:
            raise Killed
        return answer

    return counted


# Where the second step is broken off: owner of the function, its name, and the number of the call from the run's start.
PHASES: dict[str, tuple[Callable[[Checkpointed], Any], str, int]] = {
    "the first completion is scored": (lambda run: run.scorer, "submit", 17),
    "a later completion is scored": (lambda run: run.scorer, "submit", 27),
    "the reference was asked": (lambda run: run.cluster.reference, "start_log_probs", 6),
    "a group was recorded": (lambda run: run.writer, "append_group", 6),
    "the first update was made": (lambda run: run.cluster.policy, "start_update", 5),
    "the last update was made": (lambda run: run.cluster.policy, "start_update", 8),
    "the weights were asked for": (lambda run: run.cluster, "start_sync", 4),
    "the store finished the step": (lambda run: run.writer, "finish_step", 2),
    "the step was reported": (lambda run: run, "report", 2),
}


# One phase each of judging, recording and training is of `make test`; the others are slow only because they are many.
OFTEN = ("a later completion is scored", "a group was recorded", "the last update was made")


@pytest.mark.parametrize("phase", [pytest.param(one, marks=() if one in OFTEN else pytest.mark.slow) for one in PHASES])
def test_a_run_that_is_killed_in_any_phase_resumes_to_the_same_bits(
    model: Path,
    tmp_path: Path,
    whole: Learnt,
    phase: str,
) -> None:
    owner, name, count = PHASES[phase]
    states: dict[int, Any] = {}

    def break_at(run: Checkpointed) -> None:
        setattr(owner(run), name, after_calls(count, getattr(owner(run), name)))

    with pytest.raises(Killed):
        learn(model, tmp_path / "run", InOrder(), states=states, break_at=break_at)
    assert list(states) == [1], "it was killed in the second step"
    resumed = learn(model, tmp_path / "run", Engine(delays=3), states=states)
    assert all(torch.equal(weight, resumed.weights[name]) for name, weight in whole.weights.items())
    assert resumed.records == whole.records
    assert resumed.metrics == {step: whole.metrics[step] for step in (2, 3)}


def test_lost_completions_stop_the_run_and_are_counted(model: Path, tmp_path: Path) -> None:
    class Loses(Engine):
        def sample(
            self, requests: Sequence[Request], settings: SamplingSettings
        ) -> Iterator[tuple[RequestKey, Completion | Refusal]]:
            return itertools.islice(super().sample(requests, settings), 13)

    with pytest.raises(LostCompletions, match="step 1: 13 of 16 completions came back"):
        learn(model, tmp_path / "run", Loses())
