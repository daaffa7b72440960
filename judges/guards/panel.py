"""Several judges instead of one. A member that fails has no vote; a tie and any other disagreement is unsure, which is
never paid."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, cast

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
    """What a panel says. Majority: what more than half of the votes say. Unanimous: what all say. Otherwise unsure; a
    vote may itself be unsure."""
    counts = Counter(votes)
    needed = len(votes) if rule == "unanimous" else len(votes) // 2 + 1
    return next((decision for decision, count in counts.items() if votes and count >= needed), "unsure")


class PanelJudge:
    """All members are asked side by side. Fewer than `quorum` verdicts (None = more than half of the members) and the
    judgement failed."""

    def __init__(
        self,
        members: Mapping[str, Judge],
        rule: PanelRule = "majority",
        quorum: int | None = None,
        traffic: Callable[[], Mapping[str, float]] = dict,
        prechecks: bool = True,
    ) -> None:
        """`traffic`: counters of all calls, each once. `prechecks`: settle degenerate answers before anybody is
        asked."""
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

    async def judge(self, asked: Question) -> Verdict:
        """The panel's verdict; its transcript holds every member's."""
        began = time.monotonic()
        settled = precheck(asked) if self._prechecks else None
        if settled is None:
            verdicts = await asyncio.gather(*(member.judge(asked) for member in self._members.values()))
            settled = self._counted(dict(zip(self._members, verdicts, strict=True)))
        self._counts[settled.decision or f"failed_{settled.failure}"] += 1
        self._counts[f"by_{settled.layer}"] += 1
        return replace(settled, seconds=time.monotonic() - began)

    def _counted(self, verdicts: Mapping[str, Verdict]) -> Verdict:
        """The votes added up."""
        for name, verdict in verdicts.items():
            self._counts[f"panel/{name}/{verdict.decision or 'failed'}"] += 1
        votes = [verdict.decision for verdict in verdicts.values() if verdict.decision is not None]
        told = ", ".join(f"{name}: {verdict.decision or verdict.failure}" for name, verdict in verdicts.items())
        spent = {
            "layer": "panel",
            "transcript": {
                "judge": self.name,
                "rule": self._rule,
                "members": {name: _shown(one) for name, one in verdicts.items()},
            },
            "num_calls": sum(one.num_calls for one in verdicts.values()),
            "num_tokens": sum(one.num_tokens for one in verdicts.values()),
            "cost": math.fsum(one.cost for one in verdicts.values()),
        }
        if len(votes) < self._quorum:
            failure = _main_failure(one.failure for one in verdicts.values())
            return Verdict(
                None,
                failure,
                f"{len(votes)} of {len(verdicts)} votes, {self._quorum} are needed ({told})",
                **cast(Any, spent),
            )
        decision = decide(votes, self._rule)
        self._counts["panel/split"] += len(set(votes)) > 1
        return Verdict(decision, None, f"panel, {self._rule}: {told}", **cast(Any, spent))

    async def assess(self, asked: Criteria) -> Assessment:
        """Each criterion by the votes of the members, as for a verdict: a split is None, unsure."""
        began = time.monotonic()
        found = dict(
            zip(
                self._members, await asyncio.gather(*(one.assess(asked) for one in self._members.values())), strict=True
            )
        )
        votes = [one.met for one in found.values() if one.met is not None]
        spent = {
            "layer": "panel",
            "transcript": {
                "judge": self.name,
                "rule": self._rule,
                "members": {name: _assessed(one) for name, one in found.items()},
            },
            "seconds": time.monotonic() - began,
            "num_calls": sum(one.num_calls for one in found.values()),
            "num_tokens": sum(one.num_tokens for one in found.values()),
            "cost": math.fsum(one.cost for one in found.values()),
        }
        if len(votes) < self._quorum:
            failure = _main_failure(one.failure for one in found.values())
            return Assessment(
                None, failure, f"{len(votes)} of {len(found)} votes, {self._quorum} are needed", **cast(Any, spent)
            )
        named: dict[bool | None, Decision] = {True: "correct", False: "incorrect", None: "unsure"}
        back = {decision: met for met, decision in named.items()}
        met = tuple(
            back[decide([named[vote[place]] for vote in votes], self._rule)] for place in range(len(asked.criteria))
        )
        return Assessment(met, None, f"panel, {self._rule}", **cast(Any, spent))

    async def check(self) -> None:
        """Raise JudgeUnreachable unless every member can be asked."""
        for member in self._members.values():
            await member.check()

    def check_now(self) -> None:
        """`check` for callers without an event loop."""
        for member in self._members.values():
            member.check_now()

    def describe(self) -> str:
        """Who votes, and how votes become a verdict."""
        members = "; ".join(
            f"{name}: {one.describe().removeprefix('judge=openai: ')}" for name, one in self._members.items()
        )
        return (
            f"judge=openai: a panel of {len(self._members)} judges, {self._rule}, at least {self._quorum} votes"
            f" ({members})"
        )

    def metrics(self) -> dict[str, float]:
        """Verdicts of the panel (`judge/correct`, ..), of each member (`judge/panel/NAME/correct`, ..),
        `judge/panel/split`, and the traffic."""
        return {**{f"judge/{name}": float(count) for name, count in sorted(self._counts.items())}, **self._traffic()}

    async def close(self) -> None:
        """Close every member."""
        for member in self._members.values():
            await member.close()


def _shown(verdict: Verdict) -> dict[str, Any]:
    return {
        "decision": verdict.decision,
        "failure": verdict.failure,
        "reason": verdict.reason,
        "layer": verdict.layer,
        "transcript": verdict.transcript,
    }


def _assessed(found: Assessment) -> dict[str, Any]:
    met = None if found.met is None else list(found.met)
    return {
        "met": met,
        "failure": found.failure,
        "reason": found.reason,
        "layer": found.layer,
        "transcript": found.transcript,
    }


def _main_failure(failures: Any) -> Failure:
    """The most frequent failure of the members, the first of equals."""
    return cast(Failure, Counter(one for one in failures if one is not None).most_common(1)[0][0])
