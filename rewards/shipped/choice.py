"""The accuracy rewards of closed questions: multiple choice, single and multi-select, and yes or no."""

from __future__ import annotations

from rewards.registry import RewardError, reward
from rollouts.records import Outcome, Parsed, Sample
from rollouts.rows.golds import yes_or_no


@reward("option_match")
def option_match(parsed: Parsed, sample: Sample, partial: bool = False) -> Outcome:
    """1 if the answer commits to exactly the gold letters, else 0. Range [0, 1]. Source: Fleming-VL, Sec 3.2.

    `partial`: multi-select only, pays (right - wrong) / gold letters, at least 0, instead of all or nothing.
    """
    if not sample.options or not sample.gold_letters:
        raise RewardError(
            f"sample {sample.id!r} has no options: route answer_type {sample.answer_type!r} to another reward"
        )
    letters, gold = set(parsed.letters), set(sample.gold_letters)
    value = 1.0 if letters == gold else 0.0
    if partial and sample.answer_type == "multi":
        value = max(0.0, (len(letters & gold) - len(letters - gold)) / len(gold))
    return Outcome(value, reason=f"{' '.join(parsed.letters) or 'no choice'}: {parsed.reason}")


@reward("yes_no")
def yes_no(parsed: Parsed, sample: Sample) -> Outcome:
    """1 if the answer says the gold "yes" or "no" by a whole word, or by its letter, else 0. Range {0, 1}. Source:
    Fleming-VL, Sec 3.2. Raises RewardError for a gold answer that is neither, so that it is not everybody's 0."""
    gold = yes_or_no(sample.gold_text)
    if gold is None:
        raise RewardError(f"the gold answer of sample {sample.id!r} is {sample.gold_text!r}, expected yes or no")
    answer = parsed.yes_no
    return Outcome(1.0 if answer == gold else 0.0, reason=answer or f"neither yes nor no: {parsed.reason}")
