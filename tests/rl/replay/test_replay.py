"""Replay: what was stored comes back exactly and free of charge, what a change flips is what brute force finds, and the
run stays as it was."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from rewards.rubric import Rubric
from rewards.scorer import Scorer
from rewards.shipped.verdicts import images_for
from rl.replay.__main__ import main
from rl.replay.run import replay
from rl.run.progress import Display
from rollouts.check import check_run
from rollouts.records import Media, Rollout
from rollouts.store.layout import list_steps
from rollouts.store.reader import read_rollouts
from rollouts.store.writer import RunWriter
from tests.bench.make_run import make_run
from tests.fakes import fake_rollouts
from tests.fakes.scripted_judge import Reply, ScriptedJudge, always, data_of, honest
from tests.paths import REPOSITORY

KEY = "ROUNDS_MADE_UP_KEY"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stored run of 3 steps x 16 prompts x 4 completions, judged over HTTP by a server that is gone by now."""
    return make_run(tmp_path_factory.mktemp("runs") / "run", groups=48, prompts_per_step=16, size=4, image_size=16)


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY, raising=False)


def replayed(run: Path, *overrides: str, **options: Any) -> tuple[Path, dict[str, Any]]:
    with open(os.devnull, "w") as nowhere:
        asked = {"only": [], "times": 1, "out": None, **options}
        return replay(run, overrides, display=Display(nowhere), **asked)


