"""A reward for seeing right: how much of what is to be seen the thoughts and the answer say."""

from judges import Judge
from rewards.registry import reward
from rewards.shipped.criteria import covered, not_annotated
from rollouts.records import Outcome, Parsed, Sample


@reward("perception")
async def perception(
    parsed: Parsed, sample: Sample, judge: Judge, group_key: str | None = None, unannotated: float | None = None
) -> Outcome:
    """Share of the sample's visual references that a judge finds said, correctly, in thoughts and answer. Range [0, 1]; 0 for an empty completion.

    A reference the judge is unsure about shrinks the denominator; with none decided the reward abstains. The judge compares texts: it need not see
    the image. It reads the thoughts, so give this reward a small weight beside one that grades the answer. `unannotated`: as in `rubric_judge`.
    Source: the visual perception reward of Perception-R1 (arXiv:2506.07218).
    """
    if not sample.visual_references:
        return not_annotated(sample, "visual_references", unannotated)
    return await covered(judge, "perception", parsed, sample, sample.visual_references, group_key)
