"""Numbers for weights, so that trainer and engine can be sure they speak of the same model: one for each tensor,
computed where it lies, and one for all.

A tensor's number is made of sums of integers, which come out the same on CPU and GPU and in any order of adding, as
sums of floats do not: its bytes as 64-bit words w_i, each times an odd number m_i that belongs to its place,
S = sum_i w_i m_i modulo 2^64, for two series of m. A flipped bit changes one word by 2^k, and 2^k times an odd number
is not 0; words that change places, or any other change of several, go unseen once in 2^128.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache

import torch
from torch import Tensor

# Words whose multipliers are kept; longer tensors take them again, times an odd number of their own for each block.
_BLOCK = 1 << 15
_SERIES = 2
_WORD_BYTES = 8
# Of splitmix64 (Steele, Lea, Flood 2014), which makes numbers without pattern out of 0, 1, 2, ...
_STEP, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def checksum(weights: Mapping[str, Tensor]) -> str:
    """One number for all tensors: names, dtypes, shapes and bytes. The order of the mapping and the device do not
    matter."""
    return combined(fingerprints(weights))


def fingerprints(weights: Mapping[str, Tensor]) -> dict[str, str]:
    """Dtype, shape and sums of each tensor; one transfer from its device for all of them."""
    sums = [_sums(tensor.detach()) for tensor in weights.values()]
    numbers: list[list[int]] = torch.stack(sums).tolist() if sums else []
    return {
        name: " ".join([str(tensor.dtype), str(tuple(tensor.shape)), *(f"{one % 2**64:016x}" for one in pair)])
        for (name, tensor), pair in zip(weights.items(), numbers, strict=True)
    }


def combined(of_tensors: Mapping[str, str]) -> str:
    """One number for the fingerprints of many tensors."""
    lines = sorted(f"{name} {fingerprint}" for name, fingerprint in of_tensors.items())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _sums(tensor: Tensor) -> Tensor:
    """The sums [2] of a tensor's words, on its device."""
    words_W = _words(tensor)
    multipliers_SW = _multipliers(str(tensor.device))
    num_whole = len(words_W) // _BLOCK
    if not num_whole:
        return (words_W * multipliers_SW[:, : len(words_W)]).sum(-1) * _of_blocks(1, str(tensor.device))[0]
    whole_B1W = words_W[: num_whole * _BLOCK].view(num_whole, 1, _BLOCK)
    rest_1W = words_W[num_whole * _BLOCK :].unsqueeze(0)
    # As many blocks at a time as stay in a cache, or as fill a GPU.
    parts = whole_B1W.split(1 if tensor.device.type == "cpu" else 256)
    sums_BS = [(part_B1W * multipliers_SW).sum(-1) for part_B1W in parts]
    sums_BS.append((rest_1W * multipliers_SW[:, : rest_1W.shape[1]]).sum(-1).unsqueeze(0))
    return (torch.cat(sums_BS) * _of_blocks(num_whole + 1, str(tensor.device))).sum(0)


def _words(tensor: Tensor) -> Tensor:
    """The bytes of a tensor as int64 [W], the last word filled up with zeros."""
    bytes_B = tensor.contiguous().reshape(-1).view(torch.uint8)
    if bytes_B.numel() % _WORD_BYTES:
        bytes_B = torch.cat([bytes_B, bytes_B.new_zeros(-bytes_B.numel() % _WORD_BYTES)])
    elif bytes_B.storage_offset() % _WORD_BYTES:
        bytes_B = bytes_B.clone()
    return bytes_B.view(torch.int64)


@cache
def _multipliers(device: str) -> Tensor:
    """Odd numbers [S series, W places of a block]."""
    places = torch.arange(_SERIES * _BLOCK).reshape(_SERIES, _BLOCK)
    return _odd(places, offset=0).to(device)


@cache
def _of_blocks(num_blocks: int, device: str) -> Tensor:
    """Odd numbers [B blocks, S series]."""
    return _odd(torch.arange(_SERIES * num_blocks).reshape(-1, _SERIES), offset=_SERIES * _BLOCK).to(device)


def _odd(places: Tensor, offset: int) -> Tensor:
    """The odd number of each place; products of 64-bit integers wrap around in torch as they do here on purpose."""
    number = (places + 1 + offset) * _signed(_STEP)
    for shift, factor in ((30, _FIRST), (27, _SECOND)):
        number = (number ^ _shifted(number, shift)) * _signed(factor)
    return (number ^ _shifted(number, 31)) | 1


def _shifted(number: Tensor, shift: int) -> Tensor:
    """Shifted to the right with zeros in front, where torch puts copies of the sign."""
    return (number >> shift) & ((1 << 64 - shift) - 1)


def _signed(number: int) -> int:
    return number - 2**64 if number >= 2**63 else number
