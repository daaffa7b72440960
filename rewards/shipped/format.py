"""The reward for keeping to the think and answer tags."""

from rewards.registry import reward
from rollouts.records import Outcome, Parsed


@reward("format")
def format_reward(parsed: Parsed) -> Outcome:
    """1 for exactly the four tags in order, two bodies and nothing outside, else 0. Range {0, 1}. Source: Fleming-VL, Sec 3.2."""
    return Outcome(1.0 if parsed.well_formed else 0.0, reason="four tags, two bodies" if parsed.well_formed else "not the format")
