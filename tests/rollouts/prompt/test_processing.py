"""Samples become encoded prompts: what the engine takes, what the trainer takes, and which tokens are banned from
both."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from rollouts.prompt.processing import EncodedPrompt, collate_media, encode, load_processor, media_token_ids
from rollouts.records import BadSample
from tests.fakes.tiny_models import make_internvl, make_qwen25vl
from tests.rl.policy.policy_cases import noise, sample


@pytest.fixture(scope="module", params=["internvl", "qwen25vl"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    make = {"internvl": make_internvl, "qwen25vl": make_qwen25vl}[request.param]
    return make(tmp_path_factory.mktemp(request.param))


@dataclasses.dataclass
class FakeProcessor:
    """A tokenizer's worth of a processor: enough for `media_token_ids`."""

    added: dict[str, int]
    image_token_id: int = 7

    def get_added_vocab(self) -> dict[str, int]:
        return self.added


def test_media_tokens_are_found_by_name_and_by_attribute() -> None:
    assert media_token_ids(FakeProcessor({"<|vision_start|>": 3, "<|im_end|>": 4, "<video>": 9})) == (3, 7, 9)


def test_a_prompt_without_frames_for_the_way_to_the_trainer(folder: Path) -> None:
    encoded = encode(load_processor(folder), sample("one", "Where?", (noise(1),)))
    assert len(encoded.images) == 1
    light = encoded.without_images()
    assert light == EncodedPrompt(
        encoded.prompt_id, encoded.text, encoded.token_ids, encoded.media, (), encoded.fingerprint
    )


def test_a_blank_prompt_has_the_same_tokens_and_other_media(folder: Path) -> None:
    processor = load_processor(folder)
    asked = sample("two", "Which?", (noise(1), noise(2, 56, 112)))
    seen, blank = encode(processor, asked), encode(processor, asked, blank=True)
    assert seen.token_ids == blank.token_ids
    assert seen.text == blank.text
    assert seen.fingerprint != blank.fingerprint
    assert {image.size for image in seen.images} == {(56, 56), (112, 56)}
    assert {image.getextrema() for image in blank.images} == {((128, 128),) * 3}


def test_the_same_question_has_the_same_fingerprint_and_another_image_another(folder: Path) -> None:
    processor = load_processor(folder)
    first, again, other = (encode(processor, sample("one", "Where?", (noise(seed),))) for seed in (1, 1, 2))
    assert first.fingerprint == again.fingerprint
    assert first.fingerprint != other.fingerprint


def test_the_text_has_one_placeholder_an_image_and_the_tokens_as_many_as_the_model_has_features(folder: Path) -> None:
    processor = load_processor(folder)
    encoded = encode(processor, sample("two", "Which?", (noise(1), noise(2))))
    image_token = processor.image_token
    assert encoded.text.count(image_token) == 2
    assert encoded.token_ids.count(processor.image_token_id) == 2 * 4


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
        encode(processor, sample("hostile", f"Where is {processor.image_token}?", (noise(1),)))


def test_every_media_token_of_the_model_is_banned(folder: Path) -> None:
    processor = load_processor(folder)
    banned = media_token_ids(processor)
    assert processor.image_token_id in banned
    assert processor.tokenizer.eos_token_id not in banned
    assert len(banned) == 4


def test_a_tokenizer_alone_is_not_a_processor(folder: Path, tmp_path: Path) -> None:
    load_processor(folder).tokenizer.save_pretrained(tmp_path)
    with pytest.raises((FileNotFoundError, OSError)):
        load_processor(tmp_path)
