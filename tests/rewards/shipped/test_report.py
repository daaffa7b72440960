"""Rewards of written reports: word overlap by hand, and the adapter to RadCliQ with a hand-written stand-in for its
package."""

from __future__ import annotations

import asyncio
import sys
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


STAND_IN = '''
class RadEval:
    """Speaks RadEval's interface: the score of a pair is the number of words that only one of the two has; keeps what
    it was asked."""
    calls = []
    def __init__(self, do_radcliq=False, do_details=False, show_progress=True):
        assert do_radcliq and do_details
    def __call__(self, refs, hyps):
        RadEval.calls.append((refs, hyps))
        scores = [float(len(set(ref.split()) ^ set(hyp.split()))) - 1 for ref, hyp in zip(refs, hyps, strict=True)]
        return {"radcliq-v1": {"mean_score": sum(scores) / len(scores), "sample_scores": scores}}
'''


@pytest.fixture
def fresh_adapter(monkeypatch):
    reports._evaluator.cache_clear()
    reports._reports.cache_clear()
    monkeypatch.delitem(sys.modules, "RadEval", raising=False)
    yield
    reports._evaluator.cache_clear()


@pytest.fixture
def background(tmp_path: Path) -> str:
    (tmp_path / "reports.txt").write_text("\n".join(f"report number {i}" for i in range(25)))
    return str(tmp_path / "reports.txt")


def members(*answers: str) -> list[Member]:
    return [Member(parse(f"<answer>{answer}</answer>"), answer) for answer in answers]


@pytest.mark.usefixtures("fresh_adapter")
def test_radcliq_is_negated_and_sees_other_reports_beside_the_group(tmp_path, monkeypatch, background):
    (tmp_path / "RadEval").mkdir()
    (tmp_path / "RadEval/__init__.py").write_text(STAND_IN)
    monkeypatch.syspath_prepend(tmp_path)
    sample = Sample("q", "Report.", "report", "lungs\nclear")
    outcomes = asyncio.run(reports.radcliq(members("lungs clear", "", "lungs opaque"), sample, background))
    # Equal: 0 - 1 = -1, paid 1. Two words differ: 2 - 1, paid -1. No answer: -4.
    assert [outcome.value for outcome in outcomes] == [1.0, -4.0, -1.0]
    refs, hyps = sys.modules["RadEval"].RadEval.calls[0]
    assert (len(set(refs)), refs[-1], hyps[-2:]) == (26, "lungs clear", ["lungs clear", "lungs opaque"])
    assert asyncio.run(reports.radcliq(members("", ""), sample, background))[0].value == -4.0


@pytest.mark.usefixtures("fresh_adapter")
def test_radcliq_without_its_package_ends_a_run_before_it_starts(background):
    with pytest.raises(RewardError, match="needs the package RadEval, which is not installed: pip install RadEval"):
        Rubric({"radcliq": 1.0}, arguments={"radcliq": {"background": background}})


@pytest.mark.usefixtures("fresh_adapter")
def test_radcliq_without_reports_to_compare_with_says_what_to_do(tmp_path, monkeypatch):
    (tmp_path / "RadEval").mkdir()
    (tmp_path / "RadEval/__init__.py").write_text(STAND_IN)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "few.txt").write_text("one\ntwo\n")
    for given_background, message in ((str(tmp_path / "few.txt"), "2 different reports"), ("no.txt", "is no file")):
        rubric = Rubric({"radcliq": 1.0}, arguments={"radcliq": {"background": given_background}})
        with Scorer(rubric) as scorer:
            scored = scorer.score_group(REPORT, ["<answer>a</answer>", "<answer>b</answer>"])
        assert {score.outcomes["radcliq"].status for score in scored} == {"error"}
        assert message in scored[0].outcomes["radcliq"].reason
