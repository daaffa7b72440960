"""The reward of written reports: overlap of words with a reference report."""

import functools
from typing import Any

from rewards.answers.text import normalise
from rewards.registry import RewardError, reward
from rewards.shipped.rouge_l import MAX_CHARS, overlap
from rollouts.records import Outcome, Parsed, Sample


@functools.lru_cache(maxsize=4)
def _bleu(language: str) -> Any:
    # Imported here: it takes a tenth of a second, and only reports need it.
    from sacrebleu.metrics import BLEU

    # effective_order: a report of three words has no 4-grams, and must not score 0 for that.
    return BLEU(lowercase=True, effective_order=True, tokenize="zh" if language == "zh" else "13a")


def bleu(said: str, references: tuple[str, ...], language: str = "en") -> float:
    """Sentence BLEU-4 with sacrebleu's exponential smoothing, 0 to 1; Chinese is cut into characters."""
    score = _bleu(language).sentence_score(normalise(said), [normalise(reference) for reference in references]).score
    return min(1.0, max(0.0, score / 100))


@reward("report")
def report(parsed: Parsed, sample: Sample, rouge_l: float = 0.5, bleu_4: float = 0.5) -> Outcome:
    """Weighted mean of ROUGE-L F1 (best of gold text and aliases) and BLEU-4 (against all of them); 0 without an answer. Range [0, 1].

    `rouge_l`, `bleu_4`: weights, at least 0, scaled to sum to 1. Overlap of words is no clinical judgement: "no effusion" and "effusion" share most
    of theirs. Put `rubric_judge`, `judge` or, where its models are there, `radcliq` beside it. Source: sacrebleu (Post 2018); the mix is ours.
    """
    if min(rouge_l, bleu_4) < 0 or not 0 < rouge_l + bleu_4 < float("inf"):
        raise RewardError(f"report needs weights of at least 0 that do not sum to 0, got rouge_l={rouge_l} and bleu_4={bleu_4}")
    if not parsed.answer or len(parsed.answer) > MAX_CHARS:
        return Outcome(0.0, reason="no answer" if not parsed.answer else f"longer than {MAX_CHARS} characters")
    references = (sample.gold_text, *sample.aliases)
    parts = {
        "rouge_l": max(overlap(parsed.answer, reference) for reference in references),
        "bleu_4": bleu(parsed.answer, references, sample.language),
    }
    value = (rouge_l * parts["rouge_l"] + bleu_4 * parts["bleu_4"]) / (rouge_l + bleu_4)
    return Outcome(value, reason=f"ROUGE-L {parts['rouge_l']:.3f}, BLEU-4 {parts['bleu_4']:.3f}", parts=parts)
