"""What a run logs around its steps: the SFT model as step 0, the quick evaluation, and both again after a resume."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import pytest

from rewards.rubric import Rubric
from rewards.scorer import Scorer
from rl.config import Config, EvalConfig, GrpoConfig
from rl.run.progress import Display
from rl.run.run import Run
from rl.run.tracking import Tracker, read_metrics
from rollouts.prompt.processing import load_processor
from rollouts.records import Sample
from rollouts.store.writer import RunWriter
from tests.fakes.tiny_models import make_internvl

CONFIG = Config(
    grpo=GrpoConfig(num_steps=6, prompts_per_step=1, num_generations=2), eval=EvalConfig(every_steps=2, quick_items=3)
)


@dataclasses.dataclass
class Cluster:
    """Remembers which weights its engines were given."""

    synced: list[int] = dataclasses.field(default_factory=list)

    def sync(self, version: int) -> None:
        self.synced.append(version)

    def metrics(self) -> dict[str, float]:
        return {}


@pytest.fixture(scope="module")
def processor(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return load_processor(make_internvl(tmp_path_factory.mktemp("internvl")))


def log_steps(folder: Path, processor: Any, steps: range, config: Config = CONFIG, done: int | None = None) -> str:
    """A run that logs these steps without doing them; what it said."""
    cluster, out = Cluster(), io.StringIO()

    def quick(step: int) -> dict[str, float]:
        return {"eval/accuracy": step / 10, "eval/num_items": 3.0}

    with (
        Scorer(Rubric({"format": 1.0})) as scorer,
        Tracker(folder, "off", resume_step=done) as tracker,
        Display(out) as display,
        display.bar("GRPO", 6, done or 0) as bar,
    ):
        run = Run(
            config=config, folder=folder, samples=[Sample("q", "?", "open", "yes")], processor=processor,
            cluster=cluster, scorer=scorer, writer=RunWriter(folder), tracker=tracker, bar=bar,
            start_step=steps.start, quick=quick,
        )  # type: ignore[arg-type]  # fmt: skip
        if not done and config.eval.every_steps:
            run.report(0, quick(0))
        for step in steps:
            evaluation = run.evaluate(step)
            assert ("timing_s/eval" in evaluation) == bool(evaluation)
            run.report(step, {"reward": 0.5, **evaluation})
    evaluated = [step for step in steps if config.eval.every_steps and step % config.eval.every_steps == 0]
    assert cluster.synced == evaluated, "the engines hold the weights that are evaluated"
    return out.getvalue()


def curve(folder: Path) -> list[tuple[float | None, float | None]]:
    return [(line["step"], line.get("eval/accuracy")) for line in read_metrics(folder)]


WHOLE = [(0, 0.0), (1, None), (2, 0.2), (3, None), (4, 0.4), (5, None), (6, 0.6)]


def test_every_second_step_is_evaluated_and_step_0_is_the_sft_model(processor: Any, tmp_path: Path) -> None:
    said = log_steps(tmp_path, processor, range(1, 7))
    assert curve(tmp_path) == WHOLE
    assert "held-out 60.0%" in said


def test_without_the_setting_nothing_is_evaluated(processor: Any, tmp_path: Path) -> None:
    off = dataclasses.replace(CONFIG, eval=EvalConfig())
    log_steps(tmp_path, processor, range(1, 4), off)
    assert curve(tmp_path) == [(1, None), (2, None), (3, None)]


@pytest.mark.parametrize("done", [0, 2, 3])
def test_a_resumed_run_leaves_the_curve_of_one_that_was_never_stopped(
    processor: Any, tmp_path: Path, done: int
) -> None:
    log_steps(tmp_path, processor, range(1, 5))
    log_steps(tmp_path, processor, range(done + 1, 7), done=done)
    assert curve(tmp_path) == WHOLE


def test_the_sft_model_is_no_step_whose_reward_could_fall_or_rise(processor: Any, tmp_path: Path) -> None:
    log_steps(tmp_path, processor, range(1, 3))
    with Tracker(tmp_path, "off", resume_step=2) as tracker, Scorer(Rubric({"format": 1.0})) as scorer:
        run = Run(
            config=CONFIG, folder=tmp_path, samples=[Sample("q", "?", "open", "yes")], processor=processor,
            cluster=Cluster(), scorer=scorer, writer=RunWriter(tmp_path), tracker=tracker, bar=None,
        )  # type: ignore[arg-type]  # fmt: skip
    assert [line["step"] for line in run._watch._history] == [1, 2]
