"""SFT: loss on the assistant's tokens only, RL's own prompts, and training that repeats, whatever its micro-batches."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from examples.tiny_judge.architecture import write_untrained
from rl.algo.denominators import denominators
from rl.config import Config, LoraConfig
from rl.data.sets import SftRow
from rl.policy.objectives import SupervisedObjective
from rl.policy.parts import part_of
from rl.policy.policy import Policy
from rl.sft import train
from rl.sft.cache import sft_hash
from rl.sft.ranks import in_this_process
from rl.sft.rows import encode_row, training_order
from rl.step import TooManyFailures
from rl.workers.policy_worker import objective_of
from rollouts.prompt.messages import render_prompt, response
from rollouts.prompt.processing import load_family, load_processor
from rollouts.records import BadSample, Media, Sample
from tests.fakes.tiny_models import SYSTEM, make_internvl, make_llama, open_think
from tests.rl.sft.sft_cases import config


def train_sft(settings: Config, rows: list[SftRow], out: Path) -> Path:
    train.train_sft(settings, rows, out, start=in_this_process)
    return out


def metrics_of(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / train.METRICS).read_text().splitlines()]


def test_what_is_taught_is_the_response_and_the_end_of_turn_and_nothing_else(tiny, rows):
    processor = load_processor(tiny)
    tokenizer = processor.tokenizer
    for row in rows:
        encoded = encode_row(processor, row)
        assert tokenizer.decode(encoded.completion_ids) == row.response + tokenizer.eos_token
        prompt = tokenizer.decode(encoded.prompt.token_ids)
        assert prompt.endswith(render_prompt(row.sample, processor).rpartition("<|im_end|>")[2])
        assert row.sample.question in prompt and row.response not in prompt
        assert not encoded.prompt.engine_media


def test_training_learns_and_repeats_to_the_last_bit(tiny, rows, tmp_path):
    settings = config(tiny, num_epochs=3)
    first, again = (
        load_file(train_sft(settings, rows, tmp_path / name) / "model.safetensors") for name in ("first", "again")
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
    losses = [line["loss"] for line in metrics_of(tmp_path / "first")]
    # 16 rows x 3 epochs in batches of 4.
    assert len(losses) == 12 and losses[-1] < losses[0]
    untrained = load_file(tiny / "model.safetensors")
    assert any(not torch.equal(first[name], untrained[name]) for name in first)
    assert load_processor(tmp_path / "first").chat_template == load_processor(tiny).chat_template


@pytest.mark.parametrize(
    ("what", "learned"), [("vision_projector", {"vision tower", "projector"}), ("lora", {"language model"})]
)
def test_only_what_the_mask_names_is_fine_tuned(what, learned, tiny, rows, tmp_path):
    plain = config(tiny)
    settings = dataclasses.replace(plain, model=dataclasses.replace(plain.model, train=what, lora=LoraConfig(r=4)))
    out = train_sft(settings, rows, tmp_path / "model")
    # It is a whole model again, from which RL starts with all of it, or with adapters of its own.
    before, after = (Policy(one, objective_of(plain, "grpo"), total_updates=1).weights() for one in (tiny, out))
    family = load_family(tiny)
    assert {part_of(name, family) for name in before if not torch.equal(before[name], after[name])} == learned
    assert (out / "adapter" / "adapter_model.safetensors").exists() == (what == "lora")
    assert sft_hash(settings, rows) != sft_hash(plain, rows)


def test_micro_batches_do_not_change_the_result(tiny, rows, tmp_path):
    weights = [
        load_file(train_sft(config(tiny, micro_batch_tokens=size), rows, tmp_path / str(size)) / "model.safetensors")
        for size in (1, 5000)
    ]
    for name, tensor in weights[0].items():
        torch.testing.assert_close(tensor, weights[1][name], atol=2e-4, rtol=1e-3)


def test_every_epoch_asks_every_row_once_in_its_own_order(tiny, rows):
    order = training_order(rows, config(tiny, num_epochs=2))
    assert sorted(order[:]) == sorted([*range(16)] * 2)
    assert order == training_order(rows, config(tiny, num_epochs=2))
    assert order != training_order(rows, dataclasses.replace(config(tiny, num_epochs=2), seed=1))


def test_no_rows_is_said_to_be_the_fault(tiny, tmp_path):
    with pytest.raises(ValueError, match="at least one row"):
        train_sft(config(tiny), [], tmp_path)


def test_a_text_model_is_trained_from_its_tokenizer_and_refuses_images(rows, tmp_path):
    folder = write_untrained(tmp_path / "model")
    asked = [
        SftRow(Sample(id=str(i), question=f"Is {i} even?", answer_type="open", gold_text="yes"), "yes")
        for i in range(4)
    ]
    trained = train_sft(config(folder), asked, tmp_path / "trained")
    after, before = (AutoModelForCausalLM.from_pretrained(one).state_dict() for one in (trained, folder))
    assert any(not torch.equal(after[name], before[name]) for name in after)
    # The tokenizer comes back as it went in, its own normaliser included.
    text = 'Upper-LEFT of the "image"'
    ids = [load_processor(one).tokenizer(text)["input_ids"] for one in (trained, folder)]
    assert ids[0] == ids[1]
    with pytest.raises(BadSample, match="text only"):
        encode_row(load_processor(folder), rows[0])


def test_of_a_response_only_what_the_template_has_not_opened_is_taught(tmp_path, rows):
    processor = load_processor(open_think(make_internvl(tmp_path / "model")))
    tokenizer = processor.tokenizer
    for row in rows:
        encoded = encode_row(processor, row)
        assert "<think>" + tokenizer.decode(encoded.completion_ids) == row.response + tokenizer.eos_token
        # Prompt and response together hold the tag once more than the instruction names it.
        whole = tokenizer.decode(encoded.prompt.token_ids + encoded.completion_ids)
        assert whole.count("<think>") == 1 + SYSTEM.count("<think>")
    bare = SftRow(rows[-1].sample, "<answer>yes</answer>")
    with pytest.raises(BadSample, match=r"sample 'text': the chat template opens '<think>'"):
        encode_row(processor, bare)


def test_a_tokenizer_without_a_pad_token_is_trained(tmp_path):
    folder = make_llama(tmp_path / "model")
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    del settings["pad_token"]
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    assert load_processor(folder).tokenizer.pad_token is None
    asked = [
        SftRow(Sample(id=str(i), question=f"Is {i} even?", answer_type="open", gold_text="yes"), "yes" * (i + 1))
        for i in range(4)
    ]
    trained = load_file(train_sft(config(folder), asked, tmp_path / "trained") / "model.safetensors")
    before = load_file(folder / "model.safetensors")
    assert any(not torch.equal(trained[name], before[name]) for name in before)


def test_the_end_that_is_taught_is_the_templates_and_the_engine_stops_there(tmp_path: Path) -> None:
    """As in Gemma and Llama 3: the tokenizer's own end is another token than the one that ends a turn."""
    folder = make_llama(tmp_path / "llama")
    processor = load_processor(folder)
    assert processor.turn_end == processor.tokenizer.eos_token_id
    source = processor.source
    source.add_special_tokens({"additional_special_tokens": ["<end_of_turn>"]})
    source.chat_template = (
        "{% for m in messages %}<turn>{{ m.role }}\n{{ m.content }}<end_of_turn>\n{% endfor %}"
        "{% if add_generation_prompt %}<turn>assistant\n{% endif %}"
    )
    source.save_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.resize_token_embeddings(len(source))
    model.save_pretrained(folder)
    end = load_processor(folder).tokenizer.convert_tokens_to_ids("<end_of_turn>")
    rows = [
        SftRow(
            Sample(id=f"q{i}", question="Is a cyst hollow?", answer_type="yes_no", gold_text="yes"),
            response("It is.", "yes"),
        )
        for i in range(4)
    ]
    assert encode_row(load_processor(folder), rows[0]).completion_ids[-1] == end
    out = train_sft(config(folder, num_epochs=1), rows, tmp_path / "out")
    stops = json.loads((out / "generation_config.json").read_text())["eos_token_id"]
    assert end in stops and processor.tokenizer.eos_token_id in stops


