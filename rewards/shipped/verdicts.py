"""Rewards that ask a judge: whether the answer means the reference, and which criteria of a sample a text meets."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache

from judges import Judge, JudgeMedia
from judges.verdict import Assessment, Criteria, Question
from rewards.registry import RewardError, reward
from rollouts.media import encoded_files, has_frames, pngs
from rollouts.records import Media, Outcome, Parsed, Sample, Status


async def ask_criteria(
    judge: Judge,
    task: str,
    sample: Sample,
    candidate: str,
    criteria: Sequence[str],
    points: Sequence[float],
    group_key: str | None,
) -> Outcome:
    """Ask in one call which criteria a text meets, and return the points it earns. `task` names the prompt. The images
    go along where the judge shows them."""
    images = images_for(judge, sample)
    request = Criteria(task, sample.question, candidate, tuple(criteria), sample.language, images, group_key)
    assessment = await judge.assess(request)
    return outcome_of(assessment, judge, criteria, points)


async def ask_coverage(
    judge: Judge, task: str, parsed: Parsed, sample: Sample, wanted: Sequence[str], group_key: str | None
) -> Outcome:
    """Return the share of the `wanted` statements that thoughts and answer make, 0 to 1; 0 where neither was
    written."""
    text = "\n\n".join(body.strip() for body in (parsed.think, parsed.answer) if body and body.strip())
    if not text:
        return Outcome(0.0, reason=parsed.reason or "nothing was written")
    return await ask_criteria(judge, task, sample, text, wanted, [1.0] * len(wanted), group_key)


def outcome_without(sample: Sample, field: str, unannotated: float | None) -> Outcome:
    """Return what a sample without the field is paid: `unannotated`, the same for its whole group and so no signal.
    Raises RewardError where it is None."""
    if unannotated is None:
        raise RewardError(f"sample {sample.id!r} has no {field}: give it some, or set the argument `unannotated`")
    return Outcome(float(unannotated), reason=f"the sample has no {field}")


def outcome_of(assessment: Assessment, judge: Judge, criteria: Sequence[str], points: Sequence[float]) -> Outcome:
    """Return the points of the met criteria over the positive points, clipped to [0, 1].

    A criterion that the judge left undecided is out of both sums; with no positive one decided the reward abstains. A
    failed call is an error or a timeout, never a number. Parts: the points of each criterion that was decided, numbered
    from 1, and the share of positive points decided.
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


def images_for(judge: Judge, sample: Sample) -> tuple[JudgeMedia, ...]:
    """The sample's images, or () for a judge that shows none: then no file is opened.

    Raises BadSample where a file is missing or is no image.
    """
    if not judge.shows_images:
        return ()
    return tuple(image for media in sample.media for image in _encode(media))


# All completions of a prompt show their judge the same images, which are encoded once.
@lru_cache(maxsize=64)
def _encode(media: Media) -> tuple[JudgeMedia, ...]:
    images = []
    for data, png in zip(encoded_files(media), pngs(media), strict=True):
        # A stored image keeps the hash of its source, although all but plain PNGs are stored as another file: a replay
        # asks the cache for the same verdicts.
        known = media.sha256 if not has_frames(media) else ""
        images.append(JudgeMedia(known or hashlib.sha256(data).hexdigest(), png))
    return tuple(images)


@reward("judge", by_answer=True)
async def judge_reward(parsed: Parsed, sample: Sample, judge: Judge, group_key: str | None = None) -> Outcome:
    """1 for an answer that means the gold text or an alias, 0 for one that does not. Range {0, 1}. Source: Fleming-VL,
    Sec 3.2.

    Only the answer span is judged, never the thoughts. No answer pays 0. A judge that is unsure abstains, a failed
    judgement is an error or a timeout: neither is a number. An item asked open keeps its options in the record, but
    they were not shown: its letter is no answer. The images go along where the judge shows images
    (`judge.show_images`). The evidence is the judge's whole transcript.
    """
    if not parsed.answer:
        return Outcome(0.0, reason=parsed.reason or "no answer")
    images = images_for(judge, sample)
    question = Question(
        sample.question, sample.gold_text, parsed.answer, sample.aliases, sample.language, images, group_key
    )
    verdict = await judge.judge(question)
    evidence = {
        "judge": judge.name,
        "layer": verdict.layer,
        "decision": verdict.decision,
        "failure": verdict.failure,
        **verdict.transcript,
    }
    value: float | None = None
    status: Status = "ok"
    reason = verdict.reason
    if verdict.decision is None:
        status = "timeout" if verdict.failure == "timeout" else "error"
        reason = f"{verdict.failure}: {verdict.reason}"
    elif verdict.decision == "unsure":
        status, reason = "abstain", "the judge is unsure"
    else:
        value = float(verdict.decision == "correct")
    return Outcome(value, status, reason, evidence=evidence, cost=verdict.cost, seconds=verdict.seconds)


@reward("rubric_judge", by_answer=True)
async def rubric_judge(
    parsed: Parsed, sample: Sample, judge: Judge, group_key: str | None = None, unannotated: float | None = None
) -> Outcome:
    """Points of the criteria the answer meets over all positive points, clipped to [0, 1]; 0 without an answer.

    Negative points are faults and take away. A criterion the judge is unsure about shrinks the denominator; with none
    decided the reward abstains. Only the answer is judged, never the thoughts. `unannotated`: what a sample without a
    rubric is paid (the same for its whole group, so no signal); None = an error. Source: HealthBench
    (arXiv:2505.08775), which clips the mean over examples where we must clip each.
    """
    if not sample.rubric:
        return outcome_without(sample, "rubric", unannotated)
    if not parsed.answer:
        return Outcome(0.0, reason=parsed.reason or "no answer")
    criteria = [criterion.text for criterion in sample.rubric]
    points = [criterion.points for criterion in sample.rubric]
    return await ask_criteria(judge, "rubric", sample, parsed.answer, criteria, points, group_key)


@reward("keypoints")
async def keypoints(
    parsed: Parsed, sample: Sample, judge: Judge, group_key: str | None = None, unannotated: float | None = None
) -> Outcome:
    """Share of the sample's reference steps that a judge finds in thoughts and answer. Range [0, 1]; 0 for an empty
    completion.

    A step the judge is unsure about shrinks the denominator; with none decided the reward abstains. Here the judge does
    read the thoughts, so give this reward a small weight beside one that grades the answer. `unannotated`: as in
    `rubric_judge`. Source: the process reward of ChestX-Reasoner (arXiv:2504.20930), as coverage of the steps mined
    from the report; asking a judge instead of matching entities is ours.
    """
    if not sample.reference_steps:
        return outcome_without(sample, "reference_steps", unannotated)
    return await ask_coverage(judge, "keypoints", parsed, sample, sample.reference_steps, group_key)


@reward("perception")
async def perception(
    parsed: Parsed, sample: Sample, judge: Judge, group_key: str | None = None, unannotated: float | None = None
) -> Outcome:
    """Share of the sample's visual references that a judge finds said, correctly, in thoughts and answer. Range [0, 1];
    0 for an empty completion.

    A reference the judge is unsure about shrinks the denominator; with none decided the reward abstains. The judge
    compares texts: it need not see the image. It reads the thoughts, so give this reward a small weight beside one that
    grades the answer. `unannotated`: as in `rubric_judge`.
    Source: the visual perception reward of Perception-R1 (arXiv:2506.07218).
    """
    if not sample.visual_references:
        return outcome_without(sample, "visual_references", unannotated)
    return await ask_coverage(judge, "perception", parsed, sample, sample.visual_references, group_key)
