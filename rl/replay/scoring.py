"""Scores the stored completions of a step again and puts the new scores in the place of the old ones."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from rewards.rubric import Scored
from rewards.scorer import Scorer
from rl.algo.estimators import estimator_of
from rl.config import GrpoConfig
from rl.replay.filters import ChosenStep
from rl.replay.judge import StoredFirst
from rollouts.prompt.prefill import prefill_of
from rollouts.records import Media, Outcome, Sample
from rollouts.store.codec import (
    KEY_COLUMNS,
    SAMPLE_COLUMNS,
    SCHEMA,
    SCORED_COLUMNS,
    Row,
    outcome_from_row,
    sample_from_row,
    scored_row,
)
from rollouts.store.layout import DamagedStore
from rollouts.store.reader import read_table

_READ = (*KEY_COLUMNS, *SAMPLE_COLUMNS, "prompt_text", "completion", "finish_reason", "answer", "outcomes")


class StepInWork:
    """One step that the scorer works on. `scores` waits for its judges."""

    def __init__(
        self,
        chosen: ChosenStep,
        scorer: Scorer,
        open_media: Callable[[Row], Media],
        run: str,
        *,
        kept: Callable[[str], frozenset[str]] = lambda answer_type: frozenset(),
        repetition: int = 0,
    ) -> None:
        """Reads the step and submits its completions; what needs no waiting is scored when this returns.

        `kept`: answer type -> names of the rewards whose failed judgements stay the failures they were, where the run's
        cache lacks them. `repetition`: judgements of different repetitions are not shared. Raises StoreError where the
        step cannot be read.
        """
        self._kept = kept
        self._rubric = scorer.rubric
        self.chosen = chosen
        table = read_table(chosen.files)
        if chosen.prompt_ids is not None:
            table = table.filter(pc.is_in(table["prompt_id"], pa.array(chosen.prompt_ids, pa.string())))
        self.table = table
        self.rows: list[Row] = table.select(_READ).to_pylist()
        self._num_tokens: list[int] = pc.list_value_length(table["token_ids"]).to_pylist()
        self._futures: list[list[Future[Scored]]] = []
        for group in self.groups():
            key = f"{run}/replay/{repetition}/{chosen.files.step}/{self.rows[group[0]]['prompt_id']}"
            self._futures.append(self._submit(scorer, group, key, open_media))

    def groups(self) -> Iterator[list[int]]:
        """Row numbers of the completions of each prompt."""
        numbered = itertools.groupby(range(len(self.rows)), key=lambda number: self.rows[number]["prompt_id"])
        return (list(numbers) for _, numbers in numbered)

    def _submit(
        self, scorer: Scorer, group: Sequence[int], key: str, open_media: Callable[[Row], Media]
    ) -> list[Future[Scored]]:
        sample = _sample(self.rows[group[0]], open_media)
        if isinstance(self._rubric.judge, StoredFirst):
            kept = self._kept(sample.answer_type)
            self._rubric.judge.known |= {
                (key, text) for number in group for text in _failed_texts(self.rows[number], kept)
            }
        return [
            scorer.submit(
                sample,
                self.rows[number]["completion"],
                key,
                self.rows[number]["finish_reason"],
                num_tokens=self._num_tokens[number],
                group_size=len(group),
                prefill=prefill_of(self.rows[number]["prompt_text"] or ""),
            )
            for number in group
        ]

    def is_waiting(self) -> bool:
        """Whether a completion of it still waits for a judge."""
        return not all(future.done() for group in self._futures for future in group)

    def scores(self) -> list[list[Scored]]:
        """Wait for the judges."""
        scored = [[future.result() for future in group] for group in self._futures]
        return [
            [self._with_stored_failures(one, self.rows[number]) for number, one in zip(numbers, members, strict=True)]
            for numbers, members in zip(self.groups(), scored, strict=True)
        ]

    def _with_stored_failures(self, scored: Scored, row: Row) -> Scored:
        if scored.valid:
            return scored
        stored = {outcome["name"]: outcome for outcome in row["outcomes"] if outcome["status"] in ("error", "timeout")}
        failed = {name for name, outcome in scored.outcomes.items() if outcome.status in ("error", "timeout")}
        names = failed & set(stored) & self._kept(row["answer_type"])
        again = {name: outcome_from_row(stored[name]) for name in names}
        return self._rubric.total(scored.parsed, {**scored.outcomes, **again}) if again else scored

    def usable(self, scored: Sequence[Sequence[Scored]]) -> list[list[bool]]:
        """Which completions may be trained on, as the step decides it: scored, and not given up by the engine."""
        return [
            [
                one.valid and self.rows[number]["finish_reason"] != "abort"
                for number, one in zip(numbers, members, strict=True)
            ]
            for numbers, members in zip(self.groups(), scored, strict=True)
        ]

    def with_scores(self, scored: Sequence[Sequence[Scored]], grpo: GrpoConfig, run: str) -> pa.Table:
        """The step with these scores, as a run of the name `run` would have stored it."""
        width = max(len(members) for members in scored)
        usable = [[*flags, *[False] * (width - len(flags))] for flags in self.usable(scored)]
        # Loads torch, which scoring does not need: when the first step is done.
        result = estimator_of(grpo.loss_type).advantages([_padded(members, width) for members in scored], usable, grpo)
        rows = [
            scored_row(
                one.parsed,
                one.outcomes,
                one.weights,
                one.total,
                bool(result.trained[place, index]),
                float(result.advantages[place, index]),
            )
            for place, members in enumerate(scored)
            for index, one in enumerate(members)
        ]
        table = self.table
        new = pa.Table.from_pylist(rows, schema=pa.schema([SCHEMA.field(name) for name in SCORED_COLUMNS]))
        kept = [[name for name in names if name not in SCORED_COLUMNS] for names in table["not_finite"].to_pylist()]
        columns: dict[str, Any] = {name: new[name] for name in SCORED_COLUMNS}
        columns |= {
            "run": pa.array([run] * len(table), pa.string()),
            "not_finite": pa.array(kept, SCHEMA.field("not_finite").type),
        }
        return pa.table([columns.get(name, table[name]) for name in SCHEMA.names], schema=SCHEMA).combine_chunks()


def _sample(row: Row, open_media: Callable[[Row], Media]) -> Sample:
    try:
        return sample_from_row(row, open_media)
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedStore(
            f"the question of prompt {row['prompt_id']} in step {row['step']} cannot be read: {error}"
        ) from error


def _failed_texts(row: Row, names: frozenset[str]) -> Iterator[str]:
    """The texts of a completion whose judgement by one of these rewards failed, as they were sent to the judge."""
    for outcome in row["outcomes"]:
        if outcome["name"] in names and outcome["status"] in ("error", "timeout"):
            evidence = json.loads(outcome["evidence"] or "{}")
            answer = evidence.get("answer") if isinstance(evidence, dict) else None
            yield from {text for text in (answer, row["answer"]) if isinstance(text, str)}


def _padded(members: Sequence[Scored], width: int) -> list[Scored]:
    """A group that a killed writer left short, filled up with members that nobody is trained on."""
    nobody = dataclasses.replace(
        members[0], outcomes=dict.fromkeys(members[0].outcomes, Outcome(None, "abstain")), total=None, valid=False
    )
    return [*members, *[nobody] * (width - len(members))]
