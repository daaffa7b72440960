"""The order of prompts and the seeds are functions of integers: nothing to save, nothing to drift."""

from __future__ import annotations

import pytest

from rl.algo.order import epoch_order, plan, position, sampling_seed, steps_per_epoch


def test_an_epoch_asks_every_sample_once_and_the_next_in_another_order() -> None:
    first = [index for step in range(1, 6) for index in plan(step, seed=3, num_samples=20, prompts_per_step=4)]
    second = [index for step in range(6, 11) for index in plan(step, seed=3, num_samples=20, prompts_per_step=4)]
    assert sorted(first) == sorted(second) == list(range(20))
    assert first != second


def test_a_step_needs_no_memory_of_the_steps_before() -> None:
    assert plan(7, seed=1, num_samples=30, prompts_per_step=4) == epoch_order(1, 0, 30)[24:28]
    assert position(8, 30, 4) == (1, 0)  # 7 whole steps of 4 in 30; the ragged 2 are left to the next permutation


def test_too_small_a_set_is_an_error_that_names_both_numbers() -> None:
    with pytest.raises(ValueError, match="3 samples, one step asks 4"):
        steps_per_epoch(3, 4)


def test_seeds_differ_in_every_part_and_repeat_exactly() -> None:
    seeds = {
        sampling_seed(seed, step, prompt, index, attempt)
        for seed in (0, 1) for step in (1, 2) for prompt in ("a", "b") for index in range(8) for attempt in (0, 1)
    }  # fmt: skip
    assert len(seeds) == 2 * 2 * 2 * 8 * 2
    assert sampling_seed(0, 1, "a", 0) == sampling_seed(0, 1, "a", 0)
    assert all(0 <= seed < 2**31 for seed in seeds)
