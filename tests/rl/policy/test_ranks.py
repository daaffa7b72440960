"""Two ranks under torch.distributed (FSDP2 over gloo, no GPU) learn exactly what one does."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from rl.policy import checkpoints
from rl.policy.batching import Row, split_rows
from rl.policy.checkpoints import CheckpointError, Saving, load_latest, save
from rl.policy.policy import Policy
from rl.policy.ranks import Piece, exchange
from rl.policy.sharding import Layout
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
    values = [list(one) for one in policy.log_probs([rows[place] for place in mine])]
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


def _from_two_to_one_and_back(rank: int, folder: Path, store: Path) -> None:
    """Two ranks learn and save; the first of them alone takes it up and saves; both take that up. And two copies of the
    weights, with moments that are rounded by chance, stay the same."""
    torch.set_num_threads(1)

    def join(name: str) -> None:
        torch.distributed.init_process_group("gloo", init_method=f"file://{store}/{name}", rank=rank, world_size=2)

    def taken_up(root: Path) -> Policy:
        found = load_latest(root)
        assert found is not None
        policy = policy_of(folder, **SMOOTH)
        policy.load_state(found.tensors, found.state["policy"])
        return policy

    def of_all_but_chance(policy: Policy) -> str:
        """The random state of the first rank becomes that of all."""
        return checksum({name: tensor for name, tensor in policy.state()[0].items() if name != "rng"})

    join("first")
    rows = _rows_for_ranks(folder)
    mine = [rows[place] for place in split_rows(rows, 2)[rank]]
    policy = policy_of(folder, **SMOOTH)
    for step in (1, 2):
        policy.update(mine, totals_of(rows))
        pieces, meta = policy.pieces()
        if step == 1:
            save(store / "two", step, pieces, {"policy": meta})
        else:  # by threads, which wait for one another
            saving = Saving(store / "two", step, pieces, {"policy": meta}, None)
    sums = [of_all_but_chance(policy)]
    saving.wait()
    full = _refused_on_the_second_rank(rank, store / "two", pieces)
    held = sum(piece.rows.nbytes for piece in pieces.values())
    copies = Policy(folder, policy.objective, total_updates=8, layout=Layout(fsdp_size=1, optimizer_state="bfloat16"))
    for _ in range(3):
        copies.update(mine, totals_of(rows))
    same = exchange(checksum({name: piece.rows for name, piece in copies.pieces()[0].items() if name != "rng"}))
    torch.distributed.destroy_process_group()
    if rank == 0:
        alone = taken_up(store / "two")
        sums.append(of_all_but_chance(alone))
        pieces, meta = alone.pieces()
        save(store / "one", 2, pieces, {"policy": meta})
    join("second")
    sums.append(of_all_but_chance(taken_up(store / "one")))
    torch.distributed.destroy_process_group()
    torch.save({"sums": sums, "held": held, "copies": same, "full": full}, store / f"{rank}.pt")


def _refused_on_the_second_rank(rank: int, root: Path, pieces: dict[str, Piece]) -> str:
    """What each rank is told of a checkpoint for which one of them has no room."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    write, checkpoints._write_shard = checkpoints._write_shard, full if rank == 1 else checkpoints._write_shard
    try:
        Saving(root, 3, pieces, {}, None).wait()
    except CheckpointError as error:
        return str(error)
    finally:
        checkpoints._write_shard = write
    return ""


def test_a_checkpoint_of_two_ranks_goes_to_one_and_back_and_a_damaged_shard_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    internvl = make_internvl(tmp_path / "model")
    torch.multiprocessing.spawn(_from_two_to_one_and_back, args=(internvl, tmp_path), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert len({*first["sums"], *second["sums"]}) == 1, (first["sums"], second["sums"])
    assert (len(first["sums"]), len(second["sums"])) == (3, 2)
    assert len({*first["copies"]}) == 1
    assert first["full"] == second["full"] and "No space left on device (rank 1); free space" in first["full"]
    assert not (tmp_path / "two" / "step_000003.tmp").exists()
    shards = [tmp_path / "two" / "step_000002" / f"shard_0000{rank}_of_00002.safetensors" for rank in (0, 1)]
    for path, result in zip(shards, (first, second), strict=True):
        assert path.stat().st_size < 1.2 * result["held"] + 40_000, "a rank writes what it holds, and a header"
    data = bytearray(shards[1].read_bytes())
    data[-1] ^= 1
    shards[1].write_bytes(data)
    found = load_latest(tmp_path / "two")
    assert found is not None and found.step == 1
    assert "shard_00001_of_00002.safetensors is not the file that was written" in caplog.text


def _two_copies_of_two_shards(rank: int, folder: Path, store: Path) -> None:
    """Four ranks: two copies of weights and moments, each in two shards."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{store}/four", rank=rank, world_size=4)
    policy = policy_of(folder, layout=Layout(fsdp_size=2), **SMOOTH)
    begun = checksum(policy.weights())
    rows = _rows_for_ranks(folder)
    mine = [rows[place] for place in split_rows(rows, 4)[rank]]
    metrics = [policy.update(mine, totals_of(rows)) for _ in range(2)]
    pieces, meta = policy.pieces()
    Saving(store / "four_ranks", 2, pieces, {"policy": meta}, None).wait()
    held = sum(piece.rows.nbytes for name, piece in pieces.items() if name.startswith("weight/"))
    result = {"begun": begun, "metrics": metrics, "weights": policy.weights(), "held": held}
    torch.save(result, store / f"four_{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_copies_of_two_shards_learn_what_one_rank_does_and_are_written_once(tmp_path: Path) -> None:
    internvl = make_internvl(tmp_path / "model")
    torch.multiprocessing.spawn(_two_copies_of_two_shards, args=(internvl, tmp_path), nprocs=4)
    alone = policy_of(internvl, **SMOOTH)
    begun, rows = checksum(alone.weights()), _rows_for_ranks(internvl)
    expected = [alone.update(rows, totals_of(rows)) for _ in range(2)]
    results = [torch.load(tmp_path / f"four_{rank}.pt", weights_only=True) for rank in range(4)]
    size = sum(parameter.nbytes for parameter in alone.tokens.parameters())
    for result in results:
        assert result["begun"] == begun, "read by rows, bit by bit"
        assert result["held"] == pytest.approx(size / 2, rel=0.05)
        for ours, theirs in zip(result["metrics"], expected, strict=True):
            assert ours["loss"] == pytest.approx(theirs["loss"], abs=1e-5)
            assert ours["grad_norm"] == pytest.approx(theirs["grad_norm"], abs=1e-5)
        assert difference(result["weights"], alone.weights()) < 1e-6
    assert len({checksum(result["weights"]) for result in results}) == 1
    found = load_latest(tmp_path / "four_ranks")
    assert found is not None
    # Once float32 weights and both moments, and not once a copy.
    files = sum(file.stat().st_size for file in found.path.glob("*.safetensors"))
    assert files == pytest.approx(3 * size, rel=0.05)
    alone.load_state(found.tensors, found.state["policy"])
    assert checksum(alone.weights()) == checksum(results[0]["weights"])
