"""Judges without a model: equality with the reference, for debugging and for runs without an endpoint."""

from __future__ import annotations

import re

from judges.guards.prechecks import precheck
from judges.guards.wording import fold
from judges.verdict import Assessment, Criteria, Question, Verdict


def _stands_in(words: str, text: str) -> bool:
    """Whether the words stand in the text between word boundaries. Chinese and Japanese have none: there any place
    counts."""
    if not words:
        return False
    before, after = ("" if edge >= "\u2e80" else r"\w" for edge in (words[0], words[-1]))
    pattern = (rf"(?<!{before})" if before else "") + re.escape(words) + (rf"(?!{after})" if after else "")
    return re.search(pattern, text) is not None


class RulesJudge:
    """Accepts the gold text and its aliases, and nothing else. For debugging and for runs without an endpoint."""

    name = "rules"
    is_instant = True
    shows_images = False

    def __init__(self) -> None:
        self._num_judged = 0

    async def judge(self, question: Question) -> Verdict:
        """Return correct or incorrect, at once. Images and group change nothing."""
        self._num_judged += 1
        return precheck(question) or Verdict(
            "incorrect", reason="not equal to the reference or an alias", layer="rules"
        )

    async def assess(self, criteria: Criteria) -> Assessment:
        """Call a criterion met where its words stand in the candidate as they are. For debugging: it understands
        neither negation nor synonyms."""
        self._num_judged += 1
        candidate = fold(criteria.candidate)
        met = tuple(_stands_in(fold(criterion), candidate) for criterion in criteria.criteria)
        return Assessment(
            met, reason="the criterion's words were looked up in the text, for debugging only", layer="rules"
        )

    async def check(self) -> None:
        """Nothing can fail."""

    def check_now(self) -> None:
        """Nothing can fail."""

    def describe(self) -> str:
        """Say that no model is asked."""
        return (
            "judge=rules: open answers are compared with the gold text and its aliases after normalisation; no judge"
            " model is asked"
        )

    def metrics(self) -> dict[str, float]:
        """Return the number of judgements."""
        return {"judge/judged": float(self._num_judged)}

    async def close(self) -> None:
        """Nothing to give back."""
