"""A reward of one's own, complete: thoughts that come to the point."""

from rewards import Outcome, Parsed, reward


@reward("brevity")
def brevity(parsed: Parsed, most_words: int = 60) -> Outcome:
    """1 for thoughts of at most `most_words` words, falling to 0 at twice as many; 0 for none. Range [0, 1]."""
    num_words = len((parsed.think or "").split())
    value = min(1.0, max(0.0, 2 - num_words / most_words)) if num_words else 0.0
    return Outcome(value, reason=f"{num_words} words of thought")
