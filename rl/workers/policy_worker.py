"""One rank of the policy. Every rank gets the same calls in the same order, each with its own rows."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from rl.algo.denominators import Denominators
from rl.config import Config
from rl.data.sizes import images_of
from rl.policy import checkpoints
from rl.policy.batching import Row
from rl.policy.objectives import GrpoObjective, Objective, SupervisedObjective
from rl.policy.optimizer import OptimizerSettings
from rl.policy.policy import Policy
from rl.policy.sharding import layout_of
from rl.policy.token_model import DTYPES
from rl.workers.parcels import opens_letters
from rl.workers.placement import in_background, place_policy
from rl.workers.worker_setup import (
    WorkerInfo,
    half_the_threads,
    join_process_group,
    ready_since,
    set_threads,
    threads_for,
)
from rollouts.engine.checksum import checksum as checksum_of
from rollouts.engine.checksum import combined
from rollouts.engine.handles import Handed, OfCuda, hand_over
from rollouts.engine.line import Address, Line, serve

# What the policy learns by: rewards, or the taught responses.
Job = Literal["grpo", "sft"]


class PolicyWorker:
    """Holds a Policy; `start` loads it."""

    # Whether a worker of the other kind works on the same cores at the same time; see `share_cores`.
    shares_cores = False

    def __init__(self, config: Config, model_path: str, total_updates: int, job: Job = "grpo") -> None:
        self.config = config
        self.model_path = model_path
        self.total_updates = total_updates
        self.job = job
        self.rank = int(os.environ.get("RANK", "0"))
        # A checkpoint that a thread may still be writing.
        self._saving: checkpoints.Saving | None = None

    def pid(self) -> int:
        """Of this process."""
        return os.getpid()

    def start(self) -> WorkerInfo:
        """Join the other ranks and load the policy."""
        started = time.monotonic()
        set_threads()
        compute, model = self.config.compute, self.config.model
        join_process_group(compute.device, compute.worker_timeout_seconds)
        self.policy = Policy(
            self.model_path,
            objective_of(self.config, self.job),
            total_updates=self.total_updates,
            dtype=model.dtype,
            device=compute.device,
            layout=layout_of(compute),
            attention=compute.attention,
            images=images_of(model),
            train=model.train,
            lora=model.lora,
            seed=self.config.seed,
        )
        if self.job == "sft" and compute.device == "cpu":
            # Of small models the next training starts from the very weights; large ones would take twice the disk.
            self.policy.export_dtype = DTYPES["float32"]
        return ready_since(started)

    def share_cores(self, shares: bool) -> None:
        """Whether policy and reference stand on the same cores here, and have to halve them."""
        self.shares_cores = shares

    @opens_letters
    def log_probs(self, rows: Sequence[Row]) -> list[Sequence[float]]:
        """Log-prob (nats) of every completion token, one list a row, in the order given."""
        with half_the_threads(self.shares_cores):
            return self.policy.log_probs(rows)

    @opens_letters
    def reference_log_probs(self, rows: Sequence[Row]) -> list[Sequence[float]]:
        """The same under the base of the adapter (model.train=lora)."""
        return self.policy.reference_log_probs(rows)

    @opens_letters
    def accumulate(self, part: tuple[Sequence[Row], bool]) -> None:
        """Add up the gradients of these rows; see `Policy.accumulate`. `alone` is as in `update`."""
        rows, alone = part
        with threads_for(self._threads(alone)):
            self.policy.accumulate(rows)

    @opens_letters
    def update(self, part: tuple[Sequence[Row], Denominators, bool]) -> dict[str, float]:
        """One optimiser update on this rank's rows; the denominators count the rows of all ranks. See
        `Policy.update`. `alone`: no engine is expected to draw meanwhile, so that the policy may take all cores."""
        rows, totals, alone = part
        with threads_for(self._threads(alone)):
            return self.policy.update(rows, totals)

    def _threads(self, alone: bool) -> int | None:
        compute = self.config.compute
        return place_policy(compute).threads if alone and compute.device == "cpu" else None

    def export_weights(self) -> tuple[dict[str, Tensor], str]:
        """The weights and their checksum; the first rank's are used, the others help to collect them."""
        weights = self.policy.collected()
        return weights, checksum_of(weights) if weights else ""

    def serve_line(self, size: int) -> Address | None:
        """The first rank begins a line with so many ends (rollouts/engine/line.py)."""
        if self.rank > 0:
            return None
        host = os.environ.get("MASTER_ADDR", "127.0.0.1")
        self._store, address = serve(host, size, self.config.compute.worker_timeout_seconds)
        return address

    def join_line(self, address: Address) -> None:
        """The first rank is its sending end."""
        if self.rank == 0:
            seconds = self.config.compute.worker_timeout_seconds
            self._line = Line(address, 0, self.policy.tokens.device, seconds, self._store)

    def send_weights(self, version: int) -> str:
        """Send the weights over the line, one after the other; the first rank's checksum counts, the others help to
        collect them."""
        weights = self.policy.each_weight(self.config.compute.device)
        if self.rank == 0:
            return self._line.send(version, weights)
        for _ in weights:
            pass
        return ""

    def lend_weights(self) -> tuple[Handed, str]:
        """Handles of the weights on this rank's GPU, and their checksum. They are kept until `take_back_weights`."""
        self._lent = self.policy.weights(self.config.compute.device)
        handed = hand_over(self._lent, OfCuda())
        return handed, combined(handed.fingerprints)

    def take_back_weights(self) -> None:
        """Nobody reads what was lent any more."""
        self._lent = {}

    def save_pretrained(self, path: str) -> None:
        """Model and processor in Hugging Face format; every rank helps, the first writes. A checkpoint that is being
        written is finished first."""
        self._finish_checkpoint()
        self.policy.save_pretrained(path)

    def checkpoint(self, root: str, step: int, extra: dict[str, Any], keep: int | None) -> None:
        """Every rank writes what it holds, by a thread of its own where `in_background` says so; then what went wrong
        is raised by the next call that has to do with files."""
        self._finish_checkpoint()
        pieces, state = self.policy.pieces()
        what = (Path(root), step, pieces, {"policy": state, "extra": extra}, keep)
        if in_background(self.config.compute):
            self._saving = checkpoints.Saving(*what)
        else:
            checkpoints.save(*what)

    def _finish_checkpoint(self) -> None:
        if self._saving is not None:
            saving, self._saving = self._saving, None
            saving.wait()

    def restore(self, root: str) -> tuple[int, dict[str, Any]] | None:
        """Take up the newest checkpoint that verifies: its step and what was given as `extra`; None where there is
        none."""
        self._finish_checkpoint()
        checkpoint = checkpoints.load_latest(Path(root))
        if checkpoint is None:
            return None
        self.policy.load_state(checkpoint.tensors, checkpoint.state["policy"])
        return checkpoint.step, checkpoint.state["extra"]


def objective_of(config: Config, job: Job) -> Objective:
    """The objective of a job as the configuration has it."""
    if job == "grpo":
        return GrpoObjective(config.grpo)
    sft = config.sft
    settings = OptimizerSettings(
        learning_rate=sft.learning_rate,
        lr_scheduler_type=sft.lr_scheduler_type,
        warmup_ratio=sft.warmup_ratio,
        weight_decay=sft.weight_decay,
        max_grad_norm=sft.max_grad_norm,
    )
    return SupervisedObjective(settings, sft.micro_batch_tokens)
