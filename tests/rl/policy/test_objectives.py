"""The supervised objective: the loss and the token accuracy of a plain forward, whatever the micro-batches, and padding
that stands for no image."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
import torch

from rl.algo.losses import ENGINE_GAP
from rl.policy.batching import Row, split_rows
from rl.policy.objectives import SupervisedObjective
from rl.policy.optimizer import OptimizerSettings
from rl.policy.policy import Policy
from rl.run.metrics import engine_gap
from rollouts.prompt.processing import load_processor, media_token_ids
from tests.fakes import fake_rollouts
from tests.fakes.tiny_models import make_internvl
from tests.rl.policy.policy_cases import difference, some_rows, totals_of
from tests.rl.policy.policy_cases import policy_of as grpo_policy
from tests.rl.policy.test_policy import auto_model

SETTINGS = OptimizerSettings(1e-3, "constant", 0.0, 0.0, 1.0)


@pytest.fixture(scope="module")
def internvl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_internvl(tmp_path_factory.mktemp("internvl"))


def policy_of(folder: Path, budget: int) -> Policy:
    return Policy(folder, SupervisedObjective(SETTINGS, budget), total_updates=8)


def test_the_gap_to_the_engine_that_an_update_tells_is_that_of_its_own_forward_pass(internvl: Path) -> None:
    policy, plain = (grpo_policy(internvl, beta=0.0, old_logprobs=whose) for whose in ("engine", "policy"))
    rows, chance = some_rows(internvl), torch.Generator().manual_seed(0)
    seen = policy.log_probs(rows)
    # An engine that is off by some hundredths.
    drawn = [tuple((torch.tensor(one) + 0.05 * torch.randn(len(one), generator=chance)).tolist()) for one in seen]
    rows = [dataclasses.replace(row, old_logprobs=one) for row, one in zip(rows, drawn, strict=True)]
    told = policy.update(rows, totals_of(rows))
    stored = [fake_rollouts.rollout(fake_rollouts.sample(place)) for place in range(len(rows))]
    expected = engine_gap(
        [
            dataclasses.replace(
                one, old_logprobs=tuple(ours), completion=dataclasses.replace(one.completion, logprobs=theirs)
            )
            for one, ours, theirs in zip(stored, seen, drawn, strict=True)
        ]
    )
    assert {name: told[name] for name in ENGINE_GAP} == pytest.approx(
        {name: expected[name] for name in ENGINE_GAP}, abs=1e-6
    )
    assert 0.01 < told["rollout_corr/logprob_abs_diff_mean"] < 0.1
    assert not set(ENGINE_GAP) & set(plain.update(rows, totals_of(rows)))


def test_a_stale_token_weighs_in_the_loss_by_its_truncated_importance(internvl: Path) -> None:
    policy = grpo_policy(internvl, beta=0.0, old_logprobs="policy", max_staleness=1, tis_cap=1.5)
    rows = some_rows(internvl)
    # By hand: the ratio of a first update is 1, so that a row gives -A x the mean of its tokens' weights.
    shift = (0.0, 0.3, -0.3, 1.0)
    expected, capped, count = 0.0, 0, 0
    for place, (row, seen) in enumerate(zip(rows, policy.log_probs(rows), strict=True)):
        moved = [shift[index % len(shift)] for index in range(len(seen))]
        drawn = tuple(one - by for one, by in zip(seen, moved, strict=True))
        rows[place] = dataclasses.replace(row, old_logprobs=tuple(seen), engine_logprobs=drawn)
        weights = [min(math.exp(by), 1.5) for by in moved]
        expected -= row.advantage * sum(weights) / len(weights) / len(rows)
        capped, count = capped + sum(weight == 1.5 for weight in weights), count + len(weights)
    told = policy.update(rows, totals_of(rows))
    assert told["loss"] == pytest.approx(expected, abs=1e-5)
    assert told["tis/capped"] == pytest.approx(capped / count) and 0 < capped < count


def test_the_loss_is_the_cross_entropy_of_a_plain_forward(internvl: Path) -> None:
    rows = some_rows(internvl)
    model = auto_model(internvl).from_pretrained(internvl, dtype=torch.float32).eval()
    nats, hits, count = 0.0, 0, 0
    for row in rows:
        ids = torch.tensor([row.prompt.token_ids + row.completion_ids])
        with torch.no_grad():
            logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), **row.prompt.media).logits[0]
        predicted, taught = logits[len(row.prompt.token_ids) - 1 : -1], torch.tensor(row.completion_ids)
        nats += torch.nn.functional.cross_entropy(predicted, taught, reduction="sum").item()
        hits += int((predicted.argmax(-1) == taught).sum())
        count += len(taught)
    metrics = policy_of(internvl, 5000).update(rows, totals_of(rows))
    assert metrics["loss"] == pytest.approx(nats / count, abs=1e-5)
    assert metrics["mean_token_accuracy"] == pytest.approx(hits / count)
    assert metrics["learning_rate"] == 1e-3 and metrics["update/skipped"] == 0.0


def test_micro_batches_change_neither_loss_nor_weights(internvl: Path) -> None:
    rows = some_rows(internvl)
    whole, single = policy_of(internvl, 5000), policy_of(internvl, 1)
    results = [policy.update(rows, totals_of(rows)) for policy in (whole, single)]
    for name in ("loss", "mean_token_accuracy", "grad_norm"):
        assert results[0][name] == pytest.approx(results[1][name], abs=1e-5)
    moments = [
        {name: tensor for name, tensor in policy.state()[0].items() if name.startswith("exp_avg/")}
        for policy in (whole, single)
    ]
    assert difference(*moments) < 1e-6


def test_nothing_is_banned_and_padding_is_still_no_image(internvl: Path) -> None:
    tokens = policy_of(internvl, 5000).tokens
    assert tokens.banned == () and tokens.temperature == 1.0
    assert tokens.pad_id not in media_token_ids(load_processor(internvl))


def _two_ranks(rank: int, folder: Path, store: Path, port_file: Path) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{port_file}", rank=rank, world_size=2)
    policy = Policy(folder, SupervisedObjective(SMOOTH, 700), total_updates=8)
    metrics = []
    for rows in _batches(folder):
        part = [rows[place] for place in split_rows(rows, 2)[rank]]
        metrics.append(policy.update(part, totals_of(rows)))
    torch.save({"metrics": metrics, "weights": policy.weights()}, store / f"{rank}.pt")
    torch.distributed.destroy_process_group()


# Adam divides a gradient by its own size: with the usual 1e-8 a rounding difference would move a weight by a whole
# step.
SMOOTH = OptimizerSettings(1e-3, "constant", 0.0, 0.0, 1.0, adam_epsilon=1e-3)


def _batches(folder: Path) -> list[list[Row]]:
    """All rows, then a single one, so that the second rank has none."""
    rows = some_rows(folder)
    return [rows, rows[:1]]


@pytest.mark.full_run_only(reason="starts two processes of torch.distributed")
def test_two_ranks_learn_what_one_does(internvl: Path, tmp_path: Path) -> None:
    torch.multiprocessing.spawn(_two_ranks, args=(internvl, tmp_path, tmp_path / "rendezvous"), nprocs=2)
    alone = Policy(internvl, SupervisedObjective(SMOOTH, 700), total_updates=8)
    expected = [alone.update(rows, totals_of(rows)) for rows in _batches(internvl)]
    for rank in (0, 1):
        result = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for ours, theirs in zip(result["metrics"], expected, strict=True):
            assert ours == pytest.approx(theirs, abs=1e-5)
        assert difference(result["weights"], alone.weights()) < 1e-6


def test_pieces_of_a_mini_batch_make_the_update_of_the_whole(internvl: Path) -> None:
    rows = some_rows(internvl)
    whole, pieces = (grpo_policy(internvl, beta=0.0, old_logprobs="engine") for _ in range(2))
    seen = whole.log_probs(rows)
    rows = [dataclasses.replace(row, old_logprobs=tuple(one)) for row, one in zip(rows, seen, strict=True)]
    expected = whole.update(rows, totals_of(rows))
    pieces.accumulate(rows[:2])
    pieces.accumulate(rows[2:3])
    assert pieces.update(rows[3:], totals_of(rows)) == pytest.approx(expected, abs=1e-5)
    moments = [
        {name: tensor for name, tensor in policy.state()[0].items() if name.startswith("exp_avg/")}
        for policy in (whole, pieces)
    ]
    assert difference(*moments) < 1e-6


def test_a_piece_that_is_not_finite_leaves_the_weights_and_the_next_mini_batch_alone(internvl: Path) -> None:
    rows = some_rows(internvl)
    policy, fresh = (grpo_policy(internvl, beta=0.0, old_logprobs="policy") for _ in range(2))
    before = policy.weights()
    policy.accumulate([dataclasses.replace(rows[0], advantage=math.nan)])
    assert policy.update(rows[1:], totals_of(rows))["update/skipped"] == 1.0
    assert difference(policy.weights(), before) == 0.0
    assert policy.update(rows, totals_of(rows)) == fresh.update(rows, totals_of(rows))
