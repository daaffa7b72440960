"""Asks a second judge where it pays (JUDGING.md, layer 6): another model, or the same one under really different words.
Nothing is paid where the two differ."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Literal

from judges.guards.suspicion import rule_opinion, suspicious
from judges.verdict import Assessment, Criteria, Judge, Question, Verdict

When = Literal["disagreement", "suspicious", "both"]


class SecondOpinionJudge:
    """Asks `second` where the first verdict and a cautious rule disagree, or where a paid answer holds words that speak
    to a grader.

    Both agree: the first verdict stands. They differ, or the second is unsure: unsure, which is never paid. The second
    fails: the judgement fails.
    """

    is_instant = False

    def __init__(
        self, first: Judge, second: Judge, when: When, traffic: Callable[[], Mapping[str, float]] = dict
    ) -> None:
        """`traffic`: counters of all calls, for judges that share a client and would count them twice."""
        self.name = first.name
        self._first = first
        self._second = second
        self._when = when
        self._traffic = traffic
        self._counts: Counter[str] = Counter()

    @property
    def shows_images(self) -> bool:
        """Whether either judge looks at images."""
        return self._first.shows_images or self._second.shows_images

    async def judge(self, question: Question) -> Verdict:
        """Return the verdict of the first judge, or of both."""
        began = time.monotonic()
        first = await self._first.judge(question)
        why = self._reason_to_ask(question, first)
        if not why:
            return first
        self._counts["asked"] += 1
        second = await self._second.judge(question)
        return replace(self._both(first, second, why), seconds=time.monotonic() - began)

    def _reason_to_ask(self, question: Question, first: Verdict) -> str:
        # What was settled without a model needs no second model, and what failed or is unsure is not paid anyway.
        """Return why the second judge is asked; "" = it is not."""
        if first.decision not in ("correct", "incorrect") or first.layer in ("precheck", "rules"):
            return ""
        if self._when != "disagreement" and first.decision == "correct" and (token := suspicious(question)):
            self._counts["by_suspicion"] += 1
            return f"the answer holds {token}"
        if self._when != "suspicious" and (opinion := rule_opinion(question)) and opinion.decision != first.decision:
            self._counts["by_disagreement"] += 1
            return f"by rule it is {opinion.decision}: {opinion.why}"
        return ""

    def _both(self, first: Verdict, second: Verdict, why: str) -> Verdict:
        """Return the verdict that two verdicts come to."""
        transcript = {
            **first.transcript,
            "second_opinion": {
                "why": why,
                "first": {"decision": first.decision, "reason": first.reason, "layer": first.layer},
                "decision": second.decision,
                "failure": second.failure,
                "reason": second.reason,
                "layer": second.layer,
                "transcript": second.transcript,
            },
        }
        both = Verdict(
            first.decision,
            None,
            layer="second_opinion",
            transcript=transcript,
            num_calls=first.num_calls + second.num_calls,
            num_tokens=first.num_tokens + second.num_tokens,
            cost=first.cost + second.cost,
        )
        if second.decision is None:
            self._counts["failed"] += 1
            return replace(
                both, decision=None, failure=second.failure, reason=f"the second opinion failed: {second.reason}"
            )
        if second.decision == first.decision:
            self._counts["agreed"] += 1
            return replace(both, reason=f"a second judge agrees ({why}); {first.reason}")
        self._counts["disagreed"] += 1
        reason = f"the first judge says {first.decision}, the second {second.decision} ({why})"
        return replace(both, decision="unsure", reason=reason)

    async def assess(self, criteria: Criteria) -> Assessment:
        """Ask the first judge alone: no rule has an opinion on criteria."""
        return await self._first.assess(criteria)

    async def check(self) -> None:
        """Raise JudgeUnreachable unless both judges can be asked."""
        await self._first.check()
        await self._second.check()

    def check_now(self) -> None:
        """`check` for callers without an event loop."""
        self._first.check_now()
        self._second.check_now()

    def describe(self) -> str:
        """Say who decides, and who is asked as well."""
        when = {
            "disagreement": "where it disagrees with a rule",
            "suspicious": "where it accepts an answer with suspicious words",
            "both": "where it disagrees with a rule or accepts an answer with suspicious words",
        }[self._when]
        return (
            f"{self._first.describe()}; {when}, a second opinion:"
            f" {self._second.describe().removeprefix('judge=openai: ')}"
        )

    def metrics(self) -> dict[str, float]:
        """Return the first judge's counters,
        `judge/second_opinion/{asked,by_suspicion,by_disagreement,agreed,disagreed,failed}`, and the traffic of both."""
        own = {f"judge/second_opinion/{name}": float(count) for name, count in sorted(self._counts.items())}
        return {**self._first.metrics(), **own, **self._traffic()}

    async def close(self) -> None:
        """Close both."""
        await self._first.close()
        await self._second.close()
