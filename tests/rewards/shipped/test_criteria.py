"""Rewards that ask a judge about several criteria: points, unsure criteria, failures (numbers by hand)."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import shutil
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from judges import RulesJudge
from judges.verdict import Assessment, Criteria
from rewards import Rubric, Scorer, parse
from rewards.registry import RewardError
from rewards.shipped.verdicts import keypoints, perception, rubric_judge
from rollouts.records import BadSample, Media, Outcome, RubricCriterion, Sample
from rollouts.store.writer import RunWriter, read_rollouts
from tests.fakes import fake_rollouts

RUBRIC = (
    RubricCriterion("names the left side", 5),
    RubricCriterion("gives the size", 3),
    RubricCriterion("advises a CT", 2),
    RubricCriterion("invents an effusion", -4),
    RubricCriterion("names a drug", -8),
)
GRADED = Sample("q", "Report.", "report", "A 2 cm nodule on the left.", rubric=RUBRIC)
STEPS = Sample(
    "q",
    "What is it?",
    "open",
    "nodule",
    reference_steps=("the lungs are clear", "the heart is normal", "a nodule on the left"),
)
SEEN = Sample("q", "What is it?", "open", "nodule", visual_references=("a round opacity", "the left upper zone"))


class Told(RulesJudge):
    """Answers as it is told, and keeps what it was asked."""

    def __init__(self, answer: Assessment) -> None:
        super().__init__()
        self.answer, self.asked = answer, list[Criteria]()

    async def assess(self, asked: Criteria) -> Assessment:
        self.asked.append(asked)
        return self.answer


def paid(
    reward: Callable,
    sample: Sample,
    met: tuple[bool | None, ...],
    text: str = "<think>T</think><answer>A</answer>",
    **arguments,
):
    judge = Told(Assessment(met, cost=0.25, seconds=2.0))
    return asyncio.run(reward(parse(text), sample, judge, **arguments)), judge


@pytest.mark.parametrize(
    ("met", "value"),
    [
        ((True, True, True, False, False), 1.0),  # 10 of 10
        ((False,) * 5, 0.0),
        ((True, False, True, True, False), 0.3),  # 5 + 2 - 4 of 10
        ((True, False, False, True, True), 0.0),  # 5 - 12: clipped
        ((True, None, True, False, False), 1.0),  # undecided: 7 of 7
        ((None, True, False, True, False), 0.0),  # 3 - 4 of 5: clipped
        ((None, True, True, None, False), 1.0),  # 5 of 5; an undecided fault costs nothing
        ((True, False, None, False, None), 0.625),  # 5 of 8
        ((None, None, None, True, False), None),  # nothing to earn was decided
        ((None,) * 5, None),
    ],
)
def test_points_over_possible_points(met, value):
    outcome, judge = paid(rubric_judge, GRADED, met)
    assert outcome.value == (None if value is None else pytest.approx(value))
    assert outcome.status == ("abstain" if value is None else "ok")
    assert (outcome.cost, outcome.seconds) == (0.25, 2.0)
    assert [one["met"] for one in outcome.evidence["criteria"]] == list(met)
    assert judge.asked == [Criteria("rubric", "Report.", "A", tuple(one.text for one in RUBRIC))]


def test_parts_name_each_decided_criterion():
    outcome, _ = paid(rubric_judge, GRADED, (True, False, None, True, False))
    # 8 of the 10 positive points were decided; 5 - 4 of 8 earned.
    assert outcome.parts == {"criterion_1": 5, "criterion_2": 0, "criterion_4": -4, "criterion_5": 0, "decided": 0.8}
    assert outcome.value == pytest.approx(1 / 8)


@pytest.mark.parametrize(
    ("reward", "sample", "task"), [(keypoints, STEPS, "keypoints"), (perception, SEEN, "perception")]
)
def test_coverage_is_the_share_of_what_was_decided(reward, sample, task):
    num = len(sample.reference_steps or sample.visual_references)
    outcome, judge = paid(reward, sample, (True, False, True)[:num])
    assert outcome.value == pytest.approx(2 / 3 if num == 3 else 1 / 2)
    assert (judge.asked[0].task, judge.asked[0].candidate) == (task, "T\n\nA")  # thoughts and answer, without the tags
    assert paid(reward, sample, (None, True, None)[:num])[0].value == 1.0
    assert paid(reward, sample, (None,) * num)[0].status == "abstain"
    # A truncated completion has thoughts but no answer: what it covered counts.
    assert paid(reward, sample, (True, True, True)[:num], "<think>T</think>")[0].value == 1.0


@pytest.mark.parametrize("text", ["", "<think></think><answer></answer>", "<answer> \n</answer>", "<think>"])
def test_an_empty_completion_is_paid_nothing_without_a_call(text):
    for reward, sample in ((rubric_judge, GRADED), (keypoints, STEPS), (perception, SEEN)):
        outcome, judge = paid(reward, sample, (True,) * 5, text)
        assert (outcome.value, judge.asked) == (0.0, [])


def test_a_rubric_judges_the_answer_and_never_the_thoughts():
    _, judge = paid(rubric_judge, GRADED, (True,) * 5, "<think>the left side, 2 cm</think><answer>no idea</answer>")
    assert judge.asked[0].candidate == "no idea"


@pytest.mark.parametrize(
    ("failure", "status"),
    [("timeout", "timeout"), ("unavailable", "error"), ("unreadable", "error"), ("budget", "error")],
)
def test_a_failed_call_is_never_a_number(failure, status):
    for reward, sample in ((rubric_judge, GRADED), (keypoints, STEPS), (perception, SEEN)):
        judge = Told(Assessment(None, failure=failure, reason="why", transcript={"reply": "x"}))
        outcome = asyncio.run(reward(parse("<answer>A</answer>"), sample, judge))
        assert (outcome.value, outcome.status, outcome.reason) == (None, status, f"{failure}: why")
        assert outcome.evidence["reply"] == "x"


@pytest.mark.parametrize(
    ("reward", "field"), [(rubric_judge, "rubric"), (keypoints, "reference_steps"), (perception, "visual_references")]
)
def test_a_sample_without_annotation_is_an_error_or_a_constant(reward, field):
    bare = Sample("q7", "What is it?", "open", "nodule")
    with pytest.raises(RewardError, match=f"'q7' has no {field}"):
        paid(reward, bare, (True,))
    outcome, judge = paid(reward, bare, (True,), unannotated=0.5)
    assert (outcome.value, judge.asked) == (0.5, [])


def test_the_group_and_the_images_go_along_where_the_judge_shows_them():
    sample = dataclasses.replace(GRADED, media=(Media("image", data=fake_rollouts.png(1)),), reference_steps=("a", "b"))
    judge = Told(Assessment((True,) * 5))
    with Scorer(Rubric({"rubric_judge": 1.0}, judge=judge)) as scorer:
        scorer.score_group(sample, ["<answer>A</answer>"], "group 7")
        judge.shows_images = True
        scorer.score_group(sample, ["<answer>B</answer>"], "group 8")
    assert [(asked.group_key, len(asked.media)) for asked in judge.asked] == [("group 7", 0), ("group 8", 1)]


def test_through_the_scorer_with_the_rules_judge_identical_answers_are_asked_once():
    rubric = Rubric({"rubric_judge": 1.0, "keypoints": 0.5}, judge=RulesJudge())
    sample = dataclasses.replace(GRADED, reference_steps=("a nodule is seen", "it is round"))
    said = "<think>a nodule is seen. it is round</think><answer>It names the left side and names a drug.</answer>"
    with Scorer(rubric) as scorer:
        first, second = scorer.score_group(sample, [said, said.replace("It is", "it is")])
    # 5 - 8 of 10 clipped; both steps found: 0.5 x 1.
    assert first.total == second.total == pytest.approx(0.5)


@pytest.mark.parametrize(
    "rubric",
    [
        (RubricCriterion(" ", 1),),
        (RubricCriterion("a", 0),),
        (RubricCriterion("a", float("nan")),),
        (RubricCriterion("a", -1),),
    ],
)
def test_a_rubric_that_cannot_be_earned_is_a_bad_sample(rubric):
    with pytest.raises(BadSample, match=r"rubric|criterion"):
        dataclasses.replace(GRADED, rubric=rubric)


def test_a_stored_rubric_comes_back_and_old_runs_have_none(tmp_path):
    writer = RunWriter(tmp_path)
    asked = dataclasses.replace(fake_rollouts.sample(2), rubric=RUBRIC)
    writer.append_group([fake_rollouts.rollout(asked, index=0), fake_rollouts.rollout(asked, index=1)])
    assert next(read_rollouts(tmp_path)).sample.rubric == RUBRIC
    jsonl = tmp_path / "rollouts/step_000001/rollouts.jsonl"
    rows = [json.loads(line) for line in jsonl.read_text().splitlines()]
    older = shutil.copytree(tmp_path, tmp_path / "older") / "rollouts/step_000001/rollouts.jsonl"
    older.write_text("".join(json.dumps({name: row[name] for name in row if name != "rubric"}) + "\n" for row in rows))
    assert next(read_rollouts(tmp_path / "older")).sample.rubric == ()
    writer.finish_step(1)
    assert next(read_rollouts(tmp_path)).sample.rubric == RUBRIC


MET = st.lists(st.sampled_from([True, False, None]), min_size=5, max_size=5).map(tuple)


@settings(deadline=None, max_examples=150)
@given(MET, st.lists(st.integers(-9, 9).filter(bool), min_size=5, max_size=5), st.randoms())
def test_any_verdict_is_in_range_and_the_order_of_criteria_does_not_matter(met, points, random):
    if max(points) < 0:
        points[0] = 1
    rubric = [RubricCriterion(f"c{i}", worth) for i, worth in enumerate(points)]
    order = list(range(5))
    random.shuffle(order)
    straight, _ = paid(rubric_judge, dataclasses.replace(GRADED, rubric=tuple(rubric)), met)
    shuffled, _ = paid(
        rubric_judge, dataclasses.replace(GRADED, rubric=tuple(rubric[i] for i in order)), tuple(met[i] for i in order)
    )
    assert (straight.value, straight.status) == (
        pytest.approx(shuffled.value) if straight.value is not None else None,
        shuffled.status,
    )
    assert straight.value is None or 0.0 <= straight.value <= 1.0
    assert isinstance(straight, Outcome)
