"""A reward that knows nothing of the answer: the control `random_reward` pays it instead of all others."""

from __future__ import annotations

from rewards.registry import reward
from rollouts.records import Outcome, stable_hash

COIN = "coin"


@reward(COIN)
def coin(completion: str, group_key: str, seed: int = 0) -> Outcome:
    """1 or 0 with probability 1/2, thrown for each different completion of a group; what it says and whether it is
    right plays no part. Range {0, 1}.

    It follows from the text, its step and prompt (`group_key` without the run's name) and `seed` alone, so that a run
    that is stopped and resumed, or made again elsewhere, pays the same. Gains under random rewards: Shao et al. 2025,
    arXiv:2506.10947.
    """
    place = group_key.partition("/")[2]
    text = completion.encode("utf-8", "surrogatepass").hex()  # half a pair of UTF-16 is a text of a model, too
    return Outcome(float(stable_hash(COIN, seed, place, text) % 2), reason="a coin was thrown")
