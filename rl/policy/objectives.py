"""What a policy learns by: the loss of a micro-batch, the numbers beside it, and how the optimiser walks.

`Policy` (rl/policy/policy.py) holds model, optimiser and schedule and knows no loss; an objective has no state. Legend:
N completion tokens of a micro-batch end to end, R its rows.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from rl.algo.denominators import Denominators
from rl.algo.estimators import estimator_of
from rl.algo.logprobs import Measure, entropy, is_likeliest
from rl.algo.losses import ENGINE_GAP, PER_ROW_GAP, engine_gap, policy_loss, row_bounds, truncated_importance
from rl.config import GrpoConfig
from rl.policy.batching import MicroBatch, Row, onto
from rl.policy.optimizer import OptimizerSettings
from rollouts.records import per_token

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
        given = [values for row in rows for values in (row.old_logprobs, row.ref_logprobs) if values is not None]
        return all(math.isfinite(row.advantage) for row in rows) and bool(_end_to_end(given).isfinite().all())

    def loss(
        self, batch: MicroBatch, rows: Sequence[Row], logprobs_N: Tensor, measured_N: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """See `Objective.loss`; the measure is the entropy."""
        mine = [rows[place] for place in batch.rows]
        given = self._numbers(mine, torch.tensor(batch.lengths))
        at_N = dict(zip(given, onto(logprobs_N.device, *given.values()), strict=True))
        weights_N, old_N = at_N["weights"], at_N.get("old")
        if old_N is None:
            old_N = _given_or_current([row.old_logprobs for row in mine], logprobs_N, batch.lengths)
        (bounds_R1,) = onto(logprobs_N.device, row_bounds(batch.lengths))
        stale = {}
        if self.grpo.max_staleness:
            importance_N = truncated_importance(old_N, at_N["engine"], self.grpo.tis_cap)
            weights_N = weights_N * importance_N
            stale = {"tis/weight": importance_N.sum(), "tis/capped": (importance_N >= self.grpo.tis_cap).sum()}
        loss, parts = policy_loss(
            logprobs_N,
            old_N,
            at_N.get("ref"),
            at_N["advantages"],
            weights_N,
            bounds_R1,
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

    def _numbers(self, mine: Sequence[Row], lengths_R: Tensor) -> dict[str, Tensor]:
        """What the rows bring along for each token, in fp32 on the CPU, [N] each: advantages, weights, and log-probs
        where every row brings them."""
        kinds = {"old": [row.old_logprobs for row in mine], "ref": [row.ref_logprobs for row in mine]}
        if self.grpo.max_staleness:
            kinds["engine"] = [row.engine_logprobs for row in mine]
        return {
            "advantages": torch.tensor([row.advantage for row in mine]).repeat_interleave(lengths_R),
            "weights": self.estimator.token_weights(lengths_R),
            **{name: _end_to_end(values) for name, values in kinds.items() if None not in values},
        }


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


def _end_to_end(by_row: Sequence[Sequence[float] | None]) -> Tensor:
    """Log-probs of some rows one behind the other, [N], in fp32 on the CPU; nothing of a row that brings none."""
    joined = array("f", b"".join(per_token(values) for values in by_row if values is not None))
    return torch.from_numpy(np.asarray(joined))


def _given_or_current(by_row: Sequence[Sequence[float] | None], current_N: Tensor, lengths: Sequence[int]) -> Tensor:
    """Log-probs [N]: those of each row, or the current ones where a row brings none."""
    parts = current_N.detach().split(list(lengths))
    return torch.cat(
        [part if one is None else _end_to_end([one]).to(part) for one, part in zip(by_row, parts, strict=True)]
    )
