"""Numbers for weights: equal for equal bytes however they lie, another one for every change that could happen."""

from __future__ import annotations

import pytest
import torch

from rollouts.engine.checksum import _odd, checksum, fingerprints


@pytest.fixture
def weights() -> dict[str, torch.Tensor]:
    """Three dtypes, lengths that fill no word, and one tensor longer than a block of 2^15 words."""
    torch.manual_seed(0)
    return {
        "a": torch.randn(7, 5),
        "b": torch.randn(33).to(torch.bfloat16),
        "c": torch.arange(5, dtype=torch.int8),
        "long": torch.randn(600_001),
        "empty": torch.empty(0),
        "scalar": torch.tensor(2.5),
    }


def test_the_multipliers_are_those_of_splitmix64() -> None:
    # The first outputs of the generator with seed 0, as its authors print them, with the lowest bit set.
    expected = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4 | 1, 0x06C45D188009454F]
    assert [one % 2**64 for one in _odd(torch.arange(3), offset=0).tolist()] == expected


def test_sums_are_those_worked_out_by_hand() -> None:
    # One word: bytes 1, 0, 0, 0 and four of filling; 1 x each multiplier of its place, the two series 2^15 numbers
    # apart, x the numbers of the first block, which follow behind both.
    numbers = _odd(torch.tensor([0, 1 << 15, 2 << 15, (2 << 15) + 1]), offset=0).tolist()
    first, second = (numbers[series] * numbers[2 + series] % 2**64 for series in (0, 1))
    assert fingerprints({"x": torch.tensor([1], dtype=torch.int32)}) == {
        "x": f"torch.int32 (1,) {first:016x} {second:016x}"
    }


def test_order_of_the_mapping_and_how_a_tensor_lies_do_not_matter(weights: dict[str, torch.Tensor]) -> None:
    known = checksum(weights)
    assert checksum(dict(reversed(weights.items()))) == known
    # A part of a larger one that begins in the middle of a word, and one that is not contiguous.
    shifted = torch.cat([torch.zeros(1), weights["long"]])[1:]
    turned = weights["a"].T.contiguous().T
    assert checksum(weights | {"long": shifted, "a": turned}) == known


def test_one_flipped_bit_is_seen_wherever_it_is(weights: dict[str, torch.Tensor]) -> None:
    known = fingerprints(weights)
    for name, place in (("a", 0), ("b", 32), ("c", 4), ("long", 0), ("long", 65_536 * 2), ("long", 600_000)):
        for bit in (0, 3, 7):
            changed = {one: tensor.clone() for one, tensor in weights.items()}
            changed[name].view(-1)[place : place + 1].view(torch.uint8)[-1] ^= 1 << bit
            assert {one for one, number in fingerprints(changed).items() if number != known[one]} == {name}
            assert checksum(changed) != checksum(weights)


@pytest.mark.parametrize(("first", "second"), [(0, 1), (0, 2), (5, 65_541), (0, 600_000)])
def test_a_swapped_pair_is_seen(weights: dict[str, torch.Tensor], first: int, second: int) -> None:
    """In one word, in two, at the same place of two blocks, at both ends."""
    changed = {name: tensor.clone() for name, tensor in weights.items()}
    changed["long"][[first, second]] = changed["long"][[second, first]]
    assert checksum(changed) != checksum(weights)


def test_another_name_shape_or_dtype_and_a_missing_tensor_are_seen(weights: dict[str, torch.Tensor]) -> None:
    others = [
        {name.replace("a", "A"): tensor for name, tensor in weights.items()},
        weights | {"a": weights["b"], "b": weights["a"]},
        weights | {"a": weights["a"].reshape(5, 7)},
        weights | {"a": weights["a"].view(torch.int32)},
        {name: tensor for name, tensor in weights.items() if name != "empty"},
    ]
    numbers = [checksum(one) for one in (weights, *others)]
    assert len(set(numbers)) == 6
    assert checksum({}) == checksum({})
