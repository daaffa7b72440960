"""The answers that public bug reports show to be misread, where they lie beside the repository; their kinds are rows of
tests/cases."""

from __future__ import annotations

from pathlib import Path

import pytest

from rewards.answers.measure import rows_of, wrong

pytestmark = pytest.mark.hunt


def test_every_given_answer_is_read_as_expected(hunt_cases: Path) -> None:
    rows = rows_of(hunt_cases / "parser.jsonl")
    assert len(rows) >= 34 and list(wrong(rows, is_format=False)) == []
