"""ok, abstain, error and timeout through scoring, advantages and loss: JUDGING.md's vectors on every estimator and
aggregation that is offered."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any, get_args

import pytest
import torch

from rewards import Outcome, Rubric, Sample, Scored, Scorer, parse, registry, reward
from rewards.contract import Limits
from rl.algo.advantages import advantages_of
from rl.algo.denominators import denominators
from rl.algo.estimators import ESTIMATORS, estimator_of
from rl.algo.losses import policy_loss, row_bounds
from rl.config import Aggregation, Config, GrpoConfig, RewardConfig, ScaleRewards
from rl.drawing import Group, TooManyFailures
from rl.run.metrics import group_metrics, outcome_metrics
from rl.step import collect_scores, with_advantages
from rollouts.prompt.processing import EncodedPrompt
from rollouts.records import Completion
from tests.paths import PLUGINS

OPEN = Sample("q", "What is it?", "open", "Pneumonia")
HOSTILE = f"{PLUGINS}/hostile.py:hostile"
FAILED = [Outcome(None, "error", "e"), Outcome(None, "timeout", "t"), Outcome(None, "abstain", "a")]
ALL = list(itertools.product(ESTIMATORS, get_args(ScaleRewards), get_args(Aggregation)))
# Tokens of the four completions; the second one is never in any denominator.
LENGTHS = [2, 3, 1, 2]
MAX_LENGTH = 4
# What one token weighs by hand. Three valid rows of 2, 1 and 2 tokens: grpo 1 / (3 x its row's), bnpo and dapo 1 / 5,
# dr_grpo 1 / (3 x 4). At a ratio of 1 gspo has the gradient of grpo: a row's ratio is shared by its tokens.
WEIGHTS = {
    "grpo": [1 / 6, 0.0, 1 / 3, 1 / 6],
    "bnpo": [1 / 5, 0.0, 1 / 5, 1 / 5],
    "dapo": [1 / 5, 0.0, 1 / 5, 1 / 5],
    "dr_grpo": [1 / 12, 0.0, 1 / 12, 1 / 12],
    "gspo": [1 / 6, 0.0, 1 / 3, 1 / 6],
}


def scored(values: Sequence[float], failed: int, how: Outcome) -> list[Scored]:
    """A group of one reward, one member of which has no value."""
    rubric = Rubric({"format": 1.0})
    outcomes = [how if place == failed else Outcome(value) for place, value in enumerate(values)]
    return [rubric.total(parse("x"), {"format": outcome}) for outcome in outcomes]


def advantages(members: list[Scored], scale: str, aggregation: str) -> list[float]:
    grpo = GrpoConfig(scale_rewards=scale, multi_objective_aggregation=aggregation)  # type: ignore[arg-type]
    result = advantages_of([members], [[member.valid for member in members]], grpo)
    assert result.trained.tolist() == [[member.valid for member in members]]
    return result.advantages[0].tolist()


def gradients(loss_type: str, values: Sequence[float], valid: Sequence[bool]) -> list[float]:
    """Gradient of the loss by the log-prob of one token of each row, at a ratio of 1; a row that is not valid is not in
    the micro-batch."""
    (totals,) = denominators([[length for length, good in zip(LENGTHS, valid, strict=True) if good]], MAX_LENGTH)
    kept = [place for place, good in enumerate(valid) if good]
    lengths = [LENGTHS[place] for place in kept]
    estimator = estimator_of(loss_type)
    weights_N = estimator.token_weights(torch.tensor(lengths)) / estimator.divisor(totals)
    advantages_N = torch.tensor([values[place] for place in kept]).repeat_interleave(torch.tensor(lengths))
    logprobs_N = torch.full((sum(lengths),), -1.0, requires_grad=True)
    old_N, bounds_R1 = logprobs_N.detach().clone(), row_bounds(lengths)
    loss, _ = policy_loss(
        logprobs_N, old_N, None, advantages_N, weights_N, bounds_R1,
        log_ratio=estimator.log_ratio, epsilon=0.2,
    )  # fmt: skip
    loss.backward()
    assert logprobs_N.grad is not None
    rows = dict(zip(kept, logprobs_N.grad.split(lengths), strict=True))
    assert all(len(set(row.tolist())) == 1 for row in rows.values())
    return [rows[place][0].item() if place in rows else 0.0 for place in range(len(values))]


@pytest.mark.parametrize("how", FAILED, ids=lambda outcome: outcome.status)
@pytest.mark.parametrize(("loss_type", "scale", "aggregation"), ALL)
def test_rewards_1_1_0_0_with_the_second_masked(loss_type: str, scale: str, aggregation: str, how: Outcome) -> None:
    # Valid 1, 0, 0: mean 1/3, centred 2/3, -1/3, -1/3, std with ddof=1 0.57735, quotients 1.1547 and -0.5774. One group
    # is the whole batch, so its std is the batch's. Normalised first, the quotients' own std is 1 and changes nothing.
    centred = scale == "none" and aggregation == "sum_then_normalize"
    expected = [0.6667, 0.0, -0.3333, -0.3333] if centred else [1.1547, 0.0, -0.5774, -0.5774]
    members = scored([1.0, 1.0, 0.0, 0.0], 1, how)
    found = advantages(members, scale, aggregation)
    assert found == pytest.approx(expected, abs=5e-4)
    assert found[1] == 0.0
    # At a ratio of 1 the gradient by a token's log-prob is -advantage x weight.
    by_token = gradients(loss_type, found, [member.valid for member in members])
    assert by_token == pytest.approx([-a * w for a, w in zip(expected, WEIGHTS[loss_type], strict=True)], abs=5e-4)


@pytest.mark.parametrize(
    ("scale", "aggregation"), list(itertools.product(get_args(ScaleRewards), get_args(Aggregation)))
)
def test_rewards_1_3_2_0_with_the_last_masked_have_a_mean_of_2(scale: str, aggregation: str) -> None:
    # 1, 3, 2: mean 2, std 1; with the fourth as 0 the mean would be 1.5.
    found = advantages(scored([1.0, 3.0, 2.0, 0.0], 3, FAILED[0]), scale, aggregation)
    assert found == pytest.approx([-1.0, 1.0, 0.0, 0.0], abs=5e-4)


def test_a_zero_is_a_value_and_no_failure() -> None:
    """Score 0.0 treated as missing: OpenRLHF #1219."""
    members = [Rubric({"format": 1.0}).total(parse("x"), {"format": Outcome(value)}) for value in (0.0, 1.0)]
    assert [member.valid for member in members] == [True, True]
    assert advantages(members, "none", "sum_then_normalize") == [-0.5, 0.5]


