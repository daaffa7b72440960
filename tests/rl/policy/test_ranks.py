"""Two ranks under torch.distributed (FSDP2 over gloo, no GPU) learn exactly what one does."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from rl.policy.batching import Row, split_rows
from rollouts.engine.checksum import checksum
from tests.fakes.tiny_models import make_internvl
from tests.rl.policy.policy_cases import difference, policy_of, some_rows, totals_of

# Adam divides a gradient by its own size: with the usual 1e-8 a rounding difference in a gradient of 1e-9 would move a
# weight by a whole step.
SMOOTH = {"adam_epsilon": 1e-3}


def _two_ranks(rank: int, folder: Path, store: Path, port_file: Path) -> None:
    """What each of two ranks runs: the rows of its part, four updates, everything it knows saved for the test to
    compare."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{port_file}", rank=rank, world_size=2)
    policy = policy_of(folder, **SMOOTH)
    rows = _rows_for_ranks(folder)
    mine = split_rows(rows, 2)[rank]
    values = policy.log_probs([rows[place] for place in mine])
    metrics = []
    for minibatch in _minibatches(rows):
        part = [minibatch[place] for place in split_rows(minibatch, 2)[rank]]
        metrics.append(policy.update(part, totals_of(minibatch)))
    state, _ = policy.state()
    torch.save(
        {"places": mine, "values": values, "metrics": metrics, "weights": policy.weights()}, store / f"{rank}.pt"
    )
    policy.load_state(*policy.state())
    assert checksum(policy.state()[0]) == checksum(state)
    torch.distributed.destroy_process_group()


def _rows_for_ranks(folder: Path) -> list[Row]:
    return [dataclasses.replace(row, ref_logprobs=(-5.0,) * len(row.completion_ids)) for row in some_rows(folder)]


def _minibatches(rows: list[Row]) -> list[list[Row]]:
    """All rows; those of one prompt, cut between the ranks; a single row, so that the second rank has none; all rows,
    but one of them poisoned."""
    poisoned = [
        dataclasses.replace(row, advantage=float("nan")) if place == 0 else row for place, row in enumerate(rows)
    ]
    one_prompt = [row for row in rows if row.prompt.prompt_id == "one"]
    return [rows, one_prompt, one_prompt[:1], poisoned]


def test_two_ranks_learn_what_one_does(tmp_path: Path) -> None:
    internvl = make_internvl(tmp_path / "model")
    context = torch.multiprocessing.spawn(
        _two_ranks, args=(internvl, tmp_path, tmp_path / "rendezvous"), nprocs=2, join=False
    )
    alone = policy_of(internvl, **SMOOTH)
    rows = _rows_for_ranks(internvl)
    expected_values = alone.log_probs(rows)
    expected = [alone.update(minibatch, totals_of(minibatch)) for minibatch in _minibatches(rows)]
    while not context.join():
        pass
    assert [[len(part) for part in split_rows(minibatch, 2)] for minibatch in _minibatches(rows)[1:3]] == [
        [2, 1],
        [1, 0],
    ]
    results = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    for result in results:
        for place, values in zip(result["places"], result["values"], strict=True):
            assert values == pytest.approx(expected_values[place], abs=1e-5)
        assert [metrics["update/skipped"] for metrics in result["metrics"]] == [0.0, 0.0, 0.0, 1.0]
        for ours, theirs in zip(result["metrics"][:3], expected[:3], strict=True):
            for name in ("loss", "kl", "entropy", "grad_norm", "learning_rate"):
                assert ours[name] == pytest.approx(theirs[name], abs=1e-5), name
        assert difference(result["weights"], alone.weights()) < 1e-6
    assert checksum(results[0]["weights"]) == checksum(results[1]["weights"])
