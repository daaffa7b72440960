"""The stored rows of one benchmark as answers: all that tables, tests and reports need, without a model and without
images."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rl.benchmarks.loading import MERGED
from rl.benchmarks.questions import CARD, CLUSTER, FLAW, IN_GROUPS
from rl.probes.probe import PROBE, VARIANT
from rollouts.records import ACCURACY
from rollouts.store.layout import DamagedStore, StepFiles
from rollouts.store.reader import read_table

_COLUMNS = (
    *("prompt_id", "sample_index", "sample_id", "answer_type", "modality", "language", "source", "question", "options"),
    *("gold_text", "gold_letters", "aliases", "tags", "pair_id", "completion", "finish_reason", "token_ids"),
    *("answer", "letters", "yes_no", "well_formed", "parse_reason", "outcomes"),
)


@dataclass(frozen=True)
class Reply:
    """One completion."""

    # 1 right, 0 wrong; a share where the reward gives one; None = could not be judged, and no wrong answer.
    value: float | None
    # Text of the answer; "" = there is none.
    answer: str
    # What was committed to: letters, yes or no, the folded text; None = nothing that could be read.
    choice: str | None
    well_formed: bool
    num_tokens: int
    # Why it has this value, or none.
    reason: str


@dataclass(frozen=True)
class Answered:
    """One item, or one that a probe made of it, with its completions."""

    id: str
    # The item that a probe was made of; "" = this is a plain item.
    pair_id: str
    # Name and variant of the probe; "" = none.
    probe: str
    variant: str
    card: str
    cluster: str
    # Why its gold is in doubt; "" = it is not.
    flaw: str
    # The item that stands for all that ask the same of the same image; "" = this stands alone.
    merged: str
    answer_type: str
    modality: str
    language: str
    question: str
    gold_text: str
    # The gold as `Said.choice` has answers: letters, yes or no, the folded text.
    gold_choice: str
    # Every answer that is right, the gold first.
    references: tuple[str, ...]
    # Texts of the options, whether shown or not; none = asked without any.
    options: tuple[str, ...]
    tags: Mapping[str, str]
    greedy: Reply
    sampled: tuple[Reply, ...]
    # Items that must be right together, by the benchmark's own word; "" = this stands alone.
    group: str = ""
    # Keys of the items that this one stands for, where a group counts as one.
    members: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """The items that this one stands for, each by the one that stands for its repeats."""
        return self.members or (self.merged or self.id,)

    def stratum(self, name: str) -> str:
        """The value of one of the card's strata; "" = it has none."""
        if name in ("answer_type", "modality"):
            return str(getattr(self, name))
        return self.tags.get(name, "")


def read_step(stored: StepFiles) -> list[Answered]:
    """The answers of one benchmark, in the order of their ids. Raises DamagedStore where a row is none of a
    benchmark."""
    rows: list[dict[str, Any]] = read_table(stored, _COLUMNS).to_pylist()
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["prompt_id"], []).append(row)
    return [_answered(group, stored.folder) for group in groups.values()]


def _answered(group: Sequence[dict[str, Any]], folder: Path) -> Answered:
    row = group[0]
    tags = {one["name"]: one["value"] for one in row["tags"] or ()}
    if CARD not in tags or CLUSTER not in tags:
        raise DamagedStore(f"{folder}: the row {row['prompt_id']} is of no benchmark: it has no tag {CARD!r}")
    replies = [_reply(one) for one in sorted(group, key=lambda one: int(one["sample_index"]))]
    if group[0]["sample_index"] != 0:
        raise DamagedStore(f"{folder}: {row['prompt_id']} has no greedy completion")
    return Answered(
        id=row["sample_id"],
        pair_id=row["pair_id"] or "" if PROBE in tags else "",
        group="" if PROBE in tags else row["pair_id"] or "",
        probe=tags.get(PROBE, ""),
        variant=tags.get(VARIANT, ""),
        card=tags[CARD],
        cluster=tags[CLUSTER],
        flaw=tags.get(FLAW, ""),
        merged=tags.get(MERGED, ""),
        answer_type=row["answer_type"],
        modality=row["modality"] or "",
        language=row["language"] or "en",
        question=row["question"],
        gold_text=row["gold_text"],
        gold_choice="".join(row["gold_letters"] or ()) or " ".join(row["gold_text"].casefold().split()),
        references=(row["gold_text"], *(row["aliases"] or ())),
        options=tuple(row["options"] or ()),
        tags=tags,
        greedy=replies[0],
        sampled=tuple(replies[1:]),
    )


def _reply(row: Mapping[str, Any]) -> Reply:
    outcome = next((one for one in row["outcomes"] or () if one["name"] == ACCURACY), None)
    ok = outcome is not None and outcome["status"] == "ok" and row["finish_reason"] != "abort"
    value = float(outcome["value"]) if ok and outcome is not None else None
    if outcome is not None and ok and (points := _points(outcome)) is not None:
        value = points.value
    choice = "".join(row["letters"] or ()) or row["yes_no"] or " ".join((row["answer"] or "").casefold().split())
    return Reply(
        value=value,
        answer=row["answer"] or "",
        choice=choice or None,
        well_formed=bool(row["well_formed"]),
        num_tokens=len(row["token_ids"] or ()),
        reason=(outcome["reason"] if outcome else "") or row["parse_reason"] or "",
    )


