"""Samples become encoded prompts: what the engine takes, what the trainer takes, and which tokens are banned from
both."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from rollouts.prompt.families import FAMILIES, BadImageSettings, ImageSettings, UnknownFamily
from rollouts.prompt.messages import BadTemplate
from rollouts.prompt.processing import EncodedPrompt, Processor, collate_media, encode, load_processor, media_token_ids
from rollouts.records import BadSample, Sample
from tests.fakes.tiny_models import MAKERS, SEEING, TEXT_ONLY, make_llama
from tests.rl.policy.policy_cases import noise, sample


@pytest.fixture(scope="module", params=SEEING)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return MAKERS[request.param](tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module", params=TEXT_ONLY)
def text_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return MAKERS[request.param](tmp_path_factory.mktemp(request.param))


@dataclasses.dataclass
class FakeTokenizer:
    """A tokenizer's worth of a processor: enough for `media_token_ids`."""

    added: dict[str, int]
    image_token_id: int = 7

    def get_added_vocab(self) -> dict[str, int]:
        return self.added


def test_media_tokens_are_found_by_name_and_by_attribute() -> None:
    tokenizer = FakeTokenizer({"<|vision_start|>": 3, "<|im_end|>": 4, "<video>": 9})
    assert media_token_ids(Processor(FAMILIES["internvl"], tokenizer)) == (3, 7, 9)
    # A text model may say whatever its vocabulary holds: nothing in it stands for an image.
    assert media_token_ids(Processor(FAMILIES["llama"], tokenizer)) == ()


def test_a_prompt_without_frames_for_the_way_to_the_trainer(folder: Path) -> None:
    encoded = encode(load_processor(folder), sample("one", "Where?", (noise(1), noise(2))))
    assert len(encoded.engine_media["image"]) == 2
    assert encoded.num_pixels == 2 * 56 * 56
    light = encoded.for_trainer()
    assert light == EncodedPrompt(
        encoded.prompt_id, encoded.text, encoded.token_ids, encoded.media, {}, encoded.fingerprint
    )
    assert light.num_pixels == 0


@pytest.mark.parametrize(
    ("family", "images", "words"),
    [
        ("internvl", ImageSettings(max_pixels=50_000), "use model.max_tiles"),
        ("qwen2_5_vl", ImageSettings(max_tiles=4), "use model.max_pixels"),
        ("llama", ImageSettings(max_pixels=50_000), "no such setting"),
        ("qwen2_5_vl", ImageSettings(max_pixels=100), "makes every image at least 3136 pixels large"),
    ],
)
def test_a_size_that_the_family_cannot_keep_to_is_refused(
    family: str, images: ImageSettings, words: str, tmp_path: Path
) -> None:
    with pytest.raises(BadImageSettings, match=words):
        load_processor(MAKERS[family](tmp_path), images)


def test_a_blank_prompt_has_the_same_tokens_and_other_media(folder: Path) -> None:
    processor = load_processor(folder)
    asked = sample("two", "Which?", (noise(1), noise(2, 56, 112)))
    seen, blank = encode(processor, asked), encode(processor, asked, blank=True)
    assert seen.token_ids == blank.token_ids
    assert seen.text == blank.text
    assert seen.fingerprint != blank.fingerprint
    assert {image.size for image in seen.engine_media["image"]} == {(56, 56), (112, 56)}
    assert {image.getextrema() for image in blank.engine_media["image"]} == {((128, 128),) * 3}


def test_the_same_question_has_the_same_fingerprint_and_another_image_another(folder: Path) -> None:
    processor = load_processor(folder)
    first, again, other = (encode(processor, sample("one", "Where?", (noise(seed),))) for seed in (1, 1, 2))
    assert first.fingerprint == again.fingerprint
    assert first.fingerprint != other.fingerprint


def test_the_text_has_one_placeholder_an_image_and_the_tokens_as_many_as_the_model_has_features(folder: Path) -> None:
    processor = load_processor(folder)
    encoded = encode(processor, sample("two", "Which?", (noise(1), noise(2))))
    image_token = processor.source.image_token
    assert encoded.text.count(image_token) == 2
    assert encoded.token_ids.count(processor.source.image_token_id) == 2 * 4


