"""The GRPO loss: three-token examples by hand, one denominator for any micro-batching, TRL's and verl's own code on the
same tensors."""

from __future__ import annotations

import math
from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from rl.algo.denominators import Denominators, denominators
from rl.algo.estimators import ESTIMATORS, estimator_of
from rl.algo.losses import k3_kl, policy_loss, row_bounds, truncated_importance

LENGTHS = [3, 1, 5, 4]
MAX_LENGTH = 6


def case(seed: int = 0) -> dict[str, Tensor]:
    """Four completions of 3, 1, 5 and 4 tokens, ratios below 0.5 and above 2: tokens and whole completions are
    clipped."""
    generator = torch.Generator().manual_seed(seed)
    total = sum(LENGTHS)
    old = -torch.rand(total, generator=generator) * 3
    drift = torch.tensor([0.4, -0.8, -0.6, 0.4]).repeat_interleave(torch.tensor(LENGTHS))
    return {
        "logprobs": old + drift + torch.randn(total, generator=generator) * 0.4,
        "old": old,
        "ref": old + torch.randn(total, generator=generator) * 0.2,
        "advantages": torch.tensor([1.2, -0.7, -1.1, 0.6]).repeat_interleave(torch.tensor(LENGTHS)),
    }


def loss_of(tensors: dict[str, Tensor], loss_type: str = "grpo", **settings: float) -> tuple[Tensor, dict[str, Tensor]]:
    [totals] = denominators([LENGTHS], MAX_LENGTH)
    settings = {"epsilon": 0.2, "beta": 0.04} | settings
    estimator = estimator_of(loss_type)
    weights = estimator.token_weights(torch.tensor(LENGTHS)) / estimator.divisor(totals)
    values = (tensors["logprobs"], tensors["old"], tensors["ref"], tensors["advantages"], weights, row_bounds(LENGTHS))
    return policy_loss(*values, log_ratio=estimator.log_ratio, **settings)


def test_three_tokens_by_hand() -> None:
    # ratios 1.5, 1.0, 0.5; A = +1. Clipped to 1.2, 1.0, 0.8: min(1.5, 1.2) = 1.2; 1.0; min(0.5, 0.8) = 0.5. Loss -(1.2
    # + 1.0 + 0.5) / 3.
    logprobs = torch.tensor([1.5, 1.0, 0.5]).log()
    weights = torch.full((3,), 1 / 3)
    loss, sums = policy_loss(logprobs, torch.zeros(3), None, torch.ones(3), weights, row_bounds([3]), epsilon=0.2)
    assert loss.item() == pytest.approx(-2.7 / 3, abs=1e-6)
    assert sums["clip_ratio/high_mean"].item() == 1
    assert sums["clip_ratio/low_mean"].item() == 0
    # A = -1: max of the losses: 1.5, 1.0, 0.8 -> loss (1.5 + 1.0 + 0.8) / 3, and only the low side clips.
    loss, sums = policy_loss(logprobs, torch.zeros(3), None, -torch.ones(3), weights, row_bounds([3]), epsilon=0.2)
    assert loss.item() == pytest.approx(3.3 / 3, abs=1e-6)
    assert sums["clip_ratio/high_mean"].item() == 0
    assert sums["clip_ratio/low_mean"].item() == 1
    assert sums["clip_ratio/region_mean"].item() == 1


def test_epsilon_high_opens_the_upper_side_only() -> None:
    logprobs = torch.tensor([1.25, 0.7]).log()
    weights = torch.full((2,), 0.5)
    loss, _ = policy_loss(
        logprobs,
        torch.zeros(2),
        None,
        torch.tensor([1.0, -1.0]),
        weights,
        row_bounds([2]),
        epsilon=0.2,
        epsilon_high=0.28,
    )
    assert loss.item() == pytest.approx((-1.25 + 0.8) / 2, abs=1e-6)


def test_a_clipped_token_has_no_gradient_and_an_unclipped_one_has_its_advantage() -> None:
    logprobs = torch.tensor([1.5, 1.1]).log().requires_grad_()
    loss, _ = policy_loss(logprobs, torch.zeros(2), None, torch.ones(2), torch.ones(2), row_bounds([2]), epsilon=0.2)
    loss.backward()
    # d(-ratio)/d(logprob) = -ratio
    assert logprobs.grad is not None
    assert logprobs.grad.tolist() == pytest.approx([0.0, -1.1], abs=1e-6)


