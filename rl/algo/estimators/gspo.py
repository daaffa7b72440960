"""GSPO (arXiv:2507.18071): one ratio for a whole completion, the geometric mean of its tokens' ratios (Eq. 7), clipped
as one; weights as in GRPO. TRL's `importance_sampling_level="sequence"` with `loss_type="grpo"`.

Such a ratio moves far less than a token's: the paper clips at 3e-4 and 4e-4 (Sec 5.1), and with the token-level 0.2
nothing is ever clipped. `clip_ratio/*` count tokens here as everywhere, so a clipped completion counts by its length;
TRL counts completions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rl.algo.estimator import Estimator
from rl.algo.estimators.grpo import mean_of_row, num_rows

if TYPE_CHECKING:
    from torch import Tensor


def ratio_of_row(log_ratio_N: Tensor, bounds_R1: Tensor) -> Tensor:
    """Every token gets the mean of the log ratios of its row; the gradient flows to all of them."""
    import torch  # loaded long before a loss is computed, and not by who only reads names

    lengths_R = bounds_R1.diff()
    means_R = torch.stack([row.mean() for row in log_ratio_N.split(lengths_R.tolist())])
    return means_R.repeat_interleave(lengths_R)


ESTIMATOR = Estimator(
    row_weights=mean_of_row,
    divisor=num_rows,
    log_ratio=ratio_of_row,
    published={"epsilon": 3e-4, "epsilon_high": 4e-4},
)
