"""AdamW: fused steps are plain steps to rounding, and moments may be kept in less room."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from rl.policy.objectives import GrpoObjective
from rl.policy.optimizer import LeanAdamW, rounded_by_chance
from rl.policy.policy import Policy
from rl.policy.sharding import Layout
from rollouts.engine.checksum import checksum
from tests.fakes.tiny_models import make_qwen2
from tests.rl.policy.policy_cases import GRPO, TOTAL_UPDATES, some_rows, totals_of, with_logprobs

SETTINGS = {"lr": 1e-2, "betas": (0.9, 0.999), "eps": 1e-8}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_qwen2(tmp_path_factory.mktemp("qwen2"))


def policy_with(folder: Path, place: str) -> Policy:
    layout = Layout(optimizer_state=place)  # type: ignore[arg-type]
    return Policy(folder, GrpoObjective(GRPO), total_updates=TOTAL_UPDATES, layout=layout)


def walk(make: Callable[[list[dict[str, object]]], torch.optim.Optimizer], num_updates: int = 20) -> torch.Tensor:
    """Where two weights are after some updates with the gradients of a fixed chance."""
    torch.manual_seed(0)
    parameters = [torch.nn.Parameter(torch.randn(7, 5)), torch.nn.Parameter(torch.randn(5))]
    optimizer = make([{"params": parameters, "weight_decay": 0.1}])
    for _ in range(num_updates):
        for parameter in parameters:
            parameter.grad = torch.randn(parameter.shape)
        optimizer.step()
    return torch.cat([parameter.detach().flatten() for parameter in parameters])


def test_every_way_to_keep_moments_walks_where_plain_adamw_walks() -> None:
    plain = walk(lambda groups: torch.optim.AdamW(groups, fused=False, foreach=False, **SETTINGS))
    fused = walk(lambda groups: torch.optim.AdamW(groups, fused=True, **SETTINGS))
    assert torch.allclose(plain, fused, atol=1e-6)
    on_cpu = walk(lambda groups: LeanAdamW(groups, "cpu", **SETTINGS))
    assert torch.equal(on_cpu, fused), "the same numbers, elsewhere"
    half = walk(lambda groups: LeanAdamW(groups, "bfloat16", **SETTINGS))
    # 20 updates of 0.01 each; a moment is known to one part in 256.
    assert not torch.equal(half, fused) and (half - fused).abs().max() < 0.01


def test_rounding_by_chance_has_the_right_mean_and_neighbours_only() -> None:
    # Between 1 and 1 + 1/128 there is nothing in bfloat16; 1 + 1/512 is a quarter of the way.
    for sign in (1.0, -1.0):
        value = sign * (1 + 1 / 512)
        rounded = rounded_by_chance(torch.full((40_000,), value), torch.Generator().manual_seed(0)).float()
        assert set(rounded.tolist()) == {sign, sign * (1 + 1 / 128)}
        # The deviation of a mean of 40,000 is sqrt(0.25 * 0.75 / 40,000) / 128 = 1.7e-5.
        assert rounded.mean().item() == pytest.approx(value, abs=7e-5)


def test_a_second_moment_in_bfloat16_falls_where_gradients_stop() -> None:
    parameter = torch.nn.Parameter(torch.zeros(4096))
    optimizer = LeanAdamW([{"params": [parameter], "weight_decay": 0.0}], "bfloat16", **SETTINGS)
    parameter.grad = torch.ones(4096)
    optimizer.step()
    started = optimizer.state[parameter]["exp_avg_sq"].float().mean().item()
    parameter.grad = torch.zeros(4096)
    for _ in range(100):
        optimizer.step()
    # 0.999^100 = 0.905. Rounded to the nearest it would stand still: 0.001 is less than half of 1/256.
    assert optimizer.state[parameter]["exp_avg_sq"].float().mean().item() == pytest.approx(0.905 * started, rel=0.01)
    still = torch.tensor(started, dtype=torch.bfloat16)
    assert (still.float() * 0.999).bfloat16() == still


@pytest.mark.parametrize("place", ["float32", "bfloat16", "cpu"])
def test_gradients_are_gone_after_an_update_and_a_resumed_walk_is_the_straight_one(folder: Path, place: str) -> None:
    rows = with_logprobs(some_rows(folder), policy_with(folder, "float32"))
    straight, resumed = policy_with(folder, place), policy_with(folder, place)
    for _ in range(2):
        straight.update(rows, totals_of(rows))
    assert all(parameter.grad is None for parameter in straight.tokens.parameters())
    moments = {value.dtype for state in straight.optimizer.state.values() for value in state.values()}
    assert moments == ({torch.bfloat16, torch.float32} if place == "bfloat16" else {torch.float32})
    resumed.load_state(*straight.state())
    for policy in (straight, resumed):
        policy.update(rows, totals_of(rows))
    assert checksum(straight.state()[0]) == checksum(resumed.state()[0])
