"""What the doctor says of a judge: whether it can be made, and the most that a run can ask of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from judges.settings import PanelMember
from rl.config import Config, EvalConfig, GrpoConfig, JudgeConfig, RewardConfig
from rl.doctor.judge import check_judge, estimate, most_calls, seats
from rollouts.records import Sample

JUDGE = JudgeConfig("openai", "http://127.0.0.1:9/v1", "m", "ROUNDS_TEST_KEY")
OPEN, CLOSED = Sample("a", "Which organ?", "open", "Liver"), Sample("b", "Is it?", "yes_no", "yes")
# Four steps of 2 x 8 are 64 completions.
CONFIG = Config(
    judge=JUDGE,
    grpo=GrpoConfig(prompts_per_step=2, num_generations=8),
    eval=EvalConfig(num_samples=3, blank_images=True),
)


def test_the_most_calls_are_those_of_answers_that_are_all_different() -> None:
    # Half of the RL set is judged: 32 completions. One held-out item of two is: 2 models x (1 greedy + 3 sampled + 1
    # blank) = 10.
    assert most_calls(CONFIG, [OPEN, CLOSED], [OPEN, CLOSED], 4) == 42
    rules = replace(CONFIG, judge=JudgeConfig())
    assert most_calls(rules, [OPEN], [OPEN], 4) == 0
    # A reward that asks the judge about every completion, beside the routed one: 64 + 32, and 20 + 10.
    both = replace(CONFIG, reward=RewardConfig(weights={"accuracy": 0.9, "judge": 0.1}))
    assert most_calls(both, [OPEN, CLOSED], [OPEN, CLOSED], 4) == 126


def test_panels_canaries_and_second_opinions_cost_calls() -> None:
    def with_judge(**changes: object) -> int:
        return most_calls(replace(CONFIG, judge=replace(JUDGE, **changes)), [OPEN], [], 4)  # type: ignore[arg-type]

    assert with_judge() == 64
    assert with_judge(second_opinion="both") == 128
    assert with_judge(canary_fraction=0.25) == 80
    panel = {"a": PanelMember(), "b": PanelMember(model="n"), "c": PanelMember(prompt="equivalence_2")}
    assert with_judge(panel=panel) == 192
    assert [seat.model for seat in seats(replace(JUDGE, panel=panel))] == ["m", "n"]


def test_the_cost_and_a_budget_that_may_not_last_are_told() -> None:
    judge = replace(JUDGE, price_input=1.0, price_output=10.0, max_calls=40)
    findings = estimate(replace(CONFIG, judge=judge), [OPEN, CLOSED], [OPEN, CLOSED], 4)
    # 42 calls of 900 tokens in and at most 400 out: 37,800 x 1 + 16,800 x 10 = 205,800 millionths.
    assert "at most 42 calls and about 54,600 tokens, cost 0.21" in findings[0].text
    assert "judge.max_calls=40 may end the run before its last step" in findings[1].text
    assert len(estimate(replace(CONFIG, judge=replace(judge, max_calls=42)), [OPEN, CLOSED], [OPEN, CLOSED], 4)) == 1


def test_a_judge_that_cannot_be_made_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROUNDS_TEST_KEY", raising=False)
    assert "ROUNDS_TEST_KEY, which is not set" in check_judge(CONFIG)[0].text
    monkeypatch.setenv("ROUNDS_TEST_KEY", "x")
    (bad, *_) = check_judge(replace(CONFIG, judge=replace(JUDGE, prompt="no_such_prompt")))
    assert not bad.good
    assert "there is no judge prompt 'no_such_prompt'" in bad.text
    made, graded, probed = check_judge(
        replace(CONFIG, judge=replace(JUDGE, calibration="judges/cases/calibration.jsonl"))
    )
    assert "judged by m at http://127.0.0.1:9/v1" in made.text
    assert "105 answers" in graded.text
    assert not probed.good
    unasked = replace(CONFIG, reward=RewardConfig(routes={"yes_no": "yes_no"}))
    assert [finding.text for finding in check_judge(unasked)] == ["judge: no reward of this run asks one"]
