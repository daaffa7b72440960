"""Two ranks under torch.distributed (FSDP2 over gloo, no GPU) learn exactly what one does when only parts learn,
although one of them sees images and the other none."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from rl.config import LoraConfig, Train
from rl.policy.batching import Row, split_rows
from rl.policy.objectives import GrpoObjective
from rl.policy.policy import Policy
from rollouts.engine.checksum import checksum
from tests.fakes.tiny_models import make_internvl
from tests.rl.policy.policy_cases import GRPO, TOTAL_UPDATES, difference, some_rows, totals_of

MASKS: tuple[Train, ...] = ("lora", "vision_projector")
# Adam divides a gradient by its own size: see tests/rl/policy/test_ranks.py.
SMOOTH = GrpoObjective(dataclasses.replace(GRPO, adam_epsilon=1e-3))


def _policy(folder: Path, train: Train) -> Policy:
    lora = LoraConfig(r=4, lora_alpha=8)
    return Policy(folder, SMOOTH, total_updates=TOTAL_UPDATES, train=train, lora=lora, seed=3)


def _minibatches(folder: Path) -> list[list[Row]]:
    """All rows; those of the prompts with one image and with none, a rank each; those of the prompt without any, so
    that one rank has a few or no rows."""
    rows = [dataclasses.replace(row, ref_logprobs=(-5.0,) * len(row.completion_ids)) for row in some_rows(folder)]
    return [rows, *([row for row in rows if row.prompt.prompt_id in names] for names in (("one", "none"), ("none",)))]


def _learn(policy: Policy, folder: Path, rank: int, num_ranks: int) -> dict[str, object]:
    """Three updates on this rank's rows, the base asked before each; everything that can be compared."""
    metrics, bases = [], []
    for minibatch in _minibatches(folder):
        part = [minibatch[place] for place in split_rows(minibatch, num_ranks)[rank]]
        if policy.parts.adapter is not None:
            bases.append(sum(sum(values) for values in policy.reference_log_probs(part)))
        metrics.append(policy.update(part, totals_of(minibatch)))
    tensors, meta = policy.state()
    return {"metrics": metrics, "bases": bases, "weights": policy.weights(), "tensors": tensors, "meta": meta}


def _two_ranks(rank: int, folder: Path, store: Path, port_file: Path) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{port_file}", rank=rank, world_size=2)
    for train in MASKS:
        policy = _policy(folder, train)
        torch.save(_learn(policy, folder, rank, 2), store / f"{train}_{rank}.pt")
        policy.save_pretrained(store / f"{train}_model")
    torch.distributed.destroy_process_group()


@pytest.mark.slow  # two ranks with all parts are a test of test_objectives.py
def test_two_ranks_learn_what_one_does_whatever_the_mask(tmp_path: Path) -> None:
    folder = make_internvl(tmp_path / "model")
    spread = [[any(b[place].prompt.media for place in part) for part in split_rows(b, 2)] for b in _minibatches(folder)]
    assert {True, False} == set(spread[1]) and not any(spread[2])
    context = torch.multiprocessing.spawn(
        _two_ranks, args=(folder, tmp_path, tmp_path / "rendezvous"), nprocs=2, join=False
    )
    expected = {train: _learn(_policy(folder, train), folder, 0, 1) for train in MASKS}
    while not context.join():
        pass
    for train, alone in expected.items():
        both = [torch.load(tmp_path / f"{train}_{rank}.pt", weights_only=True) for rank in (0, 1)]
        for ours in both:
            for one, other in zip(ours["metrics"], alone["metrics"], strict=True):
                for name in ("loss", "kl", "grad_norm", "update/skipped"):
                    assert one[name] == pytest.approx(other[name], abs=1e-5), (train, name)
            assert difference(ours["weights"], alone["weights"]) < 1e-6, train
            assert ours["meta"] == alone["meta"], "the frozen checksum is that of the whole, on any number of ranks"
        assert checksum(both[0]["weights"]) == checksum(both[1]["weights"])
        for ours, theirs in zip(zip(both[0]["bases"], both[1]["bases"], strict=True), alone["bases"], strict=True):
            assert sum(ours) == pytest.approx(theirs, abs=1e-3)
        # What two ranks saved goes on in one, and what they exported is what they learned.
        resumed = _policy(folder, train)
        resumed.load_state(both[0]["tensors"], both[0]["meta"])
        assert checksum(resumed.weights()) == checksum(both[0]["weights"])
        exported = Policy(tmp_path / f"{train}_model", SMOOTH, total_updates=1)
        assert checksum(exported.weights()) == checksum(both[0]["weights"])
