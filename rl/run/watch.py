"""Signs that a policy learns to please its judge instead of answering (JUDGING.md, layer 9): numbers of a step, and
warnings over several.

Nothing here stops a run or changes a reward. The thresholds are ours: coarse enough to stay silent while a model simply
learns.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from judges.guards.suspicion import rule_opinion
from judges.verdict import Question
from rollouts.measures import mean
from rollouts.records import Outcome, Rollout

# Steps that are averaged at the start of a run and now.
WINDOW = 5
LEAST_GAIN = 0.05
COLLAPSED_LENGTH = 0.5
IDENTICAL = 0.95
ONE_ANSWER = 0.8
AGAINST_RULE = 0.3
# Accepted verdicts on which the rule has an opinion, in the window, below which their share says nothing.
LEAST_VERDICTS = 20


def policy_metrics(rollouts: Sequence[Rollout]) -> dict[str, float]:
    """Numbers by which a drift would be seen.

    `completions/identical_ratio`: completions that repeat an earlier one of their group, of those that could: 1 where
    all members are equal. `completions/one_answer_ratio`: share of all answers that are the most frequent answer of the
    step, whatever was asked. `judge/against_rule_ratio`, `judge/accepted_with_rule_opinion`: of the answers that a
    judge model accepted and that a cautious rule has an opinion on (judges/guards/suspicion.py), the share that the
    rule calls wrong, and their number. A verdict shared by equal answers counts once. A share of nothing is NaN.
    """
    texts: dict[tuple[str, int, str], list[str]] = {}
    for rollout in rollouts:
        texts.setdefault(rollout.key[:3], []).append(rollout.completion.text)
    repeats = sum(len(group) - len(set(group)) for group in texts.values())
    possible = sum(len(group) - 1 for group in texts.values())
    answers = Counter(" ".join(text.casefold().split()) for rollout in rollouts if (text := rollout.parsed.answer))
    opinions = [opinion for opinion in map(_opinion, _accepted(rollouts)) if opinion is not None]
    return {
        "completions/identical_ratio": repeats / possible if possible else math.nan,
        "completions/one_answer_ratio": max(answers.values()) / answers.total() if answers else math.nan,
        "judge/against_rule_ratio": opinions.count("incorrect") / len(opinions) if opinions else math.nan,
        "judge/accepted_with_rule_opinion": float(len(opinions)),
    }


def _accepted(rollouts: Sequence[Rollout]) -> list[Rollout]:
    """One rollout for each verdict by which a judge model accepted an answer."""
    by_verdict: dict[int, Rollout] = {}
    for rollout in rollouts:
        for outcome in rollout.outcomes.values():
            if _accepts(outcome):
                by_verdict.setdefault(id(outcome), rollout)
    return list(by_verdict.values())


def _accepts(outcome: Outcome) -> bool:
    evidence: Mapping[str, Any] = outcome.evidence or {}
    return evidence.get("decision") == "correct" and evidence.get("layer") not in ("precheck", "rules")


def _opinion(rollout: Rollout) -> str | None:
    sample = rollout.sample
    verdict = rule_opinion(Question(sample.question, sample.gold_text, rollout.parsed.answer or "", sample.aliases))
    return verdict.decision if verdict else None


class Watch:
    """Looks at the metrics of each step and warns once of each sign."""

    def __init__(self, history: Sequence[Mapping[str, float | None]] = ()) -> None:
        """`history`: the steps of metrics.jsonl, so that a resumed run is compared with its own beginning."""
        self._history = list(history)
        # Names of the signs that were warned of.
        self._warned: set[str] = set()

    def see(self, metrics: Mapping[str, float | None]) -> list[str]:
        """Warnings that this step gives rise to; each sign is warned of once a run."""
        self._history.append(metrics)
        if len(self._history) < 2 * WINDOW:
            return []
        signs = {name: text for name, text in self._signs().items() if text and name not in self._warned}
        self._warned |= set(signs)
        return list(signs.values())

    def _signs(self) -> dict[str, str]:
        reward, length = self._both("reward"), self._both("completions/mean_length")
        identical, one_answer = self._now("completions/identical_ratio"), self._now("completions/one_answer_ratio")
        against, verdicts = self._against_rule()
        collapsed = reward[1] > reward[0] + LEAST_GAIN and length[1] < COLLAPSED_LENGTH * length[0]
        return {
            "length": f"the reward rose from {reward[0]:.3f} to {reward[1]:.3f} while completions "
            f"shrank from {length[0]:.0f} to {length[1]:.0f} "
            "tokens: look at what is paid (python -m rollouts.view)" if collapsed else "",
            "identical": f"{identical:.0%} of the completions repeat another of their group: there is hardly anything "
            "to compare; raise grpo.temperature or grpo.beta, or stop here" if identical > IDENTICAL else "",
            "one answer": f"{one_answer:.0%} of all answers are the same one, whatever is asked: look at what is "
            "paid for it"
            if one_answer > ONE_ANSWER else "",
            "against rule": f"of {verdicts:.0f} answers that the judge accepted in the last {WINDOW} steps a rule "
            f"calls {against:.0%} wrong: read some (python -m rollouts.view), "
            "and measure the judge on them (python -m judges.calibrate)"
            if verdicts >= LEAST_VERDICTS and against > AGAINST_RULE else "",
        }  # fmt: skip

    def _both(self, name: str) -> tuple[float, float]:
        """The mean over the first steps and over the last."""
        return _mean_of(self._history[:WINDOW], name), self._now(name)

    def _now(self, name: str) -> float:
        return _mean_of(self._history[-WINDOW:], name)

    def _against_rule(self) -> tuple[float, float]:
        """Share and number over the last steps, each step counted by its verdicts."""
        rows = [
            (step.get("judge/against_rule_ratio"), step.get("judge/accepted_with_rule_opinion"))
            for step in self._history[-WINDOW:]
        ]
        counted = [(share, count) for share, count in rows if share is not None and count and not math.isnan(share)]
        total = sum(count for _, count in counted)
        return (sum(share * count for share, count in counted) / total, total) if total else (math.nan, 0.0)


def _mean_of(steps: Sequence[Mapping[str, float | None]], name: str) -> float:
    values = [value for value in (step.get(name) for step in steps) if value is not None and not math.isnan(value)]
    return mean(values)
