"""Controls take away what they say and nothing else: what engine and trainer see, what is paid, what is right."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from judges import make_judge
from rewards.rubric import make_rubric
from rewards.scorer import Scorer
from rl.algo.denominators import Denominators
from rl.config import Config, DataConfig, JudgeConfig, ModelConfig
from rl.config.controls import control_of, with_control
from rl.data.controls import check_controls, controlled, shuffled
from rl.data.phantoms import questions as phantoms
from rl.data.sets import DataSplits, UnusableData
from rl.grpo import train
from rl.policy.batching import Row
from rl.policy.objectives import GrpoObjective
from rl.policy.policy import Policy
from rollouts.engine.requests import Refusal, Request, RequestKey, SamplingSettings
from rollouts.media import BLANK_GREY, frames
from rollouts.prompt.processing import load_processor
from rollouts.records import Completion, Sample
from rollouts.store.writer import RunWriter, read_rollouts
from tests.fakes.tiny_models import make_internvl
from tests.rl.test_step import GRPO, SEED, Engine, Learner, OneRun, Workers

SMALL = DataConfig(num_sft=8, num_rl=40, num_eval=8)


@pytest.fixture(scope="module")
def splits() -> DataSplits:
    return phantoms.load(SMALL)


class Seeing(Engine):
    """Keeps the pixels of every picture that it is asked about."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[np.ndarray] = []

    def sample(
        self, requests: Sequence[Request], settings: SamplingSettings
    ) -> Iterator[tuple[RequestKey, Completion | Refusal]]:
        self.seen += [np.asarray(picture) for request in requests for picture in request.media["image"]]
        yield from super().sample(requests, settings)


class Watched(Learner):
    """Keeps the pixels of every row that it trains on."""

    def __init__(self, policy: Policy) -> None:
        super().__init__(policy, [], lambda: None)
        self.seen: list[torch.Tensor] = []

    def start_update(
        self, rows: Sequence[Row], totals: Denominators, alone: bool = False
    ) -> Callable[[], dict[str, float]]:
        self.seen += [row.prompt.media["pixel_values"] for row in rows]
        return super().start_update(rows, totals, alone)


def one_step(model: Path, folder: Path, asked: Sequence[Sample]) -> tuple[Seeing, Watched]:
    """A step of GRPO on these samples; what the engine and the policy saw of them."""
    grpo = dataclasses.replace(GRPO, num_steps=1, beta=0.0, num_generations=2)
    config = Config(seed=SEED, grpo=grpo, model=ModelConfig(path=str(model)))
    engine, learner = Seeing(), Watched(Policy(model, GrpoObjective(grpo), total_updates=4))
    with Scorer(make_rubric(config.reward, make_judge(JudgeConfig()))) as scorer:
        run = OneRun(
            config, Workers(engine, learner, None), scorer, RunWriter(folder), load_processor(model), asked, "blind"
        )
        try:
            train(run)
        finally:
            run.writer.close()
    return engine, learner


def test_a_blind_run_draws_with_and_trains_on_grey_pixels_only(splits: DataSplits, tmp_path: Path) -> None:
    model = make_internvl(tmp_path / "model")
    blind = controlled(splits, Config(control="blind"))
    engine, learner = one_step(model, tmp_path / "blind", blind.rl)
    assert len(engine.seen) >= 4 and all((pixels == BLANK_GREY).all() for pixels in engine.seen)
    # One value a channel: a picture of one colour is one after normalising, too.
    assert len(learner.seen) == 8 and all(float(one.std(dim=(-2, -1)).max()) < 1e-6 for one in learner.seen)
    stored = [medium for one in read_rollouts(tmp_path / "blind") for medium in one.sample.media]
    assert stored and all((np.asarray(frame) == BLANK_GREY).all() for medium in stored for frame in frames(medium))
    # The same watch sees pictures where there are some.
    engine, learner = one_step(model, tmp_path / "plain", splits.rl)
    assert not any((pixels == BLANK_GREY).all() for pixels in engine.seen)
    assert all(float(one.std(dim=(-2, -1)).max()) > 0.1 for one in learner.seen)


def test_blind_takes_the_training_images_and_nothing_else(splits: DataSplits) -> None:
    blind = controlled(splits, Config(control="blind"))
    assert blind.sft is splits.sft and blind.eval is splits.eval
    for plain, grey in zip(splits.rl, blind.rl, strict=True):
        assert dataclasses.replace(grey, media=plain.media) == plain
        assert [one.size for one in frames(grey.media[0])] == [one.size for one in frames(plain.media[0])]
    assert blind.notes == {"control=blind: RL rows with grey images": len(splits.rl)}
    assert controlled(splits, Config()) is splits


