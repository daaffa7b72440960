"""Numbers of others beside those of an evaluation: what blindness earns tells which of them say anything."""

from __future__ import annotations

import dataclasses
import io
from typing import Any

import pytest
from rich.console import Console

from rl.benchmarks.card import Reference, find
from rl.evaluate.suite.numbers.published import published
from rl.evaluate.suite.table import print_published
from rl.report.evaluation.numbers import tables


def estimate(value: float | None) -> dict[str, Any]:
    return {"value": value, "low": value and value - 0.02, "high": value and value + 0.02}


def with_references(name: str, *references: Reference) -> Any:
    return dataclasses.replace(find([name])[0], references=references)


QA = Reference("A paper, Table 3", "accuracy", {"A": 40.0, "B": 50.0, "C": 60.1}, why="it has other rows")


def test_a_column_of_accuracies_stands_beside_the_official_score_and_the_best_blind_baseline() -> None:
    """Question only earns 50.04, printed 50.0: A and B are not above it."""
    record = {"official": estimate(0.62), "best_blind": {"name": "question_only", "value": 0.5004}}
    (one,) = published(with_references("pathvqa", QA), record)
    assert one["here"] == pytest.approx({"value": 0.62, "low": 0.60, "high": 0.64})
    assert (one["num_blind"], one["num"], one["lowest"], one["highest"]) == (2, 3, 40.0, 60.1)
    assert (one["comparable"], one["why"], one["as_in"]) == (False, "it has other rows", "")
    (unknown,) = published(with_references("pathvqa", QA), {**record, "best_blind": None})
    assert unknown["blind"] is None and unknown["num_blind"] is None


def reports_of() -> dict[str, Any]:
    return {
        "official": None,
        "reports": {
            "metrics": {
                "rouge_l": {**estimate(0.3), "constant": 0.4},
                "ratescore": {**estimate(None), "not_computed": "metric.python is not set"},
                "radcliq": {"value": 1.25, "low": 1.0, "high": 2.0},
            },
            "as_in": {"medevalkit": {"rouge_l": {"value": 0.35, "constant": 0.47}}},
        },
    }


def test_columns_of_reports_are_graded_as_here_and_as_the_table_s_grader_does() -> None:
    """The constant report earns 40.0 here and 47.0 as MedEvalKit grades: 1 and 2 of two printed numbers are not above.
    RadCliQ's column is 1 / mean: 1 / 1.25 = 0.8, between 1 / 2 and 1 / 1."""
    references = [
        Reference("P, Table 4 (A)", "rouge_l", {"X": 30.0, "Y": 44.9}, why="w", grader="MedEvalKit"),
        Reference("P, Table 4 (B)", "ratescore", {"X": 51.0}, why="w", grader="MedEvalKit"),
        Reference("P, Table 4 (C)", "radcliq_inverse", {"X": 80.0}, why="w"),
        Reference("P, Table 4 (D)", "semb", {"X": 50.0}, why="w"),
    ]
    ours, theirs, rate, radcliq, semb = published(with_references("iu_xray_296", *references), reports_of())
    assert (ours["as_in"], ours["blind"], ours["num_blind"]) == ("", 0.4, 1)
    assert (theirs["as_in"], theirs["here"]["value"], theirs["num_blind"]) == ("medevalkit", 0.35, 2)
    assert rate["here"]["value"] is None and rate["reason"] == "metric.python is not set"
    assert radcliq["here"] == {"value": 0.8, "low": 0.5, "high": 1.0}
    assert semb["reason"] == "not among the metrics of this card"


def test_1_over_a_mean_whose_interval_reaches_0_is_no_number() -> None:
    record = reports_of()
    record["reports"]["metrics"]["radcliq"] = {"value": 0.2, "low": -0.1, "high": 0.5}
    reference = Reference("P, Table 4", "radcliq_inverse", {"X": 80.0}, why="w")
    (one,) = published(with_references("iu_xray_296", reference), record)
    assert one["here"]["value"] is None and one["reason"].startswith("1 / mean is not defined")


def test_the_terminal_and_the_page_say_which_numbers_may_be_compared_and_which_are_blind() -> None:
    record: dict[str, Any] = {"official": estimate(0.62), "best_blind": {"name": "chance", "value": 0.5}}
    made = {
        "name": "pathvqa", "references": [{"source": QA.source, "metric": "accuracy", "values": dict(QA.values)}],
        "published": published(with_references("pathvqa", QA), record),
    }  # fmt: skip
    console = Console(record=True, width=80, file=io.StringIO())
    print_published([made], console)
    text = console.export_text()
    assert "A paper, Table 3 beside these numbers" in text and "2 of 3" in text and "40 to 60.1" in text
    assert "pathvqa accuracy: not comparable, it has other rows" in text
    (table,) = tables(made)
    assert dict(table.models) == {"C": [(60.1, False)], "B": [(50.0, True)], "A": [(40.0, True)]}
    assert list(table.why) == ["it has other rows"]
