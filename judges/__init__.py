"""Asks a model, or rules, whether an answer means the reference. Knows nothing of RL; of the other packages it imports
only the supervisor of child processes (`rollouts.children`)."""

from judges.build import make_judge
from judges.guards.canaries import CanaryAccepted, raise_if_unsafe
from judges.rules import RulesJudge
from judges.settings import JudgeConfig
from judges.verdict import (
    Assessment,
    Criteria,
    Decision,
    Failure,
    Judge,
    JudgeConfigError,
    JudgeError,
    JudgeMedia,
    JudgeUnreachable,
    Question,
    Verdict,
)

__all__ = [
    "Assessment",
    "CanaryAccepted",
    "Criteria",
    "Decision",
    "Failure",
    "Judge",
    "JudgeConfig",
    "JudgeConfigError",
    "JudgeError",
    "JudgeMedia",
    "JudgeUnreachable",
    "Question",
    "RulesJudge",
    "Verdict",
    "make_judge",
    "raise_if_unsafe",
]
