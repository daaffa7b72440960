"""Scores completions: one parser, small rewards, a rubric that adds them up, a scorer that runs them. Loads no torch."""

from rewards.parsing import grade_option, parse
from rewards.registry import RewardError, reward
from rewards.rubric import Rubric, Scored
from rewards.scorer import Scorer
from rewards.tags import grade_format

__all__ = ["RewardError", "Rubric", "Scored", "Scorer", "grade_format", "grade_option", "parse", "reward"]
