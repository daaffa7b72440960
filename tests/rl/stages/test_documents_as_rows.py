"""Documents in the policy: the loss is that of a plain model on all text, packed or not, with images in their order."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText

from rl.data.documents.phantoms import made_documents
from rl.policy.batching import Row, make_micro_batches
from rl.stages.course import as_row
from rollouts.prompt.documents import Document, document_text, encode_document, taught_places
from rollouts.prompt.lengths import measure_documents
from rollouts.prompt.processing import Processor, load_processor, media_token_ids
from rollouts.records import BadSample, Media
from tests.fakes.tiny_models import MAKERS
from tests.rl.policy.policy_cases import token_model

FAMILIES = ("internvl", "qwen2_5_vl")


@pytest.fixture(scope="module", params=FAMILIES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return MAKERS[request.param](tmp_path_factory.mktemp("model") / request.param)


@pytest.fixture(scope="module")
def processor(folder: Path) -> Processor:
    return load_processor(folder)


def documents() -> list[Document]:
    """Three with one to three pictures, volumes among them, and one without any."""
    return [*made_documents("interleaved", 3, seed=1), Document("text", ("A cyst is hollow.", "A mass is not."))]


def logprobs(folder: Path, rows: list[Row], budget: int = 4096) -> list[float]:
    """Of all taught tokens, row by row."""
    model = token_model(folder, temperature=1.0)
    by_row: dict[int, list[float]] = {}
    with torch.no_grad():
        for batch in make_micro_batches(rows, budget, model.pad_id):
            values = model(batch)[0].split(list(batch.lengths))
            by_row |= {place: part.tolist() for place, part in zip(batch.rows, values, strict=True)}
    return [value for place in range(len(rows)) for value in by_row[place]]


def plain_logprobs(folder: Path, processor: Processor, document: Document) -> list[float]:
    """The same of one document by a model of transformers, in one plain forward pass."""
    prompt = encode_document(processor, document)
    model = AutoModelForImageTextToText.from_pretrained(folder).eval()
    ids = torch.tensor([prompt.token_ids])
    with torch.no_grad():
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), **prompt.media).logits[0].float()
    told = logits[:-1].log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0]
    return [told[place - 1].item() for place in taught_places(processor, prompt.token_ids)]


def test_packed_single_and_plain_passes_give_the_same_log_probs(folder: Path, processor: Processor) -> None:
    encoded = [encode_document(processor, document) for document in documents()]
    packed = logprobs(folder, [as_row(processor, encoded)])
    single = logprobs(folder, [as_row(processor, [one]) for one in encoded])
    cut = logprobs(folder, [as_row(processor, encoded[:2]), as_row(processor, encoded[2:])], budget=1)
    plain = [value for document in documents() for value in plain_logprobs(folder, processor, document)]
    for ours in (packed, single, cut):
        assert ours == pytest.approx(plain, abs=2e-4)


def test_all_text_is_learnt_and_nothing_that_stands_for_an_image(processor: Processor) -> None:
    [first, *_] = documents()
    prompt = encode_document(processor, first)
    row = as_row(processor, [prompt])
    media = set(media_token_ids(processor))
    text = [token for token in prompt.token_ids[1:] if token not in media]
    assert list(row.completion_ids) == text and row.completion_ids[-1] == processor.tokenizer.eos_token_id
    read = processor.tokenizer.decode(row.completion_ids)
    assert all("".join(piece.split()) in "".join(read.split()) for piece in first.texts)
    assert row.num_tokens == len(prompt.token_ids)


def test_texts_and_images_stand_in_their_order(processor: Processor) -> None:
    red, green = (png(colour) for colour in ((255, 0, 0), (0, 255, 0)))
    ab = encode_document(processor, Document("ab", ("first", red, "then", green, "end")))
    ba = encode_document(processor, Document("ba", ("first", green, "then", red, "end")))
    image = processor.family.image_text
    assert ab.text == f"first\n{image}\nthen\n{image}\nend{processor.tokenizer.eos_token}"
    assert ab.token_ids == ba.token_ids and ab.fingerprint != ba.fingerprint
    pixels = [one.media["pixel_values"].reshape(2, -1) for one in (ab, ba)]
    assert torch.equal(pixels[0], pixels[1].flip(0)) and not torch.equal(pixels[0], pixels[1])


def test_lengths_are_known_without_decoding_and_checked(processor: Processor) -> None:
    many = [*made_documents("interleaved", 12, seed=3), *made_documents("captions", 6, seed=3), *documents()]
    lengths = measure_documents(processor, many).lengths
    assert lengths == [len(encode_document(processor, one).token_ids) for one in many]


def test_a_document_that_says_an_image_token_is_told_and_costs_no_other(processor: Processor) -> None:
    token = processor.family.image_text
    bad = Document("bad", (f"look: {token}",))
    with pytest.raises(BadSample, match="takes for media"):
        encode_document(processor, bad)
    good, told = measure_documents(processor, [documents()[0], bad]).lengths
    assert isinstance(good, int) and "takes for media" in str(told)


def test_a_text_model_is_taught_no_images(tmp_path: Path) -> None:
    processor = load_processor(MAKERS["qwen2"](tmp_path / "text"))
    text = Document("text", ("A cyst is hollow.",))
    assert "cyst" in document_text(processor, text)
    assert taught_places(processor, encode_document(processor, text).token_ids)
    with pytest.raises(BadSample, match="reads text only"):
        encode_document(processor, documents()[0])


def png(colour: tuple[int, int, int]) -> Media:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), colour).save(buffer, format="PNG")
    return Media("image", data=buffer.getvalue())