def test_shuffled_gold_answers_are_those_of_other_rows_and_follow_from_the_seed(splits: DataSplits) -> None:
    made = controlled(splits, Config(control="shuffled_gold", seed=3))
    assert made.rl == shuffled(splits.rl, 3) != shuffled(splits.rl, 4)
    assert made.sft is splits.sft and made.eval is splits.eval
    kept = 0
    for plain, other in zip(splits.rl, made.rl, strict=True):
        assert (other.id, other.question, other.options, other.media) == (
            plain.id, plain.question, plain.options, plain.media,
        )  # fmt: skip
        if other.options:
            assert other.options["ABCD".index(other.gold_letters[0])] == other.gold_text
        kept += other.gold_text == plain.gold_text
    # By chance some stay: about 1 in 2.7 of these questions.
    assert 0 < kept < 0.7 * len(made.rl)
    # Open questions get one another's golds, with the wordings that belong to them.
    asked_open = [(plain, other) for plain, other in zip(splits.rl, made.rl, strict=True) if not plain.options]
    golds = {(one.gold_text, one.aliases) for one, _ in asked_open}
    assert {(one.gold_text, one.aliases) for _, one in asked_open} == golds
    assert sorted(one.gold_text for one, _ in asked_open) == sorted(one.gold_text for _, one in asked_open)


def test_several_right_options_stay_as_many() -> None:
    multi = Sample(
        id="m", question="Which?", answer_type="multi", gold_text="a, b", options=("a", "b", "c", "d"),
        gold_letters=("A", "B"),
    )  # fmt: skip
    drawn = {shuffled([multi], seed)[0].gold_letters for seed in range(40)}
    # All 6 pairs of four options come up.
    assert len(drawn) == 6 and all(len(one) == 2 for one in drawn)


def score(config: Config, sample: Sample, text: str, group: str = "run/1/q"):
    with Scorer(make_rubric(config.reward, make_judge(JudgeConfig()))) as scorer:
        return scorer.submit(sample, text, group, num_tokens=5, group_size=1).result()


RIGHT = "<think>Left.</think>\n<answer>A</answer>"
WRONG = "<think>Right.</think>\n<answer>B</answer>"
QUESTION = Sample(
    id="q", question="Which side?", answer_type="mcq", gold_text="left", options=("left", "right"), gold_letters=("A",)
)


def test_a_coin_pays_half_of_the_completions_whatever_they_say_and_the_same_when_asked_again() -> None:
    config = with_control(Config(control="random_reward", seed=5))
    assert config.reward.weights == {"accuracy": 0.0, "format": 0.0, "coin": 1.0}
    totals = {}
    for text in (RIGHT, WRONG):
        found = [score(config, QUESTION, text, f"run/{step}/q") for step in range(60)]
        # What is right is still measured, so that the control's accuracy can be followed.
        assert {one.outcomes["accuracy"].value for one in found} == {float(text == RIGHT)}
        totals[text] = [one.total for one in found]
        # 60 fair throws: 3 standard deviations are 0.19.
        assert np.mean(totals[text]) == pytest.approx(0.5, abs=0.2)
    assert totals[RIGHT] != totals[WRONG]
    # Neither the folder's name nor the order of calls decides; the seed does.
    again = [score(config, QUESTION, RIGHT, f"elsewhere/{step}/q").total for step in range(60)]
    assert again == totals[RIGHT]
    other = with_control(Config(control="random_reward", seed=6))
    assert [score(other, QUESTION, RIGHT, f"run/{step}/q").total for step in range(60)] != again


def test_format_only_pays_the_form_and_no_right_answer() -> None:
    config = with_control(Config(control="format_only"))
    assert config.reward.weights == {"accuracy": 0.0, "format": 1.0}
    assert score(config, QUESTION, RIGHT).total == score(config, QUESTION, WRONG).total == 1.0
    bare = score(config, QUESTION, "A")
    assert bare.total == 0.0 and bare.outcomes["accuracy"].value == 1.0


def test_a_control_of_a_run_changes_one_thing() -> None:
    run = Config(seed=7, controls=("blind", "random_reward"))
    blind = control_of(run, "blind", "there")
    assert blind == dataclasses.replace(run, control="blind", controls=(), out_dir="there")
    coin = control_of(run, "random_reward", "there")
    assert dataclasses.replace(coin, reward=run.reward, control="blind") == blind
    assert with_control(coin) == coin
    gated = dataclasses.replace(run, reward=dataclasses.replace(run.reward, gates={"format": 1.0}))
    assert control_of(gated, "random_reward", "there").reward.gates == {}


def test_a_control_that_would_be_the_recipe_is_refused_before_anything_starts(splits: DataSplits) -> None:
    text = dataclasses.replace(splits, rl=[dataclasses.replace(one, media=()) for one in splits.rl])
    with pytest.raises(
        UnusableData, match=r"control blind would be the recipe itself: no RL row has .* \(44 RL rows\)"
    ):
        controlled(text, Config(control="blind"))
    with pytest.raises(UnusableData, match="no RL row has an image"):
        check_controls(text, Config(controls=("random_reward", "blind")))
    alone = Sample(id="a", question="What?", answer_type="open", gold_text="it")
    one_row = dataclasses.replace(splits, rl=[alone])
    with pytest.raises(UnusableData, match="every gold answer would stay where it is"):
        check_controls(one_row, Config(controls=("shuffled_gold",)))
    check_controls(splits, Config(controls=("blind", "shuffled_gold", "random_reward", "format_only")))
