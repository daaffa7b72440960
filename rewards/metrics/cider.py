"""CIDEr and CIDEr-D (Vedantam et al. 2015, arXiv:1411.5726): similarity of n-grams weighed by how rare they are among
the references of the whole benchmark.

Two metrics share a name. CIDEr-D, which the captioning packages call "CIDEr", counts a repeated n-gram at most as often
as the reference has it and punishes another length; plain CIDEr does neither.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rewards.metrics.overlap import Tokens, ngrams

ORDERS = 4
SIGMA = 6.0
SCALE = 10.0
Gram = tuple[str, ...]


@dataclass(frozen=True)
class Rarity:
    """In how many items the references hold an n-gram; frozen, so that a subset is scored as the whole."""

    counts: Counter[Gram]
    num_items: int

    def weight(self, gram: Gram) -> float:
        """log(items / items whose references hold it); an n-gram that no reference holds weighs log(items)."""
        return math.log(self.num_items) - math.log(max(1, self.counts[gram]))

    @property
    def fault(self) -> str:
        """Why nothing can be weighed with it; "" = it can."""
        if self.num_items < 2:
            return f"CIDEr needs references of at least 2 items, got {self.num_items}: log(1) makes every score 0"
        if all(number == self.num_items for number in self.counts.values()):
            return f"CIDEr needs at least 2 different references; the {self.num_items} items share one, which weighs 0"
        return ""


def rarity(references: Sequence[Sequence[Tokens]]) -> Rarity:
    """Of the references of a benchmark, several an item, already cut."""
    counts: Counter[Gram] = Counter()
    for item in references:
        counts.update({gram for reference in item for n in range(1, ORDERS + 1) for gram in ngrams(reference, n)})
    return Rarity(counts, len(references))


@dataclass(frozen=True)
class _Vector:
    """The weighed n-grams of one text by order, their lengths as vectors, and how many bigrams there are."""

    weights: tuple[dict[Gram, float], ...]
    norms: tuple[float, ...]
    num_bigrams: int


def _vector(tokens: Tokens, rare: Rarity) -> _Vector:
    weights = tuple(
        {gram: number * rare.weight(gram) for gram, number in ngrams(tokens, n).items()} for n in range(1, ORDERS + 1)
    )
    norms = tuple(math.sqrt(math.fsum(weight**2 for weight in order.values())) for order in weights)
    return _Vector(weights, norms, max(0, len(tokens) - 1))


def cider(answer: Tokens, references: Sequence[Tokens], rare: Rarity) -> float:
    """Plain CIDEr of one item, 0 to 10: the mean over references and orders 1 to 4 of the cosine of the vectors."""
    ours = _vector(answer, rare)
    total = 0.0
    for reference in references:
        theirs = _vector(reference, rare)
        for n in range(ORDERS):
            product = math.fsum(weight * theirs.weights[n].get(gram, 0.0) for gram, weight in ours.weights[n].items())
            total += product / (ours.norms[n] * theirs.norms[n]) if product else 0.0
    return SCALE * total / ORDERS / len(references)


def cider_d(answer: Tokens, references: Sequence[Tokens], rare: Rarity) -> float:
    """CIDEr-D of one item, 0 to 10: an n-gram's weight counts at most as in the reference, and each reference is worth
    exp(-d^2 / 72), d = difference of the numbers of bigrams (so in the original code, which calls it length)."""
    ours = _vector(answer, rare)
    total = 0.0
    for reference in references:
        theirs = _vector(reference, rare)
        penalty = math.exp(-((ours.num_bigrams - theirs.num_bigrams) ** 2) / (2 * SIGMA**2))
        for n in range(ORDERS):
            product = math.fsum(
                min(weight, other) * other
                for gram, weight in ours.weights[n].items()
                if (other := theirs.weights[n].get(gram, 0.0))
            )
            total += penalty * product / (ours.norms[n] * theirs.norms[n]) if product else 0.0
    return SCALE * total / ORDERS / len(references)
