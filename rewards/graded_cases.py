"""Cases graded the way a run's completions are: the one parser, the judge reward, the scorer; nothing here decides
anything."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import replace
from typing import Any, cast

from judges import Judge
from judges.calibration.grading import Grade
from judges.calibration.results import Results, case_id
from judges.cases import Case
from rewards.rubric import ACCURACY, Rubric, Scored
from rewards.scorer import Scorer
from rollouts.records import Sample

# What stands in a transcript's place beside what was said; a graded row has fields of its own for these.
_OWN_FIELDS = ("layer", "decision", "failure")


def grade_cases(cases: Iterable[Case], judge: Judge, max_in_flight: int = 64) -> Iterator[Grade]:
    """Each case with its verdict, as they come; at most `max_in_flight` are asked at a time. The judge is closed at the
    end.

    A case is graded as an open question whatever its type is. A failure of the judge is a row with `failure`, never an
    exception.
    """
    left = iter(cases)
    with Scorer(Rubric({ACCURACY: 1.0}, {"open": "judge"}, judge)) as scorer:
        running: dict[Future[Scored], Case] = {}
        while True:
            while len(running) < max_in_flight and (case := next(left, None)) is not None:
                running[scorer.submit(_sample(case), case.completion, f"case/{case.line}")] = case
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield _grade_of(running.pop(future), future.result())


def grade_into(
    results: Results, cases: Sequence[Case], judge: Judge, advance: Callable[[], None], max_in_flight: int = 64
) -> list[Grade]:
    """Every case with its verdict, in the order given: those that `results` has already, and the others, which are
    asked and added to it.

    `advance` is called for each that is asked. The judge is closed at the end.
    """
    failed: dict[str, Grade] = {}
    for grade in grade_cases(results.missing(cases), judge, max_in_flight):
        results.add(grade, judge.name)
        if grade.decision is None:
            failed[case_id(grade.case)] = grade
        advance()
    grades = {**failed, **results.grades}
    return [replace(grades[case_id(case)], case=case) for case in cases]


def _sample(case: Case) -> Sample:
    return Sample(
        f"case/{case.line}",
        case.question,
        "open",
        case.reference,
        aliases=case.aliases,
        language=cast(Any, case.language),
    )


def _grade_of(case: Case, scored: Scored) -> Grade:
    outcome = scored.outcomes[ACCURACY]
    evidence = dict(outcome.evidence or {})
    if not evidence:
        # No verdict was asked for: there was no answer, or scoring itself broke.
        failed = outcome.status != "ok"
        decision, failure, layer = (None, outcome.status, "scorer") if failed else ("incorrect", None, "parser")
        return Grade(case, cast(Any, decision), failure, layer, outcome.reason, {}, outcome.seconds, outcome.cost)
    transcript = {name: value for name, value in evidence.items() if name not in _OWN_FIELDS}
    return Grade(
        case,
        evidence["decision"],
        evidence["failure"],
        evidence["layer"],
        outcome.reason,
        transcript,
        outcome.seconds,
        outcome.cost,
    )
