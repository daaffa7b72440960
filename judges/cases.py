"""Cases to grade: files of question, reference and completion, with or without a label. A file is read whole and
checked before anything is asked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from judges.settings import locate
from judges.verdict import JudgeConfigError, Question
from rollouts.texts.reading import TextFault, decode, file_lines, is_blank, parse_object, quote

Label = Literal["correct", "incorrect"]
LABELS = ("correct", "incorrect")
LANGUAGES = ("en", "zh")
# Fields that may hold the kind of question; the first one that a row has counts.
_TYPES = ("answer_type", "question_type", "category")
_READ = ("question", "reference", "completion", "expected", "aliases", "language", "key", *_TYPES)
_MOST_SHOWN = 10
_CHINESE = re.compile(r"[\u4e00-\u9fff]")
SHIPPED_CANARIES = "judges/cases/canaries.jsonl"


@dataclass(frozen=True)
class Case:
    """One completion to grade against a reference."""

    # Line of the file, from 1.
    line: int
    question: str
    reference: str
    # What a model wrote, tags and thoughts included where it wrote them.
    completion: str
    aliases: tuple[str, ...] = ()
    # The label that a person gave it; None = there is none.
    expected: Label | None = None
    # Kind of question; results are given for each kind. "" = the file does not say.
    type: str = ""
    # Language of the judge's prompt; where the file does not say, the language of the question.
    language: str = "en"
    # Name of the row in its source; "" = it has none.
    key: str = ""

    def as_question(self) -> Question:
        """Return the case as a question to a judge. Its completion must be the bare answer."""
        return Question(self.question, self.reference, self.completion, self.aliases, self.language)


@dataclass(frozen=True)
class CaseFile:
    """The cases of a file, and the names of its fields that nobody reads."""

    cases: tuple[Case, ...]
    unread: tuple[str, ...] = ()


def read_cases(path: str | Path, expected: Label | None = None) -> CaseFile:
    """Read the rows of a JSON-lines file. `expected`: the label of rows that carry none.

    A row with a `key` may be written again, as the viewer writes labels: the last line of a key counts, and
    `"expected": null` in it takes the row back. Raises JudgeConfigError for an unreadable or empty file and for bad
    rows: it names the first ten, each with its line and its faults.
    """
    path = locate(str(path))
    try:
        lines = file_lines(path)
    except OSError as error:
        raise JudgeConfigError(f"the case file {path} cannot be read: {error.strerror or error}") from None
    except TextFault as error:
        raise JudgeConfigError(f"the case file {path}: {error}") from None
    cases: dict[str | int, Case] = {}
    faults, unread = [], set()
    for number, line in lines:
        try:
            row = parse_object(decode(line), "question, reference and completion")
            case = _case(row, number, expected)
            place = case.key or number
            cases.pop(place, None)
            if not (case.key and "expected" in row and row["expected"] is None):
                cases[place] = case
            unread |= set(row) - set(_READ)
        except ValueError as error:
            faults.append(f"{path}:{number}: {error}")
    if faults:
        more = f"\n  and {len(faults) - _MOST_SHOWN} more" if len(faults) > _MOST_SHOWN else ""
        first = "\n  ".join(faults[:_MOST_SHOWN])
        raise JudgeConfigError(f"{len(faults)} of {len(cases) + len(faults)} rows cannot be read:\n  {first}{more}")
    if not cases:
        raise JudgeConfigError(
            f"the case file {path} is empty; expected JSON lines with question, reference and completion"
        )
    return CaseFile(tuple(cases.values()), tuple(sorted(unread)))


def read_labelled(path: str | Path, what: str) -> tuple[Case, ...]:
    """Read a file in which every row must have a label and both labels must occur. Raises JudgeConfigError that names
    the setting `what`."""
    cases = read_cases(path).cases
    missing = [case.line for case in cases if case.expected is None]
    if missing:
        raise JudgeConfigError(
            f"{what}: {path} has {len(missing)} rows without a label, the first in line {missing[0]}; expected in every"
            ' row "expected": "correct" or "incorrect"'
        )
    counts = {label: sum(case.expected == label for case in cases) for label in LABELS}
    if not all(counts.values()):
        have, lack = sorted(counts, key=lambda label: -counts[label])
        raise JudgeConfigError(
            f"{what}: all {counts[have]} rows of {path} are labelled {have!r}, none {lack!r}. Without both, a judge"
            " that says the same to everything would look perfect. Add rows of the other kind."
        )
    return cases


def _case(row: dict[str, Any], line: int, expected: Label | None) -> Case:
    faults = list(_faults(row))
    if faults:
        raise ValueError("; ".join(faults))
    kind = next((row[name] for name in _TYPES if row.get(name)), "")
    return Case(
        line,
        row["question"],
        row["reference"],
        row["completion"],
        tuple(row.get("aliases") or ()),
        cast(Label | None, row.get("expected") or expected),
        kind,
        row.get("language") or ("zh" if _CHINESE.search(row["question"]) else "en"),
        str(row.get("key") or ""),
    )


def _faults(row: dict[str, Any]) -> Iterator[str]:
    for name in ("question", "reference", "completion"):
        if name not in row:
            yield f"no {name}; there are {sorted(row)}"
        elif not isinstance(row[name], str):
            yield f"{name} is {type(row[name]).__name__}, expected a text"
        # An empty completion is something a model may well say; an empty question or reference is a mistake of the
        # file.
        elif name != "completion" and is_blank(row[name]):
            yield f"{name} is empty"
    aliases = row.get("aliases")
    if aliases is not None and not (isinstance(aliases, list) and all(isinstance(alias, str) for alias in aliases)):
        yield f"aliases are {quote(aliases)}, expected a list of texts"
    for name in _TYPES:
        if row.get(name) is not None and not isinstance(row[name], str):
            yield f"{name} is {quote(row[name])}, expected a text"
    for name, allowed in (("expected", LABELS), ("language", LANGUAGES)):
        if row.get(name) is not None and row[name] not in allowed:
            yield f"{name} is {quote(row[name])}, expected {' or '.join(allowed)}"