def test_k3_by_hand_and_its_sign() -> None:
    # d = ref - policy = ln 2: 2 - ln 2 - 1 = 0.30685; d = -ln 2: 0.5 + ln 2 - 1 = 0.19315; equal: 0
    kl = k3_kl(torch.tensor([0.0, 0.0, -1.0]), torch.tensor([math.log(2), -math.log(2), -1.0]))
    assert kl.tolist() == pytest.approx([0.30685, 0.19315, 0.0], abs=1e-5)
    assert kl[2].item() == 0.0


def test_the_kl_pulls_towards_the_reference() -> None:
    logprobs = torch.tensor([-1.0]).requires_grad_()
    loss, _ = policy_loss(
        logprobs,
        logprobs.detach(),
        torch.tensor([-0.5]),
        torch.zeros(1),
        torch.ones(1),
        row_bounds([1]),
        epsilon=0.2,
        beta=0.1,
    )
    loss.backward()
    # 0.1 * d/dl (exp(r - l) - (r - l) - 1) = 0.1 * (1 - exp(0.5)) = -0.0649: a descent step raises the log-prob
    assert logprobs.grad is not None
    assert logprobs.grad.item() == pytest.approx(-0.0649, abs=1e-4)


def test_a_wild_ratio_stays_finite() -> None:
    for sign in (1.0, -1.0):
        logprobs = torch.tensor([500.0 * sign]).requires_grad_()
        loss, _ = policy_loss(
            logprobs,
            torch.zeros(1),
            torch.zeros(1),
            -torch.ones(1),
            torch.ones(1),
            row_bounds([1]),
            epsilon=0.2,
            beta=0.04,
        )
        loss.backward()
        assert torch.isfinite(loss)
        assert logprobs.grad is not None
        assert torch.isfinite(logprobs.grad).all()


def test_beta_without_a_reference_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"grpo\.beta"):
        policy_loss(
            torch.zeros(1), torch.zeros(1), None, torch.ones(1), torch.ones(1), row_bounds([1]), epsilon=0.2, beta=0.04
        )


@pytest.mark.parametrize(
    ("loss_type", "expected"),
    [
        # Rows of 2 and 4 tokens; the step's other minibatch has 12 tokens, so 18 tokens in 2 minibatches, 9 on average.
        ("grpo", [1 / 4] * 2 + [1 / 8] * 4),  # 1 / (2 tokens x 2 rows), 1 / (4 x 2)
        ("bnpo", [1 / 6] * 6),
        ("dapo", [1 / 9] * 6),
        ("dr_grpo", [1 / 20] * 6),  # 2 rows x 10 tokens
        ("gspo", [1 / 4] * 2 + [1 / 8] * 4),
    ],
)
def test_the_weight_of_a_token(loss_type: str, expected: list[float]) -> None:
    totals, _ = denominators([[2, 4], [5, 7]], 10)
    assert totals == Denominators(num_rows=2, num_tokens=6, step_tokens=9.0, max_completion_length=10)
    estimator = estimator_of(loss_type)
    weights_N = estimator.token_weights(torch.tensor([2, 4])) / estimator.divisor(totals)
    assert weights_N.tolist() == pytest.approx(expected)


def test_an_unknown_loss_type_names_the_setting() -> None:
    with pytest.raises(ValueError, match=r"grpo\.loss_type"):
        estimator_of("ppo")


