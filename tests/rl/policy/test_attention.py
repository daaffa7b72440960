"""One mask in two forms: blocks and dense say the same of every pair of tokens, and so do the attentions that read
them."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend
from torch.nn.attention.flex_attention import BlockMask, create_mask

from rl.policy import attention
from rl.policy.attention import BLOCK, attention_mask, block_mask, make_mask, pad_to_multiple, uses_flex
from rl.policy.batching import MicroBatch, Row, make_micro_batches
from rl.policy.token_model import load_token_model
from rollouts.prompt.processing import EncodedPrompt
from tests.fakes.tiny_models import MAKERS
from tests.rl.policy.policy_cases import some_rows

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def random_trees(seed: int) -> MicroBatch:
    """Up to three trees of up to five completions, from a few tokens to several blocks long."""
    chance = random.Random(seed)
    rows = []
    for index in range(chance.randint(1, 3)):
        prompt = EncodedPrompt(f"p{index}", "", tuple(range(chance.randint(1, 200))), {}, fingerprint=f"p{index}")
        rows += [Row(prompt, (7,) * chance.randint(1, 60)) for _ in range(chance.randint(1, 5))]
    return max(make_micro_batches(rows, 4096), key=lambda batch: batch.input_ids.numel())


def test_blocks_and_dense_mask_agree_on_every_pair_of_a_hundred_random_trees() -> None:
    several_blocks = 0
    for seed in range(100):
        batch = pad_to_multiple(random_trees(seed), BLOCK, 0)
        num_trees, length = batch.input_ids.shape
        visible = attention_mask(batch, torch.float32)[:, 0] == 0
        blocks = block_mask(batch, CPU)
        assert blocks.shape == (num_trees, 1, length, length)
        assert torch.equal(create_mask(blocks.mask_mod, num_trees, 1, length, length, "cpu")[:, 0], visible)
        # A block is computed when any of its pairs is visible, and only then.
        side = length // BLOCK
        computed = visible.view(num_trees, side, BLOCK, side, BLOCK).any(4).any(2)
        assert torch.equal(blocks.to_dense()[:, 0].bool(), computed)
        several_blocks += side > 1
    assert several_blocks > 50


def test_flex_and_dense_attention_give_the_same_numbers() -> None:
    # Two heads of keys for four of queries, as most decoders have.
    batch = pad_to_multiple(random_trees(3), BLOCK, 0)
    num_trees, length = batch.input_ids.shape
    torch.manual_seed(0)
    query, key, value = (torch.randn(num_trees, heads, length, 32) for heads in (4, 2, 2))
    module = torch.nn.Module()
    module.num_key_value_groups = 2  # type: ignore[assignment]
    with torch.no_grad():
        dense, _ = attention.attend(module, query, key, value, attention_mask(batch, torch.float32), scaling=0.2)
        flex, _ = attention.attend(module, query, key, value, block_mask(batch, CPU), scaling=0.2)
    assert dense.shape == flex.shape == (num_trees, length, 4, 32)
    assert (dense - flex).abs().max() < 2e-6


@pytest.mark.parametrize("family", ["internvl", "qwen2_5_vl", "llama"])
def test_a_model_gives_the_same_log_probs_with_block_masks(family: str, tmp_path: Path) -> None:
    """The mask goes through transformers untouched, the vision tower keeps its attention, padding changes nothing."""
    folder = MAKERS[family](tmp_path)
    dense = load_token_model(folder, temperature=0.9, banned=())
    flex = load_token_model(folder, temperature=0.9, banned=(), attention="flex")
    assert flex.decoder.config._attn_implementation == attention.TREE_ATTENTION
    if flex.family.reads_images:
        assert flex.model.config.vision_config._attn_implementation == "sdpa"
    batches = make_micro_batches(some_rows(folder), 700)
    assert any(batch.input_ids.shape[1] % BLOCK for batch in batches)
    with torch.no_grad():
        for batch in batches:
            (expected, _), (got, _) = dense(batch), flex(batch)
            assert (expected - got).abs().max() < 1e-5


def test_which_mask_is_made() -> None:
    assert not uses_flex("auto", CPU, 100_000)
    assert uses_flex("auto", CUDA, attention.FLEX_TOKENS)
    assert not uses_flex("auto", CUDA, attention.FLEX_TOKENS - 1)
    assert not uses_flex("dense", CUDA, 100_000)
    assert uses_flex("flex", CUDA, 10)
    batch = random_trees(0)
    same, mask = make_mask(batch, torch.float32, CPU)
    assert same is batch
    assert isinstance(mask, torch.Tensor)
    padded, mask = make_mask(batch, torch.float32, CPU, "flex", pad_id=5)
    assert isinstance(mask, BlockMask)
    assert padded.input_ids.shape[1] % BLOCK == 0
    assert (padded.input_ids[:, batch.input_ids.shape[1] :] == 5).all()


def test_padding_moves_no_source() -> None:
    # Two trees of 5 and 4 tokens, padded to 5, then to 8: place 2 of the second was 5 + 2 and is 8 + 2.
    rows = [
        Row(EncodedPrompt(name, "", (1,) * size, {}, fingerprint=name), (2, 3)) for name, size in (("p", 4), ("q", 3))
    ]
    [batch] = make_micro_batches(rows, 64)
    assert batch.sources.tolist() == [3, 4, 7, 8]
    assert pad_to_multiple(batch, 8, 0).sources.tolist() == [3, 4, 10, 11]
    assert pad_to_multiple(batch, 5, 0) is batch


def test_a_mask_of_broken_blocks_is_refused() -> None:
    with pytest.raises(ValueError, match="pad_to_multiple"):
        block_mask(random_trees(0), CPU)


@pytest.mark.slow
def test_new_lengths_are_not_compiled_again() -> None:
    counter = CompileCounterWithBackend("eager")
    flex = attention.compile_flex(counter)
    counts = []
    for num_trees, length in ((2, 200), (2, 330), (3, 500), (1, 900), (1, 1200), (2, 700), (4, 130), (1, 260)):
        rows = [
            Row(EncodedPrompt(name, "", (1,) * length, {}, fingerprint=name), (7,) * 20)
            for name in map(str, range(num_trees))
        ]
        [batch] = make_micro_batches(rows, 10_000)
        blocks = block_mask(pad_to_multiple(batch, BLOCK, 0), CPU)
        query, key, value = (torch.randn(num_trees, heads, blocks.shape[-1], 32) for heads in (4, 2, 2))
        with torch.no_grad():
            flex(query, key, value, block_mask=blocks, scale=0.2, enable_gqa=True)
        counts.append(counter.frame_count)
    assert counts == [1, 2, 3, 4, 4, 4, 4, 4]
