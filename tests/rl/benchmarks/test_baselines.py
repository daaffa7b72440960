"""What blindness earns, worked out by hand."""

from __future__ import annotations

import dataclasses

import pytest

from rl.benchmarks import baselines as blind
from rl.benchmarks.overlap import overlap
from rollouts.records import LETTERS, Media, Sample


def mcq(name: str, options: tuple[str, ...], gold: int, question: str = "Which?") -> Sample:
    letters = (LETTERS[gold],)
    return Sample(name, question, "mcq", options[gold], options=options, gold_letters=letters)


def open_(name: str, gold: str, question: str = "What?", aliases: tuple[str, ...] = ()) -> Sample:
    return Sample(name, question, "open", gold, aliases=aliases)


TAUGHT = [
    mcq("t1", ("CT", "MRI"), 0), mcq("t2", ("MRI", "CT"), 1), mcq("t3", ("X-ray", "MRI"), 1),
    open_("t4", "lung"), open_("t5", "lung"), open_("t6", "heart", "Where?"),
    Sample("t7", "Is it?", "yes_no", "no"),
]  # fmt: skip


def test_chance_is_told_row_by_row() -> None:
    """1/2, 1/4, 1/2 for yes or no, 0 for an open question."""
    samples = [
        mcq("a", ("x", "y"), 0),
        mcq("b", ("x", "y", "z", "w"), 3),
        Sample("c", "Q", "yes_no", "yes"),
        open_("d", "x"),
    ]
    assert blind.chance(samples).values == (0.5, 0.25, 0.5, 0.0)
    assert blind.chance(samples).mean == pytest.approx(1.25 / 4)


def test_majority_is_a_letter_for_multiple_choice() -> None:
    """Training: A once, B twice; lung twice; no."""
    samples = [mcq("a", ("x", "y"), 1), mcq("b", ("x", "y"), 0), open_("c", "Lung."),
               open_("d", "lungs", aliases=("lung",)),
               Sample("e", "Q", "yes_no", "yes")]  # fmt: skip
    assert blind.majority(samples, TAUGHT).values == (1.0, 0.0, 1.0, 1.0, 0.0)
    assert "of training" in blind.majority(samples, TAUGHT).what
    own = blind.majority(samples[:2], [])
    assert own.values == (0.0, 1.0) and "upper bound" in own.what


def test_options_only_takes_the_text_that_was_most_often_right() -> None:
    """CT was right twice, MRI once, ultrasound never: CT beats MRI; among two that were never right the share is
    1/2."""
    samples = [mcq("a", ("MRI", "ct."), 1), mcq("b", ("MRI", "ultrasound"), 1), mcq("c", ("ultrasound", "PET"), 0)]
    assert blind.options_only(samples, TAUGHT).values == (1.0, 0.0, 0.5)


def test_question_only_learns_answers_by_question() -> None:
    samples = [open_("a", "heart", "where?"), open_("b", "lung", "Never asked?"), mcq("c", ("CT", "MRI"), 0)]
    assert blind.question_only(samples, TAUGHT).values == (1.0, 1.0, 1.0)
    # By exact words a question that training never asked is wrong.
    assert blind.question_exact(samples, TAUGHT).values == (1.0, 0.0, 1.0)
    written = dataclasses.replace(samples[0], tags={blind.WRITTEN: "the heart"})
    assert blind.question_exact([written], TAUGHT).values == (0.0,)


def test_reports_written_without_looking() -> None:
    def same(said: str, reference: str) -> float:
        return float(said == reference)

    reports = [Sample(name, "Report?", "report", text) for name, text in (("a", "clear"), ("b", "mass"))]
    taught = [Sample(f"t{i}", "Report?", "report", text) for i, text in enumerate(("clear", "clear", "mass"))]
    assert blind.constant_report(reports, "mass", same).values == (0.0, 1.0)
    assert blind.frequent_report(reports, taught, same).values == (1.0, 0.0)
    looks = {"a": (0.0, 0.0), "b": (1.0, 0.9), "t0": (0.5, 0.5), "t1": (0.1, 0.0), "t2": (1.0, 1.0)}
    assert blind.nearest_report(reports, taught, same, lambda one: looks[one.id]).values == (1.0, 1.0)


def test_overlap_counts_images_and_rows() -> None:
    """Two images, one of them in training; two of three rows show it."""

    def shows(name: str, digest: str) -> Sample:
        return Sample(name, "Q", "open", "x", media=(Media("image", path="p", sha256=digest * 64),))

    found = overlap([shows("a", "1"), shows("b", "1"), shows("c", "2")], [shows("t", "1")], "training")
    assert str(found) == "1 of 2 images (2 of 3 rows) are in training"
    named = [Sample("a", "Q", "open", "x", media=(Media("image", path="x/1.png"),))]
    assert "by file name" in str(overlap(named, named, "training"))
