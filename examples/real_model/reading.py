"""A GGUF file of the Llama family becomes a model and a tokenizer of transformers.

transformers reads the weights, 4 bits and all, and undoes the order in which GGUF keeps query and key. Its tokenizer of
a GGUF has a beginning-of-text token where the end token belongs (5.10), so that no text would ever end; hence the
tokenizer is built here, from the file's own tokens, merges and ids.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from examples.real_model.package import NoModel

ARCHITECTURE = "llama"
# How a text is cut before the merges, by `tokenizer.ggml.pre`: whether each digit stands alone.
SINGLE_DIGITS = {"smollm": True, "gpt-2": False}
# Kind of a token in `tokenizer.ggml.token_type`: never made from text, left out of decoded text.
_CONTROL = 3


@dataclass(frozen=True)
class GgufText:
    """What a GGUF says of its texts."""

    tokens: tuple[str, ...]
    # Pairs of tokens that become one, in order of rank.
    merges: tuple[tuple[str, str], ...]
    # Ids of tokens that are never made from text.
    control: tuple[int, ...]
    single_digits: bool
    bos_id: int | None
    eos_id: int
    # Another token than the end token: a trainer that masks padding by its id would mask the end as well.
    pad_id: int
    chat_template: str


def read_text(file: Path) -> GgufText:
    """Tokens, merges, special ids and chat template of a GGUF.

    Raises:
        NoModel: it is no GGUF, of another architecture, without a tokenizer of a known kind, or without a chat
            template.
    """
    fields = _fields(file)
    architecture = fields.get("general.architecture")
    if architecture != ARCHITECTURE:
        raise NoModel(
            f"{file} is of the architecture {architecture!r}, expected {ARCHITECTURE!r}: the order of query and key"
            " differs between them, and only this one is tested"
        )
    tokens, merges = fields.get("tokenizer.ggml.tokens"), fields.get("tokenizer.ggml.merges")
    if not tokens or not merges:
        raise NoModel(
            f"{file} has no tokenizer ({len(tokens or ())} tokens, {len(merges or ())} merges), expected one of byte"
            " pairs (tokenizer.ggml.tokens and .merges); take a GGUF that was made with its tokenizer"
        )
    kind, cut = fields.get("tokenizer.ggml.model"), fields.get("tokenizer.ggml.pre")
    if kind != "gpt2" or cut not in SINGLE_DIGITS:
        raise NoModel(
            f"{file} has a tokenizer of the kind {kind!r}, {cut!r}; expected 'gpt2' with one of"
            f" {', '.join(map(repr, SINGLE_DIGITS))}. Another one would cut texts as the model never saw them"
        )
    template = fields.get("tokenizer.chat_template")
    if not template:
        raise NoModel(
            f"{file} has no chat template, so its model was not taught to converse; take the instruct version of it"
        )
    control = tuple(place for place, one in enumerate(fields.get("tokenizer.ggml.token_type") or ()) if one == _CONTROL)
    eos, bos = fields.get("tokenizer.ggml.eos_token_id"), fields.get("tokenizer.ggml.bos_token_id")
    pad = next((one for one in control if one not in (eos, bos)), None)
    if eos is None or pad is None:
        raise NoModel(
            f"{file} has the end token {eos} and the control tokens {list(control)[:8]}; expected an end token, and"
            " a control token beside it to pad with"
        )
    pairs = tuple((one.partition(" ")[0], one.partition(" ")[2]) for one in merges)
    return GgufText(tuple(tokens), pairs, control, SINGLE_DIGITS[cut], bos, eos, pad, template)


def _fields(file: Path) -> dict[str, Any]:
    from gguf import GGUFReader  # here, because `ready_reader` may have to find it first

    try:
        return {name: field.contents() for name, field in GGUFReader(file).fields.items()}
    except FileNotFoundError:
        raise NoModel(f"there is no file {file}; expected a GGUF") from None
    except (ValueError, IndexError, KeyError, OSError) as error:  # what numpy says of a file that ends too early
        raise NoModel(
            f"{file} is no GGUF that can be read ({error}); expected a whole file of version 2 or 3"
        ) from error


def build_tokenizer(text: GgufText, extra: dict[str, str] | None = None) -> PreTrainedTokenizerFast:
    """The tokenizer; `extra`: name -> text of special tokens that are added behind the file's own."""
    vocabulary = {token: place for place, token in enumerate(text.tokens)}
    raw = Tokenizer(models.BPE(vocab=vocabulary, merges=list(text.merges)))
    bytes_only = pre_tokenizers.ByteLevel(add_prefix_space=False)
    digits = [pre_tokenizers.Digits(individual_digits=True)] if text.single_digits else []
    raw.pre_tokenizer = pre_tokenizers.Sequence([*digits, bytes_only])
    raw.decoder = decoders.ByteLevel()
    special = [*(text.tokens[place] for place in text.control), *(extra or {}).values()]
    raw.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw,
        bos_token=None if text.bos_id is None else text.tokens[text.bos_id],
        eos_token=text.tokens[text.eos_id],
        pad_token=text.tokens[text.pad_id],
        extra_special_tokens=extra or {},
    )
    tokenizer.chat_template = text.chat_template
    return tokenizer


def load_weights(file: Path, text: GgufText) -> PreTrainedModel:
    """The model of a GGUF in float32, its end and padding tokens those of `text`.

    Raises:
        NoModel: transformers cannot read it.
    """
    try:
        model = AutoModelForCausalLM.from_pretrained(str(file.parent), gguf_file=file.name, dtype=torch.float32)
    except (ValueError, KeyError, NotImplementedError, RuntimeError) as error:
        raise NoModel(f"transformers cannot read the weights of {file}: {error}") from error
    for settings in (model.config, model.generation_config):
        settings.eos_token_id, settings.bos_token_id = text.eos_id, text.bos_id
        # The embedding of a padding token gets no gradient of its own, so the end token must not be it.
        settings.pad_token_id = text.pad_id
    model.get_input_embeddings().padding_idx = text.pad_id
    return model.eval()