@pytest.mark.parametrize("loss_type", ESTIMATORS)
def test_micro_batches_add_up_to_the_whole_whatever_their_cut(loss_type: str) -> None:
    tensors = case()
    whole, whole_sums = loss_of(tensors, loss_type)
    [totals] = denominators([LENGTHS], MAX_LENGTH)
    for cut in ([[0], [1], [2], [3]], [[0, 1], [2, 3]], [[3, 0], [2, 1]], [[1], [0, 2, 3]]):
        parts = []
        for rows in cut:
            index = torch.cat([torch.arange(sum(LENGTHS[:row]), sum(LENGTHS[: row + 1])) for row in rows])
            mine = {name: tensor[index] for name, tensor in tensors.items()}
            lengths = [LENGTHS[row] for row in rows]
            estimator = estimator_of(loss_type)
            weights = estimator.token_weights(torch.tensor(lengths)) / estimator.divisor(totals)
            values = (mine["logprobs"], mine["old"], mine["ref"], mine["advantages"], weights, row_bounds(lengths))
            parts.append(policy_loss(*values, log_ratio=estimator.log_ratio, epsilon=0.2, beta=0.04))
        assert sum(part[0].item() for part in parts) == pytest.approx(whole.item(), abs=1e-6)
        assert sum(part[1]["kl"].item() for part in parts) == pytest.approx(whole_sums["kl"].item(), abs=1e-5)


class OneProcess:
    """accelerate's accelerator where there is one process: gathering and reducing change nothing."""

    num_processes = 1
    sync_gradients = True

    def gather(self, tensor: Tensor) -> Tensor:
        return tensor

    def reduce(self, tensor: Tensor, reduction: str) -> Tensor:
        return tensor


def padded(tensor_N: Tensor) -> Tensor:
    """Flat tokens as TRL and verl hold them: [rows, longest], zeros behind."""
    return torch.nn.utils.rnn.pad_sequence(list(tensor_N.split(LENGTHS)), batch_first=True)


def trl_loss(tensors: dict[str, Tensor], loss_type: str, epsilon_high: float) -> tuple[Tensor, dict[str, list[float]]]:
    """GRPOTrainer._compute_loss itself, on a trainer that has only what that method reads; the log-probs are ours to
    set."""
    grpo_trainer = pytest.importorskip("trl.trainer.grpo_trainer")
    logprobs = padded(tensors["logprobs"])
    metrics: dict[str, dict[str, list[float]]] = {"train": defaultdict(list)}
    level = "sequence" if loss_type == "gspo" else "token"
    trainer = SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *args, **kwargs: (logprobs, torch.zeros_like(logprobs), None),
        args=SimpleNamespace(delta=None, use_bias_correction_kl=False, steps_per_generation=1),
        model=SimpleNamespace(training=True),
        accelerator=OneProcess(),
        loss_type="grpo" if loss_type == "gspo" else loss_type,
        beta=0.04,
        epsilon_low=0.2,
        epsilon_high=epsilon_high,
        importance_sampling_level=level,
        off_policy_mask_threshold=None,
        top_entropy_quantile=1.0,
        use_vllm=False,
        aux_loss_enabled=False,
        _entropy_bonus_enabled=False,
        current_gradient_accumulation_steps=1,
        max_completion_length=MAX_LENGTH,
        _metrics=metrics,
    )
    mask = padded(torch.ones(sum(LENGTHS)))
    ids = torch.zeros(len(LENGTHS), 1, dtype=torch.long)
    inputs = {
        "prompt_ids": ids,
        "prompt_mask": ids,
        "completion_ids": mask.long(),
        "completion_mask": mask,
        "advantages": torch.tensor([1.2, -0.7, -1.1, 0.6]),
        "old_per_token_logps": padded(tensors["old"]),
        "ref_per_token_logps": padded(tensors["ref"]),
        "num_items_in_batch": mask.sum(),
    }
    return grpo_trainer.GRPOTrainer._compute_loss(trainer, None, inputs), metrics["train"]


@pytest.mark.parametrize("epsilon_high", [0.2, 0.28])
@pytest.mark.parametrize("loss_type", ESTIMATORS)
def test_equal_to_trl_in_loss_gradient_and_metrics(loss_type: str, epsilon_high: float) -> None:
    ours, theirs = case(), case()
    ours["logprobs"].requires_grad_()
    theirs["logprobs"].requires_grad_()
    loss, sums = loss_of(ours, loss_type, epsilon_high=epsilon_high)
    expected, metrics = trl_loss(theirs, loss_type, epsilon_high)
    assert loss.item() == pytest.approx(expected.item(), abs=1e-5)
    loss.backward()
    expected.backward()
    assert torch.allclose(ours["logprobs"].grad, theirs["logprobs"].grad, atol=1e-5)  # type: ignore[arg-type]
    # With one ratio a completion TRL counts clipped completions, we count tokens.
    clips = ("clip_ratio/low_mean", "clip_ratio/high_mean", "clip_ratio/region_mean") if loss_type != "gspo" else ()
    for name in ("kl", *clips):
        assert sums[name].item() / sum(LENGTHS) == pytest.approx(metrics[name][0], abs=1e-5)
    assert sums["clip_ratio/low_mean"].item() > 0  # the case does reach the clips
    assert sums["clip_ratio/high_mean"].item() > 0


