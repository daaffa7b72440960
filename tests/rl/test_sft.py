"""SFT: loss on the assistant's tokens only, RL's own prompts, and a model that is found again instead of trained
again."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

from examples.tiny_judge.architecture import write_untrained
from rl.config import ComputeConfig, Config, DataConfig, ModelConfig, SftConfig
from rl.data.phantoms import questions as phantoms
from rl.data.sets import SftRow
from rl.sft import IGNORED, collate, encode_row, ensure_sft, sft_hash, train_sft, training_order
from rollouts.prompt.messages import render_prompt, response
from rollouts.prompt.processing import load_processor
from rollouts.records import BadSample, Sample
from tests.fakes.tiny_models import SYSTEM, make_internvl, make_llama, make_qwen25vl, open_think


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_internvl(tmp_path_factory.mktemp("model") / "internvl")


@pytest.fixture(scope="module")
def rows() -> list[SftRow]:
    """Images, three-slice volumes and one row without an image."""
    text_only = Sample(id="text", question="Is a cyst hollow?", answer_type="yes_no", gold_text="yes")
    return [
        *phantoms.load(DataConfig(num_sft=15, num_rl=1, num_eval=1)).sft,
        SftRow(text_only, response("A cyst is hollow.", "yes")),
    ]


def config(model: Path, **sft) -> Config:
    settings = {"batch_size": 4, "micro_batch_size": 2, "learning_rate": 1e-3, **sft}
    return Config(model=ModelConfig(path=str(model)), sft=SftConfig(**settings), compute=ComputeConfig(num_threads=1))


def model_and_batch(folder: Path, rows: list[SftRow]):
    processor = load_processor(folder)
    model = AutoModelForImageTextToText.from_pretrained(folder, attn_implementation="eager").eval()
    return (
        processor,
        model,
        collate([encode_row(processor, model, row) for row in rows], processor.tokenizer.pad_token_id),
    )


def test_labels_are_the_response_and_the_end_of_turn_and_nothing_else(tiny, rows):
    processor, _, batch = model_and_batch(tiny, rows)
    tokenizer = processor.tokenizer
    for ids, labels, mask, row in zip(batch["input_ids"], batch["labels"], batch["attention_mask"], rows, strict=True):
        assert tokenizer.decode(labels[labels != IGNORED]) == row.response + tokenizer.eos_token
        assert (ids[labels != IGNORED] == labels[labels != IGNORED]).all()
        # What is left out is the prompt, with image tokens multiplied, and the padding.
        prompt = tokenizer.decode(ids[(labels == IGNORED) & (mask == 1)])
        assert prompt.endswith(render_prompt(row.sample, processor).rpartition("<|im_end|>")[2])
        assert row.sample.question in prompt and row.response not in prompt


@pytest.mark.parametrize("make", [make_internvl, make_qwen25vl])
def test_prompt_tokens_carry_no_loss(make, tmp_path, rows):
    _, model, batch = model_and_batch(make(tmp_path / "model"), rows[:3])
    logits = (
        model(**{name: tensor for name, tensor in batch.items() if name != "labels"}).logits.detach().requires_grad_()
    )
    torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), batch["labels"][:, 1:].flatten(), ignore_index=IGNORED
    ).backward()
    touched = logits.grad[:, :-1].abs().sum(-1) > 0
    assert torch.equal(touched, batch["labels"][:, 1:] != IGNORED)


@pytest.mark.parametrize("make", [make_internvl, make_qwen25vl])
def test_a_row_has_the_same_log_probs_alone_and_padded_beside_others(make, tmp_path, rows):
    processor, model, batch = model_and_batch(make(tmp_path / "model"), rows)
    alone = collate([encode_row(processor, model, rows[0])], processor.tokenizer.pad_token_id)
    with torch.no_grad():
        one, among = (model(**{k: v for k, v in b.items() if k != "labels"}).logits[0] for b in (alone, batch))
    torch.testing.assert_close(among[: len(one)], one, atol=2e-5, rtol=1e-4)


def test_training_learns_and_repeats_to_the_last_bit(tiny, rows, tmp_path):
    settings = config(tiny, num_epochs=3)
    first, again = (
        load_file(train_sft(settings, rows, tmp_path / name) / "model.safetensors") for name in ("first", "again")
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
    losses = [
        json.loads(line).get("loss") for line in (tmp_path / "first" / "sft_metrics.jsonl").read_text().splitlines()
    ]
    losses = [loss for loss in losses if loss is not None]
    # 16 rows x 3 epochs in batches of 4.
    assert len(losses) == 12 and losses[-1] < losses[0]
    untrained = load_file(tiny / "model.safetensors")
    assert any(not torch.equal(first[name], untrained[name]) for name in first)
    assert load_processor(tmp_path / "first").chat_template == load_processor(tiny).chat_template


def test_micro_batches_do_not_change_the_result(tiny, rows, tmp_path):
    weights = [
        load_file(train_sft(config(tiny, micro_batch_size=size), rows, tmp_path / str(size)) / "model.safetensors")
        for size in (1, 4)
    ]
    for name, tensor in weights[0].items():
        torch.testing.assert_close(tensor, weights[1][name], atol=2e-4, rtol=1e-3)


def test_every_epoch_asks_every_row_once_in_its_own_order(tiny, rows):
    order = training_order(rows, config(tiny, num_epochs=2))
    assert sorted(order[:]) == sorted([*range(16)] * 2)
    assert order == training_order(rows, config(tiny, num_epochs=2))
    assert order != training_order(rows, dataclasses.replace(config(tiny, num_epochs=2), seed=1))


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


def test_the_hash_follows_model_rows_and_settings_but_not_where_it_is_kept(tiny, rows, tmp_path):
    base = sft_hash(config(tiny), rows)
    assert base == sft_hash(config(tiny, cache_dir="elsewhere", micro_batch_size=1), rows)
    other_model = make_internvl(tmp_path / "other", seed=1)
    changed = [
        sft_hash(config(tiny, learning_rate=2e-3), rows),
        sft_hash(dataclasses.replace(config(tiny), seed=1), rows),
        sft_hash(config(tiny), rows[1:]),
        sft_hash(config(tiny), [SftRow(rows[0].sample, "other"), *rows[1:]]),
        sft_hash(config(other_model), rows),
    ]
    assert len({base, *changed}) == 6


def test_an_interrupted_training_leaves_nothing_behind(tiny, rows, tmp_path, monkeypatch):
    settings = config(tiny, cache_dir=str(tmp_path / "sft"))

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("rl.sft.train_sft", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ensure_sft(settings, rows)
    assert list((tmp_path / "sft").iterdir()) == []


def test_a_given_checkpoint_is_taken_or_refused(tiny, rows, tmp_path):
    assert ensure_sft(config(tiny, checkpoint=str(tiny)), rows) == tiny
    with pytest.raises(FileNotFoundError, match="holds no model"):
        ensure_sft(config(tiny, checkpoint=str(tmp_path)), rows)


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
        encode_row(load_processor(folder), None, rows[0])


def test_of_a_response_only_what_the_template_has_not_opened_is_taught(tmp_path, rows):
    folder = open_think(make_internvl(tmp_path / "model"))
    processor, _, batch = model_and_batch(folder, rows)
    tokenizer = processor.tokenizer
    for ids, labels, mask, row in zip(batch["input_ids"], batch["labels"], batch["attention_mask"], rows, strict=True):
        assert "<think>" + tokenizer.decode(labels[labels != IGNORED]) == row.response + tokenizer.eos_token
        # Prompt and response together hold the tag once more than the instruction names it.
        assert tokenizer.decode(ids[mask == 1]).count("<think>") == 1 + SYSTEM.count("<think>")
    bare = SftRow(rows[-1].sample, "<answer>yes</answer>")
    with pytest.raises(BadSample, match=r"sample 'text': the chat template opens '<think>'"):
        encode_row(processor, None, bare)


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
    assert encode_row(load_processor(folder), model, rows[0]).completion_ids[-1] == end
    out = train_sft(config(folder, num_epochs=1), rows, tmp_path / "out")
    stops = json.loads((out / "generation_config.json").read_text())["eos_token_id"]
    assert end in stops and processor.tokenizer.eos_token_id in stops
