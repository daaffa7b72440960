"""What is computed again instead of kept, and what ranks send to one another: numbers stay, memory and traffic fall."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pytest
import torch
import torch.distributed as dist

from rl.config import ComputeConfig
from rl.policy.batching import Row, make_micro_batches
from rl.policy.objectives import GrpoObjective
from rl.policy.policy import Policy, Reference
from rl.policy.ranks import piece_of
from rl.policy.sharding import Layout, layers_of, layout_of, make_mesh
from rollouts.engine.checksum import checksum
from rollouts.prompt.processing import encode, load_processor
from tests.fakes.tiny_models import MAKERS, make_llama
from tests.rl.policy.policy_cases import GRPO, TOTAL_UPDATES, difference, sample, some_rows, totals_of

# Many small micro-batches; a step of Adam that does not hang on the rounding of tiny gradients.
SMALL = dataclasses.replace(GRPO, micro_batch_tokens=60, adam_epsilon=1e-3)


def policy_with(folder: Path, layout: Layout, dtype: Literal["float32", "bfloat16"] = "float32") -> Policy:
    return Policy(folder, GrpoObjective(SMALL), total_updates=TOTAL_UPDATES, dtype=dtype, layout=layout)


def rows_of(folder: Path) -> list[Row]:
    return [dataclasses.replace(row, ref_logprobs=(-5.0,) * len(row.completion_ids)) for row in some_rows(folder)]


@pytest.mark.parametrize("family", MAKERS)
def test_layers_computed_again_give_the_same_update_and_are_seen_to_be_computed_again(
    family: str, tmp_path: Path
) -> None:
    folder = MAKERS[family](tmp_path)
    rows = rows_of(folder)
    kept, again = policy_with(folder, Layout()), policy_with(folder, Layout(activation_checkpointing=True))
    assert not again.tokens.model.training, "evaluation mode, in which transformers' own checkpointing does nothing"
    counts = {policy: [0] * len(layers_of(policy.tokens)) for policy in (kept, again)}
    for policy, count in counts.items():
        for place, layer in enumerate(layers_of(policy.tokens)):
            layer.mlp.register_forward_pre_hook(_adds_to(count, place))
    ours, expected = again.update(rows, totals_of(rows)), kept.update(rows, totals_of(rows))
    assert ours == pytest.approx(expected, abs=1e-6)
    assert difference(again.weights(), kept.weights()) < 1e-6
    assert counts[again] == [2 * count for count in counts[kept]] and all(counts[kept])
    assert [name for name, _ in again.tokens.named_parameters()] == [name for name, _ in kept.tokens.named_parameters()]


def _adds_to(count: list[int], place: int) -> Any:
    def hook(*_: object) -> None:
        count[place] += 1

    return hook


def test_layers_computed_again_keep_a_fifth_of_the_activations_at_most(tmp_path: Path) -> None:
    folder = make_llama(tmp_path, layers=8)
    processor = load_processor(folder)
    prompt = encode(processor, sample("long", "Where is it? " * 30, ()))
    [batch] = make_micro_batches([Row(prompt, (65, 66, 67, 68))], 4096)
    kept, again = (_bytes_kept(policy_with(folder, Layout(activation_checkpointing=on)), batch) for on in (False, True))
    assert kept >= 5 * again, (kept, again)


def _bytes_kept(policy: Policy, batch: Any) -> int:
    """Bytes that a forward pass keeps for its backward pass, weights not counted: what autograd saves, and the inputs
    of layers."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in policy.tokens.parameters()}
    seen: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        seen[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    def keep_inputs(_layer: object, inputs: tuple[Any, ...], settings: dict[str, Any]) -> None:
        for value in (*inputs, *settings.values()):
            for tensor in value if isinstance(value, tuple) else (value,):
                if isinstance(tensor, torch.Tensor):
                    keep(tensor)

    for layer in layers_of(policy.tokens):
        layer.register_forward_pre_hook(keep_inputs, with_kwargs=True)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        policy.tokens(batch)
    return sum(one.untyped_storage().nbytes() for place, one in seen.items() if place not in weights)


def test_checkpointing_that_is_left_open_follows_the_device() -> None:
    assert [layout_of(ComputeConfig(device=name)).activation_checkpointing for name in ("cpu", "cuda")] == [False, True]
    off = ComputeConfig(device="cuda", activation_checkpointing=False)
    assert not layout_of(off).activation_checkpointing


def test_ranks_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match=r"compute\.fsdp_size=3 does not divide the 8 ranks"):
        make_mesh("cpu", 8, 3)


