"""A model that is built without weights and filled from its files is the model that transformers loads."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from rl.policy.loading.files import WrongWeights
from rl.policy.parts import Parts
from rl.policy.token_model import load_model, open_token_model
from rollouts.prompt.processing import load_family
from tests.fakes.tiny_models import MAKERS, make_internvl, make_llama, make_qwen2
from tests.rl.policy.policy_cases import policy_of, token_model


def tensors_of(model: torch.nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers, those that no file holds too, under each of their names."""
    return dict(model.named_parameters(remove_duplicate=False)) | dict(model.named_buffers(remove_duplicate=False))


def assert_same(ours: torch.nn.Module, theirs: torch.nn.Module) -> None:
    assert list(tensors_of(ours)) == list(tensors_of(theirs))
    for name, tensor in tensors_of(theirs).items():
        mine = tensors_of(ours)[name]
        assert (mine.dtype, mine.device, mine.requires_grad) == (tensor.dtype, tensor.device, tensor.requires_grad)
        assert torch.equal(mine, tensor), name


@pytest.mark.parametrize("family", MAKERS)
def test_a_filled_outline_is_what_transformers_loads(family: str, tmp_path: Path) -> None:
    folder = MAKERS[family](tmp_path)
    outline, fill = open_token_model(folder, temperature=0.9, banned=())
    assert {tensor.device.type for tensor in outline.model.parameters()} == {"meta"}
    assert outline.device.type == "cpu", "where it computes, wherever its weights are"
    fill()
    known = load_family(folder)
    whole = load_model(folder, known, dtype=torch.float32, attention=known.attention)
    assert_same(outline.model, whole)
    tied = [outline.model.get_output_embeddings().weight is outline.model.get_input_embeddings().weight]
    assert tied == [whole.get_output_embeddings().weight is whole.get_input_embeddings().weight]
    assert not outline.model.training
    assert outline.model.config.to_dict() == whole.config.to_dict()
    assert outline.model.generation_config.to_dict() == whole.generation_config.to_dict()


def test_adapters_begin_beside_unread_weights_as_beside_read_ones(tmp_path: Path) -> None:
    folder = make_internvl(tmp_path)
    family = load_family(folder)
    whole = load_model(folder, family, dtype=torch.float32, attention=family.attention)
    outline, fill = open_token_model(folder, temperature=0.9, banned=())
    for model in (whole, outline.model):
        Parts(model, family, "lora", seed=3, dtype=torch.bfloat16)
    fill()
    assert_same(outline.model, whole)
    drawn = [tensor for name, tensor in tensors_of(whole).items() if name.endswith("lora_A.default.weight")]
    assert drawn and all(tensor.abs().sum() > 0 for tensor in drawn)


def in_two_files(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    index = {name: f"model-0000{place % 2 + 1}-of-00002.safetensors" for place, name in enumerate(weights)}
    for file in set(index.values()):
        part = {name: weights[name] for name, home in index.items() if home == file}
        save_file(part, folder / file, {"format": "pt"})
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))


def in_bfloat16(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    half = {name: tensor.to(torch.bfloat16) for name, tensor in weights.items()}
    save_file(half, folder / "model.safetensors", {"format": "pt"})


def with_its_head(folder: Path) -> None:
    """A tied head that the file holds as well."""
    weights = load_file(folder / "model.safetensors")
    head = weights["model.embed_tokens.weight"].clone()
    save_file({**weights, "lm_head.weight": head}, folder / "model.safetensors", {"format": "pt"})


def with_another_head(folder: Path) -> None:
    """Which transformers then does not tie."""
    weights = load_file(folder / "model.safetensors")
    head = weights["model.embed_tokens.weight"] + 1
    save_file({**weights, "lm_head.weight": head}, folder / "model.safetensors", {"format": "pt"})


def as_pickle(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


@pytest.mark.parametrize(
    ("make", "change", "why_whole"),
    [
        (make_qwen2, in_two_files, ""),
        (make_llama, in_bfloat16, ""),
        (make_qwen2, with_its_head, ""),
        (make_qwen2, with_another_head, "two different tensors"),
        (make_llama, as_pickle, "no safetensors files"),
    ],
)
def test_files_of_other_forms_give_the_same_model_and_what_is_read_whole_is_told(
    make: Callable[[Path], Path], change: Callable[[Path], None], why_whole: str, tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    folder = make(tmp_path)
    change(folder)
    known = load_family(folder)
    caplog.set_level(logging.INFO)
    tokens = token_model(folder)
    assert_same(tokens.model, load_model(folder, known, dtype=torch.float32, attention=known.attention))
    told = [record.getMessage() for record in caplog.records if "loaded whole" in record.getMessage()]
    assert (why_whole in told[0]) if why_whole else not told


def test_files_that_do_not_fit_their_configuration_are_named(tmp_path: Path) -> None:
    folder = make_llama(tmp_path)
    weights = load_file(folder / "model.safetensors")
    name = "model.layers.1.mlp.up_proj.weight"
    cut = {**weights, name: weights[name][:-1].clone()}
    save_file(cut, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(WrongWeights, match=rf"{name} has the shape \(127, 64\) in .*, expected \(128, 64\)"):
        policy_of(folder)
    del cut[name]
    save_file(cut, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(WrongWeights, match=rf"lacks 1 of the 21 tensors of its model, such as {name}"):
        policy_of(folder)
