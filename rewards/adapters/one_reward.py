"""One reward with a scorer of its own, for callers that bring rows of a table and texts instead of samples and
completions (TRL, verl)."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

from judges import Judge
from rewards.contract import RewardError
from rewards.rubric import Rubric, Scored
from rewards.scorer import Scorer
from rollouts.records import Outcome, Sample
from rollouts.rows.sample import FIELDS, sample_of
from rollouts.texts.reading import is_value, trim

log = logging.getLogger("rewards")
# Names under which data sets for other trainers keep the right answer; the first that is there counts.
ANSWER_NAMES = ("answer", "solution", "ground_truth", "gold_text")
MAX_WARNINGS = 20


class Group(NamedTuple):
    """Completions of one prompt; `num_tokens` and `finish_reasons` of each, where known."""

    sample: Sample
    completions: Sequence[str]
    num_tokens: Sequence[int] | None = None
    finish_reasons: Sequence[str] | None = None


class OneReward:
    """A reward as `rewards.registry.find` reads its name, with its arguments and its judge.

    `label_free`: rows need no right answer, because the reward reads none. Raises RewardError as `Rubric` does.
    """

    def __init__(
        self,
        spec: str,
        arguments: Mapping[str, Any] | None = None,
        judge: Judge | None = None,
        *,
        prefill: str = "",
        label_free: bool = False,
        timeout_seconds: float = 900.0,
        max_warnings: int = MAX_WARNINGS,
    ) -> None:
        self._rubric = Rubric({spec: 1.0}, judge=judge, arguments={spec: arguments} if arguments else None)
        # A trainer of others hands over no rendered prompt, so whoever calls says what its template opens.
        self._prefill = prefill
        self.name = next(iter(self._rubric.weights))
        self.is_group = self._rubric.has_group_rewards
        self._label_free = label_free
        self._scorer = Scorer(self._rubric, timeout_seconds)
        # One key a group, never the same again: an identical answer in a later step is judged anew, or from the judge's
        # own cache.
        self._keys = (f"{self.name}-{number}" for number in itertools.count())
        self._max_warnings = max_warnings
        self._num_warnings = 0

    def sample(self, row: Mapping[str, Any], question: str = "", source: str = "") -> Sample:
        """The sample of a row (fields: rollouts/rows/sample.py; the answer may be called as in ANSWER_NAMES). Raises
        BadSample or RewardError."""
        known = {name: _plain(row[name]) for name in FIELDS if row.get(name) is not None}
        answers = [_plain(row[name]) for name in ANSWER_NAMES if row.get(name) is not None]
        if not answers and not self._label_free:
            raise RewardError(
                f"the reward {self.name!r} is given rows without a right answer: expected a field"
                f" {', '.join(ANSWER_NAMES)}, got {sorted(row)}. Say label_free=True where the reward reads no right"
                " answer."
            )
        known["answer"] = answers[0] if answers else known.get("options", ["none"])[0]
        known.setdefault("question", question or "?")
        name = _plain(row.get("id"))
        return sample_of(known, trim(str(name)) if is_value(name) else str(known["question"])[:80], source=source)

    def score(self, groups: Sequence[Group]) -> list[Outcome]:
        """One outcome a completion, group after group; all are under way at once, and this blocks until all are there.

        Failures are told in the log, the first `max_warnings` of them.
        """
        waiting: list[tuple[Sample, Future[Scored]]] = []
        for group in groups:
            key, size = next(self._keys), len(group.completions)
            tokens: Sequence[int | None] = group.num_tokens or [None] * size
            reasons = group.finish_reasons or ["stop"] * size
            for text, reason, count in zip(group.completions, reasons, tokens, strict=True):
                future = self._scorer.submit(
                    group.sample, text, key, reason, num_tokens=count, group_size=size, prefill=self._prefill
                )
                waiting.append((group.sample, future))
        outcomes = []
        for sample, future in waiting:
            outcomes.append(outcome := future.result().outcomes[self.name])
            if outcome.status != "ok" and self._num_warnings < self._max_warnings:
                self._num_warnings += 1
                log.warning("reward %s on %s: %s: %s", self.name, sample.id, outcome.status, outcome.reason)
        return outcomes

    def close(self) -> None:
        """End the scorer's thread, its child processes and the judge's connections."""
        self._scorer.close()


def _plain(value: Any) -> Any:
    """NumPy arrays, which Parquet readers make of lists, as lists."""
    return _plain(value.tolist()) if hasattr(value, "tolist") else list(value) if isinstance(value, tuple) else value
