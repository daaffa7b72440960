"""What a replay refuses, and what it replays around: each message says what was got, what was expected and how to mend
it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from rl.replay.__main__ import main
from rl.replay.run import replay
from rl.run.progress import Display
from rollouts.records import SCHEMA_VERSION
from rollouts.store.layout import list_steps
from rollouts.store.reader import read_rollouts
from rollouts.store.writer import RunWriter
from tests.bench.make_run import make_run
from tests.fakes.scripted_judge import MODEL, ScriptedJudge, always


@pytest.fixture(scope="module")
def rules_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stored run of 2 steps x 6 prompts x 2 completions, judged by rules."""
    return make_run(
        tmp_path_factory.mktemp("runs") / "run", groups=12, prompts_per_step=6, size=2, image_size=16, judge="rules"
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["reward.weights.formt=0.1"], "there is no reward named 'formt'; did you mean 'format'"),
        (["reward=medd"], "reward=medd (command line): there is no such option; did you mean 'med'"),
        (["grpo.beta=0.1"], "grpo.beta (command line): has no effect on a replay"),
        (["model=tiny"], "model=tiny (command line): has no effect on a replay"),
        (["reward.weights.format=0.1"], "reward.weights (command line): changes nothing"),
        (["judge=rules"], "judge=rules (command line): changes nothing"),
        (["judge.max_calls=3"], "judge.max_calls: setting it has no effect, because judge.kind=rules"),
        (["--only", "moddality=CT"], "there is no filter 'moddality'; did you mean 'modality'?"),
        (["--only", "modality:MR"], "There are modality: radiograph ("),
        (["--only", "step=a"], "step:a is no number; write step:3, step:<3"),
        (["--only", "reward:1..0"], "with LOW at most HIGH"),
        (["--only", "status:bad"], "status:bad is none of ok, abstain, error, timeout"),
        (["--only", "answer_type=open"], "there is no filter 'answer_type'. There are: is, modality, type"),
        (["--times", "3"], "judge=rules has none"),
        (["--times", "0"], "expected at least 1"),
        (["--out", "RUN/new"], "the run itself is never changed"),
    ],
)
def test_what_cannot_be_replayed_is_refused_before_anything_is_written(rules_run, tmp_path, capsys, arguments, says):
    out = [] if "--out" in arguments else ["--out", str(tmp_path / "out")]
    assert main([str(rules_run), *(text.replace("RUN", str(rules_run)) for text in arguments), *out]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert not (rules_run / "new").exists()


def test_folders_that_are_no_run_are_told_as_such(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    assert "holds no config.yaml" in capsys.readouterr().err
    shutil.copy(Path(__file__).parent / "__init__.py", tmp_path / "config.yaml")
    assert main([str(tmp_path)]) == 2
    assert "is not a run: it has no folder 'rollouts'" in capsys.readouterr().err


def test_a_folder_that_holds_something_else_is_not_written_into(rules_run, tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    assert main([str(rules_run), "--out", str(tmp_path)]) == 2
    assert "is not empty and holds no replay" in capsys.readouterr().err
    other = tmp_path / "other"
    assert main([str(rules_run), "--only", "step:1", "--out", str(other)]) == 0
    assert main([str(rules_run), "--only", "step:2", "--out", str(other)]) == 2
    assert "holds another replay (only differ)" in capsys.readouterr().err


def damaged(rules_run: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "damaged"
    shutil.copytree(rules_run, copy)
    parquet = copy / "rollouts/step_000001/rollouts.parquet"
    parquet.write_bytes(parquet.read_bytes()[:1000])
    return copy


def test_around_a_damaged_step_the_rest_is_replayed_and_the_damage_is_named(rules_run, tmp_path):
    run = damaged(rules_run, tmp_path)
    with open(os.devnull, "w") as nowhere:
        out, report = replay(run, [], [], 1, None, Display(nowhere))
    assert out.parent == run.parent
    assert [one.step for one in list_steps(out)] == [2]
    assert report["num_identical"] == report["num_completions"] == 12
    assert len(report["problems"]) == 1
    assert "step_000001" in report["problems"][0]


def test_a_newer_run_is_refused_with_both_numbers(rules_run, tmp_path, capsys):
    run = damaged(rules_run, tmp_path)
    for manifest in run.glob("rollouts/*/manifest.json"):
        manifest.write_text(manifest.read_text().replace(f'"schema_version": {SCHEMA_VERSION}', '"schema_version": 9'))
    assert main([str(run)]) == 2
    assert "schema version 9, this version reads up to 2" in capsys.readouterr().err


def test_a_missing_image_stops_only_a_judge_that_is_shown_images(rules_run, tmp_path, capsys, monkeypatch):
    run = tmp_path / "run"
    shutil.copytree(rules_run, run)
    next((run / "media").iterdir()).unlink()
    assert main([str(run), "--out", str(tmp_path / "out")]) == 0
    assert "is missing from" in capsys.readouterr().out
    assert len(list(read_rollouts(tmp_path / "out"))) == 24
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    with ScriptedJudge(always("correct")) as server:
        asked = ["judge=openai", f"judge.base_url={server.url}", f"judge.model={MODEL}", "judge.show_images=true"]
        assert main([str(run), *asked, "--out", str(tmp_path / "out2")]) == 2
    assert "and this judge is shown the images" in capsys.readouterr().err


def test_a_torn_last_group_is_replayed_as_far_as_it_is_there(rules_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(rules_run, run)
    writer = RunWriter(run)
    extra = list(read_rollouts(run, step=2))[:4]
    for index in (0, 2):
        writer.append_group([type(one)(**{**vars(one), "step": 3}) for one in extra[index : index + 2]])
    writer.close()
    jsonl = run / "rollouts/step_000003/rollouts.jsonl"
    jsonl.write_bytes(jsonl.read_bytes()[:-30])
    with open(os.devnull, "w") as nowhere:
        out, report = replay(run, [], ["step=3"], 1, tmp_path / "out", Display(nowhere))
    assert report["num_completions"] == 3
    # The member that is left of the torn group is alone, so it would not have been trained on.
    assert [one.valid for one in read_rollouts(out)] == [True, True, False]