class Case(NamedTuple):
    """A policy on two ranks, and how far it may be from one on one rank in float32."""

    family: str
    dtype: Literal["float32", "bfloat16"]
    layout: Layout
    weights: float = 1e-6
    metrics: float = 1e-5


HALF = {"weights": 5e-3, "metrics": 0.1}  # an update moves a weight by at most the learning rate, 1e-3
CASES = (
    Case("internvl", "float32", Layout()),
    Case("internvl", "float32", Layout(gradient_sync="micro_batch", activation_checkpointing=True)),
    Case("internvl", "float32", Layout(fsdp_size=1)),
    Case("internvl", "bfloat16", Layout(activation_checkpointing=True), **HALF),
    Case("qwen2_5_vl", "float32", Layout(activation_checkpointing=True)),
    Case("llama", "bfloat16", Layout(), **HALF),
)


class Frozen(NamedTuple):
    """A reference on two ranks."""

    layout: Layout
    dtype: Literal["float32", "bfloat16"] = "float32"


FROZEN = (
    Frozen(Layout(reference="sharded")),
    Frozen(Layout(reference="cpu")),
    Frozen(Layout(reference="sharded"), "bfloat16"),
    Frozen(Layout(reference="cpu", fsdp_size=1)),
)


def reference_with(folder: Path, case: Frozen) -> Reference:
    return Reference(folder, temperature=0.9, micro_batch_tokens=60, dtype=case.dtype, layout=case.layout)


@contextmanager
def counted(name: str) -> Iterator[list[int]]:
    """Bytes of each call of a collective: the larger of what goes in and what comes out."""
    real, sizes = getattr(dist, name), []

    def call(*arguments: Any, **named: Any) -> Any:
        tensors = [one for one in (*arguments, *named.values()) if isinstance(one, torch.Tensor)]
        sizes.append(max(one.nbytes for one in tensors))
        return real(*arguments, **named)

    setattr(dist, name, call)
    try:
        yield sizes
    finally:
        setattr(dist, name, real)


def parts_of(rows: list[Row]) -> list[list[Row]]:
    """The rows of each rank: all images are on the first one."""
    return [[row for row in rows if bool(row.prompt.media) == seen] for seen in (True, False)]


def _two_ranks(rank: int, folders: dict[str, Path], store: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}/rendezvous", rank=rank, world_size=2)
    for number, case in enumerate(CASES):
        policy = policy_with(folders[case.family], case.layout, case.dtype)
        rows = rows_of(folders[case.family])
        mine = parts_of(rows)[rank] if case.family != "llama" else rows[rank::2]
        begun = checksum(policy.weights()) if case.dtype == "float32" else ""
        values = [list(one) for one in policy.log_probs(mine)]
        with counted("all_gather_single") as gathered, counted("reduce_scatter_single") as scattered:
            metrics = policy.update(mine, totals_of(rows))
        result = {"values": values, "metrics": metrics, "gathered": gathered, "scattered": scattered}
        result["collected"] = checksum(policy.collected())
        torch.save({**result, "begun": begun, "weights": policy.weights()}, store / f"{number}_{rank}.pt")
    rows = rows_of(folders["internvl"])
    for number, frozen in enumerate(FROZEN):
        reference = reference_with(folders["internvl"], frozen)
        held = sum(piece_of(parameter).rows.nbytes for parameter in reference.tokens.parameters())
        values = [list(one) for one in reference.log_probs(parts_of(rows)[rank])]
        # All rows are on the first rank: the other one gathers with it and has nothing to say.
        lonely = [list(one) for one in reference.log_probs(rows if rank == 0 else [])]
        torch.save({"values": values, "lonely": lonely, "held": held}, store / f"frozen_{number}_{rank}.pt")
    torch.save(memory_of_loading(folders["large"]), store / f"memory_{rank}.pt")
    dist.destroy_process_group()


def memory_of_loading(folder: Path) -> dict[str, int]:
    """By how many bytes this process grows, at most, while a reference is loaded in shards, and those of its
    weights."""
    resting = _resident("VmRSS", forget_peak=True)
    reference = Reference(folder, temperature=0.9, layout=Layout(reference="sharded"))
    weights = sum(parameter.nbytes for parameter in reference.tokens.parameters())
    return {"grown": _resident("VmHWM") - resting, "weights": weights}