def hashes(folder: Path) -> dict[str, str]:
    """Path and SHA-256 of every file, and every folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in sorted(folder.rglob("*"))
    }


def test_with_nothing_changed_every_value_comes_back_without_a_call_and_the_run_stays_as_it_was(run, tmp_path):
    before = hashes(run)
    out, report = replayed(run, out=tmp_path / "out")
    assert hashes(run) == before
    assert (report["num_completions"], report["num_identical"]) == (192, 192)
    assert report["flips"] == []
    assert report["judge"].get("judge/calls", 0) == 0
    assert report["judge"]["judge/by_cache"] > 0
    # Everything that was read and paid, not only the numbers of the report; transcripts and seconds aside.
    for old, new in zip(read_rollouts(run), read_rollouts(out), strict=True):
        assert (old.parsed, old.weights, old.total, old.valid, old.advantage) == (
            new.parsed,
            new.weights,
            new.total,
            new.valid,
            new.advantage,
        )
        assert {n: (o.value, o.status, o.parts) for n, o in old.outcomes.items()} == {
            n: (o.value, o.status, o.parts) for n, o in new.outcomes.items()
        }
        assert (old.completion, old.prompt_text, old.ref_logprobs) == (
            new.completion,
            new.prompt_text,
            new.ref_logprobs,
        )
    assert {outcome.status for one in read_rollouts(run) for outcome in one.outcomes.values()} > {"ok"}
    assert check_run(out, num_steps=3, prompts_per_step=16, num_generations=4).problems == ()
    assert {one.run for one in read_rollouts(out)} == {"out"}


def test_with_one_reward_changed_the_report_lists_exactly_the_flips_that_brute_force_finds(run, tmp_path):
    # Multiple choice graded by wording instead of by option: a letter alone is then no answer.
    out, report = replayed(run, "reward.routes.mcq=rouge_l", "reward.weights.format=0.5", out=tmp_path / "out")
    changed = Rubric(
        {"accuracy": 0.9, "format": 0.5}, dict.fromkeys(("mcq", "open", "report", "yes_no", "numeric"), "rouge_l")
    )
    expected, totals = set(), {}
    with Scorer(changed) as scorer:
        for one in read_rollouts(run):
            accuracy = one.outcomes["accuracy"]
            if one.sample.answer_type == "mcq":
                scored = scorer.submit(one.sample, one.completion.text, "x", one.completion.finish_reason).result()
                accuracy = scored.outcomes["accuracy"]
            if one.outcomes["accuracy"].value is not None and (one.outcomes["accuracy"].value > 0.5) != (
                accuracy.value > 0.5
            ):
                expected.add(
                    (
                        one.step,
                        one.prompt_id,
                        one.sample_index,
                        "accuracy",
                        one.outcomes["accuracy"].value,
                        accuracy.value,
                    )
                )
            if accuracy.value is not None:
                totals[one.key[1:]] = 0.9 * accuracy.value + 0.5 * one.outcomes["format"].value
    assert len(expected) > 10
    found = [tuple(flip.values()) for flip in report["flips"]]
    assert len(found) == len(set(found))
    assert set(found) == expected
    rewards = report["rewards"]
    assert rewards["accuracy"]["flips_up"] + rewards["accuracy"]["flips_down"] == len(expected)
    assert (rewards["format"]["flips_up"], rewards["format"]["agreement"]) == (0, 1.0)
    after = {one.key[1:]: one.total for one in read_rollouts(out) if one.total is not None}
    assert after == pytest.approx(totals)
    # The same as a file: one row a completion and reward.
    table = pq.read_table(out / "diff.parquet").to_pylist()
    rows = {
        (r["step"], r["prompt_id"], r["sample_index"], r["reward"], r["value_before"], r["value_after"])
        for r in table
        if r["flipped"]
    }
    assert rows == expected
    assert sum(row["reward"] == "total" for row in table) == 192


def test_another_judge_flips_what_it_judges_and_nothing_else(run, tmp_path, monkeypatch):
    monkeypatch.setenv(KEY, "made-up")
    with ScriptedJudge(always("correct"), models=["another"]) as server:
        _, report = replayed(run, "judge.model=another", f"judge.base_url={server.url}", out=tmp_path / "out")
        candidates = {data_of(body)["candidate"] for body in server.requests}
    expected = {
        one.key[1:]
        for one in read_rollouts(run)
        if one.sample.answer_type == "open"
        and one.outcomes["accuracy"].value == 0.0
        and one.parsed.answer in candidates
    }
    assert {tuple(flip.values())[:3] for flip in report["flips"]} == expected
    assert len(expected) > 3
    assert (report["rewards"]["accuracy"]["flips_up"], report["rewards"]["accuracy"]["flips_down"]) == (
        len(expected),
        0,
    )
    assert report["judge"]["judge/calls"] >= len(candidates)


def test_failed_judgements_stay_failed_until_they_are_asked_for(run, tmp_path, monkeypatch):
    failed = {one.key[1:] for one in read_rollouts(run) if one.outcomes["accuracy"].status == "error"}
    assert failed
    monkeypatch.setenv(KEY, "made-up")
    with ScriptedJudge(always("correct")) as server:
        overrides = [f"judge.base_url={server.url}", "judge.timeout_seconds=29"]
        _, report = replayed(run, *overrides, only=["status:error"], out=tmp_path / "out")
        candidates = {data_of(body)["candidate"] for body in server.requests}
    assert report["rewards"]["accuracy"]["status_changes"] == {"error -> ok": len(failed)}
    assert report["num_passing"] == len(failed)
    answers = {one.parsed.answer for one in read_rollouts(run) if one.key[1:] in failed}
    assert answers <= candidates
    # Verdicts of the run itself are not bought again.
    assert report["judge"]["judge/by_cache"] > 0


def test_a_stored_verdict_that_is_missing_is_asked_of_the_live_judge_or_ends_the_replay_clearly(
    run, tmp_path, capsys, monkeypatch
):
    bare = tmp_path / "bare"
    shutil.copytree(run, bare)
    for cache in bare.glob("judge.sqlite*"):
        cache.unlink()
    assert main([str(bare), "--out", str(tmp_path / "out")]) == 2
    assert KEY in capsys.readouterr().err
    monkeypatch.setenv(KEY, "made-up")
    with ScriptedJudge(honest(lambda _: "correct")) as server:
        config = bare / "config.yaml"
        text = config.read_text()
        line = next(line for line in text.splitlines() if "base_url: http" in line)
        config.write_text(text.replace(line, f"  base_url: {server.url}", 1))
        _, report = replayed(bare, out=tmp_path / "out2")
    assert report["judge"]["judge/calls"] > 0
    assert report["num_completions"] == 192


def wrong(one: Rollout) -> bool:
    value = one.outcomes["accuracy"].value
    return value is not None and value <= 0.5


@pytest.mark.parametrize(
    ("only", "passes"),
    [
        (["step=2"], lambda one: one.step == 2),
        (["step:2..3", "modality:CT"], lambda one: one.step >= 2 and one.sample.modality == "CT"),
        (["type:numeric,report"], lambda one: one.sample.answer_type in ("numeric", "report")),
        (["reward:..0.05"], lambda one: one.total is not None and one.total <= 0.05),
        (
            ["reward:0.99.. type:mcq"],
            lambda one: one.total is not None and one.total >= 0.99 and one.sample.answer_type == "mcq",
        ),
        (["status:error,abstain"], lambda one: one.outcomes["accuracy"].status in ("error", "abstain")),
        (["-step:1 is:wrong"], lambda one: one.step != 1 and wrong(one)),
    ],
)
def test_filters_choose_the_groups_that_hold_what_passes(run, tmp_path, only, passes):
    passing = [one for one in read_rollouts(run) if passes(one)]
    groups = {one.key[1:3] for one in passing}
    _, report = replayed(run, only=only, out=tmp_path / "out")
    assert {one.key[1:3] for one in read_rollouts(tmp_path / "out")} == groups
    assert report["num_passing"] == len(passing) > 0
    assert report["num_completions"] == report["num_identical"] == 4 * len(groups)


def test_where_a_step_shares_a_statistic_whole_steps_are_scored(run, tmp_path):
    out, report = replayed(run, "grpo.scale_rewards=batch", only=["step:1", "modality:CT"], out=tmp_path / "out")
    assert report["num_completions"] == 64
    # The std is now that of the whole step: computed here over its valid totals.
    members = [one for one in read_rollouts(run, step=1) if one.valid]
    totals = [one.total for one in members]
    mean = sum(totals) / len(totals)
    std = (sum((total - mean) ** 2 for total in totals) / (len(totals) - 1)) ** 0.5
    new = {one.key[1:]: one for one in read_rollouts(out)}
    one = next(one for one in members if one.advantage)
    own = [other.total for other in members if other.prompt_id == one.prompt_id]
    assert new[one.key[1:]].advantage == pytest.approx((one.total - sum(own) / len(own)) / (std + 1e-4))


def test_the_variance_of_a_judge_is_measured_without_its_cache(run, tmp_path, monkeypatch):
    monkeypatch.setenv(KEY, "made-up")
    # Says correct and incorrect in turn for one and the same candidate.
    said: dict[str, int] = {}

    def fickle(body: dict[str, Any]) -> Reply:
        data = data_of(body)
        name = json.dumps([data["question"], data["candidate"], data["reference"]])
        said[name] = said.get(name, 0) + 1
        return honest(lambda _: "correct" if said[name] % 2 else "incorrect")(body)

    with ScriptedJudge(fickle) as server:
        # One question a verdict, so that "in turn" is what it says.
        out, report = replayed(
            run,
            f"judge.base_url={server.url}",
            "judge.second_opinion=off",
            only=["type:open"],
            times=3,
            out=tmp_path / "out",
        )
    variance = report["variance"]
    assert variance["format"]["share_unanimous"] == 1.0
    assert 0 < variance["accuracy"]["share_unanimous"] < 1
    # Of three verdicts in turn two agree in one pair of three: 1/3; unanimous ones agree in all.
    unanimous = variance["accuracy"]["share_unanimous"]
    assert variance["accuracy"]["pair_agreement"] == pytest.approx(unanimous + (1 - unanimous) / 3)
    # Values 1, 0, 1: mean 2/3, squared distances 1/9 + 4/9 + 1/9 = 2/3, over 2 = 1/3.
    assert variance["accuracy"]["mean_std"] == pytest.approx((1 - unanimous) * (1 / 3) ** 0.5)
    assert pq.read_table(out / "repetitions").num_rows == 3 * 2 * report["num_completions"]


_SLOW = """
import sys, time
from rl.replay import run as replay_run
from rl.replay.__main__ import main
write = replay_run.ReplayFolder.write
def slow(self, files, *rest):
    write(self, files, *rest)
    print("written", files.step, flush=True)
    time.sleep(600)
