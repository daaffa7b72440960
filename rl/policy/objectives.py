"""What a policy learns by: the loss of a micro-batch, the numbers beside it, and how the optimiser walks.

`Policy` (rl/policy/policy.py) holds model, optimiser and schedule and knows no loss; an objective has no state. Legend:
N completion tokens of a micro-batch end to end, R its rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from rl.algo.denominators import Denominators
from rl.algo.estimators import estimator_of
from rl.algo.logprobs import Measure, entropy, is_likeliest
from rl.algo.losses import ENGINE_GAP, PER_ROW_GAP, engine_gap, policy_loss, row_bounds, truncated_importance
from rl.config import GrpoConfig
from rl.policy.batching import MicroBatch, Row
from rl.policy.optimizer import OptimizerSettings

_RATIO_METRICS = ("ratio", "entropy", "clip_ratio/low_mean", "clip_ratio/high_mean", "clip_ratio/region_mean")


class Objective(Protocol):
    """What a policy needs to know of what it is trained for."""

    # Of the softmax that log-probs are read from.
    temperature: float
    # Whether tokens that stand for media are taken out of that softmax.
    bans_media: bool
    # The number [N] that the model gives beside the log-probs [N].
    measure: Measure
    # Prompt plus completion tokens per forward pass, padding included; results do not depend on it.
    micro_batch_tokens: int
    optimizer: OptimizerSettings
    # Names of the sums that `loss` gives; each is told as a mean over the tokens of the mini-batch, those of
    # `metrics_of_rows` as a mean over its rows.
    metrics: tuple[str, ...]
    metrics_of_rows: tuple[str, ...]
    # What a user may do where updates are not finite.
    advice: str

    def finite(self, rows: Sequence[Row]) -> bool:
        """Whether every number that the rows bring along is finite."""

    def loss(
        self, batch: MicroBatch, rows: Sequence[Row], logprobs_N: Tensor, measured_N: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The part of a micro-batch in the sum that is the loss of the mini-batch once `divisor` has divided it, and
        its part of the sums named in `metrics`.

        Args:
            batch: the micro-batch, with at least one row.
            rows: those it was made of; `batch.rows` are places in it.
            logprobs_N: in nats, with gradient.
            measured_N: `measure` of each token.
        """

    def divisor(self, totals: Denominators) -> float:
        """What the sum of a mini-batch, and its gradient, are divided by, above 0; `totals` count all its rows."""


