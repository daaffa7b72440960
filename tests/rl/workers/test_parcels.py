"""What is sent of a prompt: where policy and reference compute in bfloat16, its images travel in it and no bit of a
result changes; in float32 nothing is rounded."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from rl.policy.batching import Row
from rl.policy.objectives import GrpoObjective
from rl.policy.policy import Policy, Reference
from rl.workers.parcels import Parcels
from rollouts.engine.checksum import checksum
from rollouts.prompt.processing import EncodedPrompt
from tests.fakes.tiny_models import MAKERS, SEEING
from tests.rl.policy.policy_cases import GRPO, some_rows, totals_of


def sent(rows: list[Row], dtype: Any) -> list[Row]:
    """The rows as a worker gets them."""
    letter, prompts = Parcels(lambda prompt: prompt, dtype).packed(rows)
    return list(letter.opened(prompts))


@pytest.mark.parametrize("family", SEEING)
def test_images_in_bfloat16_change_no_bit_where_the_arithmetic_is_bfloat16(tmp_path: Path, family: str) -> None:
    folder = MAKERS[family](tmp_path)
    rows = some_rows(folder)
    given = sent(rows, "bfloat16")
    assert {one.dtype for row in given for name, one in row.prompt.media.items() if "pixel" in name} == {torch.bfloat16}
    reference = Reference(folder, temperature=0.9, dtype="bfloat16")
    assert reference.log_probs(given) == reference.log_probs(rows)
    learnt = []
    for its in (rows, given):
        policy = Policy(folder, GrpoObjective(dataclasses.replace(GRPO, beta=0.0)), total_updates=8, dtype="bfloat16")
        learnt.append((policy.update(its, totals_of(its)), checksum(policy.weights())))
    assert learnt[0] == learnt[1]
    # What does round: in float32 the same images give other numbers.
    exact = Reference(folder, temperature=0.9)
    assert exact.log_probs(given) != exact.log_probs(rows)


def test_in_float32_prompts_are_sent_as_they_are_and_documents_are_sent_with_theirs() -> None:
    page = EncodedPrompt(
        "p", "", (1, 2), {"pixel_values": torch.rand(2, 3), "image_grid_thw": torch.tensor([[1, 2, 1]])}
    )
    row = Row(EncodedPrompt("all", "", (1, 2), {}, documents=(page,)), (3,))
    assert sent([row], "float32")[0].prompt is row.prompt
    media = sent([row], "bfloat16")[0].prompt.documents[0].media
    assert media["pixel_values"].dtype == torch.bfloat16 and media["image_grid_thw"].dtype == torch.int64
