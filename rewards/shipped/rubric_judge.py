"""The reward of answers that are graded point by point: a judge says which criteria of the sample's rubric are met."""

from judges import Judge
from rewards.registry import reward
from rewards.shipped.criteria import judged, not_annotated
from rollouts.records import Outcome, Parsed, Sample


@reward("rubric_judge", by_answer=True)
async def rubric_judge(
    parsed: Parsed, sample: Sample, judge: Judge, group_key: str | None = None, unannotated: float | None = None
) -> Outcome:
    """Points of the criteria the answer meets over all positive points, clipped to [0, 1]; 0 without an answer.

    Negative points are faults and take away. A criterion the judge is unsure about shrinks the denominator; with none decided the reward abstains.
    Only the answer is judged, never the thoughts. `unannotated`: what a sample without a rubric is paid (the same for its whole group, so no
    signal); None = an error. Source: HealthBench (arXiv:2505.08775), which clips the mean over examples where we must clip each.
    """
    if not sample.rubric:
        return not_annotated(sample, "rubric", unannotated)
    if not parsed.answer:
        return Outcome(0.0, reason=parsed.reason or "no answer")
    criteria = [criterion.text for criterion in sample.rubric]
    points = [criterion.points for criterion in sample.rubric]
    return await judged(judge, "rubric", sample, parsed.answer, criteria, points, group_key)
