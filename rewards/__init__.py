"""Scores completions: one parser, small rewards, a rubric that adds them up, a scorer that runs them. Loads no torch.

A reward of one's own needs `from rewards import reward` and, to say more than a number, `Outcome`.
"""

import importlib.metadata

from rewards.answers.form import grade_format
from rewards.answers.read import grade_option, parse
from rewards.registry import Member, RewardError, reward
from rewards.rubric import Rubric, Scored, make_rubric
from rewards.scorer import Scorer
from rollouts.records import Outcome, Parsed, Sample

__all__ = [
    "Member",
    "Outcome",
    "Parsed",
    "RewardError",
    "Rubric",
    "Sample",
    "Scored",
    "Scorer",
    "grade_format",
    "grade_option",
    "make_rubric",
    "parse",
    "reward",
]


def __getattr__(name: str) -> str:
    """`rewards.__version__`, read when somebody asks, so that a checkout that nobody installed imports all the same."""
    if name == "__version__":
        return importlib.metadata.version("rounds-rl")
    raise AttributeError(f"module 'rewards' has no attribute {name!r}")
