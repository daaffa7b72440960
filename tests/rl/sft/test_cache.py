"""An SFT model is found again instead of trained again, and a training that was stopped goes on with the same bits."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from rl.config import ComputeConfig, ModelConfig
from rl.data.sets import SftRow
from rl.run.folder import RunFolderError
from rl.sft import cache, train
from rl.sft.cache import sft_hash
from rl.sft.ranks import in_this_process, in_workers
from tests.fakes.tiny_models import make_internvl, open_think
from tests.paths import REPOSITORY
from tests.rl.sft.sft_cases import config


def ensure_sft(settings, rows):
    return cache.ensure_sft(settings, rows, start=in_this_process)


def test_a_finished_model_of_the_same_configuration_is_reused(tiny, rows, tmp_path, capfd):
    settings = config(tiny, cache_dir=str(tmp_path / "sft"))
    first = ensure_sft(settings, rows)
    written = (first / "model.safetensors").stat().st_mtime_ns
    assert ensure_sft(settings, rows) == first and (first / "model.safetensors").stat().st_mtime_ns == written
    said = capfd.readouterr()
    # One line of ours for each piece of work, and neither bars nor dictionaries of the libraries.
    lines = [line.split("  ")[0] for line in said.err.splitlines() if line and "Warning" not in line]
    assert lines[0].startswith("training on 16 rows into") and lines[-1].endswith(
        "is reused (same model, data and settings)"
    )
    assert lines[1:-1] == ["fine-tune 1/4", "fine-tune 4/4"] and said.out == ""
    assert [path.name for path in (tmp_path / "sft").iterdir()] == [first.name]


def test_the_hash_follows_model_rows_and_settings_but_not_where_it_is_kept(tiny, rows, tmp_path, monkeypatch):
    base = sft_hash(config(tiny), rows)
    assert base == sft_hash(config(tiny, cache_dir="elsewhere", micro_batch_tokens=1, save_steps=1), rows)
    other_model = make_internvl(tmp_path / "other", seed=1)
    changed = [
        sft_hash(config(tiny, learning_rate=2e-3), rows),
        sft_hash(dataclasses.replace(config(tiny), seed=1), rows),
        sft_hash(config(tiny), rows[1:]),
        sft_hash(config(tiny), [SftRow(rows[0].sample, "other"), *rows[1:]]),
        sft_hash(config(other_model), rows),
        # The same files but the template, which opens a tag of the answer.
        sft_hash(config(open_think(make_internvl(tmp_path / "opened"))), rows),
        sft_hash(dataclasses.replace(config(tiny), model=ModelConfig(path=str(tiny), dtype="bfloat16")), rows),
    ]
    assert len({base, *changed}) == 8
    monkeypatch.setattr(cache, "FORMAT_VERSION", cache.FORMAT_VERSION + 1)
    assert sft_hash(config(tiny), rows) not in {base, *changed}


def test_an_interrupt_before_the_first_checkpoint_leaves_nothing_behind(tiny, rows, tmp_path, monkeypatch):
    settings = config(tiny, cache_dir=str(tmp_path / "sft"))

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("rl.sft.cache.train_sft", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ensure_sft(settings, rows)
    assert list((tmp_path / "sft").iterdir()) == []


def test_a_given_checkpoint_is_taken_or_refused(tiny, rows, tmp_path):
    assert ensure_sft(config(tiny, checkpoint=str(tiny)), rows) == tiny
    with pytest.raises(FileNotFoundError, match="holds no model"):
        ensure_sft(config(tiny, checkpoint=str(tmp_path)), rows)


def test_two_processes_do_not_train_the_same_model(tiny, rows, tmp_path):
    settings = config(tiny, cache_dir=str(tmp_path / "sft"))
    partial = tmp_path / "sft" / f".{sft_hash(settings, rows)[:16]}.partial"
    partial.mkdir(parents=True)
    with cache._held(partial / cache.LOCK), pytest.raises(RunFolderError, match=r"another process.*sft\.cache_dir"):
        ensure_sft(settings, rows)


_KILLED_AT_UPDATE = """
import os, signal, sys
from pathlib import Path
from rl.sft import cache, ranks
from tests.rl.sft.sft_cases import config, seeing_rows

def killed(self, rows, totals, start=ranks.OneRank.start_update):
    self.count = getattr(self, "count", 0) + 1
    metrics = start(self, rows, totals)
    if self.count == 6:
        os.kill(os.getpid(), signal.SIGKILL)
    return metrics

ranks.OneRank.start_update = killed
settings = config(Path(sys.argv[1]), cache_dir=sys.argv[2], save_steps=2, num_epochs=2)
cache.ensure_sft(settings, seeing_rows(), start=ranks.in_this_process)
"""


@pytest.mark.full_run_only(reason="trains in a process of its own, which is killed")
def test_a_killed_training_goes_on_after_its_last_checkpoint_with_the_same_bits(tiny, rows, tmp_path, capfd):
    straight = ensure_sft(config(tiny, cache_dir=str(tmp_path / "straight"), num_epochs=2), rows)
    command = [sys.executable, "-c", _KILLED_AT_UPDATE, str(tiny), str(tmp_path / "sft")]
    killed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300)
    assert killed.returncode == -9, killed.stderr
    settings = config(tiny, cache_dir=str(tmp_path / "sft"), save_steps=2, num_epochs=2)
    resumed = ensure_sft(settings, rows)
    assert "SFT goes on after update 4 of 8" in capfd.readouterr().err
    ours, expected = (load_file(folder / "model.safetensors") for folder in (resumed, straight))
    assert ours.keys() == expected.keys() and all(torch.equal(ours[name], expected[name]) for name in ours)
    lines = [
        [json.loads(line) for line in (one / train.METRICS).read_text().splitlines()] for one in (resumed, straight)
    ]
    assert lines[0] == lines[1] and [line["step"] for line in lines[0]] == list(range(1, 9))
    assert sorted(path.name for path in resumed.iterdir()) == sorted(path.name for path in straight.iterdir())


@pytest.mark.slow  # two ranks without Ray are a test of tests/rl/policy/test_objectives.py
def test_two_ranks_in_workers_learn_what_one_does_here(tiny, rows, tmp_path):
    settings = config(tiny, learning_rate=1e-4, cache_dir=str(tmp_path / "one"))
    alone = ensure_sft(settings, rows)
    two = dataclasses.replace(
        settings,
        sft=dataclasses.replace(settings.sft, cache_dir=str(tmp_path / "two")),
        compute=ComputeConfig(num_threads=1, num_policy_workers=2),
    )
    together = cache.ensure_sft(two, rows, start=in_workers)
    assert together.name == alone.name
    assert sorted(path.name for path in together.iterdir()) == sorted(path.name for path in alone.iterdir())
    lines = [[json.loads(line) for line in (one / train.METRICS).read_text().splitlines()] for one in (together, alone)]
    for ours, expected in zip(*lines, strict=True):
        assert ours["num_tokens"] == expected["num_tokens"]
        for name in ("loss", "grad_norm", "mean_token_accuracy"):
            assert ours[name] == pytest.approx(expected[name], rel=1e-4, abs=1e-5), name
    left, right = (load_file(one / "model.safetensors") for one in (together, alone))
    far = sum(int(((left[name] - right[name]).abs() > 1e-5).sum()) for name in left)
    # Where a gradient is nothing but rounding, Adam steps by its sign.
    assert far < 0.01 * sum(tensor.numel() for tensor in left.values())
