"""Overlap of tokens with a reference: ROUGE-N and ROUGE-L in the forms that are published, and METEOR without synonyms.

All take tokens (`rewards/metrics/cutting.py`) and return numbers from 0 to 1; 0 where a side is empty.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from rapidfuzz.distance import LCSseq

from rewards.metrics.stems import stem

COCO_BETA = 1.2
METEOR_ALPHA, METEOR_BETA, METEOR_GAMMA = 0.9, 3.0, 0.5
# What package `rouge` adds to a denominator.
_ROUGE_PACKAGE_EPSILON = 1e-8
Tokens = Sequence[str]


class Fit(NamedTuple):
    """Precision, recall and their harmonic mean."""

    precision: float
    recall: float
    f1: float


def fit(common: float, num_said: int, num_reference: int) -> Fit:
    """Of so many tokens in common."""
    precision = common / num_said if num_said else 0.0
    recall = common / num_reference if num_reference else 0.0
    return Fit(precision, recall, 2 * precision * recall / (precision + recall) if common else 0.0)


def ngrams(tokens: Tokens, n: int) -> Counter[tuple[str, ...]]:
    """Counts of the n-grams."""
    return Counter(tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1))


def rouge_n(answer: Tokens, reference: Tokens, n: int) -> Fit:
    """ROUGE-N (Lin 2004, Sec 2): n-grams in common, each as often as in the side that has fewer."""
    ours, theirs = ngrams(answer, n), ngrams(reference, n)
    return fit(sum((ours & theirs).values()), ours.total(), theirs.total())


def common_length(answer: Tokens, reference: Tokens) -> int:
    """Length of the longest common subsequence."""
    return LCSseq.similarity(answer, reference)


def rouge_l(answer: Tokens, reference: Tokens) -> Fit:
    """ROUGE-L (Lin 2004, Sec 3.1) with beta 1: the longest common subsequence of the whole texts."""
    return fit(common_length(answer, reference), len(answer), len(reference))


def rouge_l_coco(answer: Tokens, references: Sequence[Tokens], beta: float = COCO_BETA) -> float:
    """ROUGE-L of the captioning metrics: recall weighs beta^2 times as much. Of several references it takes the best
    precision and the best recall, each where it is, so that it may mix two of them."""
    fits = [rouge_l(answer, reference) for reference in references]
    precision, recall = max(one.precision for one in fits), max(one.recall for one in fits)
    if not precision or not recall:
        return 0.0
    return (1 + beta**2) * precision * recall / (recall + beta**2 * precision)


def rouge_1_of_package(answer: str, reference: str) -> float | None:
    """ROUGE-1 F as package `rouge` 1.0.1 has it, on sets of words; None where it refuses an empty text."""
    ours, theirs = _sentences(answer), _sentences(reference)
    if not ours or not theirs:
        return None
    one, other = {word for part in ours for word in part}, {word for part in theirs for word in part}
    return _f_of_package(len(one & other), len(one), len(other))


def rouge_l_of_package(answer: str, reference: str) -> float | None:
    """ROUGE-L F as package `rouge` 1.0.1 has it; None where it refuses an empty text ("" or ".").

    Cut at every full stop, words cut at blanks. Each sentence of the reference brings the words of its longest common
    subsequences with every sentence that was said; the set of all those words over the sets of words of both texts is
    the score. So a list in another order scores 1, and "5.3 cm" for "3.5 cm", too.
    """
    ours, theirs = _sentences(answer), _sentences(reference)
    if not ours or not theirs:
        return None
    union = {word for reference_words in theirs for said_words in ours for word in _lcs(reference_words, said_words)}
    one, other = {word for part in ours for word in part}, {word for part in theirs for word in part}
    return _f_of_package(len(union), len(one), len(other))


def _f_of_package(common: int, num_said: int, num_reference: int) -> float:
    precision, recall = common / num_said, common / num_reference
    return 2 * precision * recall / (precision + recall + _ROUGE_PACKAGE_EPSILON)


def _sentences(text: str) -> list[list[str]]:
    # A part that holds blanks only is a sentence of one empty word there; it is kept, for it counts as a word.
    return [" ".join(part.split()).split(" ") for part in text.split(".") if part]


def _lcs(x: Sequence[str], y: Sequence[str]) -> list[str]:
    """The words of one longest common subsequence, the one that is found from the end, going back in y first."""
    table = [[0] * (len(y) + 1) for _ in range(len(x) + 1)]
    for i, word in enumerate(x, start=1):
        for j, other in enumerate(y, start=1):
            table[i][j] = table[i - 1][j - 1] + 1 if word == other else max(table[i - 1][j], table[i][j - 1])
    words, i, j = [], len(x), len(y)
    while i and j:
        if x[i - 1] == y[j - 1]:
            words.append(x[i - 1])
            i, j = i - 1, j - 1
        elif table[i - 1][j] > table[i][j - 1]:
            i -= 1
        else:
            j -= 1
    return words


def meteor(answer: Tokens, reference: Tokens) -> float:
    """METEOR (Banerjee and Lavie 2005) of equal words, then equal Porter stems, with NLTK's alignment and parameters
    (alpha 0.9, beta 3, gamma 0.5). No synonyms and no paraphrases: it is neither METEOR 1.5 nor NLTK's with WordNet.

    An identical text of n words scores 1 - 0.5 / n^3, as there.
    """
    ours, theirs = list(enumerate(answer)), list(enumerate(reference))
    pairs = _matched(ours, theirs)
    ours, theirs = [(at, stem(word)) for at, word in ours], [(at, stem(word)) for at, word in theirs]
    pairs = sorted(pairs + _matched(ours, theirs))
    if not pairs:
        return 0.0
    precision, recall = len(pairs) / len(answer), len(pairs) / len(reference)
    mean = precision * recall / (METEOR_ALPHA * precision + (1 - METEOR_ALPHA) * recall)
    together = sum(b == (a[0] + 1, a[1] + 1) for a, b in itertools.pairwise(pairs))
    chunks = len(pairs) - together
    return (1 - METEOR_GAMMA * (chunks / len(pairs)) ** METEOR_BETA) * mean


def _matched(ours: list[tuple[int, str]], theirs: list[tuple[int, str]]) -> list[tuple[int, int]]:
    """Pairs of places of equal words, taken out of both lists; from the end, the last equal word first."""
    pairs = []
    for i in reversed(range(len(ours))):
        for j in reversed(range(len(theirs))):
            if ours[i][1] == theirs[j][1]:
                pairs.append((ours.pop(i)[0], theirs.pop(j)[0]))
                break
    return pairs
