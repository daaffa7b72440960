"""A reward without labels: agreement with what most completions of the group answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence

from rewards.answers.text import key
from rewards.registry import Member, RewardError, reward
from rewards.shipped.numeric import quantities
from rollouts.records import Outcome, Parsed, Sample


@reward("majority_vote")
def majority_vote(group: Sequence[Member], sample: Sample, least_share: float = 0.0) -> list[Outcome]:
    """1 for a completion whose resolved answer is the most frequent of its group, 0 for another or none. Range {0, 1}.

    What votes: option letters, yes or no, quantities in equal units, else the folded answer text; a completion without
    an answer has no vote. A tie for the first place, or a winner below `least_share` of the votes, is no label: the
    whole group abstains (taking the first of the tied, as Counter.most_common does, would pay by order). Where nobody
    answers, all are paid 0. The gold answer is never read.
    Source: TTRL (arXiv:2504.16084), as used by SPINE (arXiv:2511.17938) on medical questions; ties and `least_share`
    are ours.
    """
    if not 0.0 <= least_share <= 1.0:
        raise RewardError(f"least_share is {least_share!r}, expected a share of the votes from 0 to 1")
    votes = [_vote(member.parsed, sample) for member in group]
    counts = Counter(vote for vote in votes if vote is not None).most_common()
    if not counts:
        return [Outcome(0.0, reason="nobody in the group answers") for _ in group]
    (winner, most), num_votes = counts[0], sum(count for _, count in counts)
    if len(counts) > 1 and counts[1][1] == most:
        return [Outcome(None, "abstain", f"a tie: {most} of {num_votes} votes each") for _ in group]
    if most < least_share * num_votes:
        return [Outcome(None, "abstain", f"the most frequent answer has {most} of {num_votes} votes") for _ in group]
    parts = {"share": most / num_votes}
    return [
        Outcome(
            float(vote == winner),
            reason=f"{'with' if vote == winner else 'not with'} {most} of {num_votes} votes",
            parts=parts,
        )
        for vote in votes
    ]


def _vote(parsed: Parsed, sample: Sample) -> Hashable | None:
    if not parsed.answer:
        return None
    if sample.answer_type in ("mcq", "multi"):
        return parsed.letters or None
    if sample.answer_type == "yes_no":
        return parsed.yes_no
    if sample.answer_type == "numeric" and (amounts := quantities(parsed.answer)):
        return tuple((quantity.dimension, float(f"{quantity.value:.6g}")) for quantity in amounts)
    return key(parsed.answer) or None
