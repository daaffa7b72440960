"""A checkpoint becomes a model that any library loads: the weights that were learnt, the rest of the run's model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from rl.config.door import compose, to_yaml
from rl.data.sizes import images_of
from rl.export.__main__ import main
from rl.policy.checkpoints import save
from rl.policy.token_model import open_token_model
from rollouts.prompt.processing import load_processor
from tests.paths import REPOSITORY

TINY = REPOSITORY / "examples/tiny/model"


def run_with_checkpoint(folder: Path, lora: object = None) -> Path:
    """A run whose checkpoint of step 2 holds the embedded model's language weights, each one larger."""
    shutil.copytree(TINY, folder / "model")
    (folder / "config.yaml").write_text(to_yaml(compose([])))
    tokens, fill = open_token_model(TINY, temperature=1.0, banned=())
    fill()
    learned = {f"weight/{name}": one.detach() + 1 for name, one in tokens.named_parameters() if "language" in name}
    state = {"step": 2, "policy": {"parts": {"lora": lora}}}
    save(folder / "checkpoints", 2, {**learned, "rng": torch.get_rng_state()}, state)
    return folder


def test_what_was_learnt_is_in_the_model_and_the_rest_is_as_it_was(tmp_path: Path) -> None:
    run = run_with_checkpoint(tmp_path / "run")
    assert main([str(run), "--to", "model", "--out", str(tmp_path / "models")]) == 0
    made = load_file(tmp_path / "models/step_000002/model.safetensors")
    before = load_file(TINY / "model.safetensors")
    assert made.keys() == before.keys()
    for name, tensor in before.items():
        expected = tensor.float() + 1 if "language" in name else tensor.float()
        assert torch.equal(made[name].float(), expected), name
    assert load_processor(str(tmp_path / "models/step_000002"), images_of(compose([]).model)).tokenizer


def test_what_is_no_whole_model_is_refused_with_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_with_checkpoint(tmp_path / "run", lora={"rank": 8})
    command = [str(run), "--to", "model", "--out", str(tmp_path / "models")]

    def refused(*more: str) -> str:
        assert main([*command, *more]) == 2
        return capsys.readouterr().err

    assert "holds an adapter (model.train=lora)" in refused()
    assert "was exported; steps that are kept: 2" in refused("--steps", "7..9")
    manifest = run / "checkpoints/step_000002/state.json"
    manifest.write_text(json.dumps({"step": 2}))
    assert "cannot be trusted: state.json is not the file that was written" in refused()
    shutil.rmtree(run / "model")
    assert "has no model/ yet" in refused()
    with pytest.raises(SystemExit):
        main([*command, "--no-images"])
