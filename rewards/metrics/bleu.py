"""BLEU (Papineni et al. 2002): sacrebleu's, which has a signature of its own, and the two other forms that published
tables use."""

from __future__ import annotations

import functools
import math
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from rewards.metrics.overlap import Tokens, ngrams

ORDERS = 4
# What the captioning metrics add to counts that are 0.
_COCO_TINY, _COCO_SMALL = 1e-15, 1e-9


class Counts(NamedTuple):
    """What a text adds to the BLEU of a corpus: n-grams in common and all its n-grams, by order from 1, and the lengths
    of the text and of the reference that is nearest in length."""

    common: tuple[int, ...]
    totals: tuple[int, ...]
    length: int
    reference_length: int


@functools.lru_cache(maxsize=8)
def sacre(tokenize: str = "13a", *, lowercase: bool = True, effective_order: bool = True) -> Any:
    """sacrebleu's BLEU with exponential smoothing. `effective_order`: a text of three words has no 4-grams, and its
    own score must not be 0 for that; off for a corpus, whose published form it is."""
    # Imported here: it takes a tenth of a second, and only reports need it.
    from sacrebleu.metrics import BLEU

    return BLEU(lowercase=lowercase, effective_order=effective_order, tokenize=tokenize)


def signature_of_corpus(metric: Any, references: Sequence[Sequence[str]]) -> str:
    """sacrebleu's own signature of a corpus score, with as many references as the rows have."""
    numbers = sorted({len(texts) for texts in references})
    signature = str(metric.get_signature()).replace("eff:yes", "eff:no")
    many = str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]}-{numbers[-1]}"
    return "|".join(["nrefs:" + many, *(part for part in signature.split("|") if not part.startswith("nrefs:"))])


def of_counts(common: Iterable[float], totals: Iterable[float], length: float, reference_length: float) -> float:
    """sacrebleu's corpus BLEU-4 of summed counts, 0 to 1, exponential smoothing."""
    from sacrebleu.metrics import BLEU

    result = BLEU.compute_bleu(
        [int(number) for number in common], [int(number) for number in totals], int(length), int(reference_length),
        smooth_method="exp", effective_order=False,
    )  # fmt: skip
    return float(result.score) / 100


def count(answer: Tokens, references: Sequence[Tokens]) -> Counts:
    """The counts of one text against its references; an n-gram counts at most as often as in the reference that has
    most of it."""
    common, totals = [], []
    for n in range(1, ORDERS + 1):
        most: Counter[tuple[str, ...]] = Counter()
        for reference in references:
            most |= ngrams(reference, n)
        ours = ngrams(answer, n)
        common.append(sum((ours & most).values()))
        totals.append(ours.total())
    nearest = min((abs(len(reference) - len(answer)), len(reference)) for reference in references)[1]
    return Counts(tuple(common), tuple(totals), len(answer), nearest)


def add(counts: Sequence[Counts]) -> Counts:
    """The counts of a corpus."""
    return Counts(
        tuple(map(sum, zip(*(one.common for one in counts), strict=True))),
        tuple(map(sum, zip(*(one.totals for one in counts), strict=True))),
        sum(one.length for one in counts),
        sum(one.reference_length for one in counts),
    )


def coco_bleu(counts: Counts) -> list[float]:
    """BLEU-1 to BLEU-4 as the captioning metrics have it, 0 to 1: a tiny number instead of 0."""
    scores, product = [], 1.0
    ratio = (counts.length + _COCO_TINY) / (counts.reference_length + _COCO_SMALL)
    brevity = math.exp(1 - 1 / ratio) if ratio < 1 else 1.0
    for order, (common, total) in enumerate(zip(counts.common, counts.totals, strict=True), start=1):
        product *= (common + _COCO_TINY) / (total + _COCO_SMALL)
        scores.append(product ** (1 / order) * brevity)
    return scores


def nltk_bleu(texts: Sequence[Counts], order: int = ORDERS, *, epsilon: float = 0.0) -> float:
    """BLEU of one text or a corpus up to an order as NLTK has it, 0 to 1: 0 where an order has nothing in common, so
    for every single text of fewer words. `epsilon`: what stands for 0 n-grams in common instead (method 1 of Chen and
    Cherry 2014 has 0.1). A text too short for an order counts there as one n-gram."""
    counts = add([one._replace(totals=tuple(max(1, total) for total in one.totals)) for one in texts])
    if not counts.length or not counts.common[0]:
        return 0.0
    brevity = 1.0 if counts.length > counts.reference_length else math.exp(1 - counts.reference_length / counts.length)
    shares = [
        (common or epsilon) / total for common, total in zip(counts.common[:order], counts.totals[:order], strict=True)
    ]
    return brevity * math.exp(math.fsum(math.log(share or sys.float_info.min) for share in shares) / order)
