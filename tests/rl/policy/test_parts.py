"""Masks and adapters on a tiny model of each family: what learns, what must not, and that it is proved."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

import peft
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from rl.config import LoraConfig, Train
from rl.doctor.architecture import outline_of
from rl.policy.batching import Row
from rl.policy.lora import NoSuchLayer
from rl.policy.objectives import GrpoObjective
from rl.policy.parts import MASKS, FrozenPartChanged, NothingLearns, part_of
from rl.policy.policy import ADAPTER, Policy
from rl.policy.token_model import load_model
from rollouts.engine.checksum import checksum
from rollouts.prompt.processing import load_family
from tests.fakes.tiny_models import MAKERS, SEEING
from tests.rl.policy.policy_cases import GRPO, TOTAL_UPDATES, difference, policy_of, some_rows, totals_of, with_logprobs

R4 = LoraConfig(r=4, lora_alpha=8)


@pytest.fixture(scope="module", params=SEEING)
def seeing(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return MAKERS[request.param](tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def internvl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return MAKERS["internvl"](tmp_path_factory.mktemp("internvl_alone"))


@pytest.fixture(scope="module", params=MAKERS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return MAKERS[request.param](tmp_path_factory.mktemp(request.param))


def training(folder: Path, train: Train, lora: LoraConfig = R4, **more: object) -> Policy:
    objective = GrpoObjective(GRPO)
    what = {"train": train, "lora": lora, **more}
    return Policy(folder, objective, total_updates=TOTAL_UPDATES, **what)  # type: ignore[arg-type]


def learn(policy: Policy, rows: list[Row], updates: int = 1) -> None:
    for _ in range(updates):
        assert policy.update(rows, totals_of(rows))["update/skipped"] == 0.0


def changed_parts(folder: Path, before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> set[str]:
    """Parts of which at least one weight differs."""
    family = load_family(folder)
    return {part_of(name, family) for name in before if not torch.equal(before[name], after[name])}


def test_every_value_of_the_setting_has_a_mask() -> None:
    assert tuple(MASKS) == get_args(Train)


def test_the_entries_of_the_families_name_modules_that_are_there(seeing: Path) -> None:
    family = load_family(seeing)
    modules = dict(outline_of(str(seeing))[1].named_modules())
    assert {family.vision_tower, family.projector, family.decoder} <= set(modules)
    # Nothing of the decoder is taken for a part of the vision tower, and the layers of the tower are in it.
    assert part_of(f"{family.decoder}.layers.0.mlp.up_proj.weight", family) == "language model"
    assert part_of(f"{family.vision_layers}.0.some.weight", family) == "vision tower"
    assert part_of(f"{family.projector}.some.weight", family) == "projector"


@pytest.mark.parametrize(
    ("train", "learned"),
    [
        ("all", {"vision tower", "projector", "language model"}),
        ("language", {"language model"}),
        ("vision_projector", {"vision tower", "projector"}),
        ("lora", {"language model"}),  # by way of its adapters
    ],
)
def test_an_update_changes_what_learns_and_nothing_else(seeing: Path, train: Train, learned: set[str]) -> None:
    policy = training(seeing, train)
    before = policy.weights()
    learn(policy, with_logprobs(some_rows(seeing), policy), updates=2)
    assert changed_parts(seeing, before, policy.weights()) == learned
    family = load_family(seeing)
    for name, parameter in policy.tokens.named_parameters():
        learns = ".lora_" in name if train == "lora" else part_of(name.removeprefix("model."), family) in learned
        assert parameter.requires_grad == learns, name
        assert (parameter.grad is not None) <= learns, name
        assert (parameter in policy.optimizer.state) <= learns, name
    # A checkpoint holds what learns, and no bit of the rest.
    stored = {name.partition("/")[2] for name in policy.state()[0] if "/" in name}
    assert stored == {name for name, parameter in policy.tokens.named_parameters() if parameter.requires_grad}


def test_all_is_what_a_policy_without_a_mask_does(internvl: Path) -> None:
    plain, masked = policy_of(internvl), training(internvl, "all")
    for policy in (plain, masked):
        learn(policy, with_logprobs(some_rows(internvl), policy), updates=2)
    assert checksum(plain.state()[0]) == checksum(masked.state()[0])


def test_rows_without_images_teach_a_vision_tower_nothing_and_stop_nobody(internvl: Path) -> None:
    policy = training(internvl, "vision_projector")
    before = checksum(policy.weights())
    rows = [row for row in with_logprobs(some_rows(internvl), policy) if not row.prompt.media]
    learn(policy, rows)
    assert checksum(policy.weights()) == before


def test_a_text_model_has_no_vision_to_train(tmp_path: Path) -> None:
    with pytest.raises(NothingLearns, match=r"vision_projector trains vision tower and projector, but .* llama reads"):
        training(MAKERS["llama"](tmp_path), "vision_projector")


@pytest.mark.parametrize("train", ["language", "vision_projector", "lora"])
def test_a_frozen_weight_that_changed_stops_checkpoint_and_export(internvl: Path, tmp_path: Path, train: Train) -> None:
    policy = training(internvl, train)
    frozen = next(parameter for parameter in policy.tokens.parameters() if not parameter.requires_grad)
    with torch.no_grad():
        frozen.view(-1)[0] += 1e-3
    for save in (policy.state, lambda: policy.save_pretrained(tmp_path / "model")):
        with pytest.raises(FrozenPartChanged, match=f"model.train={train} freezes weights that changed"):
            save()
    assert not (tmp_path / "model").exists()


def test_the_adapter_off_is_the_base_to_the_last_bit(folder: Path) -> None:
    rows = some_rows(folder)
    base = policy_of(folder).log_probs(rows)
    policy = training(folder, "lora")
    assert policy.log_probs(rows) == base, "an adapter begins as no change"
    for _ in range(2):
        learn(policy, with_logprobs(rows, policy))
        assert policy.reference_log_probs(rows) == base
    assert sum(map(sum, policy.log_probs(rows))) != pytest.approx(sum(map(sum, base)), abs=1e-2)


def test_an_adapter_that_is_off_is_still_what_learns(internvl: Path) -> None:
    """FSDP looks at its first pass, which may be one of the reference, which parameters will have gradients."""
    policy = training(internvl, "lora")
    before = [name for name, parameter in policy.tokens.named_parameters() if parameter.requires_grad]
    with policy.parts.switched_off():
        during = [name for name, parameter in policy.tokens.named_parameters() if parameter.requires_grad]
    after = [name for name, parameter in policy.tokens.named_parameters() if parameter.requires_grad]
    assert before == during == after != []


def test_only_lora_has_a_base_behind_it(internvl: Path) -> None:
    with pytest.raises(ValueError, match=r"model.train=language has no adapters"):
        training(internvl, "language").reference_log_probs(some_rows(internvl))


def test_the_export_is_the_adapters_forward_and_peft_reads_the_adapter(folder: Path, tmp_path: Path) -> None:
    policy = training(folder, "lora")
    rows = with_logprobs(some_rows(folder), policy)
    learn(policy, rows, updates=3)
    before = checksum(policy.state()[0])
    policy.save_pretrained(tmp_path / "model")
    assert checksum(policy.state()[0]) == before, "the live base and adapters stay apart"
    values = policy_of(tmp_path / "model").log_probs(rows)
    for merged, live in zip(values, policy.log_probs(rows), strict=True):
        assert merged == pytest.approx(live, abs=1e-5)
    # The model loads as a model, the adapter as an adapter, and PEFT's own merge gives the same bits.
    adapter = tmp_path / "model" / ADAPTER
    assert {"adapter_config.json", "adapter_model.safetensors"} <= {path.name for path in adapter.iterdir()}
    family = load_family(folder)
    base = load_model(folder, family, dtype=torch.float32, attention=family.attention)
    theirs = peft.PeftModel.from_pretrained(base, adapter).merge_and_unload().state_dict()
    ours = policy.weights()
    assert all(torch.equal(theirs[name], tensor) for name, tensor in ours.items())
    stated = json.loads((adapter / "adapter_config.json").read_text())
    assert (stated["r"], stated["lora_alpha"], stated["lora_dropout"]) == (4, 8, 0.0)


def test_a_resumed_adapter_goes_on_with_the_same_bits(internvl: Path) -> None:
    straight = training(internvl, "lora")
    rows = with_logprobs(some_rows(internvl), straight)
    learn(straight, rows)
    tensors, meta = straight.state()
    stored = json.loads(json.dumps(meta))  # as a checkpoint on disk gives it back
    resumed = training(internvl, "lora", seed=1)  # other first weights, which the state replaces
    resumed.load_state(tensors, stored)
    for policy in (straight, resumed):
        learn(policy, rows, updates=2)
    assert checksum(straight.state()[0]) == checksum(resumed.state()[0])
    assert not any(name.endswith("base_layer.weight") or "embed_tokens" in name for name in tensors)


def test_a_state_of_another_mask_rank_or_base_is_refused_with_both_named(internvl: Path, tmp_path: Path) -> None:
    stored = training(internvl, "lora").state()
    with pytest.raises(ValueError, match=r"saved with model.train=lora, model.lora.r=4, .* this run has .*r=2,"):
        training(internvl, "lora", dataclasses.replace(R4, r=2)).load_state(*stored)
    with pytest.raises(ValueError, match=r"saved with model.train=lora, .* this run has model.train=language;"):
        training(internvl, "language").load_state(*stored)
    with pytest.raises(ValueError, match=r"saved with model.train=all and this run has model.train=lora"):
        training(internvl, "lora").load_state(*policy_of(internvl).state())
    other = MAKERS["internvl"](tmp_path)
    policy_of(other)  # the same seed gives the same weights; one of them is changed
    weights = load_file(other / "model.safetensors")
    next(iter(weights.values())).view(-1)[0] += 1
    load = load_model(other, load_family(other), dtype=torch.float32, attention="sdpa")
    load.save_pretrained(other, state_dict=weights)
    with pytest.raises(ValueError, match="the frozen weights are not those"):
        training(other, "lora").load_state(*stored)


@pytest.mark.parametrize("train", ["language", "vision_projector", "lora"])
def test_frozen_matrices_in_half_the_memory_give_the_same_bits(seeing: Path, train: Train) -> None:
    rows = some_rows(seeing)
    half = training(seeing, train, dtype="bfloat16")
    whole = Policy(seeing, GrpoObjective(GRPO), total_updates=TOTAL_UPDATES, dtype="bfloat16")
    frozen = [p for p in half.tokens.parameters() if not p.requires_grad]
    assert {p.dtype for p in frozen if p.dim() > 1} >= {torch.bfloat16}
    assert all(p.dtype == torch.float32 for p in half.tokens.parameters() if p.requires_grad)
    assert half.log_probs(rows) == whole.log_probs(rows)
    learn(half, with_logprobs(rows, half))


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        (("q_proj", "nothing"), "nothing names no linear layer .* expected all-linear or some of down_proj"),
        (("fc1",), r"fc1 names model.vision_tower\S*, which lies outside the decoder .* frozen with model.train=lora"),
        (("lm_head",), "lm_head names lm_head, which lies outside the decoder"),
    ],
)
def test_an_adapter_on_a_frozen_or_unknown_layer_is_refused(
    internvl: Path, targets: tuple[str, ...], said: str
) -> None:
    with pytest.raises(NoSuchLayer, match=said):
        training(internvl, "lora", dataclasses.replace(R4, target_modules=targets))


def test_adapters_stand_where_the_setting_says(seeing: Path) -> None:
    # Two decoder layers of seven linear layers each; the vision tower of Qwen2.5-VL has layers of the same names.
    assert len(adapted(training(seeing, "lora"))) == 14
    few = adapted(training(seeing, "lora", dataclasses.replace(R4, target_modules=("q_proj", "0.mlp.up_proj"))))
    decoder = load_family(seeing).decoder
    assert few == {f"{decoder}.layers.{i}.self_attn.q_proj" for i in (0, 1)} | {f"{decoder}.layers.0.mlp.up_proj"}


def adapted(policy: Policy) -> set[str]:
    names = (name for name, _ in policy.tokens.model.named_parameters() if ".lora_A." in name)
    return {name.partition(".lora_A.")[0] for name in names}


def test_the_first_adapters_follow_from_the_seed_alone(internvl: Path) -> None:
    def first(seed: int) -> dict[str, Tensor]:
        torch.manual_seed(torch.seed() % 1000)  # what was drawn before must not matter
        policy = training(internvl, "lora", seed=seed)
        return {name: tensor for name, tensor in policy.state()[0].items() if ".lora_" in name}

    assert difference(first(0), first(0)) == 0.0 < difference(first(0), first(1))
