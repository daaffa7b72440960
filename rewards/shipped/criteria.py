"""What rewards that ask a judge about several criteria share: one call, and what a failed or partly unsure one means."""

from __future__ import annotations

from collections.abc import Sequence

from judges import Judge
from judges.verdict import Assessment, Criteria
from rewards.registry import RewardError
from rewards.shipped.judge_images import images_for
from rollouts.records import Outcome, Parsed, Sample


async def judged(
    judge: Judge,
    task: str,
    sample: Sample,
    candidate: str,
    criteria: Sequence[str],
    points: Sequence[float],
    group_key: str | None,
) -> Outcome:
    """Ask in one call which criteria a text meets, and weigh the answer; `task` names the prompt. The images go along where the judge shows them."""
    images = images_for(judge, sample)
    asked = Criteria(task, sample.question, candidate, tuple(criteria), sample.language, images, group_key)
    assessment = await judge.assess(asked)
    return weighed(assessment, judge, criteria, points)


async def covered(
    judge: Judge, task: str, parsed: Parsed, sample: Sample, wanted: Sequence[str], group_key: str | None
) -> Outcome:
    """The share of the `wanted` statements that thoughts and answer make; 0 where neither was written."""
    text = "\n\n".join(body.strip() for body in (parsed.think, parsed.answer) if body and body.strip())
    if not text:
        return Outcome(0.0, reason=parsed.reason or "nothing was written")
    return await judged(judge, task, sample, text, wanted, [1.0] * len(wanted), group_key)


def not_annotated(sample: Sample, field: str, unannotated: float | None) -> Outcome:
    """What a sample without the field is paid: `unannotated`, the same for its whole group and so no signal. Raises RewardError where it is None."""
    if unannotated is None:
        raise RewardError(f"sample {sample.id!r} has no {field}: give it some, or set the argument `unannotated`")
    return Outcome(float(unannotated), reason=f"the sample has no {field}")


def weighed(assessment: Assessment, judge: Judge, criteria: Sequence[str], points: Sequence[float]) -> Outcome:
    """Points of the met criteria over the positive points, clipped to [0, 1].

    A criterion that the judge left undecided is out of both sums. Nothing positive decided = abstain. A failed call is an error or a timeout,
    never a number. Parts: the points of each criterion that was decided, numbered from 1, and the share of positive points decided.
    """
    evidence = {"judge": judge.name, "layer": assessment.layer, "failure": assessment.failure, **assessment.transcript}
    spent = {"evidence": evidence, "cost": assessment.cost, "seconds": assessment.seconds}
    if assessment.met is None:
        status = "timeout" if assessment.failure == "timeout" else "error"
        return Outcome(None, status, f"{assessment.failure}: {assessment.reason}", **spent)  # type: ignore[arg-type]
    decided = [(met, worth) for met, worth in zip(assessment.met, points, strict=True) if met is not None]
    possible = sum(worth for _, worth in decided if worth > 0)
    evidence["criteria"] = [
        {"criterion": text, "points": worth, "met": met}
        for text, worth, met in zip(criteria, points, assessment.met, strict=True)
    ]
    if not possible:
        return Outcome(None, "abstain", "the judge decided no criterion with positive points", **spent)  # type: ignore[arg-type]
    earned = sum(worth for met, worth in decided if met)
    parts = {
        f"criterion_{index}": worth * met
        for index, (met, worth) in enumerate(zip(assessment.met, points, strict=True), start=1)
        if met is not None
    }
    parts["decided"] = possible / sum(worth for worth in points if worth > 0)
    reason = f"{earned:g} of {possible:g} points, {len(decided)} of {len(points)} criteria decided"
    return Outcome(min(1.0, max(0.0, earned / possible)), reason=reason, parts=parts, **spent)  # type: ignore[arg-type]
