"""A GGUF becomes a model folder: the same numbers, a tokenizer that ends its turns; everything else is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, LlamaForCausalLM

from examples.real_model.package import NoModel
from examples.real_model.prepare import EXPECTED, LEAST, SENTENCE, Check, check, main, prepare, refuse_wrong
from examples.real_model.reading import build_tokenizer, load_weights, read_text
from examples.real_model.vision import NUM_VISUAL_TOKENS, media_template
from rollouts.prompt.processing import encode, load_processor, media_token_ids
from rollouts.records import Media, Sample
from tests.examples.real_model.gguf_cases import TEMPLATE, make_llama, write_gguf

QUESTION = Sample(id="q", question="Is the 12th rib seen?", answer_type="yes_no", gold_text="yes")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[LlamaForCausalLM, Path]:
    """A model that has learnt one sentence, and its GGUF."""
    model = make_llama()
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    tokenizer = build_tokenizer(read_text(write_gguf(path, model)))
    ids = torch.tensor([tokenizer(SENTENCE, add_special_tokens=False)["input_ids"]])
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(60):
        optimizer.zero_grad()
        model(ids, labels=ids).loss.backward()
        optimizer.step()
    return model, write_gguf(path, model)


def test_the_weights_are_those_that_were_written(tiny: tuple[LlamaForCausalLM, Path]) -> None:
    """Query and key lie in another order in the file; after reading every number is in its place again."""
    model, path = tiny
    read = load_weights(path, read_text(path))
    assert read.config.rope_parameters["rope_theta"] == 10000.0
    states = model.state_dict(), read.state_dict()
    assert states[0].keys() == states[1].keys()
    for name, tensor in states[0].items():
        torch.testing.assert_close(tensor, states[1][name], rtol=0, atol=0, msg=name)


def test_end_and_padding_are_two_tokens_and_the_end_is_the_files_own(tiny: tuple[LlamaForCausalLM, Path]) -> None:
    """SmolLM2's file pads with its end token; the embedding of a padding token would get no gradient."""
    _, path = tiny
    text = read_text(path)
    tokenizer, model = build_tokenizer(text), load_weights(path, text)
    assert (tokenizer.eos_token, tokenizer.pad_token, tokenizer.bos_token) == (
        "<|im_end|>",
        "<|endoftext|>",
        "<|im_start|>",
    )
    assert (model.config.eos_token_id, model.config.pad_token_id) == (2, 0)
    assert model.get_input_embeddings().padding_idx == 0 and model.generation_config.eos_token_id == 2


def test_texts_are_cut_as_the_model_learnt_them(tiny: tuple[LlamaForCausalLM, Path]) -> None:
    _, path = tiny
    text = read_text(path)
    tokenizer = build_tokenizer(text)
    # 1 and 2 would merge; in a tokenizer of this kind each digit stands alone
    assert tokenizer.tokenize("the 12") == ["the", "Ġ", "1", "2"]
    for said in ("naïve œdème 肺部 5.5 mm\n\t(T2)", "<think>x</think>\n<answer>B. no</answer>"):
        ids = tokenizer(said, add_special_tokens=False)["input_ids"]
        assert tokenizer.decode(ids, skip_special_tokens=True) == said
    assert tokenizer("a<|im_end|>", add_special_tokens=False)["input_ids"][-1] == 2


def test_text_only_folder(tiny: tuple[LlamaForCausalLM, Path], tmp_path: Path) -> None:
    model, path = tiny
    found = prepare(tmp_path / "out", gguf=path)
    assert LEAST < found.log_prob < 0.0
    processor = load_processor(tmp_path / "out")
    assert (processor.family.model_type, processor.turn_end) == ("llama", 2)
    ids = torch.tensor([encode(processor, QUESTION).token_ids])
    read = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    torch.testing.assert_close(read(ids).logits, model(ids).logits, rtol=0, atol=1e-5)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["out"]  # no half-written folder is left


