"""Stages follow each other: each has its data, mask and images, is found again by what it depends on, and goes on where
it was stopped."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from rl.config import Config
from rl.config.door import ConfigError, compose
from rl.data.sets import BadRows
from rl.data.sizes import images_of
from rl.sft import train
from rl.sft.__main__ import main as sft_command
from rl.sft.cache import as_trained, sft_hash
from rl.sft.ranks import OneRank, in_this_process
from rl.stages.cache import ensure_stage, stage_hash
from rl.stages.ready import ReadyStage, in_words, ready_stage
from rl.stages.settings import all_stages, as_staged, document_stages
from rollouts.prompt.families import FAMILIES
from tests.fakes.tiny_models import make_internvl
from tests.rl.sft.sft_cases import seeing_rows

INTERNVL = FAMILIES["internvl"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_internvl(tmp_path_factory.mktemp("model") / "internvl")


def settings(model: Path, cache: Path, **stage: Any) -> Config:
    """Two stages of two updates each, one thread."""
    config = compose(["+experiment=fleming_vl", f"model.path={model}", f"sft.cache_dir={cache}"])
    few = {"num_documents": 6, "batch_size": 2, "learning_rate": 1e-3, **stage}
    stages = dataclasses.replace(
        config.stages,
        interleaved=dataclasses.replace(config.stages.interleaved, **few),
        captions=dataclasses.replace(config.stages.captions, **few),
    )
    compute = dataclasses.replace(config.compute, num_threads=1)
    return dataclasses.replace(config, stages=stages, compute=compute)


def part(name: str) -> str:
    """The part that a tensor of a checkpoint's file belongs to."""
    places = {"vision tower": "vision_tower.", "projector": "multi_modal_projector."}
    return next((one for one, place in places.items() if place in name), "language model")


def ensure(config: Config, ready: ReadyStage, before: Path) -> Path:
    return ensure_stage(config, ready, before, start=in_this_process)


