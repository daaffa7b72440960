"""The pieces of a step, whatever the number of prompts and mini-batches."""

from __future__ import annotations

import pytest

from rl.config import GrpoConfig
from rl.step_order import parts


@pytest.mark.parametrize(
    ("prompts", "generations", "minibatches", "expected"),
    [
        (4, 8, 4, [((0, 1), [0]), ((1, 2), [1]), ((2, 3), [2]), ((3, 4), [3])]),
        # Two mini-batches of four completions share each group of eight, so the second needs no further group.
        (2, 8, 4, [((0, 1), [0, 1]), ((1, 2), [2, 3])]),
        (1, 8, 4, [((0, 1), [0, 1, 2, 3])]),
        # Mini-batches of six end inside groups of four: after 6 the second group is needed, after 12 the third.
        (3, 4, 2, [((0, 2), [0]), ((2, 3), [1])]),
    ],
)
def test_every_piece_brings_groups_and_every_mini_batch_has_a_piece(prompts, generations, minibatches, expected):
    found = parts(prompts, GrpoConfig(prompts_per_step=prompts, num_generations=generations, num_minibatches=minibatches))
    assert [((part.groups.start, part.groups.stop), list(part.minibatches)) for part in found] == expected
