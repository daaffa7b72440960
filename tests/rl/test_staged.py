"""The stages of a run in order: each model is asked once, by one scorer that stays open, and a run that goes on asks
nobody again."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from judges import make_judge
from rewards.rubric import make_rubric
from rewards.scorer import Scorer
from rl.config import Config, JudgeConfig
from rl.config.door import compose
from rl.data.phantoms import questions
from rl.data.sets import DataSplits
from rl.run.progress import Display
from rl.staged import climb
from rl.stages.book import StageBook
from rl.stages.ready import ready_stage
from rollouts.engine.requests import Request, RequestKey, SamplingSettings
from rollouts.prompt.messages import response
from rollouts.records import Completion


class SaysYes:
    """An engine whose model answers every question with yes."""

    def sample_stream(
        self, batches: Iterable[Sequence[Request]], settings: SamplingSettings
    ) -> Iterator[tuple[RequestKey, Completion]]:
        for batch in batches:
            for request in batch:
                text = response("I look.", "yes")
                yield request.key, Completion((1, 2), text, "stop", (0.0, 0.0), request.seed, settings.policy_version)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Models that engines were started for, without engines; and stages that take no time."""
    models: list[Path] = []

    @contextmanager
    def start(config: Config, model: Path, *, total_updates: int | None) -> Iterator[Any]:
        assert total_updates is None
        models.append(Path(model))
        yield SimpleNamespace(rollout=SaysYes())

    def ensure_stage(config: Config, ready: Any, before: Path, display: Display) -> Path:
        return Path(before)

    def ensure_sft(config: Config, rows: Any, display: Display) -> Path:
        return Path(config.model.path)

    monkeypatch.setattr("rl.training.start", start)
    monkeypatch.setattr("rl.staged.ensure_stage", ensure_stage)
    monkeypatch.setattr("rl.staged.ensure_sft", ensure_sft)
    return models


def config_of(*more: str) -> Config:
    few = [f"stages.{name}.num_documents=2" for name in ("interleaved", "captions")]
    return compose(["+experiment=fleming_vl", "judge=rules", *few, *more])


def climbed(config: Config, folder: Path, scorer: Scorer) -> StageBook:
    folder.mkdir(exist_ok=True)
    held_out = questions.samples("eval", 6, 0, mix=("yes_no",))
    splits = DataSplits(sft=[], rl=[], eval=held_out)
    ready = {name: ready_stage(config, name, held_out) for name in ("interleaved", "captions")}
    with Display() as display:
        climb(config, folder, splits, ready, scorer, display)
    return StageBook(folder)


def test_every_model_before_rl_is_asked_once_by_a_scorer_that_stays_open(tmp_path: Path, started: list[Path]) -> None:
    config = config_of()
    with Scorer(make_rubric(config.reward, make_judge(JudgeConfig()))) as scorer:
        book = climbed(config, tmp_path, scorer)
        # Instruction tuning's model is asked by RL, before its first step.
        assert [one.stage for one in book.records] == ["start", "interleaved", "captions", "instruction"]
        assert [bool(one.right) for one in book.records] == [True, True, True, False] and len(started) == 3
        gold = questions.samples("eval", 6, 0, mix=("yes_no",))
        right = sum(sample.gold_text == "yes" for sample in gold)
        assert [sum(map(bool, one.right)) for one in book.records[:3]] == [right] * 3
        assert book.records[1].added is not None and book.records[1].added["difference"] == 0.0
        # The run goes on: nothing is asked again, and the same scorer still scores.
        climbed(config, tmp_path, scorer)
        assert len(started) == 3
        scored = scorer.submit(gold[0], response("I look.", gold[0].gold_text), "group").result()
        assert scored.outcomes["accuracy"].value == 1.0


def test_without_rl_the_last_model_is_asked_and_evaluations_can_be_left_out(
    tmp_path: Path, started: list[Path]
) -> None:
    config = config_of("stages.skip=[grpo]")
    with Scorer(make_rubric(config.reward, make_judge(JudgeConfig()))) as scorer:
        book = climbed(config, tmp_path / "asked", scorer)
        assert [bool(one.right) for one in book.records] == [True] * 4 and len(started) == 4
        silent = dataclasses.replace(config_of(), stages=dataclasses.replace(config_of().stages, evaluate=False))
        book = climbed(silent, tmp_path / "silent", scorer)
        assert [(one.stage, one.right) for one in book.records] == [
            ("interleaved", []), ("captions", []), ("instruction", []),
        ]  # fmt: skip
        assert len(started) == 4
