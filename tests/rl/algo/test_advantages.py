"""Group-relative advantages: hand-computed groups, masked members, and TRL's and verl's own code on the same
tensors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rl.algo.advantages import decoupled_advantages, group_advantages

YES, NO = True, False


def advantages(
    rewards: list[list[float]], valid: list[list[bool]] | None = None, **settings: object
) -> list[list[float]]:
    rewards_GN = torch.tensor(rewards)
    valid_GN = torch.ones_like(rewards_GN, dtype=torch.bool) if valid is None else torch.tensor(valid)
    return group_advantages(rewards_GN, valid_GN, **settings).advantages.tolist()  # type: ignore[arg-type]


def test_a_group_of_four_by_hand() -> None:
    # mean 1/2; squares 4 x 1/4 = 1; ddof=1: std = sqrt(1/3) = 0.57735; 0.5 / 0.57735 = 0.8660
    [[a, b, c, d]] = advantages([[1.0, 1.0, 0.0, 0.0]], epsilon=0.0)
    assert [a, b, c, d] == pytest.approx([0.8660, 0.8660, -0.8660, -0.8660], abs=1e-4)


def test_a_masked_member_is_in_neither_mean_nor_std() -> None:
    # valid 1, 0, 0: mean 1/3, centred 2/3, -1/3, -1/3; std = sqrt((4/9 + 1/9 + 1/9) / 2) = 0.57735; quotients 1.1547,
    # -0.5774
    masked = [[YES, NO, YES, YES]]
    assert advantages([[1.0, 1.0, 0.0, 0.0]], masked, scale="none")[0] == pytest.approx(
        [2 / 3, 0.0, -1 / 3, -1 / 3], abs=1e-6
    )
    scaled = advantages([[1.0, 1.0, 0.0, 0.0]], masked, epsilon=0.0)[0]
    assert scaled == pytest.approx([1.1547, 0.0, -0.5774, -0.5774], abs=1e-4)


def test_the_mean_of_a_group_with_its_last_member_masked_is_two() -> None:
    result = group_advantages(torch.tensor([[1.0, 3.0, 2.0, 0.0]]), torch.tensor([[YES, YES, YES, NO]]), scale="none")
    assert result.mean.tolist() == [2.0]
    assert result.std.tolist() == [1.0]  # (1 + 1 + 0) / 2 = 1
    assert result.advantages.tolist() == [[-1.0, 1.0, 0.0, 0.0]]


def test_what_lies_under_a_mask_is_never_read() -> None:
    masked = [[YES, NO, YES, YES]]
    clean = advantages([[1.0, 0.0, 0.0, 0.5]], masked)
    for rubbish in (float("nan"), float("inf"), -1e30):
        assert advantages([[1.0, rubbish, 0.0, 0.5]], masked) == clean


@pytest.mark.parametrize(("dtype", "count"), [(torch.float32, 7), (torch.float64, 3)])
def test_equal_rewards_give_exactly_zero_where_a_float_std_does_not(dtype: torch.dtype, count: int) -> None:
    rewards = torch.full((1, count), 0.1, dtype=dtype)
    # (0.1 + 0.1 + 0.1) / 3 is not 0.1: a test on the std would call this group mixed.
    assert np.std(rewards.numpy(), ddof=1) != 0.0
    result = group_advantages(rewards, torch.ones(1, count, dtype=torch.bool), epsilon=0.0)
    assert result.advantages.tolist() == [[0.0] * count]
    assert result.zero_std.tolist() == [True]
    assert result.std.tolist() == [0.0]
    assert result.trained.all()  # kept: the KL still acts on them


def test_a_small_true_difference_is_not_taken_for_none() -> None:
    result = group_advantages(torch.tensor([[1.0, 1.0, 1.0, 1.0 - 1e-6]]), torch.ones(1, 4, dtype=torch.bool))
    assert not result.zero_std.any()
    assert result.advantages[0, 3] < 0


@pytest.mark.parametrize(("min_valid", "dropped"), [(1, False), (2, True)])
def test_groups_with_too_few_valid_members_are_dropped(min_valid: int, dropped: bool) -> None:
    rewards = torch.tensor([[1.0, 0.0, 0.0]])
    result = group_advantages(rewards, torch.tensor([[YES, NO, NO]]), min_valid=min_valid)
    assert result.dropped.tolist() == [dropped]
    assert result.trained.tolist() == [[not dropped, False, False]]
    assert result.advantages.tolist() == [[0.0, 0.0, 0.0]]


def test_a_group_without_any_valid_member_harms_no_other() -> None:
    rewards = [[1.0, 0.0], [1.0, 0.0]]
    valid = [[NO, NO], [YES, YES]]
    for scale in ("group", "batch", "none"):
        alone = advantages([[1.0, 0.0]], scale=scale)
        assert advantages(rewards, valid, scale=scale) == [[0.0, 0.0], *alone]


def test_dropped_groups_are_not_in_the_std_of_the_batch() -> None:
    kept = advantages([[1.0, 0.0, 0.5]], scale="batch")
    with_dropped = advantages([[1.0, 0.0, 0.5], [100.0, 0.0, 0.0]], [[YES] * 3, [YES, NO, NO]], scale="batch")
    assert with_dropped[0] == kept[0]


def test_permuting_groups_and_members_permutes_the_advantages() -> None:
    rewards = torch.randn(5, 8, generator=torch.Generator().manual_seed(0))
    valid = torch.rand(5, 8, generator=torch.Generator().manual_seed(1)) > 0.3
    rows, columns = torch.tensor([3, 0, 4, 1, 2]), torch.tensor([7, 2, 0, 1, 6, 5, 3, 4])
    for scale in ("group", "batch", "none"):
        plain = group_advantages(rewards, valid, scale=scale).advantages  # type: ignore[arg-type]
        moved = group_advantages(rewards[rows][:, columns], valid[rows][:, columns], scale=scale).advantages  # type: ignore[arg-type]
        assert torch.allclose(moved, plain[rows][:, columns], atol=1e-6)


def test_faults_are_named() -> None:
    two = torch.zeros(1, 2)
    with pytest.raises(ValueError, match="completion 1 in group 0 is nan"):
        group_advantages(torch.tensor([[0.0, float("nan")]]), torch.ones(1, 2, dtype=torch.bool))
    with pytest.raises(ValueError, match="expected one shape"):
        group_advantages(two, torch.ones(2, 1, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"grpo\.scale_rewards"):
        group_advantages(two, torch.ones(1, 2, dtype=torch.bool), scale="std")  # type: ignore[arg-type]


def rewards_with_unscorable_rows() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(7)
    rewards = torch.randint(0, 3, (6, 8), generator=generator) / 2 + 0.1
    return rewards, torch.rand(6, 8, generator=generator) > 0.2


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_equal_to_trl_on_the_same_rewards(scale: str) -> None:
    trl = pytest.importorskip("trl.trainer.utils")
    rewards, valid = rewards_with_unscorable_rows()
    # The lines of GRPOTrainer._generate_and_score_completions, with TRL's own nanstd; a slow test runs the trainer
    # itself.
    seen = torch.where(valid, rewards, torch.nan)
    std = {"group": trl.nanstd(seen, dim=1).unsqueeze(1), "batch": trl.nanstd(seen), "none": torch.tensor(1.0 - 1e-4)}[
        scale
    ]
    expected = ((seen - torch.nanmean(seen, dim=1, keepdim=True)) / (std + 1e-4)).nan_to_num(0.0)
    ours = group_advantages(rewards, valid, scale=scale).advantages  # type: ignore[arg-type]
    assert torch.allclose(ours, expected, atol=1e-5)


@pytest.mark.parametrize("scale", ["group", "none"])
def test_equal_to_verl_on_the_same_rewards(scale: str) -> None:
    core_algos = pytest.importorskip("verl.trainer.ppo.core_algos")
    rewards, valid = rewards_with_unscorable_rows()
    places = valid.flatten().nonzero().squeeze(1)
    expected, _ = core_algos.compute_grpo_outcome_advantage(
        token_level_rewards=rewards.flatten()[places].unsqueeze(1),
        response_mask=torch.ones(len(places), 1),
        index=np.arange(6).repeat(8)[places.numpy()],
        norm_adv_by_std_in_grpo=scale == "group",
    )
    ours = group_advantages(rewards, valid, scale=scale, epsilon=1e-6).advantages  # type: ignore[arg-type]
    assert torch.allclose(ours.flatten()[places], expected.squeeze(1), atol=1e-5)
    assert (ours[~valid] == 0.0).all()


def decoupled(
    rewards: list[list[list[float]]], weights: list[float], valid: list[list[bool]] | None = None, **settings: object
):
    rewards_GNR = torch.tensor(rewards, dtype=torch.float64)
    valid_GN = torch.ones(rewards_GNR.shape[:2], dtype=torch.bool) if valid is None else torch.tensor(valid)
    return decoupled_advantages(rewards_GNR, torch.tensor(weights, dtype=torch.float64), valid_GN, **settings)  # type: ignore[arg-type]


def test_each_reward_is_normalised_in_its_group_by_hand() -> None:
    # Reward 1: 1, 0 -> mean 1/2, std sqrt(1/2) = 0.7071, so +-0.7071. Reward 2: 0, 10 -> -+0.7071: its range has no
    # say. Sum with weights 1 and 1/2: 0.7071 - 0.3536 = 0.3536 and its negative; std of the batch of two: 0.3536 *
    # sqrt(2) = 0.5; quotient 0.7071.
    result = decoupled([[[1.0, 0.0], [0.0, 10.0]]], [1.0, 0.5], epsilon=0.0)
    assert result.advantages[0].tolist() == pytest.approx([0.70711, -0.70711], abs=1e-4)
    # The sum alone, 1 and 5, prefers the second one.
    assert advantages([[1.0, 5.0]], epsilon=0.0)[0] == pytest.approx([-0.70711, 0.70711], abs=1e-4)


def test_an_invalid_member_is_in_no_mean_and_no_std_of_any_reward() -> None:
    # Reward 1 over the valid 1, 0, 0: 1.1547, -0.5774, -0.5774 (JUDGING.md). Reward 2 is flat: 0 for all, although a
    # float std of 0.1 is not.
    masked = [[YES, NO, YES, YES]]
    rubbish = float("nan")
    result = decoupled([[[1.0, 0.1], [1.0, rubbish], [0.0, 0.1], [0.0, 0.1]]], [2.0, 1.0], masked, epsilon=0.0)
    # Times weight 2: 2.3094, -1.1547, -1.1547; their std (4 * (4/3 + 1/3 + 1/3) / 2) ** 0.5 = 2; quotient as at first.
    assert result.advantages[0].tolist() == pytest.approx([1.1547, 0.0, -0.5774, -0.5774], abs=1e-4)
    assert result.trained.tolist() == masked
    assert result.zero_std.tolist() == [False]


def test_rewards_whose_sum_is_flat_are_no_flat_group_when_each_counts_for_itself() -> None:
    """The zero-variance test looks at the components (SkyRL #2104)."""
    two = [[[1.0, 0.0], [0.0, 1.0]], [[1.0, 1.0], [1.0, 1.0]]]
    result = decoupled(two, [1.0, 1.0])
    assert result.zero_std.tolist() == [False, True]
    assert result.advantages[1].tolist() == [0.0, 0.0]


def test_dropped_groups_are_not_in_the_batch_that_the_sum_is_normalised_over() -> None:
    alone = decoupled([[[1.0, 0.0], [0.0, 0.0]]], [1.0, 1.0])
    both = decoupled([[[1.0, 0.0], [0.0, 0.0]], [[9.0, 9.0], [0.0, 0.0]]], [1.0, 1.0], [[YES, YES], [YES, NO]])
    assert both.advantages[0].tolist() == alone.advantages[0].tolist()
    assert both.advantages[1].tolist() == [0.0, 0.0]
    assert both.dropped.tolist() == [False, True]
    with pytest.raises(ValueError, match=r"expected \[groups, completions, rewards\]"):
        decoupled([[[1.0, 0.0]]], [1.0])


@pytest.mark.parametrize("mask", ["none", "some"])
def test_decoupled_advantages_equal_trl_on_the_same_rewards(mask: str) -> None:
    trl = pytest.importorskip("trl.trainer.utils")
    generator = torch.Generator().manual_seed(3)
    rewards = torch.rand(6, 8, 3, generator=generator).round(decimals=1)
    valid = torch.rand(6, 8, generator=generator) > (0.25 if mask == "some" else -1.0)
    weights = torch.tensor([0.9, 0.1, -0.5])
    # The branch "normalize_then_sum" of GRPOTrainer._generate_and_score_completions, with TRL's own nanstd; an
    # unscorable row is all NaN.
    seen = torch.where(valid[..., None], rewards, torch.nan)
    each = (seen - torch.nanmean(seen, dim=1, keepdim=True)) / (trl.nanstd(seen, dim=1, keepdim=True) + 1e-4)
    summed = (each.view(-1, 3) * weights).nansum(1)
    summed[~valid.flatten()] = torch.nan
    expected = ((summed - torch.nanmean(summed)) / (trl.nanstd(summed) + 1e-4)).nan_to_num(0.0).view(6, 8)
    ours = decoupled_advantages(rewards, weights, valid)
    assert torch.allclose(ours.advantages, expected, atol=1e-5)
    assert (ours.advantages[~valid] == 0.0).all()


def test_permuting_groups_and_members_permutes_decoupled_advantages() -> None:
    rewards = torch.randn(5, 8, 2, generator=torch.Generator().manual_seed(0))
    valid = torch.rand(5, 8, generator=torch.Generator().manual_seed(1)) > 0.3
    rows, columns, weights = (
        torch.tensor([3, 0, 4, 1, 2]),
        torch.tensor([7, 2, 0, 1, 6, 5, 3, 4]),
        torch.tensor([1.0, 0.3]),
    )
    plain = decoupled_advantages(rewards, weights, valid).advantages
    moved = decoupled_advantages(rewards[rows][:, columns], weights, valid[rows][:, columns]).advantages
    assert torch.allclose(moved, plain[rows][:, columns], atol=1e-6)
