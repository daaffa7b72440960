"""Rewards of form alone: the think and answer tags, and the length of a completion."""

from __future__ import annotations

from rewards.registry import RewardError, reward
from rollouts.records import Outcome, Parsed


@reward("length")
def length(num_tokens: int | None, max_length: int, cache: int) -> Outcome:
    """0 up to `max_length - cache` tokens, falling in a straight line to -1 at `max_length`, -1 beyond. Range [-1, 0].

    `max_length`: tokens of a completion, usually grpo.max_completion_length; `cache`: the tokens before it in which the
    penalty grows. Source: DAPO (arXiv:2503.14476), equation 13. Raises RewardError where cache is not in 1..max_length,
    or where only the text is known and not its tokens.
    """
    if not 0 < cache <= max_length:
        raise RewardError(f"length needs 0 < cache <= max_length, got cache={cache} and max_length={max_length}")
    if num_tokens is None:
        raise RewardError("length counts tokens and got only text: whoever calls the scorer must give num_tokens")
    value = min(0.0, max(-1.0, (max_length - cache - num_tokens) / cache))
    return Outcome(value, reason=f"{num_tokens} tokens, free up to {max_length - cache}")


@reward("format")
def format_reward(parsed: Parsed) -> Outcome:
    """1 for exactly the four tags in order, two bodies and nothing outside, else 0. Range {0, 1}. Source: Fleming-VL,
    Sec 3.2."""
    return Outcome(
        1.0 if parsed.well_formed else 0.0, reason="four tags, two bodies" if parsed.well_formed else "not the format"
    )
