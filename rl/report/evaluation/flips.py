"""Two models on the same stored items: the difference of each benchmark, and the items that one got right and the other
wrong, with their images."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc

from rl.evaluate.suite.comparing import asked_otherwise
from rl.evaluate.suite.facts import Facts, read_all
from rl.evaluate.suite.numbers import reports
from rl.evaluate.suite.numbers.rows import Answered, clean, plain, read_step
from rl.evaluate.suite.numbers.summary import value_of
from rl.report.groups import pictures
from rl.run.folder import SUMMARY
from rl.statistics.pairs import Difference, holm_by_name, paired_difference
from rollouts.store.layout import DamagedStore, StepFiles, list_steps
from rollouts.store.reader import media_opener, read_table
from rollouts.view import DEFAULT_PORT

# Flips of a benchmark that are shown, in either direction; all of them are counted.
MOST_SHOWN = 6
# A report that is better by less is no flip.
REPORT_STEP = 0.2


@dataclass(frozen=True)
class Flip:
    """An item on which the two differ; texts are raw."""

    id: str
    question: str
    options: tuple[str, ...]
    gold: str
    # What each said, and why it was paid so.
    first: str
    second: str
    first_reason: str
    second_reason: str
    # Address in the page of `python -m rollouts.view FIRST SECOND`.
    address: str
    pictures: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Compared:
    """One benchmark of two folders."""

    name: str
    # Why the two are not compared; "" = they are.
    reason: str
    difference: Difference | None = None
    # P after Holm's correction over the benchmarks compared.
    adjusted: float | None = None
    # Items only the second got right, and only the first, all of them; and those that are shown.
    num_gained: int = 0
    num_lost: int = 0
    gained: tuple[Flip, ...] = ()
    lost: tuple[Flip, ...] = ()


def summary_of(folder: Path) -> dict[str, Any]:
    """summary.json of an evaluation. Raises DamagedStore where it is none that can be read."""
    try:
        summary: dict[str, Any] = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        why = " ".join(str(error).split())[:200]
        raise DamagedStore(
            f"{folder / SUMMARY} cannot be read: {why}; compute it again with rl.evaluate --from-rows"
        ) from None
    if not isinstance(summary, dict) or not isinstance(summary.get("benchmarks"), list):
        raise DamagedStore(f"{folder / SUMMARY} is of no evaluation on benchmarks")
    return summary


def compare_folders(first: Path, second: Path) -> list[Compared]:
    """Every benchmark that the first folder holds, second minus first. Raises StoreError where rows cannot be read."""
    parsers = summary_of(first).get("parser"), summary_of(second).get("parser")
    ours, theirs = ({one.card.name: one for one in read_all(folder)} for folder in (first, second))
    comparisons = []
    for name, facts in ours.items():
        reason = _reason(facts, theirs.get(name), parsers)
        comparisons.append(Compared(name, reason) if reason else _compare(first, second, facts, theirs[name]))
    adjusted = holm_by_name(
        {
            one.name: one.difference.p_value
            for one in comparisons
            if one.difference and one.difference.p_value is not None
        }
    )
    return [Compared(**{**vars(one), "adjusted": adjusted.get(one.name)}) for one in comparisons]


def _reason(first: Facts, second: Facts | None, parsers: tuple[Any, Any]) -> str:
    if second is None:
        return "the second model was not asked it"
    if first.card.label != second.card.label:
        return f"it is {first.card.label} there and {second.card.label} here, which ask or grade differently"
    if parsers[0] != parsers[1]:
        return f"answers were read by the rules {parsers[0]} there and {parsers[1]} here; ask one of the models again"
    return ""


def _compare(first: Path, second: Path, facts: Facts, other: Facts) -> Compared:
    before = {one.id: one for one in clean(read_step(_step(first, facts)))}
    after = {one.id: one for one in clean(read_step(_step(second, other)))}
    if before.keys() != after.keys():
        common = len(before.keys() & after.keys())
        return Compared(
            facts.card.name, f"{len(before)} and {len(after)} items were asked, {common} of them the same ones"
        )
    if changed := asked_otherwise(list(before.values()), after):
        return Compared(
            facts.card.name, f"{len(changed)} items have another question, other options or another gold there"
        )
    ids = list(before)
    values = [_values(facts, [side[one] for one in ids]) for side in (before, after)]
    difference = paired_difference(values[0], values[1], [before[one].cluster for one in ids])
    step = REPORT_STEP if facts.card.scorer == "report" else 0.5
    changes = [
        (b - a, one) for one, a, b in zip(ids, values[0], values[1], strict=True) if a is not None and b is not None
    ]
    gained = sorted((-change, one) for change, one in changes if change >= step)
    lost = sorted((change, one) for change, one in changes if -change >= step)
    shown = [one for _, one in gained[:MOST_SHOWN]] + [one for _, one in lost[:MOST_SHOWN]]
    images = _pictures(first, _step(first, facts), shown)
    flips = {one: _flip(before[one], after[one], facts.step, images.get(one, [])) for one in shown}
    return Compared(
        facts.card.name, "", difference, None, len(gained), len(lost),
        tuple(flips[one] for _, one in gained[:MOST_SHOWN]), tuple(flips[one] for _, one in lost[:MOST_SHOWN]),
    )  # fmt: skip


def _values(facts: Facts, answers: Sequence[Answered]) -> list[float | None]:
    if facts.card.scorer == "report":
        return reports.headline(facts.card, plain(answers))
    return [value_of(facts.card)(one) for one in answers]


def _step(folder: Path, facts: Facts) -> StepFiles:
    for stored in list_steps(folder):
        if stored.step == facts.step:
            return stored
    raise DamagedStore(f"{folder} has no rows of {facts.card.label} (step {facts.step})")


def _flip(before: Answered, after: Answered, step: int, shown: list[dict[str, Any]]) -> Flip:
    return Flip(
        id=before.id, question=before.question, options=before.options, gold=before.gold_text,
        first=before.greedy.answer, second=after.greedy.answer,
        first_reason=before.greedy.reason, second_reason=after.greedy.reason,
        address=f"http://127.0.0.1:{DEFAULT_PORT}/#/g/{step}/{quote(before.id, safe='')}", pictures=shown,
    )  # fmt: skip


def _pictures(folder: Path, stored: StepFiles, ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """The images of a few items as data URIs; only their rows are read whole."""
    if not ids:
        return {}
    table = read_table(stored, ("prompt_id", "sample_index", "media"))
    wanted = pc.is_in(table["prompt_id"], pa.array(list(ids), table["prompt_id"].type))
    rows: list[Mapping[str, Any]] = table.filter(pc.and_(wanted, pc.equal(table["sample_index"], 0))).to_pylist()
    opened = media_opener(folder)
    return {
        row["prompt_id"]: [picture for medium in row["media"] or () for picture in pictures(opened(medium))]
        for row in rows
    }
