"""The memory table: sizes without weights, hand-computed parts, refusals with settings that do fit, every preset."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from rl.config import ComputeConfig, Config, GrpoConfig, LoraConfig, ModelConfig, SftConfig
from rl.config.door import compose
from rl.doctor import fitting, memory
from rl.doctor.architecture import architecture_of, published
from rl.doctor.checks import check_disk, tell
from rl.doctor.memory import GIB, image_tokens_of, needs, policy_parts, sft_need, tokens_of
from tests.bench.memory.tracker import cases, track
from tests.paths import REPOSITORY

INTERNVL3_8B = "OpenGVLab/InternVL3-8B-hf"


def config(ranks: int = 1, train: Any = "all", beta: float = 0.04, **compute: Any) -> Config:
    return Config(
        model=ModelConfig(path=INTERNVL3_8B, dtype="bfloat16", max_model_len=4096, train=train, lora=LoraConfig(r=64)),
        grpo=GrpoConfig(max_completion_length=1024, micro_batch_tokens=16384, beta=beta),
        compute=ComputeConfig(device="cuda", num_policy_workers=ranks, num_rollout_workers=ranks, **compute),
    )


def gib_of(settings: Config, name: str) -> float:
    sizes = architecture_of(settings.model.path)
    [part] = [part for need in needs(settings, sizes) for part in need.parts if name in part.name]
    return max(part.training, part.drawing) / GIB


@pytest.mark.parametrize("path", list(published()))
def test_sizes_without_weights_are_those_that_were_published(path: str) -> None:
    counted = architecture_of(path).total.parameters
    assert counted == pytest.approx(published()[path]["parameters"], rel=0.003)


def test_parts_of_the_model_of_the_paper() -> None:
    sizes = architecture_of(INTERNVL3_8B)
    # InternViT-300M; 3,584 x 4 wide patches (pixel shuffle) to 3,584: a norm and two layers; Qwen2.5-7B.
    assert sizes.vision_tower.parameters == 304_012_288
    assert sizes.projector.parameters == 2 * 4096 + (4096 * 3584 + 3584) + (3584 * 3584 + 3584)
    assert sizes.embedding == sizes.head == 151_674 * 3584
    assert sizes.decoder.num_layers == 28
    # A layer: q and o 3,584^2, k and v 3,584 x 512, three matrices of the MLP; biases of q, k, v; two norms.
    matrices = 2 * 3584**2 + 2 * 3584 * 512 + 3 * 3584 * 18944
    assert sizes.decoder.layer_matrices == matrices
    assert sizes.decoder.layer_parameters == matrices + 3584 + 2 * 512 + 2 * 3584


def test_a_folder_is_read_where_there_is_one(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(published()["Qwen/Qwen2.5-3B-Instruct"]["config"]))
    assert architecture_of(str(tmp_path)).total == architecture_of("Qwen/Qwen2.5-3B-Instruct").total


def test_parts_by_hand_on_one_gpu() -> None:
    # 7.944 B parameters: 4 bytes each are 29.6 GiB, 8 are 59.2; the engine's weights in bfloat16 14.8.
    settings = config()
    assert gib_of(settings, "weights that learn") == pytest.approx(29.6, abs=0.05)
    assert gib_of(settings, "moments") == pytest.approx(59.2, abs=0.05)
    assert gib_of(settings, "gradients") == pytest.approx(29.6, abs=0.05)
    assert gib_of(settings, "engine: weights") == pytest.approx(14.8, abs=0.05)
    # The policy's copy of them is gone before the cache is there again, so the larger of the two counts.
    assert gib_of(settings, "KV cache") == pytest.approx(14.8, abs=0.05)
    assert gib_of(config(gpu_kv_cache_gib=20.0), "KV cache") == 20
    assert gib_of(config(weight_transport="store"), "KV cache") == settings.compute.gpu_kv_cache_gib == 10
    assert gib_of(config(optimizer_state="bfloat16"), "moments") == pytest.approx(29.6, abs=0.05)
    assert gib_of(config(optimizer_state="cpu"), "moments") == 0
    # Eight ranks hold an eighth each.
    assert gib_of(config(8), "weights that learn") == pytest.approx(3.70, abs=0.01)
    assert gib_of(config(8), "moments") == pytest.approx(7.40, abs=0.01)


def test_a_reference_by_hand() -> None:
    # 2 bytes for matrices of linear layers, 4 for the embedding (2.03 GiB), norms and biases; head: 151,674 x 3,584,
    # 1.01 GiB in bfloat16; two layers of 233.1 M parameters: 0.87.
    whole = 2 * (7.944 - 0.5436) / 1.0737 + 2.03
    assert gib_of(config(8), "reference") == pytest.approx(whole, abs=0.02)
    assert gib_of(config(8, reference="sharded"), "reference") == pytest.approx(whole / 8 + 1.01, abs=0.02)
    assert gib_of(config(8, reference="sharded", fsdp_size=4), "reference") == pytest.approx(whole / 4 + 1.01, abs=0.02)
    assert gib_of(config(8, reference="cpu"), "reference") == pytest.approx(1.01, abs=0.01)


def test_adapters_by_hand() -> None:
    # r = 64 beside seven matrices: 28 x 64 x (2 (3584 + 3584) + 2 (3584 + 512) + 3 (3584 + 18944)) = 161.5 M.
    assert memory.lora_parameters(64, architecture_of(INTERNVL3_8B).decoder) == 161_480_704
    settings = config(train="lora")
    assert gib_of(settings, "weights that learn") == pytest.approx(0.60, abs=0.01)
    # 2 bytes for matrices of linear layers, 4 for the embedding (2.03 GiB), norms and biases.
    assert gib_of(settings, "frozen weights") == pytest.approx(2 * (7.944 - 0.5436) / 1.0737 + 2.03, abs=0.02)
    assert not any("reference" in part.name for part in needs(settings, architecture_of(INTERNVL3_8B))[0].parts)


def test_tokens_of_the_largest_micro_batch() -> None:
    # A mini-batch has 16 / 4 = 4 prompts. One rank: 4 trees of 3,072 + 8 x 1,024 = 11,264 tokens, the budget cuts at
    # 16,384. Four ranks: a tree each. Eight ranks: half the completions, 3,072 + 4 x 1,024 = 7,168.
    assert tokens_of(config(1)) == (16_384, 3)
    assert tokens_of(config(4)) == (11_264, 1)
    assert tokens_of(config(8)) == (7_168, 1)


def test_images_of_all_prompts_of_a_micro_batch_are_reckoned() -> None:
    # One rank has 4 prompts of 3,072 tokens, which stand in one micro-batch where completions are short; four have one
    # each. Rows of SFT may be images but for a few words.
    assert image_tokens_of(config(1), 16_384) == 4 * 3_072
    assert image_tokens_of(config(4), 11_264) == 3_072
    assert image_tokens_of(config(1), 8_192) == 8_192
    sizes = architecture_of(INTERNVL3_8B)
    taught = (SftConfig(enabled=True, micro_batch_tokens=tokens) for tokens in (4_096, 8_192))
    small, large = (sft_need(dataclasses.replace(config(4), sft=one), sizes) for one in taught)
    assert small is not None and large is not None
    kept = [next(part.training for part in need.parts if "activations" in part.name) for need in (small, large)]
    # Inputs of 28 layers of the decoder and 24 of the tower, whose places are 4 a token (256 of a tile's 1,024), and
    # the stream in float32, a token; the tower counts for every token.
    a_token = 28 * 2 * 3584 + 24 * 2 * 1024 * sizes.places_per_token + 4 * 3584
    # And the mask over all pairs of tokens, three bytes a pair.
    assert kept == [4_096 * a_token + 3 * 4_096**2, 8_192 * a_token + 3 * 8_192**2]


def test_what_cannot_fit_is_refused_with_settings_that_do() -> None:
    settings = config(gpu_memory_gib=79.0)
    sizes = architecture_of(INTERNVL3_8B)
    assert not fitting.fits(settings, sizes)
    ways = fitting.ways_to_fit(settings, sizes)
    assert 1 <= len(ways) <= fitting.MOST_ANSWERS
    for way in ways:
        assert fitting.fits(fitting.apply(settings, way.changes), sizes)
        # None of the changes is for nothing.
        for left_out in way.changes:
            fewer = tuple(change for change in way.changes if change != left_out)
            assert not fitting.fits(fitting.apply(settings, fewer), sizes)
    findings = fitting.check_memory(settings)
    headline, before = [finding for finding in findings if finding.fix]
    assert "model.train=lora" in headline.fix
    assert "of 79" in headline.text
    assert before.fix == "as above"
    assert len(findings) <= 20  # one screen
    assert all(
        finding.good for finding in fitting.check_memory(dataclasses.replace(settings, compute=config().compute))
    )


def test_an_engine_that_cannot_deal_out_its_heads_is_refused() -> None:
    settings = config(1, tensor_parallel_size=3)  # 28 heads
    [fault] = [finding for finding in fitting.check_memory(settings) if not finding.good]
    assert "28 attention heads" in fault.text
    assert "2 or 4 or 7 or 14" in fault.fix


# The tables of examples/cluster.md.
TOLD = [
    ("qwen2_5_vl_3b", "compute=h200"),
    ("internvl3_8b", "compute=h200", "model.train=lora"),
    ("internvl3_8b", "compute=h200"),
    ("internvl3_8b", "compute=h100x8"),
    ("internvl3_38b", "compute=h100x64", "grpo.prompts_per_step=192", "compute.reference=sharded"),
]
# What that page promises: model, layout, and what has to be said besides.
FITTING = [
    ("internvl3_1b", "h200", ()),
    ("internvl3_2b", "h200", ()),
    ("qwen2_5_3b", "h200", ()),
    ("qwen2_5_vl_3b", "h200", ()),
    ("internvl3_8b", "h200", ("model.train=lora",)),
    ("internvl3_8b", "h200", ("compute.optimizer_state=cpu",)),
    ("qwen2_5_vl_7b", "h200", ("model.train=lora",)),
    ("internvl3_8b", "h100x8", ()),
    ("qwen2_5_vl_7b", "h100x8", ()),
    ("internvl3_8b", "h100x64", ("grpo.prompts_per_step=192",)),
    ("internvl3_38b", "h100x64", ("grpo.prompts_per_step=192", "grpo.beta=0")),
    ("internvl3_38b", "h100x64", ("grpo.prompts_per_step=192", "compute.reference=sharded")),
]


def told(model: str, *others: str) -> str:
    """What the doctor prints of a preset's memory, as on the page."""
    settings = compose(["+experiment=med_grpo", f"model={model}", "judge=rules", *others])
    output = io.StringIO()
    tell([("", fitting.check_memory(settings))], Console(file=output, width=150))
    return output.getvalue().strip("\n")