def test_behind_a_closed_gate_every_reward_counts_as_nothing() -> None:
    rubric = Rubric(
        {"format": 1.0, "length": 0.5}, arguments={"length": {"max_length": 8, "cache": 4}}, gates={"format": 1.0}
    )
    values = [(1.0, -1.0), (1.0, 0.0), (0.0, -0.5)]
    members = [rubric.total(parse("x"), {"format": Outcome(a), "length": Outcome(b)}) for a, b in values]
    assert [member.total for member in members] == [0.5, 1.0, 0.0]
    # Format 1, 1, 0 and length -1, 0, 0 (the gated -0.5 counts as 0): each by its std 0.5774 is +0.577, +0.577, -1.155
    # and -1.155, 0.577, 0.577.
    # Summed with 1 and 0.5: 0, 0.866, -0.866; their std is 0.866.
    assert advantages(members, "group", "normalize_then_sum") == pytest.approx([0.0, 1.0, -1.0], abs=5e-4)


class Recorded:
    """A scorer, its rubric and what it was asked to score, as a run has it."""

    def __init__(self, scorer: Scorer) -> None:
        self.scorer, self.rubric = scorer, scorer.rubric
        self.asked: list[tuple[str, int | None]] = []

    def submit(self, sample: Sample, completion: str, key: str, *more: Any, **settings: Any) -> Any:
        self.asked.append((completion, settings["group_size"]))
        return self.scorer.submit(sample, completion, key, *more, **settings)


@dataclasses.dataclass
class ScoredRun:
    """As much of a run as scoring needs."""

    name: str
    config: Config
    scorer: Recorded


def run_of(scorer: Scorer, **grpo: Any) -> ScoredRun:
    settings = GrpoConfig(prompts_per_step=1, num_generations=4, **grpo)
    return ScoredRun("run", Config(grpo=settings, reward=RewardConfig()), Recorded(scorer))