def test_vision_folder_reads_text_as_before_and_takes_images(
    tiny: tuple[LlamaForCausalLM, Path], tmp_path: Path
) -> None:
    model, path = tiny
    out = tmp_path / "out"
    prepare(out, gguf=path, vision=True)
    processor = load_processor(out)
    read = AutoModelForImageTextToText.from_pretrained(out).eval()
    assert processor.family.model_type == "internvl"
    assert read.get_input_embeddings().num_embeddings % 64 == 0
    assert read.lm_head.weight.data_ptr() == read.get_input_embeddings().weight.data_ptr()
    # a question without an image has the same tokens and the same logits as the text model's
    prompt = encode(processor, QUESTION)
    ids = torch.tensor([prompt.token_ids])
    text_only = build_tokenizer(read_text(path))
    assert prompt.token_ids == tuple(text_only(prompt.text, add_special_tokens=False)["input_ids"])
    with torch.no_grad():
        torch.testing.assert_close(
            read(input_ids=ids).logits[..., : model.config.vocab_size], model(ids).logits, rtol=0, atol=1e-5
        )
    # an image is sixteen placeholders, which are never drawn, and another image is another answer
    placeholder = processor.tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>")
    assert placeholder in media_token_ids(processor)
    logits = []
    for grey in (30, 220):
        file = tmp_path / f"{grey}.png"
        Image.new("RGB", (70, 50), (grey, 90, 90)).save(file)
        seen = encode(processor, dataclasses.replace(QUESTION, media=(Media("image", path=str(file)),)))
        assert seen.token_ids.count(placeholder) == NUM_VISUAL_TOKENS
        with torch.no_grad():
            logits.append(read(input_ids=torch.tensor([seen.token_ids]), **seen.media).logits[0, -1])
    assert not torch.equal(*logits)


def test_a_model_that_does_not_speak_is_refused_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_gguf(tmp_path / "random.gguf", make_llama())
    assert main(["--gguf", str(path), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert "nats a token, expected -2.500 to 0.000" in said and "Traceback" not in said
    assert not (tmp_path / "out").exists()


def test_weights_in_the_files_order_would_be_noticed(tiny: tuple[LlamaForCausalLM, Path]) -> None:
    """The check earns its place: with the rows of query and key left as the file has them, the sentence is lost."""
    model, path = tiny
    text = read_text(path)
    wrong = load_weights(path, text)
    with torch.no_grad():
        for layer in wrong.model.layers:
            for heads, projection in ((4, layer.self_attn.q_proj), (2, layer.self_attn.k_proj)):
                weight = projection.weight
                stored = weight.reshape(heads, 2, weight.shape[0] // heads // 2, -1).transpose(1, 2)
                weight.copy_(stored.reshape(weight.shape).clone())
    tokenizer = build_tokenizer(text)
    right, lost = check(model, tokenizer).log_prob, check(wrong, tokenizer).log_prob
    assert right > LEAST > lost


def test_the_packaged_model_is_held_to_its_number() -> None:
    refuse_wrong(Check(EXPECTED, " Paris."), packaged=True)
    for wrong in (EXPECTED - 0.1, EXPECTED + 0.1):  # another base of the rotary embedding costs 0.1
        with pytest.raises(NoModel, match="another order"):
            refuse_wrong(Check(wrong, " Paris."), packaged=True)
    with pytest.raises(NoModel, match="Paris"):
        refuse_wrong(Check(EXPECTED, " a a a"), packaged=True)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"tokens": None}, "has no tokenizer"),
        ({"merges": None}, "0 merges"),
        ({"pre": "llama-bpe"}, "expected 'gpt2' with one of 'smollm', 'gpt-2'"),
        ({"template": None}, "take the instruct version"),
        ({"eos": None}, "has the end token None"),
        ({"architecture": "gemma"}, "is of the architecture 'gemma', expected 'llama'"),
    ],
)
def test_a_gguf_of_another_kind_is_refused(
    changes: dict[str, object], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_gguf(tmp_path / "other.gguf", make_llama(), **changes)
    assert main(["--gguf", str(path), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert says in said and str(path) in said and len(said.splitlines()) <= 5


def test_a_file_that_is_no_gguf_and_one_that_ends_too_early(
    tiny: tuple[LlamaForCausalLM, Path], tmp_path: Path
) -> None:
    other, half = tmp_path / "notes.gguf", tmp_path / "half.gguf"
    other.write_text("these are notes, and no model at all")
    half.write_bytes(tiny[1].read_bytes()[:5000])
    for path in (other, half):
        with pytest.raises(NoModel, match="is no GGUF that can be read"):
            read_text(path)
    with pytest.raises(NoModel, match="there is no file"):
        read_text(tmp_path / "absent.gguf")


def test_an_output_that_is_there_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--out", str(tmp_path)]) == 2
    assert "is there already; remove it" in capsys.readouterr().err


def test_a_template_without_a_place_for_images_is_refused() -> None:
    with pytest.raises(NoModel, match="leave --vision out"):
        media_template("{{ messages[0]['content'] }}")
    assert media_template(TEMPLATE).count("<IMG_CONTEXT>") == 1
