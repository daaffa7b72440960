"""What is asked of an engine and what can go wrong there; importing this file loads neither torch nor vLLM."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rollouts.prompt.families import ONE_TILE, ImageSettings

# vLLM takes no higher one.
MAX_TEMPERATURE = 2.0


class StaleWeights(RuntimeError):
    """The engine does not hold the weights it was asked to use, or cannot prove that it does. It draws nothing until it
    has them."""

    exit_code = 1  # ours: rollouts.terminal.FAILED


class WeightsRejected(RuntimeError):
    """Weights that arrived damaged or incomplete, or that the live model did not take over."""

    exit_code = 1  # ours: rollouts.terminal.FAILED


class PromptMismatch(RuntimeError):
    """The engine expanded a prompt into other tokens than the trainer's processor: both would speak of different
    images."""

    exit_code = 1  # ours: rollouts.terminal.FAILED


class EngineDead(RuntimeError):
    """vLLM failed in the middle of its work. Its state is unknown, so it is never asked again; the worker starts
    anew."""

    exit_code = 1  # ours: rollouts.terminal.FAILED


class RequestKey(NamedTuple):
    """Which completion of a step this is."""

    prompt_id: str
    # 0..N-1 inside the group of completions of one prompt.
    sample_index: int


@dataclass(frozen=True)
class Request:
    """One completion to draw, for any engine."""

    prompt_id: str
    sample_index: int
    # After the chat template, one placeholder an image.
    text: str
    # Media of the prompt as the processor hands it to engines, opaque outside the engine's own file; empty for text.
    # The same object in all requests of a group, so that it travels once; None = the engine has the prompt already
    # (`fingerprint`).
    media: Mapping[str, Sequence[object]] | None
    # Sampling seed, below 2**63; see rl/algo/order.py.
    seed: int
    # The prompt as the trainer's processor expands it, image tokens multiplied; None = not compared (tools without a
    # trainer).
    token_ids: tuple[int, ...] | None = None
    # How this one is drawn where it is otherwise than the rest of its call, with the same weights.
    settings: SamplingSettings | None = None
    # Hash of the prompt's tokens and media, by which an engine knows a prompt that it has rendered ahead; "" = unknown.
    fingerprint: str = ""

    @property
    def key(self) -> RequestKey:
        return RequestKey(self.prompt_id, self.sample_index)


@dataclass(frozen=True)
class Refusal:
    """A prompt that the processor or the engine does not take. It costs its row; nothing is wrong with the others."""

    prompt_id: str
    reason: str


@dataclass(frozen=True)
class SamplingSettings:
    """How a batch of requests is drawn."""

    # Of the whole distribution: a cut such as top-p would draw from another one than the trainer's ratio and KL are of.
    temperature: float
    # Completion tokens at most, the end token included.
    max_completion_length: int
    # Version of the weights to draw with: the engine refuses any other (StaleWeights).
    policy_version: int
    # Tokens with probability 0; the trainer masks the same ones, or the two distributions differ.
    banned_token_ids: tuple[int, ...] = ()
    # Completions that are drawn at once at most, where the first asked for are wanted early; None = as many as the
    # engine holds. Of a call as a whole.
    in_flight: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.temperature <= MAX_TEMPERATURE:
            raise ValueError(f"temperature is {self.temperature}, expected 0 to {MAX_TEMPERATURE:g}")
        if self.max_completion_length < 1:
            raise ValueError(f"max_completion_length is {self.max_completion_length}, expected at least 1")

    @property
    def greedy(self) -> bool:
        """Temperature 0: always the likeliest token; log-probs are then those at temperature 1."""
        return self.temperature == 0


@dataclass(frozen=True)
class Stream:
    """One sequence of requests that comes to an engine in parts."""

    name: str
    # Whether another part comes after this one.
    more: bool = True

    def end(self) -> Stream:
        """The same as its last part has it."""
        return Stream(self.name, more=False)


@dataclass(frozen=True)
class PrefixHits:
    """Blocks of the KV cache that prompts fill, and how many of them were there already."""

    num_blocks: int = 0
    num_found: int = 0

    @classmethod
    def of(cls, num_tokens: int, num_cached: int, block_size: int) -> PrefixHits:
        """Of one completion. The last token of a prompt is always computed, so that a block which ends with it is
        never looked for."""
        return cls((num_tokens - 1) // block_size, num_cached // block_size)

    def __add__(self, other: PrefixHits) -> PrefixHits:
        return PrefixHits(self.num_blocks + other.num_blocks, self.num_found + other.num_found)

    def __sub__(self, other: PrefixHits) -> PrefixHits:
        return PrefixHits(self.num_blocks - other.num_blocks, self.num_found - other.num_found)

    @property
    def rate(self) -> float:
        """Share of the blocks that were found; NaN where there was none to look for."""
        return self.num_found / self.num_blocks if self.num_blocks else math.nan


@dataclass(frozen=True)
class EngineSettings:
    """What an engine needs to know at its start."""

    # float32 or bfloat16.
    dtype: str = "float32"
    # Longest prompt plus completion, in tokens.
    max_model_len: int = 512
    # Images a prompt may hold, and how large they become; the trainer's processor must be given the same.
    max_images: int = 4
    images: ImageSettings = ONE_TILE
    # Completions in flight at most; more wait their turn.
    max_num_seqs: int = 128
    # KV cache in GiB (CPU), and share of the GPU's memory (CUDA).
    cpu_kv_cache_gib: float = 0.5
    gpu_memory_utilization: float = 0.5
    # Whether the GPU is the policy's, too: the engine then has a KV cache of a given size in GiB, and sleeps while the
    # policy trains.
    shares_gpu: bool = False
    gpu_kv_cache_gib: float = 10.0
    # GPUs of this engine.
    tensor_parallel_size: int = 1
    # Whether the prompt of a group is computed once. Completions are the same either way; off for comparisons only.
    prefix_caching: bool = True