def test_at_a_small_learning_rate_nearly_every_weight_moves_in_bfloat16_arithmetic(tiny, rows):
    """fp32 weights, bf16 arithmetic. In weights of bf16 a step of 2e-5 is below half of the last digit of every number
    from 2^-7 on: there most stay where they are."""
    settings = config(tiny, learning_rate=2e-5, lr_scheduler_type="constant", warmup_ratio=0.0, weight_decay=0.0)
    policy = Policy(tiny, objective_of(settings, "sft"), total_updates=1, dtype="bfloat16")
    assert isinstance(policy.objective, SupervisedObjective)
    before = {name: tensor.detach().clone() for name, tensor in policy.tokens.named_parameters()}
    encoded = [encode_row(load_processor(tiny), row) for row in rows]
    policy.update(encoded, denominators([[len(row.completion_ids) for row in encoded]], 0)[0])

    def moved(weights: dict[str, torch.Tensor], start: dict[str, torch.Tensor], gradients: dict[str, torch.Tensor]):
        has_gradient = {name: gradient != 0 for name, gradient in gradients.items()}
        changed = sum(int((weights[name] != start[name])[has_gradient[name]].sum()) for name in gradients)
        return changed / sum(int(mask.sum()) for mask in has_gradient.values())

    after = {name: tensor.detach() for name, tensor in policy.tokens.named_parameters()}
    # The first moment of Adam is a tenth of the gradient.
    gradients = {name.removeprefix("exp_avg/"): one for name, one in policy.state()[0].items() if "exp_avg/" in name}
    assert moved(after, before, gradients) >= 0.99
    half = {name: before[name].bfloat16().requires_grad_() for name in gradients}
    for name, weight in half.items():
        weight.grad = gradients[name].bfloat16()
    torch.optim.AdamW(half.values(), lr=2e-5, weight_decay=0.0).step()
    assert moved(half, {name: before[name].bfloat16() for name in half}, gradients) < 0.5


def test_a_row_that_fails_in_the_middle_is_named_and_costs_that_row(tiny, rows, tmp_path):
    """Its file was there when the rows were checked."""
    gone = SftRow(dataclasses.replace(rows[0].sample, media=(Media("image", path=str(tmp_path / "gone.png")),)), "yes")
    settings = config(tiny)
    out = tmp_path / "out"
    counts = train.train_sft(settings, [gone, *rows[1:]], out, start=in_this_process)
    assert counts.num_refused == 1 and metrics_of(out)[-1]["refused_rows"] == 1
    [line] = (out / "refused_rows.jsonl").read_text().splitlines()
    assert json.loads(line)["id"] == rows[0].sample.id and "gone.png" in line
    numbers = [line["update/num_rows"] for line in metrics_of(out)]
    assert sorted(numbers) == [3, 4, 4, 4]
    with pytest.raises(TooManyFailures, match=r"SFT update 1: 4 of 4 rows were refused[\s\S]*gone\.png"):
        train.train_sft(settings, [gone] * 4, tmp_path / "none", start=in_this_process)
