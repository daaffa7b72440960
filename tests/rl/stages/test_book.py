"""What each stage added: on the same items, against the model before, told by the report and kept for a run that goes
on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rl.config import Config
from rl.evaluate.asking import Answer, EvalResult
from rl.report.page import write_report
from rl.report.stages import stages_of
from rl.run.folder import RunFolder
from rl.staged import finish, record_of, told_in_summary
from rl.stages.book import CURVES, START, StageBook, StageRecord, added, in_percent
from rollouts.records import Sample


def result(name: str, *right: bool | None) -> EvalResult:
    samples = tuple(Sample(str(place), "?", "open", "gold") for place in range(len(right)))
    answers = tuple((Answer(one, True, 5, "text"),) for one in right)
    return EvalResult(name, samples, {"greedy": answers}, 1.0)


def verdicts(*right: bool | None, clusters: list[int] | None = None) -> StageRecord:
    return StageRecord("x", "model", right=list(right), clusters=clusters or list(range(len(right))))


def test_a_stage_is_compared_on_the_items_that_both_models_have_a_verdict_on() -> None:
    # One item gained, one lost, one right both times; the fourth has no verdict before.
    told = added(verdicts(True, False, True, None), verdicts(True, True, False, True))
    assert (told["difference"], told["p_value"], told["num_items"]) == (0.0, 1.0, 3)
    # Four gained and none lost: mid-p is (2 x 0 + 1) / 2^4.
    told = added(verdicts(False, False, False, False, True), verdicts(True, True, True, True, True))
    assert told["difference"] == pytest.approx(0.8) and told["p_value"] == pytest.approx(1 / 16)
    # The same four of one picture are one draw: its sign flips either way.
    one_picture = [0, 0, 0, 0, 1]
    before = verdicts(False, False, False, False, True, clusters=one_picture)
    assert added(before, verdicts(*[True] * 5, clusters=one_picture))["p_value"] == pytest.approx(1.0)


def test_each_stage_is_told_against_the_one_before_that_was_asked(tmp_path: Path) -> None:
    book = StageBook(tmp_path)
    book.write(record_of(START, Path("base"), 0.0, "", result(START, False, False, True, None)))
    book.write(record_of("interleaved", Path("a"), 9.0, "6 documents", None))
    book.write(record_of("captions", Path("b"), 5.0, "6 documents", result("captions", True, True, True, True)))
    first, silent, last = StageBook(tmp_path).records
    assert (first.added, silent.added, silent.greedy) == (None, None, {})
    assert last.added is not None and last.added["difference"] == pytest.approx(2 / 3)
    assert first.greedy["all"]["num_items"] == 3 and first.greedy["all"]["num_unscored"] == 1
    # 1 of 3 right.
    assert in_percent(first.greedy["all"]).startswith("33.3 % (")
    # A run that goes on knows what it asked this very model, and no other.
    assert book.known("captions", Path("b")) and not book.known("captions", Path("c"))
    assert not book.known("interleaved", Path("a"))
    assert all("right" not in one for one in told_in_summary(tmp_path))


def test_a_stage_that_is_trained_again_takes_the_place_of_its_older_self(tmp_path: Path) -> None:
    book = StageBook(tmp_path)
    for model in ("old", "new"):
        book.write(record_of(START, Path(model), 0.0, "", result(START, model == "new")))
        if model == "old":  # what followed from it goes with it
            book.write(record_of("captions", Path("b"), 0.0, "", result("captions", True)))
    assert [(one.model, one.added) for one in StageBook(tmp_path).records] == [("new", None)]


def test_rl_closes_the_book_and_a_run_without_stages_has_none(tmp_path: Path) -> None:
    finish(tmp_path, result("SFT", False), result("GRPO", True), 3.0, Config())
    assert not (tmp_path / "stages.json").exists()
    book = StageBook(tmp_path)
    book.write(record_of(START, Path("base"), 0.0, "", result(START, False, False)))
    book.write(record_of("instruction", Path("sft"), 7.0, "2 rows", None))
    finish(tmp_path, result("SFT", False, True), result("GRPO", True, True), 3.0, Config())
    told = told_in_summary(tmp_path)
    assert [(one["stage"], one["greedy"]["all"]["accuracy"]) for one in told] == [
        (START, 0.0), ("instruction", 0.5), ("grpo", 1.0),
    ]  # fmt: skip
    assert [one["added"]["difference"] for one in told[1:]] == [0.5, 0.5] and told[1]["seconds"] == 7.0


def test_the_report_shows_every_stage_with_its_curve(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with RunFolder(Config(out_dir=str(run))):
        book = StageBook(run)
        book.write(record_of(START, Path("base"), 0.0, "", result(START, False, True)))
        book.write(record_of("captions", Path("b"), 65.0, "6 documents <b>", result("captions", True, True)))
        (run / CURVES).mkdir()
        lines = [{"step": step, "loss": loss} for step, loss in ((1, 2.0), (2, None), (3, 0.5))]
        (run / CURVES / "captions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    told = stages_of(run)
    assert [row["stage"] for row in told["rows"]] == [START, "captions"] and told["rows"][1]["time"] == "1 min 05 s"
    [curve] = told["curves"]
    assert (curve["title"], curve["last"]) == ("captions: loss", "0.5")
    page = write_report(run).read_text()
    assert "Stages: what each added" in page and "100.0 (" in page and "+50.0" in page
    assert "6 documents &lt;b&gt;" in page and "6 documents <b>" not in page
    assert stages_of(tmp_path) == {}
