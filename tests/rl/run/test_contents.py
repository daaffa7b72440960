"""A resumed run learns from what it began with: rows, images, plugins, judge and model are compared by content."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from rewards.rubric import Rubric
from rl.data.sets import DataSplits, SftRow
from rl.run.contents import CONTENTS, compare, contents_of, hold
from rl.run.folder import RunFolderError
from rollouts.records import Media, Sample
from tests.fakes.fake_rollouts import png

pytestmark = pytest.mark.full_run_only(reason="a rubric with a plugin starts a child process")
ROWS = [
    Sample(f"q{i}", f"What is seen, {i}?", "open", "nodule", media=(Media("image", data=png(i)),)) for i in range(4)
]
SPLITS = DataSplits(sft=[SftRow(ROWS[0], "<think>t</think>\n<answer>nodule</answer>")], rl=ROWS[1:3], eval=ROWS[3:])


def contents(
    tmp_path: Path, splits: DataSplits = SPLITS, judge: str = "aaa", plugin: str = "def score(completion): return 1\n"
) -> dict[str, dict[str, str]]:
    """The contents of a run with one plugin and a model folder of one file."""
    model, file = tmp_path / "model", tmp_path / "mine.py"
    model.mkdir(exist_ok=True)
    (model / "chat_template.jinja").write_text("{{ messages }}")
    file.write_text(plugin)
    return contents_of(splits, Rubric({f"{file}:score": 1.0}), judge, model)


def test_the_same_contents_go_on_without_a_word(tmp_path: Path) -> None:
    assert hold(tmp_path, contents(tmp_path), resume=False, allow_changes=False) == []
    assert hold(tmp_path, contents(tmp_path), resume=True, allow_changes=False) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"splits": replace(SPLITS, rl=[replace(ROWS[1], gold_text="mass"), ROWS[2]])}, ["RL prompts: q1 changed"]),
        ({"splits": replace(SPLITS, rl=[ROWS[2], ROWS[1]])}, ["RL prompts: RL prompts in another order"]),
        ({"splits": replace(SPLITS, eval=[])}, ["held-out items: q3 gone"]),
        ({"splits": replace(SPLITS, sft=[SftRow(ROWS[0], "other")])}, ["SFT rows: q0 changed"]),
        (
            {"splits": replace(SPLITS, rl=[replace(ROWS[1], media=(Media("image", data=png(9)),)), ROWS[2]])},
            ["RL prompts: q1 changed"],
        ),
        ({"judge": "bbb"}, ["judge: settings, prompts and weights changed"]),
        ({"plugin": "def score(completion): return 2\n"}, ["rewards: score changed"]),
    ],
)
def test_what_changed_is_named_and_stops_a_resume(tmp_path: Path, changes: dict[str, object], words: list[str]) -> None:
    hold(tmp_path, contents(tmp_path), resume=False, allow_changes=False)
    now = contents(tmp_path, **changes)  # type: ignore[arg-type]
    with pytest.raises(RunFolderError) as refusal:
        hold(tmp_path, now, resume=True, allow_changes=False)
    assert all(word in str(refusal.value) for word in (*words, "allow_changes=true"))
    # Nothing was written over what the run began with: the same refusal comes again.
    with pytest.raises(RunFolderError):
        hold(tmp_path, now, resume=True, allow_changes=False)


def test_a_change_that_is_allowed_is_recorded_and_holds_from_then_on(tmp_path: Path) -> None:
    hold(tmp_path, contents(tmp_path), resume=False, allow_changes=False)
    assert hold(tmp_path, contents(tmp_path, judge="bbb"), resume=True, allow_changes=True) == [
        "judge: settings, prompts and weights changed"
    ]
    assert hold(tmp_path, contents(tmp_path, judge="bbb"), resume=True, allow_changes=False) == []
    record = json.loads((tmp_path / CONTENTS).read_text())
    assert record["accepted_changes"] == [["judge: settings, prompts and weights changed"]]


def test_the_template_of_the_model_is_part_of_it(tmp_path: Path) -> None:
    before = contents(tmp_path)
    (tmp_path / "model" / "chat_template.jinja").write_text("{{ messages | reverse }}")
    model = contents_of(SPLITS, Rubric({"format": 1.0}), "aaa", tmp_path / "model")["model"]
    assert compare({"model": before["model"]}, {"model": model}) == ["model: chat_template.jinja changed"]


def test_many_changed_rows_are_counted_and_the_first_are_named() -> None:
    before = {"RL prompts": {f"q{i}": "a" for i in range(30)}}
    (line,) = compare(before, {"RL prompts": {f"q{i}": "b" for i in range(30)}})
    assert line == "RL prompts: q0, q1, q2, q3, q4 and 25 more changed"
