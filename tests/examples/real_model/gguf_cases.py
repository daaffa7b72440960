"""A tiny model of the Llama family, and the GGUF that llama.cpp's converter would make of it."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import torch
from tokenizers import pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM

TEMPLATE = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou help<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MERGES = ["t h", "th e", "Ġ the", "1 2"]
TOKENS = [*CONTROL, *sorted(pre_tokenizers.ByteLevel.alphabet()), *("".join(one.split(" ")) for one in MERGES)]
HEADS, KV_HEADS = 4, 2


def make_llama(seed: int = 0) -> LlamaForCausalLM:
    """Random weights; four heads of query share two of key and value."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(TOKENS),
        hidden_size=128,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS,
        max_position_embeddings=512,
        rms_norm_eps=1e-5,
        initializer_range=0.1,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
    )
    return LlamaForCausalLM(config).eval()


def write_gguf(path: Path, model: LlamaForCausalLM, *, architecture: str = "llama", **texts: object) -> Path:
    """The model as a GGUF. `texts` replaces what it says of its texts: tokens, merges, pre, template, eos; None = the
    field is left out."""
    writer = gguf.GGUFWriter(path, architecture)
    config = model.config
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(config.vocab_size)
    _add_texts(writer, {"tokens": TOKENS, "merges": MERGES, "pre": "smollm", "template": TEMPLATE, "eos": 2, **texts})
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight":  # tied
            continue
        writer.add_tensor(f"{names.get_name(name.removesuffix('.weight'))}.weight", _as_stored(name, tensor.numpy()))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_texts(writer: gguf.GGUFWriter, texts: dict[str, object]) -> None:
    add = {
        "tokens": writer.add_token_list,
        "merges": writer.add_token_merges,
        "pre": writer.add_tokenizer_pre,
        "template": writer.add_chat_template,
        "eos": writer.add_eos_token_id,
    }
    for name, value in texts.items():
        if value is not None:
            add[name](value)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_types([3] * len(CONTROL) + [1] * (len(TOKENS) - len(CONTROL)))
    writer.add_bos_token_id(1)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)  # as SmolLM2 has it: the end token


def _as_stored(name: str, weight: np.ndarray) -> np.ndarray:
    """llama.cpp rotates neighbours where Hugging Face rotates halves, so rows 0 1 2 3 of a head of four are stored as 0
    2 1 3 (`LlamaModel.permute` of its converter)."""
    heads = {"q_proj": HEADS, "k_proj": KV_HEADS}.get(name.split(".")[-2])
    if heads is None:
        return weight
    halves = weight.reshape(heads, 2, weight.shape[0] // heads // 2, -1)
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(weight.shape)