@dataclass(frozen=True)
class _Points:
    value: float | None


def _points(outcome: Mapping[str, Any]) -> _Points | None:
    """The points of an answer graded by criteria (HealthBench): of those met over all positive ones, not clipped, and
    None where one criterion is undecided, since a fault that nobody judged must not raise a score. None = no
    criteria."""
    if '"criteria"' not in (outcome["evidence"] or ""):
        return None
    criteria = json.loads(outcome["evidence"]).get("criteria")
    if not isinstance(criteria, list):
        return None
    possible = sum(one["points"] for one in criteria if one["points"] > 0)
    if not possible or any(one["met"] is None for one in criteria):
        return _Points(None)
    return _Points(sum(one["points"] for one in criteria if one["met"]) / possible)


def plain(answers: Sequence[Answered]) -> list[Answered]:
    """The items themselves, without what probes made of them."""
    return [one for one in answers if not one.probe]


def is_right(reply: Reply) -> float | None:
    """1.0 for a completion that earns the whole value, 0.0 for one that does not, None without a verdict. A share of an
    answer is no right answer."""
    return None if reply.value is None else float(reply.value >= 1.0)


def clean(answers: Sequence[Answered]) -> list[Answered]:
    """The items that count in `clean`: no gold in doubt, and one item for all that ask the same, right where it is
    right for any of them."""
    kept: dict[str, Answered] = {}
    for one in plain(answers):
        if one.flaw:
            continue
        name = one.merged or one.id
        kept[name] = one if name not in kept else _better(kept[name], one)
    return _groups(list(kept.values()))


def _groups(answers: Sequence[Answered]) -> list[Answered]:
    """Items that count only together (`IN_GROUPS`) as one each, under the id of the first, which is right where all of
    them are; others as they are."""
    groups: dict[tuple[str, str], list[Answered]] = {}
    for one in answers:
        groups.setdefault((one.tags.get(IN_GROUPS) or one.id, one.variant), []).append(one)
    return [_whole(members) if IN_GROUPS in members[0].tags else members[0] for members in groups.values()]


def _whole(members: Sequence[Answered]) -> Answered:
    """A group as one answer."""
    sampled = zip(*(one.sampled for one in members), strict=False)
    return dataclasses.replace(
        members[0],
        members=tuple(one.merged or one.id for one in members),
        greedy=_all_right([one.greedy for one in members]),
        sampled=tuple(_all_right(one) for one in sampled),
    )


def _all_right(replies: Sequence[Reply]) -> Reply:
    """The completions of a group as one: wrong where one is, unjudged where one is that and none is wrong; what was
    said is what was said to each."""
    values = [is_right(one) for one in replies]
    wrong = any(value == 0.0 for value in values)
    choices = [one.choice for one in replies]
    return dataclasses.replace(
        replies[0],
        value=0.0 if wrong else None if None in values else 1.0,
        answer=" | ".join(one.answer for one in replies),
        choice=None if None in choices else " | ".join(choice or "" for choice in choices),
    )


def clean_made(answers: Sequence[Answered], probe: str) -> list[Answered]:
    """What a probe made of the items that count in `clean`, under the ids that `clean` gives them."""
    kept: dict[tuple[str, str], Answered] = {}
    names = {one.id: one.merged or one.id for one in plain(answers) if not one.flaw}
    stands_for: dict[str, str] = {}
    for item, name in names.items():
        stands_for.setdefault(name, item)
    for one in answers:
        if one.probe != probe or one.pair_id not in names:
            continue
        item = stands_for[names[one.pair_id]]
        key = item, one.variant
        moved = dataclasses.replace(one, pair_id=item)
        kept[key] = moved if key not in kept else _better(kept[key], moved)
    made = _groups(list(kept.values()))
    # A group that lost a member to the probe is no group of its own.
    sizes = Counter(tag for one in answers if (tag := one.tags.get(IN_GROUPS)) and not one.probe and not one.flaw)
    return [one for one in made if not one.members or len(one.members) == sizes[one.tags[IN_GROUPS]]]


def _better(first: Answered, second: Answered) -> Answered:
    """The first of two answers to one question, with the better value of both for each completion: any of the answers
    that people gave counts as right."""
    return dataclasses.replace(
        first,
        references=tuple(dict.fromkeys((*first.references, *second.references))),
        greedy=_best_reply(first.greedy, second.greedy),
        sampled=tuple(_best_reply(a, b) for a, b in zip(first.sampled, second.sampled, strict=False)),
    )


def _best_reply(first: Reply, second: Reply) -> Reply:
    known = [one for one in (first, second) if one.value is not None]
    return max(known, key=lambda one: one.value or 0.0) if known else first