class GrpoObjective:
    """The clipped ratio times the advantage, with the KL to the reference: the estimator says which ratio and which
    weight a token has (rl/algo/estimators)."""

    bans_media = True
    measure = staticmethod(entropy)
    metrics_of_rows: tuple[str, ...] = (PER_ROW_GAP,)
    advice = "look at the stored rollouts of this step, then lower grpo.learning_rate or resume earlier"

    def __init__(self, grpo: GrpoConfig) -> None:
        self.grpo = grpo
        self.estimator = estimator_of(grpo.loss_type)
        # Without a KL there is nothing to be away from, as in TRL.
        self.metrics: tuple[str, ...] = (*(("kl",) if grpo.beta else ()), *_RATIO_METRICS)
        if grpo.old_logprobs == "engine":
            self.metrics += ENGINE_GAP
        if grpo.max_staleness:
            self.metrics += ("tis/weight", "tis/capped")
        self.temperature = grpo.temperature
        self.micro_batch_tokens = grpo.micro_batch_tokens
        self.optimizer = OptimizerSettings(
            learning_rate=grpo.learning_rate,
            lr_scheduler_type=grpo.lr_scheduler_type,
            warmup_ratio=grpo.warmup_ratio,
            weight_decay=grpo.weight_decay,
            max_grad_norm=grpo.max_grad_norm,
            adam_beta1=grpo.adam_beta1,
            adam_beta2=grpo.adam_beta2,
            adam_epsilon=grpo.adam_epsilon,
        )

    def finite(self, rows: Sequence[Row]) -> bool:
        """Advantages and log-probs from elsewhere."""
        numbers = [
            number for row in rows for number in (row.advantage, *(row.old_logprobs or ()), *(row.ref_logprobs or ()))
        ]
        return all(map(math.isfinite, numbers))

    def loss(
        self, batch: MicroBatch, rows: Sequence[Row], logprobs_N: Tensor, measured_N: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """See `Objective.loss`; the measure is the entropy."""
        mine = [rows[place] for place in batch.rows]
        lengths_R = torch.tensor(batch.lengths)
        like = {"device": logprobs_N.device, "dtype": logprobs_N.dtype}
        old_N = _given_or_current([row.old_logprobs for row in mine], logprobs_N, batch.lengths)
        ref_N = None
        if all(row.ref_logprobs is not None for row in mine):
            ref_N = torch.tensor([value for row in mine for value in row.ref_logprobs or ()], **like)
        advantages_N = torch.tensor([row.advantage for row in mine], **like).repeat_interleave(
            lengths_R.to(like["device"])
        )
        weights_N = self.estimator.token_weights(lengths_R).to(like["device"])
        stale = {}
        if self.grpo.max_staleness:
            engine_N = torch.tensor([value for row in mine for value in row.engine_logprobs or ()], **like)
            importance_N = truncated_importance(old_N, engine_N, self.grpo.tis_cap)
            weights_N = weights_N * importance_N
            stale = {"tis/weight": importance_N.sum(), "tis/capped": (importance_N >= self.grpo.tis_cap).sum()}
        loss, parts = policy_loss(
            logprobs_N,
            old_N,
            ref_N,
            advantages_N,
            weights_N,
            row_bounds(batch.lengths).to(like["device"]),
            log_ratio=self.estimator.log_ratio,
            epsilon=self.grpo.epsilon,
            epsilon_high=self.grpo.epsilon_high,
            beta=self.grpo.beta,
        )
        gap = {}
        if self.grpo.old_logprobs == "engine":
            gap = engine_gap(logprobs_N.detach() - old_N, batch.lengths)
        return loss, {**parts, **gap, **stale, "entropy": measured_N.sum()}

    def divisor(self, totals: Denominators) -> float:
        """That of the estimator."""
        return self.estimator.divisor(totals)


class SupervisedObjective:
    """Cross-entropy on the completion's tokens: minus the mean log-prob over all completion tokens of the batch, over
    all ranks. The softmax is the model's own, so that the loss is the one of TRL's SFTTrainer."""

    temperature = 1.0
    bans_media = False
    measure = staticmethod(is_likeliest)
    metrics: tuple[str, ...] = ("mean_token_accuracy",)
    metrics_of_rows: tuple[str, ...] = ()
    advice = "look at the rows of this batch, then lower sft.learning_rate"

    def __init__(self, optimizer: OptimizerSettings, micro_batch_tokens: int) -> None:
        self.optimizer = optimizer
        self.micro_batch_tokens = micro_batch_tokens

    def finite(self, rows: Sequence[Row]) -> bool:
        """Rows bring no numbers along."""
        return True

    def loss(
        self, batch: MicroBatch, rows: Sequence[Row], logprobs_N: Tensor, measured_N: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """See `Objective.loss`; the measure is 1 where the model's likeliest token is the taught one."""
        return -logprobs_N.sum(), {"mean_token_accuracy": measured_N.sum()}

    def divisor(self, totals: Denominators) -> float:
        """Tokens of the batch."""
        return max(totals.num_tokens, 1)


def _given_or_current(by_row: Sequence[tuple[float, ...] | None], current_N: Tensor, lengths: Sequence[int]) -> Tensor:
    """Log-probs [N]: those of each row, or the current ones where a row brings none."""
    parts = current_N.detach().split(list(lengths))
    return torch.cat(
        [part if values is None else torch.tensor(values).to(part) for values, part in zip(by_row, parts, strict=True)]
    )
