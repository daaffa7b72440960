"""The policy on a tiny model of each family: numbers of a plain forward, invariances, images that count, and what one
update may and may not change."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

from rl.policy.batching import Row
from rl.policy.objectives import GrpoObjective
from rl.policy.optimizer import learning_rate
from rl.policy.policy import NonFiniteUpdate, Policy, Reference
from rollouts.engine.checksum import checksum
from rollouts.prompt.processing import encode, load_family, load_processor, media_token_ids
from tests.fakes.tiny_models import MAKERS, SEEING, make_internvl
from tests.rl.policy.policy_cases import (
    GRPO,
    TOTAL_UPDATES,
    noise,
    policy_of,
    sample,
    some_rows,
    totals_of,
    with_logprobs,
)


@pytest.fixture(scope="module", params=MAKERS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return MAKERS[request.param](tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module", params=SEEING)
def seeing(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return MAKERS[request.param](tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def internvl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_internvl(tmp_path_factory.mktemp("internvl_alone"))


def auto_model(folder: Path) -> type:
    """The class of transformers that loads the model of a folder."""
    return AutoModelForImageTextToText if load_family(folder).reads_images else AutoModelForCausalLM


def plain_logprobs(folder: Path, row: Row, temperature: float) -> torch.Tensor:
    """What Hugging Face's own forward says of one row alone: no sharing, no padding, no custom mask, no custom
    positions."""
    model = auto_model(folder).from_pretrained(folder, dtype=torch.float32).eval()
    ids = torch.tensor([row.prompt.token_ids + row.completion_ids])
    media = dict(row.prompt.media)
    if "mm_token_type_ids" in media:
        text = torch.zeros(1, len(row.completion_ids), dtype=torch.long)
        media["mm_token_type_ids"] = torch.cat([media["mm_token_type_ids"], text], dim=1)
    with torch.no_grad():
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), **media).logits[0] / temperature
    logits[:, list(media_token_ids(load_processor(folder)))] = -torch.inf
    first = len(row.prompt.token_ids)
    return logits.log_softmax(-1)[first - 1 : -1].gather(1, ids[0, first:, None])[:, 0]


def test_log_probs_are_those_of_a_plain_forward(folder: Path) -> None:
    rows = some_rows(folder)
    ours = policy_of(folder).log_probs(rows)
    for row, values in zip(rows, ours, strict=True):
        assert torch.allclose(torch.tensor(values), plain_logprobs(folder, row, GRPO.temperature), atol=1e-5)


def test_log_probs_are_those_of_a_left_padded_batch(internvl: Path) -> None:
    rows = [row for row in some_rows(internvl) if row.prompt.media]
    model = AutoModelForImageTextToText.from_pretrained(internvl, dtype=torch.float32).eval()
    longest = max(len(row.prompt.token_ids) + len(row.completion_ids) for row in rows)
    ids, mask = torch.zeros(len(rows), longest, dtype=torch.long), torch.zeros(len(rows), longest, dtype=torch.long)
    for index, row in enumerate(rows):
        whole = row.prompt.token_ids + row.completion_ids
        ids[index, -len(whole) :] = torch.tensor(whole)
        mask[index, -len(whole) :] = 1
    pixels = torch.cat([row.prompt.media["pixel_values"] for row in rows])
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    with torch.no_grad():
        logits = (
            model(input_ids=ids, attention_mask=mask, position_ids=positions, pixel_values=pixels).logits
            / GRPO.temperature
        )
    logits[..., list(media_token_ids(load_processor(internvl)))] = -torch.inf
    for index, (row, values) in enumerate(zip(rows, policy_of(internvl).log_probs(rows), strict=True)):
        count = len(row.completion_ids)
        expected = logits[index, -count - 1 : -1].log_softmax(-1).gather(1, ids[index, -count:, None])[:, 0]
        assert torch.allclose(torch.tensor(values), expected, atol=1e-5)


def test_log_probs_depend_on_neither_micro_batching_nor_company_nor_order(folder: Path) -> None:
    rows = some_rows(folder)
    whole = policy_of(folder, micro_batch_tokens=5000).log_probs(rows)
    small = policy_of(folder, micro_batch_tokens=1)
    for values in (
        small.log_probs(rows),
        small.log_probs(rows[::-1])[::-1],
        [small.log_probs([row])[0] for row in rows],
    ):
        for ours, expected in zip(values, whole, strict=True):
            assert ours == pytest.approx(expected, abs=1e-5)


def test_forgetting_or_swapping_images_is_noticed(seeing: Path) -> None:
    processor = load_processor(seeing)
    policy = policy_of(seeing)
    answer = tuple(range(60, 70))
    asked = sample("two", "Which one?", (noise(1), noise(2)))
    swapped = dataclasses.replace(asked, media=asked.media[::-1])
    seen = policy.log_probs([Row(encode(processor, asked), answer)])[0]
    blind = policy.log_probs([Row(encode(processor, asked, blank=True), answer)])[0]
    mixed_up = policy.log_probs([Row(encode(processor, swapped), answer)])[0]
    assert np.abs(np.subtract(seen, blind)).max() > 1e-3
    assert np.abs(np.subtract(seen, mixed_up)).max() > 1e-3
    without = dataclasses.replace(encode(processor, asked), media={}, fingerprint="")
    assert np.abs(np.subtract(seen, policy.log_probs([Row(without, answer)])[0])).max() > 1e-3


def test_one_update_is_the_same_for_any_micro_batching_and_order(folder: Path) -> None:
    results = []
    for budget, turned in ((5000, False), (1, False), (300, True)):
        policy = policy_of(folder, micro_batch_tokens=budget)
        rows = with_logprobs(some_rows(folder), policy)
        metrics = policy.update(rows[::-1] if turned else rows, totals_of(rows))
        results.append((metrics, policy.state()[0]))
    for metrics, state in results[1:]:
        for name in ("loss", "kl", "entropy", "grad_norm"):
            assert metrics[name] == pytest.approx(results[0][0][name], abs=2e-5)
        # Adam's first step is the sign of the gradient wherever it is not tiny, so the moments say more than the
        # weights.
        for name in (name for name in state if name.startswith("exp_avg/")):
            assert torch.allclose(state[name], results[0][1][name], atol=1e-6)


def test_updates_follow_the_advantages(internvl: Path) -> None:
    policy = policy_of(internvl, beta=0.0)
    processor = load_processor(internvl)
    prompt = encode(processor, sample("one", "Where?", (noise(1),)))
    rows = with_logprobs([Row(prompt, (65, 66, 67), advantage=1.0), Row(prompt, (75, 76, 77), advantage=-1.0)], policy)
    policy.update(rows, totals_of(rows))
    good, bad = policy.log_probs(rows)
    assert sum(good) > sum(rows[0].old_logprobs or ())
    assert sum(bad) < sum(rows[1].old_logprobs or ())


def test_invalid_rows_change_nothing_at_all(internvl: Path) -> None:
    results = []
    for extra in ([], [float("nan")]):
        policy = policy_of(internvl)
        rows = with_logprobs(some_rows(internvl), policy)
        bad = [dataclasses.replace(rows[0], advantage=advantage, valid=False) for advantage in extra]
        metrics = policy.update(rows + bad, totals_of(rows + bad))
        assert metrics["update/skipped"] == 0.0
        results.append(checksum(policy.weights()))
    assert results[0] == results[1]


@pytest.mark.parametrize("field", ["advantage", "old_logprobs", "ref_logprobs"])
def test_a_non_finite_update_is_skipped_whole_and_the_third_in_a_row_stops(internvl: Path, field: str) -> None:
    policy = policy_of(internvl)
    rows = with_logprobs(some_rows(internvl), policy)
    policy.update(rows, totals_of(rows))
    before, meta = policy.state()
    # The clamp of the log ratio would make -inf a finite 20 and train on it: the inputs themselves must be looked at.
    poison = float("inf") if field == "advantage" else (-float("inf"),) * len(rows[4].completion_ids)
    poisoned = [dataclasses.replace(row, **{field: poison}) if place == 4 else row for place, row in enumerate(rows)]
    for count in (1, 2):
        assert policy.update(poisoned, totals_of(rows))["update/skipped"] == 1.0
        after, meta_after = policy.state()
        assert checksum(after) == checksum(before)
        assert meta_after == {**meta, "skips_in_a_row": count}
    with pytest.raises(NonFiniteUpdate, match="3 updates in a row"):
        policy.update(poisoned, totals_of(rows))
    assert checksum(policy.state()[0]) == checksum(before)


def test_a_good_update_ends_a_row_of_skipped_ones(internvl: Path) -> None:
    policy = policy_of(internvl)
    rows = with_logprobs(some_rows(internvl), policy)
    poisoned = [dataclasses.replace(row, advantage=float("nan")) for row in rows]
    for good in (False, False, True, False, False):
        metrics = policy.update(rows if good else poisoned, totals_of(rows))
        assert metrics["update/skipped"] == float(not good)
    assert policy.updates == 1


def test_the_kl_to_a_reference_of_the_same_weights_is_zero_and_grows(internvl: Path) -> None:
    policy = policy_of(internvl)
    reference = Reference(internvl, temperature=GRPO.temperature)
    rows = some_rows(internvl)
    rows = [
        dataclasses.replace(row, ref_logprobs=tuple(v)) for row, v in zip(rows, reference.log_probs(rows), strict=True)
    ]
    first = policy.update(rows, totals_of(rows))
    second = policy.update(rows, totals_of(rows))
    assert first["kl"] == pytest.approx(0.0, abs=1e-9)
    assert first["ratio"] == pytest.approx(1.0)  # without old log-probs the ratio is that of the weights to themselves
    assert second["kl"] > 1e-4


def test_weights_have_hugging_face_names_and_the_saved_folder_is_the_policy(folder: Path, tmp_path: Path) -> None:
    policy = policy_of(folder)
    rows = with_logprobs(some_rows(folder), policy)
    policy.update(rows, totals_of(rows))
    weights = policy.weights()
    policy.save_pretrained(tmp_path / "model")
    loaded = auto_model(folder).from_pretrained(tmp_path / "model")
    # A head tied to the embedding is sent once, a head of its own like any other weight.
    tied = {"lm_head.weight"} if loaded.config.tie_word_embeddings else set()
    assert set(weights) == set(loaded.state_dict()) - tied
    assert checksum(weights) == checksum({name: loaded.state_dict()[name] for name in weights})
    assert torch.equal(loaded.lm_head.weight, loaded.get_input_embeddings().weight) == bool(tied)
    assert load_processor(tmp_path / "model").chat_template == policy.processor.chat_template
    assert policy_of(tmp_path / "model").log_probs(rows) == policy.log_probs(rows)


def test_a_checksum_sees_every_bit_and_no_order(internvl: Path) -> None:
    weights = policy_of(internvl).weights()
    value = checksum(weights)
    assert checksum(dict(reversed(weights.items()))) == value
    name = next(iter(weights))
    assert checksum({("x" if key == name else key): tensor for key, tensor in weights.items()}) != value
    weights[name] = weights[name].clone()
    weights[name].view(-1).view(torch.int32)[0] ^= 1
    assert checksum(weights) != value


def test_the_learning_rate_by_hand() -> None:
    # 20 updates, 10 % warm-up = 2: half, whole; then half a cosine over 18: the middle of it after 9 is half the peak.
    rates = [learning_rate(update, 20, peak=1.0, warmup_ratio=0.1, kind="cosine") for update in range(21)]
    assert rates[:3] == pytest.approx([0.5, 1.0, 1.0])
    assert rates[11] == pytest.approx(0.5)
    assert rates[20] == pytest.approx(0.0)
    assert learning_rate(19, 20, peak=1.0, warmup_ratio=0.1, kind="constant") == 1.0
    assert learning_rate(0, 1, peak=1.0, warmup_ratio=0.0, kind="cosine") == 1.0


def test_bfloat16_is_the_arithmetic_and_not_the_memory(internvl: Path) -> None:
    rows = some_rows(internvl)
    exact = policy_of(internvl)
    half = Policy(
        internvl,
        GrpoObjective(dataclasses.replace(GRPO, learning_rate=1e-6)),
        total_updates=TOTAL_UPDATES,
        dtype="bfloat16",
    )
    for ours, expected in zip(half.log_probs(rows), exact.log_probs(rows), strict=True):
        assert ours == pytest.approx(expected, abs=0.15)
    assert half.weights()["model.language_model.norm.weight"].dtype == torch.bfloat16
    before = half.state()[0]
    half.update(rows := with_logprobs(rows, half), totals_of(rows))
    name = "weight/model.model.language_model.norm.weight"
    # 1 - 1e-6 does not exist in bfloat16: a policy that kept its weights there would never move.
    assert not torch.equal(half.state()[0][name], before[name])


def test_a_reference_in_bfloat16_holds_its_matrices_in_it_and_says_what_one_in_float32_says(internvl: Path) -> None:
    rows = some_rows(internvl)
    policy = Policy(internvl, GrpoObjective(GRPO), total_updates=TOTAL_UPDATES, dtype="bfloat16")
    reference = Reference(internvl, temperature=GRPO.temperature, dtype="bfloat16")
    assert reference.log_probs(rows) == policy.log_probs(rows)
    layer = reference.tokens.decoder.layers[0]
    assert (layer.mlp.up_proj.weight.dtype, layer.input_layernorm.weight.dtype) == (torch.bfloat16, torch.float32)
    assert not any(parameter.requires_grad for parameter in reference.tokens.parameters())


def test_a_missing_model_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"model\.path"):
        Policy(tmp_path / "nowhere", GrpoObjective(GRPO), total_updates=1)
