"""What blindness earns: baselines that see no image, and most of them no question, as pure functions of questions and
training rows.

Each gives one value an item, so that a model is compared with it item by item. Where a baseline has to choose among
equals, it earns the share of the right ones among them: the expected value, no coin.
"""

from __future__ import annotations

import collections
import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from rollouts.records import Sample

# Tag with the gold answer as the row wrote it, where the sample spells it otherwise.
WRITTEN = "gold_as_written"
# Metric of a text against one reference, 0 to 1.
TextMetric = Callable[[str, str], float]


class Blind(NamedTuple):
    """A baseline on a benchmark."""

    name: str
    # What it does, with the answer it gives where it gives one.
    what: str
    # One value an item, 0 to 1.
    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean over items; NaN without any."""
        return math.fsum(self.values) / len(self.values) if self.values else math.nan


def folded(text: str) -> str:
    """Text as baselines compare it: capitals and blanks do not count, nor a full stop at the end."""
    return " ".join(text.casefold().split()).rstrip(".")


def accepted(sample: Sample) -> set[str]:
    """The answers that are right, folded."""
    return {folded(sample.gold_text), *map(folded, sample.aliases)}


def chance(samples: Sequence[Sample]) -> Blind:
    """One of the options, or yes or no, at random: row by row, since rows have different numbers of options. An open
    question is never hit."""
    values = tuple(_chance(sample) for sample in samples)
    return Blind("chance", "an option at random, row by row; 0 for an open question", values)


def _chance(sample: Sample) -> float:
    if sample.answer_type == "mcq":
        return 1 / len(sample.options or ())
    return 0.5 if sample.answer_type == "yes_no" else 0.0


def majority(samples: Sequence[Sample], taught: Sequence[Sample]) -> Blind:
    """The most frequent training answer of the answer type; the letter for multiple choice, since options differ.
    Without training rows those of the benchmark itself, which no one could know: an upper bound."""
    source = taught or samples
    best = {kind: _most_frequent(_key(one) for one in source if one.answer_type == kind) for kind in _kinds(samples)}
    values = tuple(float(bool(best[one.answer_type]) and _hits(one, best[one.answer_type])) for one in samples)
    answers = ", ".join(f"{kind}: {answer or 'none'}" for kind, answer in sorted(best.items()))
    whose = "of training" if taught else "of the benchmark itself, an upper bound"
    return Blind("majority", f"the most frequent answer {whose} ({answers})", values)


def options_only(samples: Sequence[Sample], taught: Sequence[Sample]) -> Blind:
    """The option whose text was most often right in training, question and image unseen; chance where none was. Rows of
    one modality learn from training rows of the same, where there are any. What is asked without options gets the
    majority answer of its type."""
    counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for one in taught:
        for modality in {one.modality, ""}:
            counts[modality][folded(one.gold_text)] += 1
    rest = majority(samples, taught).values
    values = []
    for one, other in zip(samples, rest, strict=True):
        known = counts[one.modality if one.modality in counts else ""]
        shown = [known[folded(option)] for option in one.options or ()]
        values.append(_share_of_best(shown, (one.gold_letters or ("",))[0]) if one.answer_type == "mcq" else other)
    what = "the option whose text was most often right in training rows of its modality"
    return Blind("options_only", what, tuple(values))


def _share_of_best(counts: Sequence[int], gold: str) -> float:
    best = max(counts)
    chosen = [place for place, count in enumerate(counts) if count == best]
    return float(ord(gold) - ord("A") in chosen) / len(chosen)


def question_only(samples: Sequence[Sample], taught: Sequence[Sample]) -> Blind:
    """The most frequent training answer to the same words of the question, the image unseen; the majority answer of the
    answer type where they were never asked."""
    answers: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for one in taught:
        answers[folded(one.question)][folded(one.gold_text)] += 1
    rest = majority(samples, taught).values
    values = []
    for one, other in zip(samples, rest, strict=True):
        counts = answers.get(folded(one.question))
        values.append(_by_question(one, counts) if counts else other)
    return Blind("question_only", "the most frequent training answer to the same question", tuple(values))


def question_exact(samples: Sequence[Sample], taught: Sequence[Sample]) -> Blind:
    """The same as others count it: the training answer's very words must be the gold's, other wordings do not count,
    and a question that training never asked is wrong."""
    answers: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for one in taught:
        answers[one.question.casefold()][_as_written(one)] += 1
    values = tuple(
        float(
            bool(answers.get(one.question.casefold())) and _first(answers[one.question.casefold()]) == _as_written(one)
        )
        for one in samples
    )
    what = "the same by exact words, other wordings and questions that training never asked being wrong"
    return Blind("question_exact", what, values)


def _as_written(sample: Sample) -> str:
    """The gold answer as the row wrote it."""
    return sample.tags.get(WRITTEN, sample.gold_text).casefold().strip()


def _first(counts: collections.Counter[str]) -> str:
    """The most frequent, the first that was seen among equals."""
    return counts.most_common(1)[0][0]


def _by_question(sample: Sample, counts: collections.Counter[str]) -> float:
    if sample.answer_type == "mcq":
        shown = [counts[folded(option)] for option in sample.options or ()]
        return _share_of_best(shown, (sample.gold_letters or ("",))[0])
    return float(bool(accepted(sample) & {_most_frequent(counts.elements()) or ""}))


def constant_report(samples: Sequence[Sample], report: str, metric: TextMetric) -> Blind:
    """One report for every study, written without looking."""
    values = tuple(metric(report, one.gold_text) for one in samples)
    return Blind("constant", f"one report for all: {report}", values)


def frequent_report(samples: Sequence[Sample], taught: Sequence[Sample], metric: TextMetric) -> Blind:
    """The most frequent training report for every study."""
    report = _most_frequent(one.gold_text for one in taught) or ""
    values = tuple(metric(report, one.gold_text) for one in samples)
    return Blind("frequent", f"the most frequent training report for all: {report}", values)


def nearest_report(
    samples: Sequence[Sample], taught: Sequence[Sample], metric: TextMetric, look: Callable[[Sample], Sequence[float]]
) -> Blind:
    """The report of the training study whose first image looks most alike. No model reads anything, but the image is
    seen: `look` gives a small picture of it as numbers."""
    pictures = [tuple(look(one)) for one in taught]
    values = []
    for one in samples:
        seen = tuple(look(one))
        near = min(range(len(taught)), key=lambda place: math.dist(seen, pictures[place]))
        values.append(metric(taught[near].gold_text, one.gold_text))
    return Blind("nearest", "the report of the training study whose image looks most alike", tuple(values))


def _kinds(samples: Iterable[Sample]) -> set[str]:
    return {sample.answer_type for sample in samples}


def _key(sample: Sample) -> str:
    """The answer as it is counted: a letter for multiple choice, words elsewhere."""
    return "".join(sample.gold_letters or ()) if sample.answer_type == "mcq" else folded(sample.gold_text)


def _hits(sample: Sample, answer: str | None) -> bool:
    return answer == _key(sample) if sample.answer_type == "mcq" else answer in accepted(sample)


def _most_frequent(answers: Iterable[str]) -> str | None:
    """The most frequent answer, the first in the alphabet among equals; None = there is none."""
    counts = collections.Counter(answers)
    return min(counts, key=lambda answer: (-counts[answer], answer)) if counts else None
