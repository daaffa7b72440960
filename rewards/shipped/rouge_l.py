"""How much of a reference text stands in the answer in the same order."""

from rapidfuzz.distance import LCSseq

from rewards.answers.text import key
from rewards.registry import reward
from rollouts.records import Outcome, Parsed, Sample

# Longer than any report; a text that goes on past it is no report, and its overlap is not worth computing.
MAX_CHARS = 20_000


def overlap(said: str, reference: str) -> float:
    """ROUGE-L F1 of two texts, 0 to 1: words case-folded without stemming, a decimal one word, each Chinese character one; 0 if one is empty."""
    a, b = key(said), key(reference)
    common = LCSseq.similarity(a, b)
    return 2 * common / (len(a) + len(b)) if common else 0.0


@reward("rouge_l")
def rouge_l(parsed: Parsed, sample: Sample) -> Outcome:
    """ROUGE-L F1 of the answer with the gold text or, where that is higher, an alias; 0 without an answer. Range [0, 1].

    Source: Lin 2004, "ROUGE", Sec 3.1, with beta = 1. Not `rouge-score`: that one drops every letter beyond a-z, so a Chinese report scores 0.
    """
    if not parsed.answer or len(parsed.answer) > MAX_CHARS:
        return Outcome(0.0, reason="no answer" if not parsed.answer else f"longer than {MAX_CHARS} characters")
    value = max(overlap(parsed.answer, reference) for reference in (sample.gold_text, *sample.aliases))
    return Outcome(value, reason="longest common subsequence of words")
