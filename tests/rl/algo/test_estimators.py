"""An estimator is one file and one line: what it says of itself, and the proof that a seventh needs nothing else."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from rl.algo.denominators import denominators
from rl.algo.estimators import ESTIMATORS, estimator_of
from rl.algo.estimators.gspo import ratio_of_row
from rl.algo.losses import policy_loss, row_bounds
from rl.config import GrpoConfig
from tests.fakes.tiny_models import make_internvl
from tests.paths import REPOSITORY


def test_bounds_lie_between_the_rows() -> None:
    assert row_bounds([2, 3]).tolist() == [0, 2, 5]
    assert row_bounds([]).tolist() == [0]


def test_one_ratio_for_a_completion_by_hand() -> None:
    # Ratios 2 and 1/2 make 1, ratios 4 and 1 and 2 make the cube root of 8.
    log_ratio = torch.tensor([2.0, 0.5, 4.0, 1.0, 2.0]).log().requires_grad_()
    shared = ratio_of_row(log_ratio, row_bounds([2, 3]))
    assert shared.exp().tolist() == pytest.approx([1.0, 1.0, 2.0, 2.0, 2.0])
    shared[2].backward()
    # The gradient of one token's ratio reaches all tokens of its row, and no other row.
    assert log_ratio.grad is not None
    assert log_ratio.grad.tolist() == pytest.approx([0.0, 0.0, 1 / 3, 1 / 3, 1 / 3])


def test_a_completion_is_clipped_as_a_whole() -> None:
    # Row 1 has the ratio sqrt(4 x 1) = 2, above 1.2, with A = 1: clipped, although its second token has not moved.
    logprobs = torch.tensor([math.log(4.0), 0.0, 0.0]).requires_grad_()
    weights = torch.tensor([0.25, 0.25, 0.5])
    loss, sums = policy_loss(
        logprobs, torch.zeros(3), None, torch.ones(3), weights, row_bounds([2, 1]),
        log_ratio=estimator_of("gspo").log_ratio, epsilon=0.2,
    )  # fmt: skip
    loss.backward()
    assert loss.item() == pytest.approx(-(0.25 * 1.2 + 0.25 * 1.2 + 0.5 * 1.0))
    assert logprobs.grad is not None
    assert logprobs.grad.tolist() == pytest.approx([0.0, 0.0, -0.5])
    assert sums["clip_ratio/high_mean"].item() == 2


@pytest.mark.parametrize("loss_type", ESTIMATORS)
def test_who_needs_the_whole_step(loss_type: str) -> None:
    estimator = estimator_of(loss_type)
    assert estimator.needs_whole_step(GrpoConfig()) == (loss_type == "dapo")
    assert estimator.needs_whole_step(GrpoConfig(scale_rewards="batch"))
    assert estimator.needs_whole_step(GrpoConfig(multi_objective_aggregation="normalize_then_sum"))
    # A replay makes advantages and no loss: what a denominator needs is nothing to it.
    assert not estimator.advantages_span_step(GrpoConfig())


def test_a_part_of_a_step_has_no_denominator_of_the_step() -> None:
    (part,) = denominators([[2, 4]], 10, num_minibatches=2)
    with pytest.raises(ValueError, match="all mini-batches"):
        estimator_of("dapo").divisor(part)
    assert estimator_of("grpo").divisor(part) == 2


@pytest.mark.parametrize("loss_type", ESTIMATORS)
def test_what_a_paper_used_are_settings_that_exist(loss_type: str) -> None:
    defaults = GrpoConfig()
    for name, value in estimator_of(loss_type).published.items():
        assert getattr(defaults, name) != value, f"{name} is our default: no word need be lost on it"


def test_an_unknown_name_is_an_error_that_lists_the_others() -> None:
    with pytest.raises(ValueError, match=r"grpo, bnpo, dr_grpo, dapo, gspo; see grpo\.loss_type"):
        estimator_of("ppo")


SEVENTH_FILE = """
from rl.algo.estimator import Estimator, equal_weights

ESTIMATOR = Estimator(
    row_weights=equal_weights,
    divisor=lambda totals: 2.0,
    log_ratio=lambda log_ratio_N, bounds_R1: 2 * log_ratio_N,
    advantages_span_step=lambda settings: True,
    published={"beta": 0.5},
)
"""
SEVENTH_LINE = """
from rl.algo.estimators import ESTIMATORS
import seventh

ESTIMATORS["seventh"] = seventh.ESTIMATOR
"""
# Nothing below knows the name from anywhere but the command line.
USES = """
import sys
from rl.config import door
from rl.config.build import leaves
from rollouts.annotations import type_name

config = door.compose([f"model.path={sys.argv[1]}", "grpo.loss_type=seventh"])
assert "seventh" in type_name(leaves()["grpo.loss_type"].annotation)

from rl.algo.estimators import estimator_of
from rl.doctor.checks import paper_differences
from rl.policy.objectives import GrpoObjective
from rl.policy.policy import Policy
from tests.rl.policy.policy_cases import some_rows, totals_of, with_logprobs

assert paper_differences(config.grpo) == ["the paper of seventh used grpo.beta=0.5 (here 0.04)"]
assert estimator_of(config.grpo.loss_type).needs_whole_step(config.grpo)
policy = Policy(sys.argv[1], GrpoObjective(config.grpo), total_updates=1)
rows = with_logprobs(some_rows(sys.argv[1]), policy)
print(policy.update(rows, totals_of(rows))["loss"])
"""


def test_a_new_estimator_is_one_file_and_one_line(tmp_path: Path) -> None:
    model = make_internvl(tmp_path / "internvl")
    (tmp_path / "seventh.py").write_text(SEVENTH_FILE)
    environment = {"PYTHONPATH": f"{tmp_path}:{REPOSITORY}", "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", SEVENTH_LINE + USES, str(model)],
        cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert math.isfinite(float(done.stdout.split()[-1])) and float(done.stdout.split()[-1]) != 0.0


def test_names_are_read_without_torch() -> None:
    code = "import rl.config, sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "False", done.stdout + done.stderr