def test_each_stage_begins_with_the_one_before_and_trains_its_own_parts(
    tiny: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = settings(tiny, tmp_path / "cache")
    ready = {name: ready_stage(config, name, []) for name in document_stages(config)}
    first = ensure(config, ready["interleaved"], tiny)
    second = ensure(config, ready["captions"], first)
    weights = [load_file(folder / "model.safetensors") for folder in (tiny, first, second)]
    changed = [
        {part(name) for name in before if not torch.equal(before[name].float(), after[name].float())}
        for before, after in itertools.pairwise(weights)
    ]
    assert changed[0] == {"vision tower", "projector", "language model"}
    assert changed[1] == {"vision tower", "projector"}
    assert "captions 3/3" in capfd.readouterr().err
    written = (second / "model.safetensors").stat().st_mtime_ns
    assert ensure(config, ready["captions"], first) == second
    assert "is reused" in capfd.readouterr().err and (second / "model.safetensors").stat().st_mtime_ns == written
    # With the first stage left out the second is another model, from the base.
    assert ensure(config, ready["captions"], tiny) not in (first, second)


def test_the_hash_follows_what_a_stage_depends_on(tiny: Path, tmp_path: Path) -> None:
    config = settings(tiny, tmp_path)
    ready = ready_stage(config, "captions", [])

    def of(config: Config, ready: ReadyStage = ready) -> str:
        return stage_hash(as_staged(config, "captions", INTERNVL), ready)

    def captions(**changes: Any) -> Config:
        stage = dataclasses.replace(config.stages.captions, **changes)
        return dataclasses.replace(config, stages=dataclasses.replace(config.stages, captions=stage))

    base = of(config)
    # How it is computed, how often it is saved, what other stages do and how the whole run ends change nothing.
    assert base == of(captions(micro_batch_tokens=1, save_steps=1))
    assert base == of(dataclasses.replace(config, grpo=dataclasses.replace(config.grpo, learning_rate=1.0)))
    assert base == of(dataclasses.replace(config, sft=dataclasses.replace(config.sft, learning_rate=1.0)))
    others = [
        of(captions(learning_rate=1.0)),
        of(captions(train="all")),
        of(captions(max_tiles=2)),
        of(dataclasses.replace(config, seed=1)),
        of(config, dataclasses.replace(ready, documents=ready.documents[::-1])),
        of(config, dataclasses.replace(ready, updates=ready.updates[::-1])),
    ]
    assert len({base, *others}) == 7


def test_a_stage_that_was_stopped_goes_on_with_the_same_bits(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    straight = settings(tiny, tmp_path / "straight", save_steps=1)
    ready = ready_stage(straight, "captions", [])
    whole = ensure(straight, ready, tiny)

    class Stopped(KeyboardInterrupt):
        pass

    start_update = OneRank.start_update

    def stopping(self: OneRank, rows: Any, totals: Any) -> Any:
        if (tmp_path / "stopped").exists() and list((tmp_path / "stopped").glob(".*/checkpoints/step_*")):
            raise Stopped
        return start_update(self, rows, totals)

    monkeypatch.setattr(OneRank, "start_update", stopping)
    config = settings(tiny, tmp_path / "stopped", save_steps=1)
    with pytest.raises(Stopped):
        ensure(config, ready, tiny)
    monkeypatch.undo()
    resumed = ensure(config, ready, tiny)
    assert "captions goes on after update 1 of 3" in capfd.readouterr().err
    ours, expected = (load_file(folder / "model.safetensors") for folder in (resumed, whole))
    assert all(torch.equal(ours[name], expected[name]) for name in expected)
    lines = [(folder / train.METRICS).read_text().splitlines() for folder in (resumed, whole)]
    assert lines[0] == lines[1] and [json.loads(line)["step"] for line in lines[0]] == [1, 2, 3]


def test_images_are_tiled_before_rl_and_not_in_it(tiny: Path, tmp_path: Path) -> None:
    """Table 2: dynamic image size on in stages 1 to 3, off in RL; trainer and engine read the same settings."""
    config = settings(tiny, tmp_path)
    assert [images_of(as_staged(config, name, INTERNVL).model).max_tiles for name in document_stages(config)] == [
        12,
        12,
    ]
    assert images_of(as_trained(config).model).max_tiles == 12 and as_trained(config).model.train == "all"
    assert images_of(config.model).max_tiles == 1
    # A family of any image size has no number of tiles.
    assert images_of(as_staged(config, "captions", FAMILIES["qwen2_5_vl"]).model).max_tiles == 1
    rows = seeing_rows(3)
    plain = dataclasses.replace(config, sft=dataclasses.replace(config.sft, max_tiles=None))
    assert sft_hash(config, rows) != sft_hash(plain, rows)


def test_any_stage_can_be_left_out(tiny: Path) -> None:
    def stages(*skip: str) -> list[str]:
        return all_stages(compose(["+experiment=fleming_vl", f"stages.skip=[{','.join(skip)}]"]))

    assert stages() == ["interleaved", "captions", "instruction", "grpo"]
    assert stages("captions") == ["interleaved", "instruction", "grpo"]
    assert stages("instruction") == ["interleaved", "captions", "grpo"]
    assert stages("interleaved", "captions", "grpo") == ["instruction"]
    assert all_stages(compose(["+experiment=med_grpo"])) == ["instruction", "grpo"]
    with pytest.raises(ConfigError, match="nothing is left to do"):
        stages("interleaved", "captions", "instruction", "grpo")


def test_documents_that_cannot_be_taught_are_told_before_anything_starts(tiny: Path, tmp_path: Path) -> None:
    path = tmp_path / "documents.jsonl"
    rows = [
        {"id": "good", "content": ["A cyst is hollow."]},
        {"id": "long", "content": ["word " * 900]},
        {"content": 3},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = settings(tiny, tmp_path, data="interleaved", root=str(path), num_documents=None)
    with pytest.raises(BadRows) as told:
        ready_stage(config, "interleaved", [])
    text = str(told.value)
    assert text.startswith(f"stages.interleaved.root={path}: 2 rows cannot be used")
    assert "of model.max_model_len=512: cut the document" in text and "content is 3" in text
    assert (tmp_path / "bad_rows.jsonl").is_file()
    skipping = dataclasses.replace(config, data=dataclasses.replace(config.data, on_bad_row="skip"))
    ready = ready_stage(skipping, "interleaved", [])
    assert [one.id for one in ready.documents] == ["good"] and len(ready.bad_rows) == 2
    assert in_words(skipping, ready).startswith("1 documents with 0 images")


@pytest.mark.parametrize("setting", ["model.v2pe=true", "model.v2pe_delta=0.25", "stages.captions.v2pe=true"])
def test_asking_for_v2pe_is_told_that_the_engine_knows_integer_positions_only(setting: str) -> None:
    with pytest.raises(ConfigError, match="knows integer positions only"):
        compose(["+experiment=fleming_vl", setting])


def test_sft_alone_does_not_begin_with_another_model_in_silence(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        sft_command(["+experiment=fleming_vl"])
    assert left.value.code == 2
    assert "has stages before SFT (interleaved, captions)" in capsys.readouterr().err
