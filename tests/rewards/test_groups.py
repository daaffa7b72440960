"""Rewards that compare the completions of a prompt, in this process and in a child: one outcome a member, in any order
of arrival."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Sequence

import pytest

from judges import Question, RulesJudge, Verdict
from rewards import Member, Outcome, Rubric, Sample, Scorer, registry, reward
from rewards.calling import as_outcomes
from rewards.contract import Limits
from tests.paths import PLUGINS

pytestmark = pytest.mark.full_run_only(reason="the scorer runs a reward of a file in a child process")

HOSTILE, KIND = f"{PLUGINS}/hostile.py", f"{PLUGINS}/kind.py"
OPEN = Sample("q", "What is it?", "open", "Pneumonia")
MCQ = Sample("m", "What is it?", "mcq", "Pneumonia", ("Asthma", "Pneumonia"), ("B",))
LIMITS = Limits(timeout_seconds=5.0, workers=1)


@pytest.fixture
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))


@pytest.fixture(scope="module")
def ranks() -> Iterator[Scorer]:
    with Scorer(Rubric({f"{KIND}:rank": 1.0, f"{KIND}:first_comes": 0.0}, limits=LIMITS)) as scorer:
        yield scorer


def test_every_member_gets_its_own_value_in_whatever_order_the_completions_stand(ranks: Scorer) -> None:
    # The share of the group that is longer: of lengths 1, 2, 3 that is 2/3, 1/3 and 0.
    expected = {"a": 2 / 3, "bb": 1 / 3, "ccc": 0.0}
    for number, order in enumerate(itertools.permutations(expected)):
        scored = ranks.score_group(OPEN, order, f"group {number}")
        assert [one.total for one in scored] == [expected[completion] for completion in order]


def test_a_group_reward_cannot_depend_on_which_completion_came_first(ranks: Scorer) -> None:
    """This one pays by place; it is shown the group in one order whatever the engine's was, so a run can be
    repeated."""
    one_way = ranks.score_group(OPEN, ["b", "a", "c"], "one way")
    other_way = ranks.score_group(OPEN, ["c", "b", "a"], "other way")
    paid = {one.outcomes["first_comes"].reason: one.outcomes["first_comes"].value for one in one_way}
    assert paid == {"a": 0.0, "b": 1.0, "c": 2.0}
    assert [one.outcomes["first_comes"].value for one in other_way] == [2.0, 1.0, 0.0]


def test_groups_that_arrive_mixed_do_not_mix(ranks: Scorer) -> None:
    futures = {}
    for completion in ("a", "bb", "ccc"):
        for key in ("left", "right"):
            text = completion if key == "left" else completion * 2
            futures[key, completion] = ranks.submit(OPEN, text, key, group_size=3)
    totals = [
        futures[key, completion].result(60).total for key in ("left", "right") for completion in ("a", "bb", "ccc")
    ]
    assert totals == [2 / 3, 1 / 3, 0.0] * 2


def test_a_group_runs_when_its_last_member_is_there_and_alone_it_abstains(ranks: Scorer) -> None:
    first = ranks.submit(OPEN, "a", "late", group_size=2)
    asyncio.run(asyncio.sleep(0.2))
    assert not first.done()
    second = ranks.submit(OPEN, "bb", "late", group_size=2)
    assert [first.result(60).total, second.result(60).total] == [0.5, 0.0]
    alone = ranks.submit(OPEN, "a", "alone").result(60)
    assert (alone.outcomes["rank"].status, alone.valid) == ("abstain", False)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (
            "fewer",
            "the reward returned a list of 2 for a group of 3, expected a list with one number or Outcome a member",
        ),
        ("one_for_all", "the reward returned a float 1.0 for a group of 3"),
    ],
)
def test_a_list_of_another_length_or_one_value_for_all_fails_for_all_and_is_not_spread(
    function: str, words: str
) -> None:
    """One returned value broadcast to all completions: TRL #6533."""
    with Scorer(Rubric({f"{HOSTILE}:{function}": 1.0}, limits=LIMITS)) as scorer:
        scored = scorer.score_group(OPEN, ["a", "b", "c"])
    assert [one.outcomes[function].status for one in scored] == ["error"] * 3
    assert all(words.replace("1.0", "'1.0'") in one.outcomes[function].reason for one in scored)