replay_run.ReplayFolder.write = slow
main(sys.argv[1:])
"""


def test_a_killed_replay_goes_on_after_its_last_whole_step(run, tmp_path, capsys):
    out = tmp_path / "out"
    command = [sys.executable, "-c", _SLOW, str(run), "reward.weights.format=0.5", "--out", str(out)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY, env={**os.environ, "OMP_NUM_THREADS": "1"}
    ) as child:
        assert any(line.startswith("written") for line in child.stdout)
        child.send_signal(signal.SIGKILL)
    (first,) = [one.step for one in list_steps(out) if one.finished]
    manifest = out / f"rollouts/step_{first:06d}/manifest.json"
    written = manifest.stat().st_mtime_ns
    assert main([str(run), "reward.weights.format=0.5", "--out", str(out)]) == 0
    assert manifest.stat().st_mtime_ns == written
    assert "192/192" in capsys.readouterr().out
    report = json.loads((out / "replay_report.json").read_text())
    assert report["num_completions"] == 192
    _, whole = replayed(run, "reward.weights.format=0.5", out=tmp_path / "whole")
    assert {**whole, "replay": "", "judge": ""} == {**report, "replay": "", "judge": ""}


def test_a_judge_is_shown_a_stored_jpeg_under_the_name_it_had_in_training(tmp_path):
    jpeg = fake_rollouts.encoded(Image.open(io.BytesIO(fake_rollouts.png(3))), "JPEG")
    asked = dataclasses.replace(fake_rollouts.sample(0), media=(Media(kind="image", data=jpeg),))
    writer = RunWriter(tmp_path)
    writer.append_group([fake_rollouts.rollout(asked)])
    writer.finish_step(1)
    stored = next(read_rollouts(tmp_path)).sample
    shown = SimpleNamespace(shows_images=True)
    (before,), (after,) = images_for(shown, asked), images_for(shown, stored)
    assert before.sha256 == after.sha256 == hashlib.sha256(jpeg).hexdigest()
    pictures = [Image.open(io.BytesIO(one.png)).convert("RGB").tobytes() for one in (before, after)]
    assert pictures[0] == pictures[1]
