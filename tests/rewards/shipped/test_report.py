"""Rewards of written reports: word overlap by hand, and RadCliQ by another Python with a hand-written stand-in for its
package."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewards import Rubric, Scorer, parse
from rewards.registry import Member, RewardError
from rewards.shipped import reports
from rewards.shipped.reports import bleu, report
from rollouts.records import Parsed, Sample

REPORT = Sample("q", "Report.", "report", "The lungs are clear. No effusion.", aliases=("Clear lungs, no effusion.",))


@pytest.mark.parametrize(
    ("said", "reference", "expected"),
    [
        ("the lungs are clear .", "The lungs are clear.", 1.0),
        # Every n-gram of the 5 tokens is among the 8 of the reference: only the brevity penalty exp(1 - 8/5) is left.
        ("The lungs are clear.", "The lungs are clear. No effusion.", 0.548812),
        # Three tokens have n-grams up to 3 only: (1 * 1 * 1)^(1/3), and exp(1 - 8/3).
        ("The lungs are", "The lungs are clear. No effusion.", 0.188876),
        ("fracture", "The lungs are clear. No effusion.", 0.0),
        ("", "The lungs are clear.", 0.0),
    ],
)
def test_bleu_by_hand(said, reference, expected):
    assert bleu(said, (reference,)) == pytest.approx(expected, abs=1e-5)


def test_bleu_of_chinese_counts_characters():
    # 心脏正常 against 心脏大小正常: 4 of 4, 2 of 3, then smoothed 1/(2*2) and 1/(4*1); exp(1 - 6/4).
    assert bleu("心脏正常", ("心脏大小正常",), "zh") == pytest.approx(
        (1 * 2 / 3 * 1 / 4 * 1 / 4) ** 0.25 * 0.6065307, abs=1e-5
    )
    assert bleu("心脏正常", ("心脏正常",), "zh") == pytest.approx(1.0)


def test_a_report_is_paid_the_weighted_mean_of_its_parts():
    # ROUGE-L of "the lungs are clear" (4 words) with 6: 2*4/10. BLEU as above.
    said = Parsed("T", "The lungs are clear.")
    assert report(said, REPORT).parts == pytest.approx({"rouge_l": 0.8, "bleu_4": 0.818731}, abs=1e-5)
    assert report(said, REPORT).value == pytest.approx((0.8 + 0.818731) / 2, abs=1e-5)
    assert report(said, REPORT, rouge_l=3, bleu_4=0).value == pytest.approx(0.8)
    assert report(Parsed("The lungs are clear.", None), REPORT).value == 0.0
    with pytest.raises(RewardError, match="weights"):
        report(said, REPORT, rouge_l=0, bleu_4=0)
    with pytest.raises(RewardError, match="weights"):
        report(said, REPORT, bleu_4=-1)


@settings(deadline=None, max_examples=200)
@given(st.text(max_size=400), st.sampled_from(["en", "zh"]))
def test_any_text_is_a_report_of_some_worth(text, language):
    sample = Sample("q", "Report.", "report", "The lungs are clear. 心脏正常。", language=language)
    assert 0.0 <= report(Parsed(None, text), sample).value <= 1.0


@pytest.fixture
def background(tmp_path: Path) -> str:
    (tmp_path / "reports.txt").write_text("\n".join(f"report number {i}" for i in range(25)))
    return str(tmp_path / "reports.txt")


def members(*answers: str) -> list[Member]:
    return [Member(parse(f"<answer>{answer}</answer>"), answer) for answer in answers]


@pytest.mark.full_run_only(reason="asks another Python")
def test_radcliq_is_negated_and_sees_other_reports_beside_the_group(radeval_python, background):
    sample = Sample("q", "Report.", "report", "lungs\nclear")
    asked = members("lungs clear", "", "lungs opaque")
    outcomes = asyncio.run(reports.radcliq(asked, sample, background, radeval_python))
    # The stand-in's score of a pair: words that only one of the two has, minus 1, and 0.01 a pair of the call, of 27.
    # Equal: -1 + 0.27, paid 0.73. Two words differ: 1 + 0.27, paid -1.27. No answer: -4.
    assert [outcome.value for outcome in outcomes] == pytest.approx([0.73, -4.0, -1.27])
    nothing = asyncio.run(reports.radcliq(members("", ""), sample, background, radeval_python))
    assert [outcome.value for outcome in nothing] == [-4.0, -4.0]


def test_radcliq_that_cannot_work_ends_a_run_before_it_starts(radeval_python, background, tmp_path):
    (tmp_path / "few.txt").write_text("one\ntwo\n")
    for given_arguments, message in (
        ({"background": background}, "needs the argument 'python'"),
        ({"background": background, "python": "nowhere/python"}, "'nowhere/python' is no program"),
        ({"background": background, "python": radeval_python, "model_dir": "nowhere"}, "is no folder"),
        ({"background": "no.txt", "python": radeval_python}, "is no file"),
        ({"background": str(tmp_path / "few.txt"), "python": radeval_python}, "2 different reports"),
    ):
        with pytest.raises(RewardError, match=message):
            Rubric({"radcliq": 1.0}, arguments={"radcliq": given_arguments})


@pytest.mark.full_run_only(reason="asks another Python")
def test_a_python_without_the_package_is_an_error_and_no_number(bare_python, background):
    rubric = Rubric({"radcliq": 1.0}, arguments={"radcliq": {"background": background, "python": bare_python}})
    with Scorer(rubric) as scorer:
        scored = scorer.score_group(REPORT, ["<answer>a</answer>", "<answer>b</answer>"])
    assert {score.outcomes["radcliq"].status for score in scored} == {"error"}
    assert "the package radeval is not installed for" in scored[0].outcomes["radcliq"].reason
