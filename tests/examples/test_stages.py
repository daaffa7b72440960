"""Recipes in stages: each goes on from the one before, is timed and measured, and is not trained twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

from examples.tiny.stages import BATCH_SIZE, Stage, copy_model, train_stages
from examples.tiny_judge.architecture import write_untrained
from examples.tiny_judge.make import finish, stage
from examples.tiny_judge.pairs import pairs
from examples.tiny_judge.rows import Training, rows


def taught(seed: int):
    return lambda count: list(rows(pairs(count, seed)))


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_untrained(tmp_path_factory.mktemp("models") / "untrained", 0)


def weights(folder: Path):
    return load_file(folder / "model.safetensors")["model.embed_tokens.weight"]


@pytest.mark.slow
def test_stages_go_on_from_each_other_and_a_second_call_trains_only_what_is_new(untrained, tmp_path, capfd):
    stages = (Stage("first", 1, taught(1), 1e-3, "constant"), Stage("second", 1, taught(2), 1e-3))
    measured: list[Path] = []

    def check(model: Path) -> str:
        measured.append(model)
        return f"model number {len(measured)}"

    first = train_stages(stages[:1], untrained, tmp_path, threads=1, check=check)
    assert "stage 1 of 1, first: 1 updates (1 to the end of the recipe)" in capfd.readouterr().err
    last = train_stages(stages, untrained, tmp_path, threads=1, check=check)
    said = capfd.readouterr().err
    assert f"{first} is reused" in said and "stage 2 of 2, second: model number 3" in said
    assert measured == [first, first, last] and first != last
    moved = [(weights(one) - weights(other)).abs().max() for one, other in ((untrained, first), (first, last))]
    assert all(0 < change < 0.02 for change in moved)
    noted = [json.loads(line) for line in (tmp_path / "made.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(line["stage"], line["model"]) for line in noted] == [
        ("first", "model number 1"), ("first", "model number 2"), ("second", "model number 3")
    ]  # fmt: skip
    assert all(line["updates"] == line["threads"] == 1 and line["seconds"] >= 0 for line in noted)


@pytest.mark.slow
def test_what_finishes_a_stage_is_what_the_next_one_starts_from(untrained, tmp_path):
    stages = (Stage("first", 1, taught(1), 1e-3), Stage("second", 1, taught(2), 1e-3))

    def to_the_start(trained: Path, folder: Path) -> Path:
        return copy_model(untrained, folder, [path.name for path in untrained.iterdir()])

    model = train_stages(stages, untrained, tmp_path, threads=1, check=str, finish=to_the_start)
    assert (weights(model) == weights(untrained)).all()
    trained = [next((tmp_path / name).glob("[0-9a-f]*")) for name in ("first", "second")]
    assert all((weights(folder) != weights(untrained)).any() for folder in trained)


def test_a_finished_judge_reads_every_nonce_alike(untrained, tmp_path):
    settings = stage(3, Training(num_pairs=2 * BATCH_SIZE + 1, seed=5, learning_rate=1e-3))
    assert settings.name == "pairs_3" and settings.num_updates == 2
    assert settings.rows(3) == list(rows(pairs(3, 5)))
    from transformers import AutoTokenizer

    from examples.tiny_judge.tokenizer import HEX_PAIRS

    folder = finish(untrained, tmp_path / "finished")
    ids = AutoTokenizer.from_pretrained(folder).convert_tokens_to_ids(list(HEX_PAIRS))
    assert (weights(folder)[ids] == weights(folder)[ids[0]]).all()


def test_only_the_named_files_are_copied_and_a_missing_one_is_an_error(untrained, tmp_path):
    out = copy_model(untrained, tmp_path / "a" / "b", ("config.json", "model.safetensors"))
    assert sorted(path.name for path in out.iterdir()) == ["config.json", "model.safetensors"]
    with pytest.raises(FileNotFoundError, match=r"sft\.json"):
        copy_model(untrained, tmp_path / "c", ("sft.json",))
