"""Asks answers whose verdict is known along with the live ones (JUDGING.md, layer 7): no run should train on a judge
that accepts a wrong one."""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections import Counter
from collections.abc import Sequence
from typing import Literal

from judges.cases import Case
from judges.verdict import Assessment, Criteria, Judge, JudgeError, Question, Verdict

log = logging.getLogger(__name__)

OnCanary = Literal["stop", "warn"]


class CanaryAccepted(JudgeError):
    """The judge accepted a known wrong answer while it judged the run's answers; what it pays cannot be trusted."""

    exit_code = 1  # ours: rollouts.terminal.FAILED


class CanaryJudge:
    """Judges with `live`, and sends known answers to `probe`, a share of `fraction` (0 to 1) of the live calls. `probe`
    is the same judge without a cache, which would answer for it.

    A canary goes out beside a live answer once enough of those have been asked of a model, and nobody waits for it. Its
    verdict is counted, never returned, never stored. After a wrong answer is accepted, `raise_if_unsafe` raises
    (`on_canary` "stop") or the log says so ("warn").
    """

    is_instant = False

    def __init__(
        self,
        live: Judge,
        probe: Judge,
        canaries: Sequence[Case],
        fraction: float,
        on_canary: OnCanary = "stop",
        seed: int = 0,
    ) -> None:
        self.name = live.name
        self._live = live
        self._probe = probe
        self._fraction = fraction
        self._on_canary = on_canary
        self._counts: Counter[str] = Counter()
        self._owed = 0.0
        self._next: list[Case] = []
        self._canaries = tuple(canaries)
        self._rng = random.Random(seed)
        self._in_flight: set[asyncio.Task[None]] = set()
        # The first known wrong answer that was accepted, with the judge's reason; None = none so far.
        self._accepted: tuple[Case, str] | None = None

    @property
    def shows_images(self) -> bool:
        """Whether the live judge looks at images."""
        return self._live.shows_images

    async def judge(self, question: Question) -> Verdict:
        """Return the live judge's verdict, and send a canary when one is due."""
        verdict = await self._live.judge(question)
        self._ride_along(verdict.num_calls)
        return verdict

    async def assess(self, criteria: Criteria) -> Assessment:
        """Return the live judge's assessment, and send a canary when one is due."""
        assessment = await self._live.assess(criteria)
        self._ride_along(assessment.num_calls)
        return assessment

    def _ride_along(self, num_calls: int) -> None:
        """Owe a share of a canary for every live answer that a model was asked about; send one for each whole canary
        owed."""
        self._owed += self._fraction if num_calls else 0.0
        while self._owed >= 1.0:
            self._owed -= 1.0
            task = asyncio.ensure_future(self._ask(self._draw()))
            self._in_flight.add(task)
            task.add_done_callback(self._in_flight.discard)

    def _draw(self) -> Case:
        """Return the next canary: all of them in a random order, then all again in another."""
        if not self._next:
            self._next = self._rng.sample(self._canaries, len(self._canaries))
        return self._next.pop()

    async def _ask(self, canary: Case) -> None:
        self._counts["asked"] += 1
        verdict = await self._probe.judge(canary.as_question())
        if verdict.decision is None:
            self._counts["failed"] += 1
        elif verdict.decision == canary.expected:
            self._counts["right"] += 1
        elif verdict.decision == "unsure":
            self._counts["unsure"] += 1
        elif verdict.decision == "incorrect":
            self._counts["false_negatives"] += 1
        else:
            self._counts["false_positives"] += 1
            if self._accepted is None:
                self._accepted = canary, f"{verdict.layer}: {verdict.reason}"
            log.warning("the judge accepted a known wrong answer: %s", _quote(canary))

    def raise_if_unsafe(self) -> None:
        """Raise CanaryAccepted once a known wrong answer was accepted, unless `on_canary` is "warn"."""
        if self._accepted is None or self._on_canary == "warn":
            return
        canary, reason = self._accepted
        raise CanaryAccepted(
            f"{self._live.name} accepted a known wrong answer while it judged this run ({reason}):\n "
            f" {_quote(canary)}\n{self._counts['false_positives']} of {self._counts['asked']} canaries were wrongly"
            " accepted. Nothing more is trained on its verdicts; steps up to the last checkpoint stand.\nA new run"
            " needs a better judge, prompt or second opinion (python -m judges.calibrate tells how good one is). This"
            " one goes on with resume=true if the canary itself is wrong and corrected, or with judge.on_canary=warn."
        )

    async def check(self) -> None:
        """Raise JudgeUnreachable unless the live judge can be asked; canaries go the same way."""
        await self._live.check()

    def check_now(self) -> None:
        """`check` for callers without an event loop."""
        self._live.check_now()

    def describe(self) -> str:
        """Say who decides, and how the judge is watched."""
        what = "ends the run" if self._on_canary == "stop" else "is counted"
        return (
            f"{self._live.describe()}; {self._fraction:.1%} canaries of {len(self._canaries)} known answers, a wrong"
            f" one accepted {what}"
        )

    def metrics(self) -> dict[str, float]:
        """Return the live judge's counters, and
        `judge/canaries/{asked,right,unsure,failed,false_positives,false_negatives}`."""
        return {
            **self._live.metrics(),
            **{f"judge/canaries/{name}": float(count) for name, count in sorted(self._counts.items())},
        }

    async def drain(self) -> None:
        """Wait until every canary that was sent has its verdict."""
        while self._in_flight:
            await asyncio.gather(*self._in_flight, return_exceptions=True)

    async def close(self) -> None:
        """Cancel the canaries that have no verdict yet, and close both judges."""
        for task in self._in_flight:
            task.cancel()
        await self.drain()
        await self._live.close()
        await self._probe.close()


def raise_if_unsafe(judge: Judge | None) -> None:
    """Raise CanaryAccepted if a judge has accepted a known wrong answer. The run asks this before it trains on
    verdicts."""
    if isinstance(judge, CanaryJudge):
        judge.raise_if_unsafe()


def _quote(canary: Case) -> str:
    """Return the canary as JSON, so that nothing in it can pass for our own words."""
    parts = {"question": canary.question, "reference": canary.reference, "answer": canary.completion}
    return f"line {canary.line}: {json.dumps(parts, ensure_ascii=False)}"
