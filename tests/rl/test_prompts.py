"""Prompts are encoded ahead and handed to the engines before they are asked, and nothing else changes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rewards.rubric import Rubric
from rewards.scorer import Scorer
from rl.config import Config, ModelConfig
from rl.drawing import samples_of
from rl.prompts import Prompts
from rollouts.engine.requests import Refusal
from rollouts.prompt.processing import encode, load_processor
from rollouts.records import Media
from rollouts.store.writer import RunWriter
from tests.fakes.tiny_models import make_internvl
from tests.rl.test_step import GRPO, SEED, Engine, Judge, OneRun, Workers, at_once, samples


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_internvl(tmp_path_factory.mktemp("internvl"))


@contextmanager
def one_run(model: Path, folder: Path, engine: Engine) -> Iterator[OneRun]:
    """A run of two steps in which nothing is trained."""
    config = Config(seed=SEED, grpo=GRPO, model=ModelConfig(path=str(model)))
    rubric = Rubric(config.reward.weights, config.reward.routes, Judge(at_once))  # type: ignore[arg-type]
    workers = Workers(engine, None, None)  # type: ignore[arg-type]
    with Scorer(rubric) as scorer:
        run = OneRun(config, workers, scorer, RunWriter(folder), load_processor(model), samples(), folder.name)
        yield run
        run.writer.close()


def test_prompts_are_those_of_the_step_whoever_encoded_them(model: Path, tmp_path: Path) -> None:
    with one_run(model, tmp_path, Engine()) as run, Prompts(run) as prompts:
        prompts.begin(2)
        prompts.begin(2)
        for step in (2, 1):  # the first of them was not begun
            asked = prompts.take(step)
            assert asked.step == step and asked.samples == samples_of(run, step)
            own = [encode(run.processor, one) for one in asked.samples]
            assert [(one.text, one.token_ids, one.fingerprint) for one in asked.prompts] == [  # type: ignore[union-attr]
                (one.text, one.token_ids, one.fingerprint) for one in own
            ]


def test_engines_are_given_what_comes_next_once(model: Path, tmp_path: Path) -> None:
    engine = Engine()
    with one_run(model, tmp_path, engine) as run, Prompts(run) as prompts:
        prompts.take(1)
        prompts.hand_over()  # asked for already, so that nothing comes next
        assert engine.prepared == []
        prompts.begin(2)
        prompts.hand_over()
        # Judged ones (odd numbers) first, as they will be asked.
        [given] = engine.prepared
        assert sorted(given) == sorted(one.id for one in samples_of(run, 2))
        assert [int(name[1:]) % 2 for name in given] == [1, 1, 0, 0]
        prompts.take(2)
        prompts.begin(3)  # the run has two steps
        prompts.hand_over()
        assert len(engine.prepared) == 1


def test_a_row_that_does_not_open_is_refused_alone(model: Path, tmp_path: Path) -> None:
    with one_run(model, tmp_path, Engine()) as run:
        bad = Media(kind="image", data=b"no image")
        run.samples = [dataclasses.replace(one, media=(bad,)) if one.id == "q3" else one for one in run.samples]
        with Prompts(run) as prompts:
            asked = prompts.take(1)
            refused = [one.prompt_id for one in asked.prompts if isinstance(one, Refusal)]
            assert refused == [one.id for one in asked.samples if one.id == "q3"] and len(asked.prompts) == 4
