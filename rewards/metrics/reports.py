"""The metrics of reports by name, as functions of stored rows: `compute("rouge_l", rows)`.

Rules for all of them: an empty answer counts 0 and is counted; sections, handling of XXXX and of empty answers, the
tokenizer and the version of the rule stand in the signature; Chinese rows are cut by `words`, because the tokenizers of
the originals make nothing of them. Values are on the scale of the original: 0 to 1, CIDEr 0 to 10, BLEU 0 to 1.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rewards.metrics import bleu, overlap
from rewards.metrics.cider import Rarity, cider, cider_d, rarity
from rewards.metrics.cutting import TOKENIZERS
from rewards.metrics.result import Handling, MetricResult, TextRow, mean_of_column, sums_of
from rollouts.nearest import did_you_mean

_REDACTED = re.compile(r"\bX{4,}\b")
# Raised whenever a number of the same rows changes.
VERSION = 1
Cut = Callable[[str], list[str]]


@dataclass(frozen=True)
class _Overlap:
    """A metric whose corpus value is the mean over rows."""

    tokenizer: str
    about: str
    score: Callable[[list[str], list[list[str]]], float]


def _best(one: Callable[[list[str], list[str]], float]) -> Callable[[list[str], list[list[str]]], float]:
    return lambda answer, references: max(one(answer, reference) for reference in references)


_OVERLAPS = {
    "rouge_1": _Overlap("words", "F1, best reference", _best(lambda a, b: overlap.rouge_n(a, b, 1).f1)),
    "rouge_2": _Overlap("words", "F1, best reference", _best(lambda a, b: overlap.rouge_n(a, b, 2).f1)),
    "rouge_l": _Overlap("words", "F1, whole text, best reference", _best(lambda a, b: overlap.rouge_l(a, b).f1)),
    "rouge_l_coco": _Overlap("ptb", "beta 1.2, best precision and best recall", overlap.rouge_l_coco),
    "meteor": _Overlap(
        "ptb", "exact words and Porter stems, no synonyms, alpha 0.9, beta 3, gamma 0.5", _best(overlap.meteor)
    ),
}
_CIDERS = {"cider": (cider, "plain: not clipped, no length penalty"), "cider_d": (cider_d, "clipped, sigma 6")}
_COCO_BLEUS = tuple(f"bleu_{order}_coco" for order in range(1, bleu.ORDERS + 1))
METRICS: tuple[str, ...] = (*_OVERLAPS, *_CIDERS, "bleu_4", *_COCO_BLEUS)


def compute(
    name: str, rows: Sequence[TextRow], handling: Handling | None = None, *, rare: Rarity | None = None
) -> MetricResult:
    """One metric over rows.

    Args:
        name: of `METRICS`.
        rows: answers with their references, in any order; results keep it.
        handling: of both sides, see `Handling`.
        rare: for `cider` and `cider_d`, frozen rarities of a whole benchmark (`rarities`); None = of these rows.

    Raises:
        ValueError: an unknown metric, or no rows.
    """
    if name not in METRICS:
        hint = did_you_mean(name, METRICS, "; expected one of " + ", ".join(METRICS))
        raise ValueError(f"there is no metric {name!r}{hint}")
    if not rows:
        raise ValueError(f"{name}: there are no rows to score")
    handling = handling or Handling()
    kept = [handled(row, handling) for row in rows]
    if name in _OVERLAPS:
        result = _overlapping(name, kept)
    elif name in _CIDERS:
        result = _rare(name, kept, rare)
    elif name == "bleu_4":
        result = _sacre(kept)
    else:
        result = _coco(int(name[5]), kept)
    empties = f"empty:0|sections:{handling.sections}|xxxx:{handling.redaction}|rows:{len(rows)}"
    return replace(
        result, name=name, signature=f"{result.signature}|{empties}|v{VERSION}", num_rows=len(rows),
        num_empty=sum(row.is_empty for row in kept), num_redacted=num_redacted(rows),
    )  # fmt: skip


def num_redacted(rows: Sequence[TextRow]) -> int:
    """How many answers print XXXX, as only a model does that learned de-identified reports."""
    return sum(bool(row.answer and _REDACTED.search(row.answer)) for row in rows)


def rarities(rows: Sequence[TextRow], handling: Handling | None = None) -> Rarity:
    """How rare each n-gram is among the references of a benchmark, to be frozen for its subsets."""
    cut = _cuts("ptb", rows)
    kept = [handled(row, handling or Handling()) for row in rows]
    return rarity([[cut(row)(text) for text in row.references] for row in kept])


def handled(row: TextRow, handling: Handling) -> TextRow:
    """A row with both sides as the metric reads them."""
    if handling.redaction == "kept":
        return row
    # A reference that holds nothing else keeps it: an empty one could not be compared with.
    gone = tuple(" ".join(_REDACTED.sub(" ", text).split()) or text for text in row.references)
    return replace(row, answer=None if row.answer is None else _REDACTED.sub(" ", row.answer), references=gone)


def _cuts(tokenizer: str, rows: Sequence[TextRow]) -> Callable[[TextRow], Cut]:
    return lambda row: TOKENIZERS["words" if row.language == "zh" else tokenizer]


def _tokenizer_name(tokenizer: str, rows: Sequence[TextRow]) -> str:
    chinese = sum(row.language == "zh" for row in rows)
    if tokenizer == "words" or not chinese:
        return f"tok:{tokenizer}"
    return "tok:words" if chinese == len(rows) else f"tok:{tokenizer},zh:words"


def _of_items(items: Sequence[float], signature: str) -> MetricResult:
    sums = sums_of(items)
    value = mean_of_column(sums.sum(axis=0))
    return MetricResult("", value, "", signature, tuple(items), sums, mean_of_column, 0, 0, 0)


def _overlapping(name: str, rows: Sequence[TextRow]) -> MetricResult:
    metric = _OVERLAPS[name]
    cut = _cuts(metric.tokenizer, rows)
    items = [
        0.0 if row.is_empty else metric.score(cut(row)(row.answer or ""), [cut(row)(text) for text in row.references])
        for row in rows
    ]
    return _of_items(items, f"{name}|{metric.about}|{_tokenizer_name(metric.tokenizer, rows)}|mean over rows")


def _rare(name: str, rows: Sequence[TextRow], rare: Rarity | None) -> MetricResult:
    score, about = _CIDERS[name]
    cut = _cuts("ptb", rows)
    references = [[cut(row)(text) for text in row.references] for row in rows]
    weights = rare or rarity(references)
    source = f"idf of {weights.num_items} items, {'frozen' if rare else 'of these rows'}"
    signature = f"{name}|{about}, 0 to 10|{_tokenizer_name('ptb', rows)}|{source}|mean over rows"
    if weights.fault:
        return _not_computed(weights.fault, signature)
    items = [
        0.0 if row.is_empty else score(cut(row)(row.answer or ""), texts, weights)
        for row, texts in zip(rows, references, strict=True)
    ]
    return _of_items(items, signature)


def _sacre(rows: Sequence[TextRow]) -> MetricResult:
    """Corpus BLEU-4 by sacrebleu, and each row's own score with effective order."""
    languages = {row.language for row in rows}
    if len(languages) > 1:
        return _not_computed("BLEU of English and Chinese rows together has no tokenizer; score them apart", "bleu_4")
    metric = bleu.sacre("zh" if languages == {"zh"} else "13a")
    scores = [metric.sentence_score(row.answer or "", list(row.references)) for row in rows]
    sums = np.array([(*one.counts, *one.totals, one.sys_len, one.ref_len) for one in scores], dtype=np.float64)
    for place, row in enumerate(rows):
        if row.is_empty:
            sums[place, :-1] = 0.0
    items = tuple(0.0 if row.is_empty else one.score / 100 for row, one in zip(rows, scores, strict=True))
    finish = _finish_sacre
    signature = bleu.signature_of_corpus(metric, [list(row.references) for row in rows])
    return MetricResult("", finish(sums.sum(axis=0)), "", f"bleu_4|sacrebleu {signature}", items, sums, finish, 0, 0, 0)