def _resident(name: str, forget_peak: bool = False) -> int:
    """Bytes of this process's memory, by Linux's names: VmRSS now, VmHWM the most since it was last forgotten."""
    if forget_peak:
        Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) << 10


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {name: MAKERS[name](tmp_path_factory.mktemp(name)) for name in ("internvl", "qwen2_5_vl", "llama")}
    return made | {"large": make_llama(tmp_path_factory.mktemp("large"), layers=16, hidden=512)}


@pytest.fixture(scope="module")
def store(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two ranks wrote down, policies and references."""
    written = tmp_path_factory.mktemp("ranks")
    torch.multiprocessing.spawn(_two_ranks, args=(folders, written), nprocs=2)
    return written


def of_both_ranks(store: Path, name: str) -> list[dict[str, Any]]:
    return [torch.load(store / f"{name}_{rank}.pt", weights_only=True) for rank in (0, 1)]


@pytest.fixture(scope="module")
def on_ranks(store: Path) -> list[list[dict[str, Any]]]:
    return [of_both_ranks(store, f"{number}") for number in range(len(CASES))]


@pytest.mark.parametrize("number", range(len(CASES)))
def test_two_ranks_one_of_them_without_an_image_learn_what_one_does(
    number: int, on_ranks: list[list[dict[str, Any]]], folders: dict[str, Path]
) -> None:
    case, results = CASES[number], on_ranks[number]
    rows = rows_of(folders[case.family])
    alone = policy_with(folders[case.family], Layout())
    if case.dtype == "float32":
        assert {result["begun"] for result in results} == {checksum(alone.weights())}, "read in shards, bit by bit"
    expected = alone.update(rows, totals_of(rows))
    for result in results:
        for name in ("loss", "kl", "entropy", "grad_norm"):
            assert result["metrics"][name] == pytest.approx(expected[name], abs=case.metrics), name
        weights = {name: tensor.float() for name, tensor in result["weights"].items()}
        assert difference(weights, alone.weights()) < case.weights
    # An export is whole on the first rank, and the others hold nothing of it.
    assert [result["collected"] for result in results] == [checksum(results[0]["weights"]), checksum({})]
    assert all(torch.equal(one, results[1]["weights"][name]) for name, one in results[0]["weights"].items()), (
        "both ranks hold the same model"
    )


@pytest.mark.parametrize("number", range(len(FROZEN)))
def test_a_reference_in_shards_says_what_a_whole_one_says(number: int, store: Path, folders: dict[str, Path]) -> None:
    case, folder = FROZEN[number], folders["internvl"]
    rows = rows_of(folder)
    whole = reference_with(folder, Frozen(Layout()))
    bound = 1e-5 if case.dtype == "float32" else 0.05
    results = of_both_ranks(store, f"frozen_{number}")
    given = [*zip(results, parts_of(rows), ("values", "values"), strict=True), (results[0], rows, "lonely")]
    for result, part, name in given:
        for ours, theirs in zip(result[name], whole.log_probs(part), strict=True):
            assert ours == pytest.approx(theirs, abs=bound)
    assert results[1]["lonely"] == []
    if case == FROZEN[0]:  # what both hold is the whole, about half each
        size = sum(parameter.nbytes for parameter in whole.tokens.parameters())
        assert sum(result["held"] for result in results) == size
        assert max(result["held"] for result in results) < 0.55 * size


def test_a_rank_that_loads_a_shard_never_holds_the_whole(store: Path) -> None:
    for grown in of_both_ranks(store, "memory"):
        assert grown["weights"] > 150 << 20
        # Half of the weights, and one of the 147 tensors at a time.
        assert 0.45 * grown["weights"] < grown["grown"] < 0.6 * grown["weights"], grown


def test_ranks_gather_half_the_bytes_in_bfloat16_and_add_up_gradients_once_an_update(
    on_ranks: list[list[dict[str, Any]]], folders: dict[str, Path]
) -> None:
    # Two layers of the tower, two of the decoder, embedding with head, and the rest.
    num_groups = 6
    parts = parts_of(rows_of(folders["internvl"]))
    passes = max(len(make_micro_batches(part, SMALL.micro_batch_tokens)) for part in parts)
    assert passes > 1
    whole, each, _, half = (results[0] for results in on_ranks[:4])
    for result in (whole, each, half):  # forward and backward; layers that are computed again are not gathered again
        assert len(result["gathered"]) == 2 * num_groups * passes
    assert sum(half["gathered"]) * 2 == sum(whole["gathered"])
    assert [len(result["scattered"]) for result in (whole, each, half)] == [num_groups, num_groups * passes, num_groups]
    assert sum(half["scattered"]) == sum(whole["scattered"]), "gradients are added up in float32"
