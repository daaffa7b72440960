"""TRL's whole GRPOTrainer beside ours, on a vision-language model with images: advantages, log-probs and loss of the
same completions.

`tests/rl/algo/test_losses.py` runs TRL's loss alone; here the trainer generates, scores, pads and computes everything
itself.
"""

from __future__ import annotations

import copy
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from rl.algo.advantages import decoupled_advantages, group_advantages
from rl.algo.denominators import denominators
from rl.algo.estimators import estimator_of
from rl.algo.losses import policy_loss, row_bounds
from rl.policy.batching import Row, make_micro_batches
from rl.policy.token_model import TokenModel
from rollouts.media import frames
from rollouts.prompt.families import family_of
from rollouts.prompt.messages import build_messages
from rollouts.prompt.processing import encode, load_processor
from tests.fakes.tiny_models import make_qwen25vl
from tests.rl.policy.policy_cases import noise, sample

N = 4
MAX_LENGTH = 8


def rows_of(inputs: dict[str, Any], encoded: list[Any]) -> list[Row]:
    """TRL's padded batch as our rows; a prompt is known again by its tokens."""
    by_ids = {prompt.token_ids: prompt for prompt in encoded}
    rows = []
    for index in range(len(inputs["completion_ids"])):
        prompt_ids = inputs["prompt_ids"][index][inputs["prompt_mask"][index].bool()].tolist()
        kept = inputs["completion_mask"][index].bool()
        completion_ids = tuple(inputs["completion_ids"][index][kept].tolist())
        reference = tuple(inputs["ref_per_token_logps"][index][kept].tolist())
        advantage = inputs["advantages"][index].item()
        rows.append(Row(by_ids[tuple(prompt_ids)], completion_ids, advantage, ref_logprobs=reference))
    return rows


def our_loss(model: Any, rows: list[Row]) -> float:
    [batch] = make_micro_batches(rows, 100_000)
    own = copy.deepcopy(model)  # attends by trees from here on, and TRL goes on with its own
    logprobs, _ = TokenModel(own, family_of(model.config.model_type, "tiny"), 0.9, (), torch.float32)(batch)
    mine = [rows[place] for place in batch.rows]
    [totals] = denominators([[len(row.completion_ids) for row in rows]], MAX_LENGTH)
    loss, _ = policy_loss(
        logprobs,
        logprobs.detach(),
        torch.tensor([value for row in mine for value in row.ref_logprobs or ()]),
        torch.tensor([row.advantage for row in mine]).repeat_interleave(torch.tensor(batch.lengths)),
        estimator_of("grpo").token_weights(torch.tensor(batch.lengths)) / totals.num_rows,
        row_bounds(batch.lengths),
        epsilon=0.2,
        beta=0.04,
    )
    return loss.item()


def settings(trl: Any, folder: Path, **more: Any) -> Any:
    return trl.GRPOConfig(
        output_dir=str(folder / "trl"),
        per_device_train_batch_size=2 * N,
        num_generations=N,
        max_completion_length=MAX_LENGTH,
        learning_rate=1e-3,
        lr_scheduler_type="constant",
        temperature=0.9,
        beta=0.04,
        loss_type="grpo",
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to="none",
        shuffle_dataset=False,
        **more,
    )


def questions() -> list[Any]:
    return [sample("one", "Where?", (noise(1),)), sample("two", "And in these two?", (noise(2), noise(3)))]


def rows_for(datasets: Any, asked: list[Any]) -> Any:
    pictures = [[image for media in one.media for image in frames(media)] for one in asked]
    rows = [{"prompt": build_messages(one), "images": images} for one, images in zip(asked, pictures, strict=True)]
    return datasets.Dataset.from_list(rows)


@pytest.mark.slow
def test_trls_trainer_and_ours_agree_on_advantages_and_loss(tmp_path: Path) -> None:
    trl = pytest.importorskip("trl")
    datasets = pytest.importorskip("datasets")
    folder = make_qwen25vl(tmp_path / "model")
    asked = questions()
    encoded = [encode(load_processor(folder), one) for one in asked]
    paid: list[list[float]] = []
    seen: list[tuple[float, float, float, list[float]]] = []

    def reward(completions: list[Any], **_: Any) -> list[float]:
        paid.append(
            [random.Random(len(paid) * 100 + index).choice([0.0, 0.1, 0.9, 1.0]) for index in range(len(completions))]
        )
        return paid[-1]

    class Recorded(trl.GRPOTrainer):  # type: ignore[misc, name-defined]
        def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
            loss = super()._compute_loss(model, inputs)
            with torch.no_grad():
                ours = our_loss(model, rows_of(inputs, encoded))
            seen.append((loss.item(), ours, self._metrics["train"]["kl"][-1], inputs["advantages"].tolist()))
            return loss

    arguments = settings(trl, tmp_path, max_steps=3)
    Recorded(model=str(folder), reward_funcs=reward, args=arguments, train_dataset=rows_for(datasets, asked)).train()
    assert len(seen) == 3
    for (theirs, ours, _, advantages), rewards in zip(seen, paid, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)
        grouped = torch.tensor(rewards).view(2, N)
        expected = group_advantages(grouped, torch.ones(2, N, dtype=torch.bool)).advantages.flatten().tolist()
        # TRL shuffles the rows of a generation batch before it trains on them.
        assert sorted(advantages) == pytest.approx(sorted(expected), abs=1e-5)
    assert seen[2][2] > 1e-4  # the policy has left the reference, so the KL term was compared too


@pytest.mark.slow
def test_trls_trainer_and_ours_agree_on_rewards_that_are_normalised_one_by_one(tmp_path: Path) -> None:
    """GDPO; one completion that no reward function could score is in no mean and no std."""
    trl = pytest.importorskip("trl")
    datasets = pytest.importorskip("datasets")
    folder = make_qwen25vl(tmp_path / "model")
    paid: list[list[float | None]] = []
    seen: list[list[float]] = []

    def one_of(values: list[float], completions: list[Any]) -> list[float | None]:
        chosen = [random.Random(len(paid) * 100 + index).choice(values) for index in range(len(completions))]
        paid.append([None if index == 5 else value for index, value in enumerate(chosen)])
        return paid[-1]

    def accuracy(completions: list[Any], **_: Any) -> list[float | None]:
        return one_of([0.0, 1.0], completions)

    def length(completions: list[Any], **_: Any) -> list[float | None]:
        return one_of([-1.0, -0.9, -0.5], completions)

    class Recorded(trl.GRPOTrainer):  # type: ignore[misc, name-defined]
        def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
            seen.append(inputs["advantages"].tolist())
            return super()._compute_loss(model, inputs)

    arguments = settings(
        trl, tmp_path, max_steps=2, multi_objective_aggregation="normalize_then_sum", reward_weights=[0.9, 0.3]
    )
    Recorded(
        model=str(folder),
        reward_funcs=[accuracy, length],
        args=arguments,
        train_dataset=rows_for(datasets, questions()),
    ).train()
    assert len(seen) == 2
    for advantages, both in zip(seen, [paid[:2], paid[2:]], strict=True):
        rewards_GNR = torch.tensor(
            [[value if value is not None else torch.nan for value in one] for one in both]
        ).T.reshape(2, N, 2)
        valid_GN = torch.isfinite(rewards_GNR).all(2)
        assert valid_GN.sum() == 2 * N - 1
        ours = decoupled_advantages(rewards_GNR, torch.tensor([0.9, 0.3]), valid_GN).advantages
        assert sorted(advantages) == pytest.approx(sorted(ours.flatten().tolist()), abs=1e-5)
