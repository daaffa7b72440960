"""What a guesser that never looks would score, and golds capped until it is little better than chance.

A label set with its natural frequencies makes even random distractors easy: of grades of which one is three quarters of
all pictures, "the most frequent of the options" is right in three of four questions.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from rl.curate.items import Made
from rl.curate.text import words
from rollouts.records import stable_hash

# Rows that the reader of texts learns from and is asked about; more change its score by less than a point.
_MOST_READ = 20_000
_FOLDS = 5
# One-sided, 95 %: of so few questions a fair set may look easy.
_SIGMAS = 1.645


class Blind(NamedTuple):
    """Scores of guessers, as shares of right answers."""

    num_asked: int
    # One over the number of options (of labels, where asked open), on average.
    chance: float
    # Always the option (label) that is gold most often in the set; ties count in shares.
    frequent: float
    # A naive Bayes reader of question and options, taught on four fifths of the set and asked about the rest.
    text_only: float

    @property
    def best(self) -> float:
        """The better of both guessers."""
        return max(self.frequent, self.text_only)

    def too_easy(self, max_blind: float) -> bool:
        """Whether a guesser is surely better than chance by more than `max_blind`."""
        if not self.num_asked:
            return False
        deviation = math.sqrt(self.best * (1 - self.best) / self.num_asked)
        return self.best - _SIGMAS * deviation > self.chance + max_blind


def pairs_of(rows: Iterable[Made]) -> list[Made]:
    """The questions that can be guessed, each pair of languages once."""
    first: dict[str, Made] = {}
    for row in rows:
        if len(row.choices) > 1:
            first.setdefault(row.pair, row)
    return list(first.values())


def blind(rows: Sequence[Made], seed: int = 0) -> Blind:
    """Scores on the questions of some rows that can be guessed."""
    questions = pairs_of(rows)
    if not questions:
        return Blind(0, 0.0, 0.0, 0.0)
    return Blind(len(questions), _chance(questions), most_frequent(questions), _text_only(questions, seed))


def _chance(questions: Sequence[Made]) -> float:
    return sum(1 / len(row.choices) for row in questions) / len(questions)


def most_frequent(questions: Sequence[Made]) -> float:
    """The share that "the label that is gold most often" gets right, counted over the set itself. An answer that was
    written for one question is no label: it is counted over the other questions."""
    counts = Counter(row.gold_key for row in questions)
    right = 0.0
    for row in questions:
        own = row.gold_key if row.tags.get("model") else None
        seen = {key: counts[key] - (key == own) for key in row.choices}
        most = max(seen.values())
        tied = [key for key in row.choices if seen[key] == most]
        right += (row.gold_key in tied) / len(tied)
    return right / len(questions)


def _text_only(questions: Sequence[Made], seed: int) -> float:
    drawn = sorted(questions, key=lambda row: stable_hash(seed, "blind", row.pair))[:_MOST_READ]
    if len(drawn) < 2 * _FOLDS:
        return 0.0
    folds = [drawn[index::_FOLDS] for index in range(_FOLDS)]
    whole = _Reader(drawn)
    right = 0.0
    for fold in folds:
        own = _Reader(fold)
        right += sum(whole.right(row, own) for row in fold)
    return right / len(drawn)


class _Reader:
    """Counts of words by gold label; a fold is taken out by subtracting its own counts."""

    def __init__(self, rows: Sequence[Made]) -> None:
        self.golds: Counter[str] = Counter()
        self.words: Counter[tuple[str, str]] = Counter()
        self.lengths: Counter[str] = Counter()
        self.vocabulary: set[str] = set()
        for row in rows:
            seen = set(words(row.question))
            self.golds[row.gold_key] += 1
            self.lengths[row.gold_key] += len(seen)
            self.words.update((row.gold_key, word) for word in seen)
            self.vocabulary |= seen

    def right(self, row: Made, left_out: _Reader) -> float:
        """1 = the likeliest option is gold, 0 = it is not; ties count in shares."""
        seen = set(words(row.question))
        scores = {key: self._score(key, seen, left_out) for key in row.choices}
        best = max(scores.values())
        tied = [key for key, score in scores.items() if score >= best - 1e-9]
        return (row.gold_key in tied) / len(tied)

    def _score(self, key: str, seen: set[str], left_out: _Reader) -> float:
        prior = self.golds[key] - left_out.golds[key] + 1
        total = self.lengths[key] - left_out.lengths[key] + len(self.vocabulary)
        return math.log(prior) + sum(
            math.log((self.words[key, word] - left_out.words[key, word] + 1) / total) for word in seen
        )


def capped(rows: Sequence[Made], cap: int | Literal["auto"] | None, max_blind: float, seed: int) -> set[str]:
    """Pairs to keep, so that no label is gold more often than the cap.

    "auto" is the largest cap at which no guesser scores more than `max_blind` above chance; where there is none, as in
    a small set, the largest at which none surely does. Which questions of a label stay is drawn by hash, so that a
    smaller cap keeps some of those of a larger one.
    """
    questions = pairs_of(rows)
    by_gold: dict[str, list[Made]] = {}
    for row in sorted(questions, key=lambda row: stable_hash(seed, "cap", row.pair)):
        by_gold.setdefault(row.gold_key, []).append(row)
    if cap is None or not questions:
        return {row.pair for row in questions}
    if cap != "auto":
        return _kept(by_gold, cap)
    likely: int | None = None
    for number in _caps(max(map(len, by_gold.values()))):
        kept = _kept(by_gold, number)
        chosen = [row for row in questions if row.pair in kept]
        if most_frequent(chosen) > _chance(chosen) + max_blind:
            continue
        scores = blind(chosen, seed)
        if scores.best <= scores.chance + max_blind:
            return kept
        likely = number if likely is None and not scores.too_easy(max_blind) else likely
    return _kept(by_gold, likely or 1)


def _caps(largest: int) -> Iterable[int]:
    """Caps from the largest to one, each at least 3 % smaller than the one before."""
    number = largest
    while number > 0:
        yield number
        number = min(number - 1, int(number * 0.97))


def _kept(by_gold: dict[str, list[Made]], cap: int) -> set[str]:
    return {row.pair for rows in by_gold.values() for row in rows[:cap]}