def test_of_a_group_only_the_member_without_a_number_fails() -> None:
    with Scorer(Rubric({f"{KIND}:one_fails": 1.0}, limits=LIMITS)) as scorer:
        scored = scorer.score_group(OPEN, ["a", "bad", "b"])
    assert [one.valid for one in scored] == [True, False, True]
    assert [one.total for one in scored] == [1.0, None, 1.0]


class FailsOnAsthma(RulesJudge):
    """A judge that is not to be reached about one answer."""

    async def judge(self, asked: Question) -> Verdict:
        if asked.answer == "Asthma":
            return Verdict(None, "unavailable", "500")
        return await super().judge(asked)


@pytest.mark.usefixtures("_own_registry")
def test_a_member_whose_judge_failed_is_still_seen_by_the_group_reward_and_leaves_alone() -> None:
    seen: list[int] = []

    @reward("share", isolate=False)
    def share(group: Sequence[Member]) -> list[float]:
        seen.append(len(group))
        return [1.0 / len(group)] * len(group)

    rubric = Rubric({"accuracy": 1.0, "share": 1.0}, {"open": "judge"}, FailsOnAsthma())
    with Scorer(rubric) as scorer:
        scored = scorer.score_group(
            OPEN, [f"<answer>{text}</answer>" for text in ("Pneumonia", "Asthma", "Cyst", "Pneumonia")]
        )
    assert seen == [4]
    assert [one.outcomes["share"].value for one in scored] == [0.25] * 4
    assert [one.total for one in scored] == [1.25, None, 0.25, 1.25]


@pytest.mark.usefixtures("_own_registry")
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_group_reward_that_raises_fails_every_member_with_its_traceback(kind: str) -> None:
    def raising(group):
        raise KeyError("lesion")

    async def raising_later(group):
        raise KeyError("lesion")

    reward("raising", isolate=False)(raising if kind == "sync" else raising_later)
    with Scorer(Rubric({"raising": 1.0})) as scorer:
        scored = scorer.score_group(OPEN, ["a", "b"])
    assert [one.outcomes["raising"].status for one in scored] == ["error", "error"]
    assert 'raise KeyError("lesion")' in (scored[0].outcomes["raising"].evidence or {})["traceback"]


@pytest.mark.usefixtures("_own_registry")
def test_a_group_that_never_becomes_whole_times_out() -> None:
    @reward("never", isolate=False)
    def never(group):
        return [1.0] * len(group)

    with Scorer(Rubric({"never": 1.0}), timeout_seconds=0.2) as scorer:
        outcome = scorer.submit(OPEN, "a", "g", group_size=2).result(30).outcomes["never"]
    assert outcome.status == "timeout"
    assert "not complete" in outcome.reason


def test_rows_of_several_types_are_each_scored_by_their_own_type() -> None:
    """All rows of a batch scored by the first row's type: Video-R1."""
    routes = {"open": "judge", "mcq": "option_match", "yes_no": "yes_no"}
    yes = Sample("y", "Is it large?", "yes_no", "yes")
    with Scorer(Rubric({"accuracy": 1.0}, routes, RulesJudge())) as scorer:
        pairs = [(OPEN, "Pneumonia"), (MCQ, "B"), (yes, "yes"), (MCQ, "Pneumonia"), (OPEN, "B"), (yes, "B")]
        futures = [scorer.submit(sample, f"<answer>{said}</answer>", sample.id) for sample, said in pairs]
        assert [future.result(30).total for future in futures] == [1.0, 1.0, 1.0, 1.0, 0.0, 0.0]


def test_what_a_group_reward_may_return() -> None:
    import numpy as np
    import torch

    for values in (
        [0, 1.5],
        (0, 1.5),
        np.array([0, 1.5]),
        torch.tensor([0, 1.5]),
        [Outcome(0.0), np.float32(1.5)],
        [False, torch.tensor(1.5)],
    ):
        outcomes = as_outcomes(values, 2)
        assert [(one.value, one.status) for one in outcomes] == [(0.0, "ok"), (1.5, "ok")], values
    for values in ("ab", {"a": 1, "b": 2}, {1, 2}, 1.0, None, np.array([[0, 1]]), iter([0, 1])):
        assert [one.status for one in as_outcomes(values, 2)] == ["error", "error"], values
