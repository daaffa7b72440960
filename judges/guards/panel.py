"""Asks several judges instead of one. A member that fails has no vote; a tie and any other disagreement is unsure,
which is never paid."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from judges.guards.prechecks import precheck
from judges.verdict import (
    Assessment,
    Criteria,
    Decision,
    Failure,
    Judge,
    JudgeConfigError,
    Question,
    Verdict,
)

PanelRule = Literal["majority", "unanimous"]


def decide(votes: Sequence[Decision], rule: PanelRule) -> Decision:
    """Return what a panel says. Majority: what more than half of the votes say. Unanimous: what all say. Otherwise, and
    for no votes, unsure; a vote may itself be unsure."""
    counts = Counter(votes)
    needed = len(votes) if rule == "unanimous" else len(votes) // 2 + 1
    return next((decision for decision, count in counts.items() if votes and count >= needed), "unsure")


class PanelJudge:
    """Asks all members side by side. Fewer than `quorum` verdicts (None = more than half of the members), and the
    judgement fails."""

    is_instant = False

    def __init__(
        self,
        members: Mapping[str, Judge],
        rule: PanelRule = "majority",
        quorum: int | None = None,
        traffic: Callable[[], Mapping[str, float]] = dict,
        prechecks: bool = True,
    ) -> None:
        """`traffic`: counters of all calls, each counted once. `prechecks`: settle degenerate answers before anybody is
        asked. Raises JudgeConfigError for fewer than two members."""
        if len(members) < 2:
            raise JudgeConfigError(f"judge.panel: a panel of {len(members)} is none, expected at least two members")
        self.name = f"panel:{'+'.join(members)}"
        self._members = dict(members)
        self._rule = rule
        self._quorum = quorum if quorum is not None else len(members) // 2 + 1
        self._traffic = traffic
        self._prechecks = prechecks
        self._counts: Counter[str] = Counter()

    @property
    def shows_images(self) -> bool:
        """Whether any member looks at images."""
        return any(member.shows_images for member in self._members.values())

    async def judge(self, question: Question) -> Verdict:
        """Return the panel's verdict; its transcript holds every member's."""
        began = time.monotonic()
        verdict = precheck(question) if self._prechecks else None
        if verdict is None:
            verdicts = await asyncio.gather(*(member.judge(question) for member in self._members.values()))
            verdict = self._count_votes(dict(zip(self._members, verdicts, strict=True)))
        self._counts[verdict.decision or f"failed_{verdict.failure}"] += 1
        self._counts[f"by_{verdict.layer}"] += 1
        return replace(verdict, seconds=time.monotonic() - began)

    def _count_votes(self, verdicts: Mapping[str, Verdict]) -> Verdict:
        """Return the verdict that the members' verdicts come to."""
        for name, verdict in verdicts.items():
            self._counts[f"panel/{name}/{verdict.decision or 'failed'}"] += 1
        votes = [verdict.decision for verdict in verdicts.values() if verdict.decision is not None]
        ballot = ", ".join(f"{name}: {verdict.decision or verdict.failure}" for name, verdict in verdicts.items())
        sums = self._sums(verdicts)
        if len(votes) < self._quorum:
            reason = f"{len(votes)} of {len(verdicts)} votes, {self._quorum} are needed ({ballot})"
            return Verdict(None, _main_failure(verdicts.values()), reason, **sums)
        self._counts["panel/split"] += len(set(votes)) > 1
        return Verdict(decide(votes, self._rule), None, f"panel, {self._rule}: {ballot}", **sums)

    def _sums(self, outcomes: Mapping[str, Verdict] | Mapping[str, Assessment]) -> dict[str, Any]:
        """Return what a panel's outcome takes from its members': transcripts, and calls, tokens and money added up."""
        members = {name: _as_dict(outcome) for name, outcome in outcomes.items()}
        return {
            "layer": "panel",
            "transcript": {"judge": self.name, "rule": self._rule, "members": members},
            "num_calls": sum(outcome.num_calls for outcome in outcomes.values()),
            "num_tokens": sum(outcome.num_tokens for outcome in outcomes.values()),
            "cost": math.fsum(outcome.cost for outcome in outcomes.values()),
        }

    async def assess(self, criteria: Criteria) -> Assessment:
        """Decide each criterion by the members' votes, as for a verdict: a split is None, unsure."""
        began = time.monotonic()
        replies = await asyncio.gather(*(member.assess(criteria) for member in self._members.values()))
        votes = [reply.met for reply in replies if reply.met is not None]
        sums = self._sums(dict(zip(self._members, replies, strict=True))) | {"seconds": time.monotonic() - began}
        if len(votes) < self._quorum:
            reason = f"{len(votes)} of {len(replies)} votes, {self._quorum} are needed"
            return Assessment(None, _main_failure(replies), reason, **sums)
        named: dict[bool | None, Decision] = {True: "correct", False: "incorrect", None: "unsure"}
        back = {decision: met for met, decision in named.items()}
        met = tuple(
            back[decide([named[vote[place]] for vote in votes], self._rule)] for place in range(len(criteria.criteria))
        )
        return Assessment(met, None, f"panel, {self._rule}", **sums)

    async def check(self) -> None:
        """Raise JudgeUnreachable unless every member can be asked."""
        for member in self._members.values():
            await member.check()

    def check_now(self) -> None:
        """`check` for callers without an event loop."""
        for member in self._members.values():
            member.check_now()

    def describe(self) -> str:
        """Say who votes, and how votes become a verdict."""
        members = "; ".join(
            f"{name}: {one.describe().removeprefix('judge=openai: ')}" for name, one in self._members.items()
        )
        return (
            f"judge=openai: a panel of {len(self._members)} judges, {self._rule}, at least {self._quorum} votes"
            f" ({members})"
        )

    def metrics(self) -> dict[str, float]:
        """Return verdicts of the panel (`judge/correct`, ..) and of each member (`judge/panel/NAME/correct`, ..),
        `judge/panel/split`, and the traffic."""
        return {**{f"judge/{name}": float(count) for name, count in sorted(self._counts.items())}, **self._traffic()}

    async def close(self) -> None:
        """Close every member."""
        for member in self._members.values():
            await member.close()


def _as_dict(outcome: Verdict | Assessment) -> dict[str, Any]:
    """Return a member's outcome for the panel's transcript, JSON-ready."""
    if isinstance(outcome, Verdict):
        result: dict[str, Any] = {"decision": outcome.decision}
    else:
        result = {"met": None if outcome.met is None else list(outcome.met)}
    rest = {"failure": outcome.failure, "reason": outcome.reason, "layer": outcome.layer}
    return {**result, **rest, "transcript": outcome.transcript}


def _main_failure(outcomes: Iterable[Verdict | Assessment]) -> Failure:
    """Return the most frequent failure of the members, the first of equals."""
    failures = Counter(outcome.failure for outcome in outcomes if outcome.failure is not None)
    return failures.most_common(1)[0][0]
