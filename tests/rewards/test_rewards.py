"""Registry, shipped rewards, rubric and scorer: who is paid what, and what a failure costs (JUDGING.md, the rule that
comes first)."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from judges import Question, RulesJudge, Verdict
from rewards import Member, RewardError, Rubric, Scorer, parse, registry
from rewards.binding import bind
from rewards.calling import as_outcome
from rewards.registry import reward
from rollouts.records import Outcome, Sample

OPTIONS = ("Pleural effusion", "Pneumonia", "Pneumothorax", "Normal chest")
MCQ = Sample("q1", "What is it?", "mcq", "Pneumonia", OPTIONS, ("B",))
MULTI = Sample("q2", "Which are seen?", "multi", "Pneumonia, Pneumothorax", OPTIONS, ("B", "C"))
YES = Sample("q3", "Is it enlarged?", "yes_no", "yes")
YES_LETTERED = Sample("q4", "Is it enlarged?", "yes_no", "yes", ("Yes", "No"), ("A",))
# Asked open with its options kept in the record (Fleming-VL, Sec 3.2).
OPEN = Sample("q5", "What is it?", "open", "Pneumonia", OPTIONS, ("B",), aliases=("Lung infection",))
SIZE = Sample("q6", "How wide is it?", "numeric", "5.6 cm")
WEIGHTS = {"accuracy": 0.9, "format": 0.1}
ROUTES = {"mcq": "option_match", "multi": "option_match", "yes_no": "yes_no", "open": "judge", "numeric": "numeric"}


def said(answer: str) -> str:
    return f"<think>The zone is dense.</think>\n<answer>{answer}</answer>"


class CountingJudge(RulesJudge):
    """Says what it is told to, after a while, and counts."""

    name = "counting"

    def __init__(self, verdict: Verdict | None = None, seconds: float = 0.0) -> None:
        super().__init__()
        self.verdict, self.seconds = verdict, seconds
        self.asked: list[str] = []
        self.closed = False

    async def judge(self, asked: Question) -> Verdict:
        self.asked.append(asked.answer)
        await asyncio.sleep(self.seconds)
        return self.verdict or await super().judge(asked)

    async def close(self) -> None:
        self.closed = True


class Slow(RulesJudge):
    is_instant = False


@pytest.mark.parametrize(("judge", "takes_time"), [(RulesJudge(), False), (Slow(), True)])
def test_what_a_judge_scores_takes_time_unless_it_asks_nobody(judge, takes_time):
    rubric = Rubric(WEIGHTS, ROUTES, judge)
    assert any(bound.takes_time for bound in rubric.rewards_for(OPEN).values()) is takes_time
    assert not any(bound.takes_time for bound in rubric.rewards_for(MCQ).values())


@pytest.fixture
def scorer():
    with Scorer(Rubric(WEIGHTS, ROUTES, CountingJudge())) as made:
        yield made


@pytest.mark.parametrize(
    ("sample", "answer", "accuracy"),
    [
        (MCQ, "B", 1.0), (MCQ, "C", 0.0), (MCQ, "pneumonia", 1.0), (MCQ, "B or C", 0.0), (MULTI, "C, B", 1.0),
        (MULTI, "B", 0.0),
        (YES, "Yes", 1.0),         (YES, "no", 0.0), (YES, "eyes", 0.0),
        (YES_LETTERED, "A", 1.0), (YES_LETTERED, "B", 0.0), (OPEN, "pneumonia.", 1.0), (OPEN, "Lung infection", 1.0),
        (OPEN, "B", 0.0), (OPEN, "", 0.0), (SIZE, "56 mm", 1.0), (SIZE, "6.5 cm", 0.0), (SIZE, "56 cm", 0.0),
    ],
)  # fmt: skip
def test_accuracy_is_routed_by_the_type_of_the_answer(scorer, sample, answer, accuracy):
    # An empty answer body is not the format; every other completion here is: 0.9 x accuracy + 0.1 x 1.
    scored = scorer.submit(sample, said(answer), "g").result(10)
    assert scored.outcomes["accuracy"].value == accuracy
    assert scored.total == pytest.approx(0.9 * accuracy + (0.1 if answer else 0.0))
    assert scored.valid


def test_a_right_letter_without_tags_earns_accuracy_and_no_format(scorer):
    scored = scorer.submit(MCQ, "Answer: B", "g").result(10)
    assert (scored.outcomes["accuracy"].value, scored.outcomes["format"].value, scored.total) == (1.0, 0.0, 0.9)


def test_a_completion_cut_inside_its_thoughts_has_no_answer(scorer):
    scored = scorer.submit(OPEN, "<think>It must be pneumonia", "g", finish_reason="length").result(10)
    assert (scored.total, scored.parsed.answer) == (0.0, None)
    assert scorer.rubric.judge.asked == []


def test_options_kept_on_an_item_asked_open_are_not_read_into_its_answer(scorer):
    assert scorer.submit(OPEN, said("B"), "g").result(10).parsed.letters == ()
    assert scorer.submit(MCQ, said("B"), "g").result(10).parsed.letters == ("B",)


def test_two_answer_tags_that_differ_are_no_open_answer(scorer):
    scored = scorer.submit(OPEN, said("Pneumonia") + "<answer>Asthma</answer>", "g").result(10)
    assert scored.total == 0.0


def test_identical_answers_of_a_group_are_judged_once():
    with Scorer(Rubric(WEIGHTS, ROUTES, CountingJudge(seconds=0.02))) as scorer:
        answers = ["Pneumonia", "Asthma", "Pneumonia", "Pneumonia", "Asthma", "Pneumonia", "Pneumonia", "Pneumonia"]
        scored = scorer.score_group(OPEN, [said(answer) for answer in answers], "g1")
        assert sorted(scorer.rubric.judge.asked) == ["Asthma", "Pneumonia"]
        assert [score.outcomes["accuracy"].value for score in scored] == [
            float(answer == "Pneumonia") for answer in answers
        ]
        scorer.score_group(OPEN, [said("Asthma")], "g2")
        assert len(scorer.rubric.judge.asked) == 3


def test_judging_overlaps_and_submit_does_not_wait():
    with Scorer(Rubric(WEIGHTS, ROUTES, CountingJudge(seconds=0.3))) as scorer:
        started = time.monotonic()
        futures = [scorer.submit(OPEN, said(f"finding {i}"), "g") for i in range(16)]
        assert time.monotonic() - started < 16 * 0.3 / 4
        assert [future.result(10).total for future in futures] == [pytest.approx(0.1)] * 16
        assert time.monotonic() - started < 16 * 0.3 / 2


@pytest.mark.parametrize(
    ("verdict", "status"),
    [
        (Verdict(None, "timeout", "late"), "timeout"),
        (Verdict(None, "unavailable", "500"), "error"),
        (Verdict(None, "unreadable", "rubbish"), "error"),
        (Verdict("unsure"), "abstain"),
    ],
)
def test_a_failed_judgement_is_never_a_number(verdict, status):
    with Scorer(Rubric(WEIGHTS, ROUTES, CountingJudge(verdict))) as scorer:
        scored = scorer.submit(OPEN, said("Pneumonia"), "g").result(10)
    assert (scored.outcomes["accuracy"].status, scored.outcomes["accuracy"].value) == (status, None)
    assert (scored.total, scored.valid) == (None, False)
    assert scored.outcomes["format"].value == 1.0
    assert scored.outcomes["accuracy"].evidence["judge"] == "counting"


def test_a_judge_that_hangs_times_out():
    with Scorer(Rubric(WEIGHTS, ROUTES, CountingJudge(seconds=60.0)), timeout_seconds=0.1) as scorer:
        assert scorer.submit(OPEN, said("Pneumonia"), "g").result(10).outcomes["accuracy"].status == "timeout"


def test_closing_ends_the_thread_closes_the_judge_and_refuses_more():
    judge = CountingJudge(seconds=60.0)
    scorer = Scorer(Rubric(WEIGHTS, ROUTES, judge))
    before = threading.active_count()
    pending = scorer.submit(OPEN, said("Pneumonia"), "g")
    scorer.close()
    scorer.close()
    assert judge.closed
    assert threading.active_count() <= before
    assert pending.done()
    with pytest.raises(RuntimeError, match="closed"):
        scorer.submit(MCQ, said("B"), "g")


def test_permuting_completions_permutes_their_rewards(scorer):
    answers = ["B", "C", "Pneumonia", "A or B", "B"]
    totals = [score.total for score in scorer.score_group(MCQ, [said(answer) for answer in answers])]
    backwards = [score.total for score in scorer.score_group(MCQ, [said(answer) for answer in answers[::-1]])]
    assert totals == backwards[::-1]


@pytest.mark.parametrize(
    ("weights", "routes", "match"),
    [
        ({"accuracy": 1.0, "format": -1.0}, ROUTES, "sum to zero"),
        ({}, ROUTES, "sum to zero"),
        ({"accuracy": 1.0, "formt": 0.1}, ROUTES, "'formt'.*did you mean 'format'.*Available"),
        ({"accuracy": 1.0}, {"mcq": "option_mach"}, "did you mean 'option_match'"),
        ({"accuracy": 1.0}, {"mqc": "option_match"}, "did you mean 'mcq'"),
        ({"accuracy": 1.0}, {}, "routes are empty"),
        ({"format": float("nan")}, {}, "finite"),
    ],
)
def test_a_rubric_that_cannot_work_says_so_when_it_is_built(weights, routes, match):
    with pytest.raises(RewardError, match=match):
        Rubric(weights, routes, RulesJudge())


def test_a_rubric_without_a_judge_cannot_route_to_one():
    with pytest.raises(RewardError, match="asks a judge and none is configured"):
        Rubric(WEIGHTS, ROUTES)


def test_arguments_reach_a_reward_and_unknown_ones_are_errors():
    rubric = Rubric({"accuracy": 1.0}, {"multi": "option_match"}, arguments={"option_match": {"partial": True}})
    with Scorer(rubric) as scorer:
        # Gold B, C. "B" has one of two; "A, B, C" two right and one wrong: (2 - 1) / 2.
        assert [s.total for s in scorer.score_group(MULTI, [said("B"), said("A, B, C"), said("A")])] == [0.5, 0.5, 0.0]
    with pytest.raises(RewardError, match=r"no argument 'partail'; it takes \['partial'\]"):
        Rubric({"accuracy": 1.0}, {"multi": "option_match"}, arguments={"option_match": {"partail": True}})
    with pytest.raises(RewardError, match="no weight, no gate and no route"):
        Rubric({"format": 1.0}, arguments={"option_match": {"partial": True}})


def test_an_answer_type_without_a_route_is_an_error_that_names_it():
    rubric = Rubric(WEIGHTS, {"mcq": "option_match"})
    with pytest.raises(RewardError, match=r"reward.routes.open"):
        rubric.check_sample_types({"mcq", "open"})
    with Scorer(rubric) as scorer, pytest.raises(RewardError, match="answer_type 'open'"):
        scorer.submit(OPEN, said("Pneumonia"), "g")


def test_a_reward_of_weight_zero_is_measured_and_not_required():
    with Scorer(Rubric({"accuracy": 0.0, "format": 1.0}, ROUTES, CountingJudge(Verdict(None, "timeout")))) as scorer:
        scored = scorer.submit(OPEN, said("Pneumonia"), "g").result(10)
    assert (scored.total, scored.valid, scored.outcomes["accuracy"].status) == (1.0, True, "timeout")


@pytest.fixture
def _own_registry(monkeypatch):
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))


@pytest.mark.usefixtures("_own_registry")
def test_a_second_reward_of_one_name_is_an_error():
    @reward("mine", isolate=False)
    def first(parsed):
        return 1.0

    with pytest.raises(RewardError, match=r"two rewards are named 'mine'.*test_rewards.py"):

        @reward("mine", isolate=False)
        def second(parsed):
            return 0.0

    with pytest.raises(RewardError, match="name each parameter"):

        @reward("loose")
        def loose(**anything):
            return 0.0

    assert bind("mine").now(MCQ, [Member(parse("x"), "x")])[0].value == 1.0


@pytest.mark.usefixtures("_own_registry")
@pytest.mark.parametrize(
    "returned", [None, float("nan"), float("inf"), "1.0", [1.0], (1.0, 2.0), {"value": 1}, object()]
)
def test_what_is_no_number_becomes_an_error(returned):
    @reward("odd", isolate=False)
    def odd(completion):
        return returned

    (outcome,) = bind("odd").now(MCQ, [Member(parse("x"), "x")])
    assert (outcome.value, outcome.status) == (None, "error")
    assert "expected a finite number" in outcome.reason


@pytest.mark.usefixtures("_own_registry")
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_reward_that_raises_is_an_error_with_its_kind(kind):
    if kind == "sync":

        @reward("raising", isolate=False)
        def raising(completion):
            raise KeyError("lesion")

    else:

        @reward("raising", isolate=False)
        async def raising_later(completion):
            raise KeyError("lesion")

    with Scorer(Rubric({"raising": 1.0})) as scorer:
        scored = scorer.submit(MCQ, said("B"), "g").result(10)
    assert scored.outcomes["raising"].status == "error"
    assert scored.outcomes["raising"].reason.startswith("KeyError")
    assert (scored.total, scored.valid) == (None, False)


@pytest.mark.usefixtures("_own_registry")
def test_an_asynchronous_reward_is_awaited_for_every_completion_of_its_own():
    @reward("num_chars", isolate=False)
    async def num_chars(completion, parsed, sample, scale: float = 1.0):
        await asyncio.sleep(0)
        return Outcome(scale * len(parsed.answer or ""), parts={"chars": float(len(completion))})

    with Scorer(Rubric({"num_chars": 2.0}, arguments={"num_chars": {"scale": 0.5}})) as scorer:
        assert [s.total for s in scorer.score_group(MCQ, [said("B"), said("four")])] == [1.0, 4.0]


def test_zero_is_a_score_and_bools_and_integers_are_numbers():
    assert (as_outcome(0.0).status, as_outcome(0.0).value) == ("ok", 0.0)
    assert as_outcome(True).value == 1.0
    assert as_outcome(3).value == 3.0