@pytest.mark.parametrize("epsilons", [(0.2, 0.28), (3e-4, 4e-4)])
def test_one_ratio_a_completion_equals_trls_and_verls(epsilons: tuple[float, float]) -> None:
    core_algos = pytest.importorskip("verl.trainer.ppo.core_algos")
    config_file = pytest.importorskip("verl.workers.config")
    ours, theirs = case(3), case(3)
    ours["logprobs"].requires_grad_()
    theirs["logprobs"].requires_grad_()
    loss, sums = loss_of(ours, "gspo", epsilon=epsilons[0], epsilon_high=epsilons[1], beta=0.0)
    actor = config_file.ActorConfig(
        strategy="fsdp", rollout_n=4, ppo_micro_batch_size_per_gpu=4, clip_ratio=epsilons[0],
        clip_ratio_low=epsilons[0], clip_ratio_high=epsilons[1],
    )  # fmt: skip
    mask = padded(torch.ones(sum(LENGTHS)))
    expected, _ = core_algos.compute_policy_loss_gspo(
        padded(theirs["old"]), padded(theirs["logprobs"]), padded(theirs["advantages"]), mask, config=actor
    )
    assert loss.item() == pytest.approx(expected.item(), abs=1e-5)
    loss.backward()
    expected.backward()
    assert torch.allclose(ours["logprobs"].grad, theirs["logprobs"].grad, atol=1e-5)  # type: ignore[arg-type]
    assert sums["clip_ratio/region_mean"].item() > 0


@pytest.mark.parametrize(
    ("loss_type", "mode", "scale"),
    [
        ("grpo", "seq-mean-token-mean", None),
        ("bnpo", "token-mean", None),
        ("dr_grpo", "seq-mean-token-sum-norm", MAX_LENGTH),
    ],
)
def test_equal_to_verl_in_loss_and_gradient(loss_type: str, mode: str, scale: int | None) -> None:
    core_algos = pytest.importorskip("verl.trainer.ppo.core_algos")
    config_file = pytest.importorskip("verl.workers.config")
    ours, theirs = case(), case()
    ours["logprobs"].requires_grad_()
    theirs["logprobs"].requires_grad_()
    loss, _ = loss_of(ours, loss_type)
    actor = config_file.ActorConfig(strategy="fsdp", rollout_n=4, ppo_micro_batch_size_per_gpu=4, clip_ratio_c=1e9)
    if scale is not None:
        actor.global_batch_info["loss_scale_factor"] = scale
    mask = padded(torch.ones(sum(LENGTHS)))
    logprobs = padded(theirs["logprobs"])
    clipped, _ = core_algos.compute_policy_loss_vanilla(
        padded(theirs["old"]), logprobs, padded(theirs["advantages"]), mask, loss_agg_mode=mode, config=actor
    )
    kl = core_algos.kl_penalty(logprobs, padded(theirs["ref"]), "k3")
    expected = clipped + 0.04 * core_algos.agg_loss(kl, mask, mode, loss_scale_factor=scale)
    assert loss.item() == pytest.approx(expected.item(), abs=1e-5)
    loss.backward()
    expected.backward()
    assert torch.allclose(ours["logprobs"].grad, theirs["logprobs"].grad, atol=1e-5)  # type: ignore[arg-type]


def test_a_token_of_an_older_engine_counts_as_often_as_the_policy_would_draw_it_up_to_a_cap() -> None:
    old, engine = torch.tensor([-1.0, -2.0, -0.5]), torch.tensor([-1.5, -2.0, -2.5])
    # exp(0.5) = 1.6487, exp(0) = 1, exp(2) = 7.389, which is cut at 2.
    assert truncated_importance(old, engine, 2.0).tolist() == pytest.approx([1.64872, 1.0, 2.0], abs=1e-5)
