"""The accuracy reward of yes/no questions."""

from rewards.registry import reward
from rollouts.records import Outcome, Parsed, Sample


@reward("yes_no")
def yes_no(parsed: Parsed, sample: Sample) -> Outcome:
    """1 if the answer says the gold "yes" or "no" by a whole word, or by its letter, else 0. Range {0, 1}. Source: Fleming-VL, Sec 3.2."""
    said = parsed.yes_no
    return Outcome(1.0 if said is not None and said == sample.gold_text else 0.0, reason=said or "neither yes nor no")