def test_the_page_on_clusters_shows_what_the_doctor_prints() -> None:
    page = (REPOSITORY / "examples/cluster.md").read_text(encoding="utf-8")
    for model, *others in TOLD:
        assert told(model, *others) in page, f"{model} {' '.join(others)}:\n{told(model, *others)}"


@pytest.mark.parametrize(("model", "layout", "others"), FITTING)
def test_every_preset_fits_the_layout_that_it_is_meant_for(model: str, layout: str, others: tuple[str, ...]) -> None:
    settings = compose(["+experiment=med_grpo", f"model={model}", f"compute={layout}", "judge=rules", *others])
    assert settings.model.path in published()
    assert [finding for finding in fitting.check_memory(settings) if not finding.good] == []


def test_a_large_model_on_a_small_machine_is_told_what_it_needs() -> None:
    settings = compose(["+experiment=med_grpo", "model=internvl3_38b", "compute=h200", "judge=rules"])
    bad = [finding for finding in fitting.check_memory(settings) if not finding.good]
    assert bad[0].fix


def test_a_checkpoint_takes_twelve_bytes_a_parameter(tmp_path: Path) -> None:
    settings = dataclasses.replace(config(), out_dir=str(tmp_path / "run"))
    # Two checkpoints and one that is written: 3 x 12 bytes; two models in bfloat16: 2 x 2; and a GiB.
    needed = (3 * 12 + 4) * architecture_of(INTERNVL3_8B).total.parameters / GIB + 1
    assert f"need {needed:.1f} GiB" in check_disk(settings, 100).text


def test_ranks_without_work_are_told() -> None:
    # 16 prompts x 8 completions / 4 mini-batches = 32 completions.
    settings = compose(["+experiment=med_grpo", "model=internvl3_8b", "compute=h100x64", "judge=rules", "grpo.beta=0"])
    texts = [finding.text for finding in fitting.check_memory(settings)]
    [idle] = [text for text in texts if "idle" in text]
    assert "32 completions for 48 ranks, so 16 are idle: grpo.prompts_per_step=24 gives each one, 192" in idle


@pytest.mark.slow
@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_the_table_agrees_with_the_tracker_of_torch(case: Any) -> None:
    """With four of the 28 decoder layers; `python -m tests.bench.memory` counts them all."""
    found = track(case, 4)
    assert found.doctor == pytest.approx(found.tracked, rel=0.1)


def test_what_the_tracker_counts_is_what_the_table_calls_the_policy() -> None:
    sizes = architecture_of(INTERNVL3_8B)
    assert all(part.tracked for part in policy_parts(config(8), sizes, 8_534, 1, 350))
