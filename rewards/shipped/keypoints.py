"""A process reward: how many steps of a reference rationale the thoughts and the answer cover."""

from judges import Judge
from rewards.registry import reward
from rewards.shipped.criteria import covered, not_annotated
from rollouts.records import Outcome, Parsed, Sample


@reward("keypoints")
async def keypoints(
    parsed: Parsed, sample: Sample, judge: Judge, group_key: str | None = None, unannotated: float | None = None
) -> Outcome:
    """Share of the sample's reference steps that a judge finds in thoughts and answer. Range [0, 1]; 0 for an empty completion.

    A step the judge is unsure about shrinks the denominator; with none decided the reward abstains. Here the judge does read the thoughts, so
    give this reward a small weight beside one that grades the answer. `unannotated`: as in `rubric_judge`. Source: the process reward of
    ChestX-Reasoner (arXiv:2504.20930), as coverage of the steps mined from the report; asking a judge instead of matching entities is ours.
    """
    if not sample.reference_steps:
        return not_annotated(sample, "reference_steps", unannotated)
    return await covered(judge, "keypoints", parsed, sample, sample.reference_steps, group_key)