def _finish_sacre(sums: NDArray[np.float64]) -> float | None:
    orders = bleu.ORDERS
    return bleu.of_counts(sums[:orders], sums[orders : 2 * orders], sums[-2], sums[-1])


def _coco(order: int, rows: Sequence[TextRow]) -> MetricResult:
    cut = _cuts("ptb", rows)
    counts = [bleu.count(cut(row)(row.answer or ""), [cut(row)(text) for text in row.references]) for row in rows]
    sums = np.array([(*one.common, *one.totals, one.length, one.reference_length) for one in counts], dtype=np.float64)

    def finish(total: NDArray[np.float64]) -> float | None:
        n = bleu.ORDERS
        merged = bleu.Counts(tuple(total[:n]), tuple(total[n : 2 * n]), total[-2], total[-1])
        return bleu.coco_bleu(merged)[order - 1] if merged.length else 0.0

    items = tuple(
        0.0 if row.is_empty else bleu.coco_bleu(one)[order - 1] for row, one in zip(rows, counts, strict=True)
    )
    signature = f"bleu_{order}_coco|corpus, nearest reference length|{_tokenizer_name('ptb', rows)}"
    return MetricResult("", finish(sums.sum(axis=0)), "", signature, items, sums, finish, 0, 0, 0)


def _not_computed(reason: str, signature: str) -> MetricResult:
    return MetricResult("", None, reason, signature, None, np.zeros((0, 2)), mean_of_column, 0, 0, 0)
