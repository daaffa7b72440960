"""A row that the processor or the engine refuses in the middle of a run is named, costs that row, and is counted."""

from __future__ import annotations

import dataclasses
import json
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from rl.drawing import TooManyFailures
from rl.evaluate.asking import HeldOut, evaluate
from rl.refusals import REFUSED_ROWS, no_score, tell_refusal
from rollouts.engine.requests import Refusal
from rollouts.prompt.processing import EncodedPrompt
from rollouts.records import Media, Sample
from tests.rl.evaluate import test_evaluate as evaluation
from tests.rl.test_step import Judge, at_once, model, samples, steps  # noqa: F401 - the fixture of a tiny model

# With the seed of these tests the first step asks q0, q7, q3, q6.
REFUSED = frozenset({"q3"})


def test_a_refusal_is_named_above_the_bar_and_in_the_runs_folder(tmp_path: Path) -> None:
    warnings: list[str] = []
    bar = SimpleNamespace(warn=warnings.append)
    for name in ("q3", "a\ud83d\x1b"):
        tell_refusal(tmp_path, bar, "step 1", Refusal(name, "x" * 5_000))
    assert warnings[0].startswith("step 1: row q3 was refused and is left out: xxx") and len(warnings[0]) < 400
    assert warnings[1].encode() and "\x1b" not in warnings[1]
    lines = (tmp_path / REFUSED_ROWS).read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["when"] for line in lines] == ["step 1", "step 1"]
    assert len(lines[0]) < 2_100


def test_a_row_that_the_engine_refuses_costs_itself_and_is_named(model: Path, tmp_path: Path) -> None:  # noqa: F811
    whole = steps(model, tmp_path / "whole", Judge(at_once), num_steps=1)
    done = steps(model, tmp_path / "run", Judge(at_once), num_steps=1, refuses=REFUSED)
    assert {one.prompt_id for one in done.records()} == {one.prompt_id for one in whole.records()} - REFUSED
    # What the other rows said and were paid is what it was.
    assert [dataclasses.replace(one, run="") for one in done.records()] == [
        dataclasses.replace(one, run="") for one in whole.records() if one.prompt_id not in REFUSED
    ]
    assert (whole.metrics[1]["rows/refused"], done.metrics[1]["rows/refused"]) == (0.0, 1.0)
    assert done.metrics[1]["num_completions"] == 12.0
    ((when, refusal),) = done.refused
    assert (when, refusal.prompt_id) == ("step 1", "q3") and "aspect ratio" in refusal.reason
    assert len(done.started) == 4, "the mini-batches of the step stay what they were"


def test_a_refused_row_changes_the_weights_as_a_row_without_a_signal_would(
    model: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    """Each mini-batch is one group here: the weights after the refused row are those without its update."""
    done = steps(model, tmp_path / "run", Judge(at_once), num_steps=1, refuses=REFUSED)
    again = steps(model, tmp_path / "again", Judge(at_once), num_steps=1, refuses=REFUSED)
    assert all(torch.equal(weight, again.weights[name]) for name, weight in done.weights.items())
    assert all(torch.isfinite(weight).all() for weight in done.weights.values())


def test_a_picture_that_vanishes_after_the_start_costs_its_row(model: Path, tmp_path: Path) -> None:  # noqa: F811
    picture = tmp_path / "there.png"
    Image.new("RGB", (56, 56)).save(picture)
    gone = Media("image", path=str(tmp_path / "gone.png"), sha256="0" * 64)
    shown = Media("image", path=str(picture))
    asked = [dataclasses.replace(one, media=(gone if one.id == "q0" else shown,)) for one in samples()]
    done = steps(model, tmp_path / "run", Judge(at_once), num_steps=1, asked=asked)
    assert {one.prompt_id for one in done.records()} == {"q7", "q3", "q6"}
    ((_, refusal),) = done.refused
    assert refusal.prompt_id == "q0" and "gone.png cannot be read" in refusal.reason


def test_more_refused_rows_than_may_fail_end_the_run_and_say_which(model: Path, tmp_path: Path) -> None:  # noqa: F811
    with pytest.raises(TooManyFailures, match=r"row q\d was refused: ValueError: absolute aspect ratio"):
        steps(model, tmp_path / "run", Judge(at_once), refuses=frozenset({"q0", "q3"}), max_failure_rate=0.4)
    everything = frozenset(f"q{index}" for index in range(8))
    with pytest.raises(TooManyFailures, match="all 4 rows were refused"):
        steps(model, tmp_path / "all", Judge(at_once), refuses=everything, max_failure_rate=1.0)


class Refuses(evaluation.FakeRollout):
    """Takes no prompt of item b."""

    def sample(self, requests: Any, settings: Any) -> Any:
        for request in requests:
            if request.prompt_id == "b":
                yield request.key, Refusal("b", "ValueError: too narrow")
        yield from super().sample([request for request in requests if request.prompt_id != "b"], settings)


def test_a_refused_item_has_no_verdict_in_an_evaluation_and_is_counted() -> None:
    def encode(sample: Sample, blanked: bool) -> EncodedPrompt:
        if sample.id == "c":
            raise OSError("the file is gone")
        return evaluation.encoded(sample, blanked)

    names = "abcd"
    script = {f"{name}{blank}": ["yes", "yes"] for name in names for blank in ("", " blank")}
    held_out = HeldOut(tuple(evaluation.item(name) for name in names), encode, True, ())
    result = evaluate(
        Refuses(script), evaluation.FakeScorer(), held_out, evaluation.CONFIG, name="SFT", policy_version=0
    )
    assert sorted((one.prompt_id, one.reason) for one in result.refused) == [
        ("b", "ValueError: too narrow"),
        ("c", "OSError: the file is gone"),
    ]
    for mode in result.answers:
        assert result.item_means(mode) == [1.0, None, None, 1.0]
    strict = dataclasses.replace(
        evaluation.CONFIG, grpo=dataclasses.replace(evaluation.CONFIG.grpo, max_failure_rate=0.4)
    )
    with pytest.raises(TooManyFailures, match="2 of 4 items were refused"):
        evaluate(Refuses(script), evaluation.FakeScorer(), held_out, strict, name="SFT", policy_version=0)


def test_futures_of_refused_rows_are_done_at_once() -> None:
    future = no_score(Refusal("a\ud83d", "x" * 5000), {"accuracy": 0.9, "format": 0.1})
    assert isinstance(future, Future) and future.done()
    scored = future.result()
    assert (scored.total, scored.valid, set(scored.outcomes)) == (None, False, {"accuracy", "format"})
    reason = scored.outcomes["format"].reason
    assert len(reason) < 450 and reason.encode()
