"""The tiny judge before training: a Llama of about a million parameters that reads text only."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, set_seed

from examples.tiny.architecture import ROPE_THETA, mimic_trained_attention
from examples.tiny_judge.tokenizer import HEX_PAIRS, build_tokenizer


def build_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> LlamaForCausalLM:
    """The model with random weights from a seed, float32."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        # 128 / 4 = 32, the smallest head that vLLM's CPU attention takes.
        num_attention_heads=4,
        num_key_value_heads=4,
        # Llama's family leaves a folder its own tokenizer (transformers replaces the one of a Qwen2), and biases let a
        # head look back.
        attention_bias=True,
        max_position_embeddings=tokenizer.model_max_length,
        rope_parameters={"rope_type": "default", "rope_theta": ROPE_THETA},
        initializer_range=0.04,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    set_seed(seed)
    model = LlamaForCausalLM(config).to(torch.float32)
    # Comparing two texts begins with finding equal words; see the function for what it saves.
    for number, layer in enumerate(model.model.layers):
        mimic_trained_attention(layer.self_attn, looks_back=number < 2)
    share_nonce(model, tokenizer)
    model.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, do_sample=False
    )
    return model


@torch.no_grad()
def share_nonce(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    """Give all pairs of hex digits the embedding of the first: a nonce says nothing about an answer, so no verdict may
    depend on it.

    The server writes the nonce (its schema allows one only); the model tells all pairs equally likely and goes on alike
    after each.
    """
    ids = tokenizer.convert_tokens_to_ids(list(HEX_PAIRS))
    embedding = model.get_input_embeddings().weight
    embedding[ids] = embedding[ids[0]].clone()


def write_untrained(path: Path, seed: int = 0) -> Path:
    """Write model and tokenizer with random weights in Hugging Face format."""
    tokenizer = build_tokenizer()
    build_model(tokenizer, seed).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path
