"""The formulas that trainer, store and page share: by hand, and equal to the one that carries a gradient."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
import torch

from rl.algo.losses import k3_kl
from rollouts.measures import k3, mean, mean_or_none, std
from tests.paths import REPOSITORY


def test_k3_by_hand() -> None:
    # d = reference - policy = ln 2: 2 - ln 2 - 1; d = -ln 2: 0.5 + ln 2 - 1; equal: 0; not stored: NaN.
    values = k3([0.0, 0.0, -1.0, math.nan], [math.log(2), -math.log(2), -1.0, 0.0])
    assert values[:3].tolist() == pytest.approx([0.30685, 0.19315, 0.0], abs=1e-5)
    assert math.isnan(values[3])


def test_the_page_and_the_loss_show_the_same_kl() -> None:
    policy = np.array([-0.1, -3.0, -40.0, -1e-3])
    reference = np.array([-0.2, -2.0, -0.1, -60.0])
    trained = k3_kl(torch.tensor(policy), torch.tensor(reference))
    assert k3(policy, reference).tolist() == pytest.approx(trained.tolist(), rel=1e-9)
    assert np.isfinite(k3([-1e9], [0.0])).all(), "the log ratio is clamped"


def test_means_of_nothing_are_no_numbers() -> None:
    assert math.isnan(mean([])) and mean_or_none([]) is None and math.isnan(std([1.0]))
    assert (mean([1.0, 2.0]), mean_or_none([1.0, 2.0])) == (1.5, 1.5)
    assert std([1.0, 3.0]) == pytest.approx(math.sqrt(2.0))  # (1 + 1) / (2 - 1)
    # Summed exactly: the order cannot be seen.
    values = [1e16, 1.0, -1e16, 1.0]
    assert mean(values) == mean(values[::-1]) == 0.5


@pytest.mark.parametrize("module", ["rollouts.measures", "rollouts.page.group", "rl.evaluate.ways", "rl.report.page"])
def test_what_only_shows_numbers_loads_no_torch(module: str) -> None:
    code = f"import {module}, sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "False", done.stdout + done.stderr