def group_of(run: ScoredRun, texts: Sequence[str]) -> Group:
    completions = tuple(Completion((1, 2), text, "stop", (-1.0, -1.0), 0, 0) for text in texts)
    scores = tuple(run.scorer.scorer.submit(OPEN, text, "first", group_size=len(texts)) for text in texts)
    prompt = EncodedPrompt(
        **{field.name: None for field in dataclasses.fields(EncodedPrompt)} | {"prompt_id": "q", "text": "?"}
    )
    logprobs = ((-1.0, -1.0),) * len(texts)
    return Group(OPEN, prompt, completions, scores, (0.0,) * len(texts), logprobs, logprobs)


@pytest.fixture
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))


def fails_at_first(times: dict[str, int]) -> None:
    """A reward that raises so often on a completion before it pays 1."""

    @reward("flaky", isolate=False)
    def flaky(completion: str) -> float:
        times[completion] = times.get(completion, 0) - 1
        if times[completion] >= 0:
            raise OSError("not reachable")
        return 1.0


@pytest.mark.usefixtures("_own_registry")
def test_a_group_under_the_minimum_is_judged_again_and_only_its_failed_members() -> None:
    fails_at_first({"a": 1, "b": 1, "c": 1})
    with Scorer(Rubric({"flaky": 1.0})) as scorer:
        run = run_of(scorer)
        (members,) = collect_scores(run, [group_of(run, "abcd")])
    assert run.scorer.asked == [("a", 3), ("b", 3), ("c", 3)]
    assert [member.total for member in members] == [1.0] * 4


@pytest.mark.usefixtures("_own_registry")
def test_a_group_with_enough_valid_members_is_not_judged_again() -> None:
    fails_at_first({"a": 1, "b": 1})
    with Scorer(Rubric({"flaky": 1.0})) as scorer:
        run = run_of(scorer)
        (members,) = collect_scores(run, [group_of(run, "abcd")])
    assert run.scorer.asked == []
    assert [member.valid for member in members] == [False, False, True, True]


@pytest.mark.usefixtures("_own_registry")
def test_a_group_that_stays_under_the_minimum_is_dropped_and_counted() -> None:
    fails_at_first({"a": 9, "b": 9, "c": 9})
    with Scorer(Rubric({"flaky": 1.0})) as scorer:
        run = run_of(scorer, max_failure_rate=0.9)
        groups = [group_of(run, "abcd")]
        (rollouts,) = with_advantages(run, 1, groups, collect_scores(run, groups))
    assert [(one.valid, one.advantage) for one in rollouts] == [(False, 0.0)] * 4
    assert group_metrics(rollouts)["by_group/dropped"] == 1.0
    metrics = outcome_metrics(rollouts)
    assert (metrics["reward_status/flaky/error"], metrics["reward_status/flaky/ok"]) == (0.75, 0.25)
    assert metrics["judge/verdicts"] == 0.0


@pytest.mark.usefixtures("_own_registry")
def test_where_a_reward_compares_the_group_all_of_it_is_scored_again() -> None:
    fails_at_first({"a": 1, "b": 1, "c": 1})

    @reward("size", isolate=False)
    def size(group: Sequence[object]) -> list[float]:
        return [float(len(group))] * len(group)

    with Scorer(Rubric({"flaky": 1.0, "size": 1.0})) as scorer:
        run = run_of(scorer)
        (members,) = collect_scores(run, [group_of(run, "abcd")])
    assert run.scorer.asked == [("a", 4), ("b", 4), ("c", 4), ("d", 4)]
    assert [member.total for member in members] == [5.0] * 4


def test_above_the_failure_rate_the_run_stops_with_the_plugins_name_and_traceback() -> None:
    with Scorer(Rubric({HOSTILE: 1.0}, limits=Limits(workers=1))) as scorer:
        run = run_of(scorer)
        with pytest.raises(TooManyFailures) as caught:
            collect_scores(run, [group_of(run, ["raises", "raises", "raises", "fine"])])
    message = str(caught.value)
    assert "3 of 4 completions could not be scored, at most 50% may fail" in message
    assert "3 x hostile: error: KeyError: 'lesion'" in message
    assert 'raise KeyError("lesion")' in message
    assert "hostile.py" in message
    assert len(message.splitlines()) < 24
