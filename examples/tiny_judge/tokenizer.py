"""The tiny judge's tokenizer: lower case, a token a word of its domain, bytes for the rest, and a whole reply in
thirteen tokens.

Text is read without regard to case, and a sign separates words as a space does. What the model writes is one token to
open the reply, eight for the nonce, one each for what it reads in the candidate, what in the reference, and its
verdict, and the end of turn: a judge on a CPU pays for every token it decodes.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from examples.tiny_judge.readings import ANSWERS, READINGS, UNKNOWN, verdict_of
from judges.model.prompts import load_prompt

PAD, END, START = "<|endoftext|>", "<|im_end|>", "<|im_start|>"
SYSTEM = load_prompt("tiny_1", "en").text.strip()
OPENING = '{"nonce": "'
HEX_PAIRS = tuple("".join(pair) for pair in itertools.product("0123456789abcdef", repeat=2))
NUM_NONCE_PAIRS = 8
# What stands between the data of the user message, as `judges.model.asking.as_json` writes it; a token each.
_KEYS = (
    '", "question": "',
    '", "reference": "',
    '", "accepted_wordings": ["',
    '", "accepted_wordings": [], "candidate": "',
    '"], "candidate": "',
)
# An answer of 1,500 characters may cost three bytes each, and a token a byte.
_MAX_POSITIONS = 8192
_NUM_MERGES = 600
# A sign, the apostrophe of "patient's" left out, and a space behind it.
_SEPARATED = '"([{*-/_:.,;=<>#`~|+!?\\%&@]})'
# Qwen's turns; without a system message the judge's own stands there, so that SFT and service ask alike.
CHAT_TEMPLATE = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\n" + SYSTEM + "<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] | trim }}{% else %}"
    "{% for part in message['content'] %}{{ part['text'] | trim }}{% endfor %}{% endif %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def reply(nonce: str, read: str, meant: str) -> str:
    """The whole reply on an answer that is read as `read`, to a reference that means `meant`."""
    verdict, reason = verdict_of(read, meant)
    return OPENING + nonce + _claim(read) + _other_claim(meant) + _closing(verdict, reason)


def _claim(read: str) -> str:
    return f'", "claims": ["candidate: {read}", "reference: '


def _other_claim(meant: str) -> str:
    return f'{meant}"], "contradiction": "'


def _closing(verdict: str, reason: str) -> str:
    return f'{reason}", "verdict": "{verdict}"}}'


# A reply is one of each, after its opening and the nonce.
WRITTEN = tuple(
    dict.fromkeys(
        [_claim(read) for read in (*ANSWERS, *READINGS)]
        + [_other_claim(meant) for meant in (*ANSWERS, UNKNOWN)]
        + [_closing(*verdict_of(read, ANSWERS[0])) for read in (*ANSWERS[:2], *READINGS)]
        + [_closing(*verdict_of("", UNKNOWN))]
    )
)


def domain_texts() -> list[str]:
    """The texts whose words are tokens: all questions, wordings and sentences of the first training. Words of later
    ones are cut to pieces."""
    lines = (Path(__file__).parent / "vocabulary.txt").read_text(encoding="utf-8").splitlines()
    return [line.replace("\\n", "\n") for line in lines]


def _normalizer() -> normalizers.Normalizer:
    steps = [normalizers.Replace(sign, f"{sign} ") for sign in _SEPARATED]
    return normalizers.Sequence([normalizers.Lowercase(), *steps, normalizers.Replace(Regex(" {2,}"), " ")])


def _splitter() -> pre_tokenizers.PreTokenizer:
    # Pairs of hex digits only at the end of a text or before a quotation mark, where the nonce stands.
    pairs = rf"[0-9a-f]{{2}}(?=(?:[0-9a-f]{{2}}){{0,{NUM_NONCE_PAIRS - 1}}}(?:\z|\"))"
    keys = "|".join(f" ?{_escaped(_normalizer().normalize_str(key).strip())}" for key in _KEYS)
    split = pre_tokenizers.Split(
        Regex(rf"{keys}|{pairs}| ?\p{{L}}+| ?\p{{N}}| ?[^\s\p{{L}}\p{{N}}]|\n|\s"), behavior="isolated"
    )
    blank = pre_tokenizers.Split(Regex(r"\A +\z"), behavior="removed")
    return pre_tokenizers.Sequence([split, blank, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def _escaped(text: str) -> str:
    return "".join(f"\\{char}" if char in '[]{}().*+?|\\^$"' else char for char in text)


def build_tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer, the same on every call."""
    normalizer, splitter = _normalizer(), _splitter()
    general = sorted(set((Path(__file__).parent.parent / "tiny" / "words.txt").read_text(encoding="utf-8").split()))
    texts = [normalizer.normalize_str(text) for text in [*domain_texts(), *general]]
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = splitter
    trainer = trainers.BpeTrainer(
        vocab_size=256 + _NUM_MERGES, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False
    )
    learner.train_from_iterator([f" {text}" for text in texts], trainer)
    model = json.loads(learner.to_str())["model"]
    vocabulary = dict(model["vocab"])
    pieces = [piece for text in texts for piece, _ in splitter.pre_tokenize_str(f" {text}")]
    keys = [normalizer.normalize_str(key).strip() for key in _KEYS]
    pieces += [piece for text in (*keys, "system", "user", "assistant", "}") for start in (text, f" {text}")
               for piece, _ in splitter.pre_tokenize_str(start)]  # fmt: skip
    for piece in dict.fromkeys([*pieces, *HEX_PAIRS]):
        vocabulary.setdefault(piece, len(vocabulary))
    merges = [tuple(merge) for merge in model["merges"]]
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, ignore_merges=True))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = splitter
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in (PAD, START, END)])
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in (OPENING, *WRITTEN, SYSTEM)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        padding_side="left",
        model_max_length=_MAX_POSITIONS,
        model_input_names=["input_ids", "attention_mask"],
        clean_up_tokenization_spaces=False,
        chat_template=CHAT_TEMPLATE,
    )
