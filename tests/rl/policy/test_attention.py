"""One mask in two forms: blocks and dense say the same of every pair of tokens, and so do the attentions that read
them."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend
from torch.nn.attention.flex_attention import BlockMask, create_mask

from rl.policy import attention
from rl.policy.attention import (
    BLOCK,
    attention_mask,
    block_mask,
    end_to_end,
    lay_out,
    masks_end_to_end,
    pad_to_multiple,
    uses_flex,
    without_padding,
)
from rl.policy.batching import MicroBatch, Row, make_micro_batches
from rollouts.prompt.processing import EncodedPrompt
from tests.fakes.tiny_models import MAKERS
from tests.rl.policy.policy_cases import some_rows, token_model

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def random_trees(seed: int) -> MicroBatch:
    """Up to three trees of up to five completions, from a few tokens to several blocks long."""
    chance = random.Random(seed)
    rows = []
    for index in range(chance.randint(1, 3)):
        prompt = EncodedPrompt(f"p{index}", "", tuple(range(chance.randint(1, 200))), {}, fingerprint=f"p{index}")
        whole = chance.choices(range(9), k=60)
        for _ in range(chance.randint(1, 5)):  # some begin as others do
            own = chance.choices(range(9), k=chance.randint(1, 60))
            rows.append(Row(prompt, (*whole[: chance.choice((0, 5, 30))], *own)))
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
    dense = token_model(folder)
    flex = token_model(folder, attention="flex")
    assert flex.decoder.config._attn_implementation == attention.TREE_ATTENTION
    assert dense.decoder.config._attn_implementation == attention.TREE_ATTENTION  # on a CPU
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
    positions = [torch.arange(len(tree.prompt.token_ids)) for tree in batch.trees]
    packed, told = lay_out(batch, positions, torch.float32, CPU)
    num_tokens = sum(tree.length for tree in batch.trees)
    assert packed.input_ids.shape == told["position_ids"].shape == (1, num_tokens)
    assert told["attention_mask"] is None and told["trees"].lengths == [tree.length for tree in batch.trees]
    padded, told = lay_out(batch, positions, torch.float32, CPU, "flex", pad_id=5)
    assert isinstance(told["attention_mask"], BlockMask)
    assert padded.input_ids.shape == told["position_ids"].shape
    assert padded.input_ids.shape[1] % BLOCK == 0
    assert (padded.input_ids[:, batch.input_ids.shape[1] :] == 5).all()


def test_trees_end_to_end_hold_every_token_once_and_nothing_else() -> None:
    # Prompts 1 1 1 1 and 1 1 1, each with the completions (2 3) and (4 5 6): 4 + 1 + 2 and 3 + 1 + 2 tokens.
    rows = [
        Row(EncodedPrompt(name, "", (1,) * size, {}, fingerprint=name), completion)
        for name, size in (("p", 4), ("q", 3))
        for completion in ((2, 3), (4, 5, 6))
    ]
    [batch] = make_micro_batches(rows, 64)
    packed = end_to_end(batch)
    assert batch.input_ids.shape == (2, 7)
    assert packed.input_ids.tolist() == [[1, 1, 1, 1, 2, 4, 5, 1, 1, 1, 2, 4, 5]]
    # Seen within its own tree: a prompt up to the end, 2 by itself alone.
    assert packed.ends.tolist() == [[7, 7, 7, 7, 5, 7, 7, 6, 6, 6, 4, 6, 6]]
    # The first tree is as it was; what lay at 7 + 2 of the padded second lies at 7 + 2 still, because the first has no
    # padding. Of one with padding in front of it: the order by length puts the longer first, so swap them.
    assert packed.sources.tolist() == batch.sources.tolist() == [3, 4, 3, 5, 6, 9, 10, 9, 11, 12]
    swapped = dataclasses.replace(
        batch, trees=batch.trees[::-1], ends=batch.ends.flip(0), input_ids=batch.input_ids.flip(0),
        offsets=batch.offsets.flip(0), sources=(batch.sources + 7) % 14,
    )  # fmt: skip
    assert swapped.sources.tolist() == [10, 11, 10, 12, 13, 2, 3, 2, 4, 5]
    assert end_to_end(swapped).sources.tolist() == [9, 10, 9, 11, 12, 2, 3, 2, 4, 5]
    three = torch.arange(42).view(3, 2, 7)
    assert without_padding(three, batch.trees)[0].tolist() == [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]]


def test_attention_end_to_end_is_that_of_padded_trees() -> None:
    for seed in range(20):
        batch = random_trees(seed)
        num_trees, length = batch.input_ids.shape
        torch.manual_seed(seed)
        padded = [torch.randn(num_trees, heads, length, 32) for heads in (4, 2, 2)]
        packed = [
            torch.cat([one[place : place + 1, :, : tree.length] for place, tree in enumerate(batch.trees)], dim=2)
            for one in padded
        ]
        module = torch.nn.Module()
        module.num_key_value_groups = 2  # type: ignore[assignment]
        with torch.no_grad():
            expected, _ = attention.attend(module, *padded, attention_mask(batch, torch.float32), scaling=0.2)
            got, _ = attention.attend(module, *packed, None, scaling=0.2, trees=masks_end_to_end(batch, torch.float32))
        rows = [expected[place, : tree.length] for place, tree in enumerate(batch.trees)]
        assert (torch.cat(rows) - got[0]).abs().max() < 2e-6


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
