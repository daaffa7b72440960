"""Which prompts a step asks and with which seeds: functions of integers, so that nothing stateful can drift when a run
resumes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rollouts.records import stable_hash

MAX_SEED = 2**31 - 1  # engines take a signed 32-bit seed on some platforms


class TooFewSamples(ValueError):
    """The RL set cannot fill one step."""


class Position(NamedTuple):
    """Where in the epochs a step begins: the whole training state of the data loader."""

    epoch: int
    offset: int


def steps_per_epoch(num_samples: int, prompts_per_step: int) -> int:
    """Whole steps in one epoch; the ragged rest of an epoch is left for the next permutation.

    Raises:
        TooFewSamples: there are fewer than one step asks.
    """
    if num_samples < prompts_per_step:
        raise TooFewSamples(
            f"the RL set has {num_samples} samples, one step asks {prompts_per_step}: "
            "lower grpo.prompts_per_step or raise data.num_rl"
        )
    return num_samples // prompts_per_step


def position(step: int, num_samples: int, prompts_per_step: int) -> Position:
    """Position of a step; steps count from 1."""
    epoch, index = divmod(step - 1, steps_per_epoch(num_samples, prompts_per_step))
    return Position(epoch, index * prompts_per_step)


def epoch_order(seed: int, epoch: int, num_samples: int) -> list[int]:
    """The epoch's order: a permutation drawn from hash(seed, epoch) alone (JUDGING.md, Training systems)."""
    generator = np.random.default_rng(stable_hash("order", seed, epoch))
    return [int(index) for index in generator.permutation(num_samples)]


def plan(step: int, *, seed: int, num_samples: int, prompts_per_step: int) -> list[int]:
    """Which prompts a step asks: their places in the RL set, in order. Steps count from 1.

    Raises:
        TooFewSamples: there are fewer than one step asks.
    """
    epoch, offset = position(step, num_samples, prompts_per_step)
    return epoch_order(seed, epoch, num_samples)[offset : offset + prompts_per_step]


def replacements(step: int, *, seed: int, num_samples: int, prompts_per_step: int) -> list[int]:
    """Prompts that may stand in for some of a step (grpo.refill=next): places of all others in the RL set, in an order
    drawn from hash(seed, step) alone.

    The epochs stay what they are: a step always asks what `plan` says, and what stood in for it may come again in its
    own turn.
    """
    taken = set(plan(step, seed=seed, num_samples=num_samples, prompts_per_step=prompts_per_step))
    generator = np.random.default_rng(stable_hash("refill", seed, step))
    return [int(index) for index in generator.permutation(num_samples) if int(index) not in taken]


def sampling_seed(seed: int, step: int, prompt_id: str, sample_index: int, attempt: int = 0) -> int:
    """Seed of one completion, 0 .. 2^31 - 2: hash(seed, step, prompt id, sample index, attempt) (README, One step of
    GRPO)."""
    return stable_hash("sampling", seed, step, prompt_id, sample_index, attempt) % MAX_SEED
