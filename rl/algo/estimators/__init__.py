"""The estimators by the name that `grpo.loss_type` takes. A new one is a file here, a line in the dict and its test."""

from rl.algo.estimator import Estimator
from rl.algo.estimators import bnpo, dapo, dr_grpo, grpo, gspo

ESTIMATORS: dict[str, Estimator] = {
    "grpo": grpo.ESTIMATOR,
    "bnpo": bnpo.ESTIMATOR,
    "dr_grpo": dr_grpo.ESTIMATOR,
    "dapo": dapo.ESTIMATOR,
    "gspo": gspo.ESTIMATOR,
}


def estimator_of(loss_type: str) -> Estimator:
    """The estimator of that name. Raises ValueError for a name that is not in the dict."""
    if loss_type not in ESTIMATORS:
        raise ValueError(f"loss_type is {loss_type!r}, expected one of {', '.join(ESTIMATORS)}; see grpo.loss_type")
    return ESTIMATORS[loss_type]
