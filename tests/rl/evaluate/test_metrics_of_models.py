"""Metrics that need a model, on the stored reports of a benchmark: computed by another Python, or told why not."""

from __future__ import annotations

from pathlib import Path

import pytest

from rl.benchmarks.card import find
from rl.config import MetricConfig
from rl.data.sets import UnusableData
from rl.evaluate.suite.folder import open_door
from rl.evaluate.suite.numbers import reports, rows
from tests.fakes import other_python

CARD = """\
name: mine
version: 1
title: Mine
source: {files: [mine.jsonl]}
forms: [{columns: {id: id, answer: report}}]
answers: {kind: report}
needs_media: false
question: Describe.
prompt: report
scorer: report
headline: rouge_l
metrics: [radcliq, green, rouge_l]
licence: mine
baselines: []
"""


def answered(name: str) -> rows.Answered:
    said = rows.Reply(1.0, "lungs clear", "lungs clear", True, 2, "")
    return rows.Answered(
        id=name, pair_id="", probe="", variant="", card="mine@1", cluster=name, flaw="", merged="",
        answer_type="report", modality="", language="en", question="Q", gold_text="lungs clear",
        gold_choice="lungs clear", references=("lungs clear",), options=(), tags={}, greedy=said, sampled=(),
    )  # fmt: skip


@pytest.mark.full_run_only(reason="starts another Python")
def test_metrics_of_a_model_are_asked_of_another_python_and_never_0(tmp_path: Path) -> None:
    """Two reports; the stand-in for radeval scores words that only one side has, minus 1, and 0.01 a pair."""
    (tmp_path / "mine.yaml").write_text(CARD)
    card = find([str(tmp_path / "mine.yaml")])[0]
    said = [answered("a"), answered("b")]
    without = reports.metrics(card, said)
    assert without["radcliq"]["value"] is None and "metric.python is not set" in without["radcliq"]["not_computed"]
    opened = open_door(MetricConfig(python=other_python.make(tmp_path / "venv", with_package=True)))
    assert opened is not None
    found = reports.metrics(card, said, opened)
    opened.close()
    # Equal words: 0 - 1, and two pairs.
    assert found["radcliq"]["value"] == pytest.approx(-0.98) and found["radcliq"]["direction"] == -1
    assert "no file green.bin" in found["green"]["not_computed"] and found["green"]["value"] is None
    assert found["rouge_l"]["value"] == 1.0


def test_a_python_that_is_none_is_told_before_anything_is_asked() -> None:
    with pytest.raises(UnusableData, match="is no program"):
        open_door(MetricConfig(python="/nowhere/python"))
    assert open_door(MetricConfig()) is None
