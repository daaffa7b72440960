"""The embedded tiny model: its tokenizer, what it was taught, and that the shipped weights see."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from transformers import AutoModelForImageTextToText

from examples.tiny import curriculum, measure
from examples.tiny.architecture import NUM_VISUAL_TOKENS, build_model, build_processor, grid_positions
from examples.tiny.measure import MODEL
from examples.tiny.tokenizer import TAGS, build_tokenizer
from rl.data.phantoms import questions as phantoms
from rl.data.phantoms import words
from rl.data.phantoms.draw import FINDINGS, NUM_SLICES
from rollouts.prompt.processing import encode, load_processor, media_token_ids
from rollouts.records import LETTERS, Sample


@pytest.fixture(scope="module")
def processor():
    return load_processor(MODEL)


def test_the_shipped_folder_is_at_most_12_megabytes_of_float32():
    assert sum(path.stat().st_size for path in MODEL.iterdir()) <= 12e6
    model = AutoModelForImageTextToText.from_pretrained(MODEL)
    assert model.dtype == torch.float32 and 2e6 <= model.num_parameters() <= 6e6


def test_the_shipped_tokenizer_and_template_are_those_the_code_builds(processor):
    built = build_processor()
    assert processor.tokenizer.get_vocab() == built.tokenizer.get_vocab()
    assert processor.chat_template == built.chat_template


@pytest.mark.parametrize(
    "text",
    [
        "Are regions of the brain  infarcted?\n\t(T2-weighted, 5.5 mm)",
        "肺部有结节吗?是。",
        "<think>I see a nodule in the upper left of the image.</think>\n<answer>B. nodule</answer>",
        "naïve œdème 🫁 A.B. C.",
    ],
)
def test_any_text_survives_the_tokenizer(processor, text):
    ids = processor.tokenizer(text, add_special_tokens=False)["input_ids"]
    assert processor.tokenizer.decode(ids, skip_special_tokens=True) == text


def test_tags_are_single_tokens_that_are_not_special(processor):
    tokenizer = processor.tokenizer
    for tag in TAGS:
        assert len(tokenizer(tag, add_special_tokens=False)["input_ids"]) == 1
        assert tag not in tokenizer.all_special_tokens
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    assert not set(media_token_ids(processor)) & {tokenizer.pad_token_id, tokenizer.eos_token_id}


def test_every_finding_and_letter_is_one_token():
    tokenizer = build_tokenizer()
    for word in itertools.chain(*FINDINGS.values()):
        assert len(tokenizer(f" {word}")["input_ids"]) == len(tokenizer(word)["input_ids"]) == 1
    for place in words.IMAGE_PLACES:
        # The quadrant, and "of the image".
        assert len(tokenizer(f" {place}")["input_ids"]) == 2
    for answer in (*words.PATIENT_SIDES, *words.SLICES, *(f"{letter}." for letter in LETTERS[:4])):
        assert len(tokenizer(answer)["input_ids"]) == 1


def test_prompts_and_responses_are_short(processor):
    rng = np.random.default_rng(0)
    for sample in phantoms.samples("length", 40, 0):
        prompt = encode(processor, sample)
        frames = NUM_SLICES if sample.modality == "CT" else 1
        image_id = processor.tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>")
        assert prompt.token_ids.count(image_id) == frames * NUM_VISUAL_TOKENS
        assert len(prompt.token_ids) - frames * (NUM_VISUAL_TOKENS + 3) <= 60
        for response in (phantoms.looking_response(sample, rng), phantoms.shortcut_response(sample, rng)):
            assert len(processor.tokenizer(response)["input_ids"]) <= 32


def test_patch_positions_are_distinct_and_their_own():
    table = grid_positions(128)
    assert table.shape == (64, 128)
    # First patch: all sines 0 and all cosines 0.3.
    assert torch.allclose(table[0], 0.3 * torch.tensor([0.0, 1.0, 0.0, 1.0]).repeat_interleave(32))
    assert torch.cdist(table, table).add(torch.eye(64)).min() > 0.1


def test_some_heads_of_the_untrained_model_look_one_token_back():
    processor = build_processor()
    model = build_model(processor, 0)
    model.set_attn_implementation("eager")
    ids = torch.tensor([processor.tokenizer("What does this radiograph show?\nA. nodule\nB. effusion")["input_ids"]])
    first_layer = model.eval()(input_ids=ids, output_attentions=True).attentions[0][0]
    assert first_layer[-1].diagonal(-1).min() > 0.5


def test_a_word_of_the_untrained_model_attends_to_the_same_word_among_the_options():
    processor = build_processor()
    model = build_model(processor, 0)
    model.set_attn_implementation("eager")
    text = "What does this radiograph show?\nA. effusion\nB. nodule\nC. normal\n<think>I see it: the answer is nodule"
    ids = processor.tokenizer(text)["input_ids"]
    pieces = processor.tokenizer.convert_ids_to_tokens(ids)
    options = {name: pieces.index(f"Ġ{name}") for name in ("effusion", "nodule", "normal")}
    with torch.no_grad():
        first_layer = model.eval()(input_ids=torch.tensor([ids]), output_attentions=True).attentions[0][0, :-1, -1]
    attention = {name: float(first_layer[:, place].mean()) for name, place in options.items()}
    # 0.45; with matching in all rotary frequencies it is 0.19.
    assert attention["nodule"] > 0.35 and max(attention["effusion"], attention["normal"]) < 0.02


def test_reading_rows_answer_what_the_report_says():
    for row in curriculum.reading_rows(50, 3):
        assert row.sample.visual_references[0] in row.sample.question and not row.sample.media
        assert measure.is_right(row.sample, row.response) and measure.is_well_formed(row.response)


def test_multiple_choice_is_taught_with_the_letter_behind_the_text_and_then_before_it():
    sample = Sample(
        id="one",
        question="Where is the cyst?",
        answer_type="mcq",
        gold_text="upper left of the image",
        options=("lower left of the image", "upper left of the image"),
        gold_letters=("B",),
        visual_references=("a cyst in the upper left of the image",),
    )
    response = phantoms.looking_response(sample, np.random.default_rng(0))
    thought, _, answer = response.partition("</think>\n")
    assert thought.endswith(" a cyst in the upper left of the image, so the answer is upper left B.")
    assert answer == "<answer>B. upper left of the image</answer>"
    assert measure.is_right(sample, response) and measure.names_gold_letter(sample, response)
    assert measure.looks(response)
    other = response.replace("B. upper", "A. upper")
    assert not measure.is_right(sample, other) and not measure.names_gold_letter(sample, other)
    in_words = "<think>x</think>\n<answer>upper left of the image</answer>"
    assert measure.is_right(sample, in_words) and not measure.names_gold_letter(sample, in_words)
    shares = measure.table([sample, sample], [other, in_words])
    assert shares["right"] == shares["mcq"] == (1, 2) and shares["mcq by letter"] == (0, 2)
    # Wilson's interval of 1 of 2.
    assert str(shares["right"]) == "50.0 % (9-91)"


def test_images_of_the_base_are_in_no_split_of_a_run():
    base = {media.sha256 for row in curriculum.seeing_rows(60, 0) for media in row.sample.media}
    others = {
        media.sha256 for split in ("sft", "rl", "eval") for s in phantoms.samples(split, 60, 0) for media in s.media
    }
    assert len(base) > 30 and not base & others


def test_the_shipped_model_looks_and_is_mostly_right():
    asked = phantoms.samples("eval", 128, 0)
    shares = measure.table(asked, measure.completions(MODEL, asked))
    assert shares["well-formed"].value == 1.0 and shares["thought looks"].value == 1.0
    # Measured 0.91 on 320 other questions; 0.80 is four standard deviations below on 128.
    assert shares["right"].value > 0.80