def test_media_of_several_prompts_are_joined_in_order_and_text_prompts_add_none(folder: Path) -> None:
    processor = load_processor(folder)
    one, none, two = (
        encode(processor, sample("x", "Where?", images)).media for images in ((noise(1),), (), (noise(2), noise(3)))
    )
    joined = collate_media([one, none, two])
    assert not any("token_type" in name for name in joined)
    for name, tensor in joined.items():
        assert torch.equal(tensor, torch.cat([one[name], two[name]]))
    assert collate_media([none, none]) == {}


def test_a_question_that_names_the_image_token_is_a_bad_sample(folder: Path) -> None:
    processor = load_processor(folder)
    with pytest.raises(BadSample, match="takes for media"):
        encode(processor, sample("hostile", f"Where is {processor.source.image_token}?", (noise(1),)))


def test_every_media_token_of_the_model_is_banned(folder: Path) -> None:
    processor = load_processor(folder)
    banned = media_token_ids(processor)
    assert processor.source.image_token_id in banned
    assert processor.tokenizer.eos_token_id not in banned
    assert len(banned) == 4


def test_a_tokenizer_alone_is_not_a_processor(folder: Path, tmp_path: Path) -> None:
    load_processor(folder).tokenizer.save_pretrained(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no config\.json"):
        load_processor(tmp_path)
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    with pytest.raises((FileNotFoundError, OSError), match="image processor"):
        load_processor(tmp_path)


def test_a_text_model_is_asked_with_its_tokenizer_alone(text_folder: Path) -> None:
    processor = load_processor(text_folder)
    asked = Sample(id="text", question="Is a cyst hollow?", answer_type="yes_no", gold_text="yes")
    encoded = encode(processor, asked)
    assert processor.tokenizer.decode(encoded.token_ids) == encoded.text
    assert encoded.text.endswith("Is a cyst hollow?<|im_end|>\n<|im_start|>assistant\n")
    assert (encoded.media, encoded.engine_media, media_token_ids(processor)) == ({}, {}, ())
    with pytest.raises(BadSample, match=r"1 of 1 samples hold images .*'one'.* reads text only"):
        encode(processor, sample("one", "Where?", (noise(1),)))


def test_a_text_template_is_given_strings_and_begins_the_text_itself(tmp_path: Path) -> None:
    """Templates of text models add strings, and write the token that begins a text; the tokenizer must not repeat
    it."""
    folder = make_llama(tmp_path)
    template = "{{ bos_token }}{% for m in messages %}{{ '[' + m['role'] + '] ' + m['content'] }}{% endfor %}[end]"
    (folder / "chat_template.jinja").write_text(template + "<think> <answer>")
    processor = load_processor(folder)
    processor.tokenizer.bos_token = "<|im_start|>"
    processor.tokenizer.add_bos_token = True
    encoded = encode(processor, Sample(id="a", question="Why?", answer_type="open", gold_text="so"))
    assert encoded.text == "<|im_start|>[user] Why?[end]<think> <answer>"
    begins = processor.tokenizer.convert_tokens_to_ids("<|im_start|>")
    assert encoded.token_ids.count(begins) == 1 and encoded.token_ids[0] == begins


def test_every_known_family_has_a_tiny_model_that_the_tests_run_on() -> None:
    assert set(MAKERS) == set(FAMILIES)
    assert {name for name, family in FAMILIES.items() if family.reads_images} == set(SEEING)


def test_an_unknown_family_is_refused_with_what_would_have_to_be_added(tmp_path: Path) -> None:
    folder = make_llama(tmp_path)
    settings = (folder / "config.json").read_text()
    (folder / "config.json").write_text(settings.replace('"model_type": "llama"', '"model_type": "gemma9_vl"'))
    with pytest.raises(UnknownFamily, match=r"'gemma9_vl'; known are internvl, .*rollouts/prompt/families\.py"):
        load_processor(folder)


def test_a_folder_without_a_chat_template_is_refused(tmp_path: Path) -> None:
    folder = make_llama(tmp_path)
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(BadTemplate, match="has no chat template"):
        load_processor(folder)
