"""Exports: logs with inspect_ai's structure, and W&B tables whose images are those of the run."""

from __future__ import annotations

import base64
import hashlib
import json
import math

import pytest

from rl.export.__main__ import main
from rollouts.store.layout import list_steps
from rollouts.store.reader import read_rollouts
from tests.fakes import fake_rollouts
from tests.rl.evaluate.test_suite import evaluated


def test_an_inspect_log_holds_every_completion_with_its_scores_images_and_transcript(tmp_path, capsys):
    before = fake_rollouts.written(tmp_path / "run", 2, failures=0.2)
    assert main([str(tmp_path / "run"), "--to", "inspect", "--out", str(tmp_path / "logs")]) == 0
    assert "inspect view --log-dir" in capsys.readouterr().out
    logs = [json.loads(path.read_text()) for path in sorted((tmp_path / "logs").iterdir())]
    logs.sort(key=lambda log: log["eval"]["metadata"]["step"])
    assert [(log["version"], log["status"], log["eval"]["config"]["epochs"]) for log in logs] == [(2, "success", 8)] * 2
    samples = [sample for log in logs for sample in log["samples"]]
    assert [(sample["id"], sample["epoch"] - 1) for sample in samples] == [one.key[2:] for one in before]
    assert len({sample["uuid"] for sample in samples}) == len(before)
    for sample, one in zip(samples, before, strict=True):
        for name, outcome in one.outcomes.items():
            score = sample["scores"][name]
            # inspect's sign for "not scored" is NaN, which JSON text of Python and inspect's readers know.
            assert math.isnan(score["value"]) if outcome.value is None else score["value"] == outcome.value
            assert score["metadata"]["status"] == outcome.status
            assert score["metadata"]["evidence"] == outcome.evidence
        assert sample["metadata"]["advantage"] == one.advantage
        names = [
            part["image"].removeprefix("attachment://")
            for part in sample["input"][0]["content"]
            if part["type"] == "image"
        ]
        assert len(names) == (3 if one.sample.media[0].kind == "volume" else 1)
        data = [base64.b64decode(sample["attachments"][name].partition("base64,")[2]) for name in names]
        assert data == list(one.sample.media[0].frames or [one.sample.media[0].data])
    counts = next(score for score in logs[0]["results"]["scores"] if score["name"] == "accuracy")
    values = [one.outcomes["accuracy"].value for one in before if one.step == 1]
    scored = [value for value in values if value is not None]
    assert (counts["scored_samples"], counts["unscored_samples"]) == (len(scored), 32 - len(scored))
    assert counts["metrics"]["mean"]["value"] == pytest.approx(sum(scored) / len(scored))


def test_an_evaluation_has_a_log_for_its_greedy_answers_for_samples_and_for_each_probe(tmp_path):
    """Six items, greedily, with two samples, and greyed: the mean of the first log is the official score of rows that
    were asked, 0 of 6 but the one whose gold is B."""
    folder = evaluated(tmp_path, {}, num_samples=2, probes=["blank"])
    assert main([str(folder), "--to", "inspect", "--out", str(tmp_path / "logs")]) == 0
    logs = {
        log["eval"]["task"]: log for path in (tmp_path / "logs").iterdir() for log in [json.loads(path.read_text())]
    }
    assert {task: len(log["samples"]) for task, log in logs.items()} == {
        "mine@1": 6, "mine@1 sampled": 12, "mine@1 blank": 6
    }  # fmt: skip
    assert {log["eval"]["model"] for log in logs.values()} == {"tiny"}
    assert [logs[task]["eval"]["config"]["epochs"] for task in ("mine@1", "mine@1 sampled")] == [1, 2]
    mean = next(score for score in logs["mine@1"]["results"]["scores"] if score["name"] == "accuracy")
    assert mean["metrics"]["mean"]["value"] == pytest.approx(1 / 6)


def test_exporting_again_replaces_and_a_missing_image_is_named(tmp_path):
    fake_rollouts.written(tmp_path / "run", 1)
    command = [str(tmp_path / "run"), "--to", "inspect", "--out", str(tmp_path / "logs")]
    assert main(command) == 0
    (tmp_path / "run/media" / f"{next(read_rollouts(tmp_path / 'run')).sample.media[0].sha256}.png").unlink()
    assert main([*command, "--steps", "1"]) == 0
    (log,) = (json.loads(path.read_text()) for path in (tmp_path / "logs").iterdir())
    texts = [part["text"] for part in log["samples"][0]["input"][0]["content"] if part["type"] == "text"]
    assert texts[0].endswith("is missing)")
    assert main([*command, "--no-images"]) == 0
    (log,) = (json.loads(path.read_text()) for path in (tmp_path / "logs").iterdir())
    assert all(not sample["attachments"] for sample in log["samples"])


@pytest.mark.full_run_only(reason="W&B starts its own process")
def test_a_wandb_table_holds_every_completion_beside_its_image(tmp_path, monkeypatch):
    staged = tmp_path / "staged"
    monkeypatch.setenv("WANDB_DATA_DIR", str(staged))
    before = fake_rollouts.written(tmp_path / "run", 1, prompts_per_step=3, failures=0.2)
    assert main([str(tmp_path / "run"), "--to", "wandb", "--out", str(tmp_path / "out")]) == 0
    assert len(list((tmp_path / "out/wandb").glob("offline-run-*/run-*.wandb"))) == 1
    # The table with its images waits as an artifact for `wandb sync`.
    files = [path.read_bytes() for path in staged.rglob("*") if path.is_file()]
    table, *copies = (json.loads(data) for data in files if data.startswith(b'{"_type": "table"'))
    assert all(copy == table for copy in copies)
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    assert [(row["prompt_id"], row["completion"]) for row in rows] == [one.key[2:] for one in before]
    assert [row["accuracy"] for row in rows] == [one.outcomes["accuracy"].value for one in before]
    assert [row["accuracy_status"] for row in rows] == [one.outcomes["accuracy"].status for one in before]
    assert [row["total"] for row in rows] == [one.total for one in before]
    judged = [json.loads(row["judge"]) for row in rows if row["judge"]]
    assert judged == [
        {"accuracy": one.outcomes["accuracy"].evidence} for one in before if one.outcomes["accuracy"].evidence
    ]
    hashes = {hashlib.sha256(data).hexdigest() for data in files}
    assert {row["image"]["sha256"] for row in rows} <= hashes
    # Eight rows of a prompt show the same picture.
    assert len({row["image"]["sha256"] for row in rows}) == 3


def test_bad_input_is_told(tmp_path, capsys):
    fake_rollouts.written(tmp_path / "run", 2)
    out = ["--out", str(tmp_path / "out")]
    assert main([str(tmp_path), "--to", "inspect", *out]) == 2
    assert "is not a run" in capsys.readouterr().err
    assert main([str(tmp_path / "run"), "--to", "inspect", *out, "--steps", "5..9"]) == 2
    assert "no step" in capsys.readouterr().err
    for wrong in (
        ["--to", "inspect", "--online"],
        ["--to", "wandb", "--no-images"],
        ["--to", "inspect", "--steps", "a"],
    ):
        with pytest.raises(SystemExit):
            main([str(tmp_path / "run"), *wrong, *out])
    capsys.readouterr()
    (list_steps(tmp_path / "run")[0].folder / "rollouts.parquet").write_bytes(b"rubbish")
    assert main([str(tmp_path / "run"), "--to", "inspect", *out]) == 0
    assert "step 1 is left out" in capsys.readouterr().out
    assert len(list((tmp_path / "out").iterdir())) == 1
