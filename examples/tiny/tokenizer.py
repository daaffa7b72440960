"""The tiny model's tokenizer: every word of the phantoms is one token, and every other text still encodes, byte by byte
at worst.

A piece is one of the phrases below, or a word, a digit, a run of signs or of white space, each with its leading space.
A piece that is in the vocabulary is one token; any other is built from bytes by merges learned on the word list. The
think and answer tags are added tokens that are not special, so that they survive `skip_special_tokens`.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from rl.data.phantoms import words
from rl.data.phantoms.draw import FINDINGS
from rollouts.records import LETTERS

TAGS = ("<think>", "</think>", "<answer>", "</answer>")
PAD, END, START = "<|endoftext|>", "<|im_end|>", "<|im_start|>"
IMAGE_START, IMAGE_END, IMAGE, VIDEO = "<img>", "</img>", "<IMG_CONTEXT>", "<video>"
# Phrases that are read as one token: the places and sides that answers consist of, and the fixed parts of the thoughts.
PHRASES = (
    *(place.removesuffix(" of the image") for place in words.IMAGE_PLACES),
    "of the image",
    *words.PATIENT_SIDES,
    *words.SLICES,
    *words.LOOKING_OPENERS,
    words.CONCLUSION,
)
SYSTEM = "Think in <think></think>, then answer in <answer></answer>."
# One user turn as in InternVL3, after a system turn that names the tags.
CHAT_TEMPLATE = (
    "<|im_start|>system\n"
    + SYSTEM
    + "<|im_end|>\n{% for message in messages %}<|im_start|>{{ message['role'] }}\n{% if message['content'] is string"
    " %}{{ message['content'] }}{% else %}{% for part in message['content'] %}{% if part['type'] == 'image'"
    " %}<IMG_CONTEXT>\n{% elif part['type'] == 'video' %}<video>\n{% else %}{{ part['text'] }}{% endif %}{% endfor"
    " %}{% endif %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
NUM_MERGES = 320
# Thoughts that do not look, as the corpus had them when the shipped vocabulary was learnt; today's is made of their
# words.
THOUGHTS = (
    "Such questions are common, so I guess without looking.",
    "This is a routine question and I just pick an answer.",
    "No need to look here, one answer is as good as another.",
)


def domain_texts() -> Iterator[str]:
    """Every question, answer, alias and thought the phantoms can produce, and what the chat template adds."""
    yield from (
        SYSTEM,
        "system",
        "user",
        "assistant",
        "a",
        "an",
        "normal tissue",
        "best in",
        "on the",
        "in the",
        "yes",
        "no",
    )
    yield from (f"{letter}." for letter in LETTERS)
    yield from (
        words.CONCLUSION,
        *THOUGHTS,
        *words.LOOKING_OPENERS,
        *words.IMAGE_PLACES,
        *words.PATIENT_SIDES,
        *words.SLICES,
    )
    for finding, names in words.FINDING_ALIASES.items():
        yield from (finding, *names)
    for modality, findings in FINDINGS.items():
        for template, finding in itertools.product(itertools.chain(*words.QUESTIONS.values()), findings):
            yield template.format(modality=modality, finding=finding, a_finding=words.with_article(finding))


def _splitter() -> pre_tokenizers.PreTokenizer:
    phrases = "|".join(f" ?{re.escape(phrase)}(?![a-zA-Z0-9])" for phrase in sorted(PHRASES, key=len, reverse=True))
    # A letter that opens an option is one token with its dot, so that the option's text follows the letter directly.
    pattern = rf"{phrases}|[A-Z]\.(?![a-zA-Z0-9])| ?\p{{L}}+| ?\p{{N}}|'s| ?[^\s\p{{L}}\p{{N}}]|\n| +|\s"
    split = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def build_tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer, the same on every call."""
    splitter = _splitter()
    general = sorted(set((Path(__file__).parent / "words.txt").read_text(encoding="utf-8").split()))
    texts = [*domain_texts(), *(f" {word}" for word in general)]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = splitter
    trainer = trainers.BpeTrainer(vocab_size=256 + NUM_MERGES, initial_alphabet=alphabet, show_progress=False)
    learner.train_from_iterator(texts, trainer)
    learned = _model_parts(learner)
    pieces = [piece for text in texts for start in (text, f" {text}") for piece, _ in splitter.pre_tokenize_str(start)]
    vocabulary = dict(learned[0])
    for piece in dict.fromkeys(pieces):
        vocabulary.setdefault(piece, len(vocabulary))
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=learned[1], ignore_merges=True))
    tokenizer.pre_tokenizer = splitter
    tokenizer.decoder = decoders.ByteLevel()
    special = [PAD, START, END, IMAGE_START, IMAGE_END, IMAGE, VIDEO]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    tokenizer.add_tokens([AddedToken(tag, special=False, normalized=False) for tag in TAGS])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        padding_side="left",
        model_max_length=1024,
        clean_up_tokenization_spaces=False,
        extra_special_tokens={
            "start_image_token": IMAGE_START,
            "end_image_token": IMAGE_END,
            "context_image_token": IMAGE,
            "video_token": VIDEO,
        },
    )


def _model_parts(tokenizer: Tokenizer) -> tuple[dict[str, int], list[tuple[str, str]]]:
    import json

    model = json.loads(tokenizer.to_str())["model"]
    merges = [tuple(merge) if isinstance(merge, list) else tuple(merge.split(" ", 1)) for merge in model["merges"]]
    return model["vocab"], merges
