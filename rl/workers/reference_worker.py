"""The frozen SFT model that the policy is held to."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from rl.config import Config
from rl.policy.batching import Row
from rl.policy.policy import Reference
from rl.policy.sharding import PLAIN, layout_of
from rl.workers.groups import Pending, PolicyGroup
from rl.workers.parcels import opens_letters
from rl.workers.worker_setup import WorkerInfo, half_the_threads, join_process_group, ready_since, set_threads


class ReferenceWorker:
    """Holds a Reference; `start` loads it. Several of them share the rows, and know nothing of one another where each
    holds the whole (compute.reference)."""

    # Whether a worker of the other kind works on the same cores at the same time; see `share_cores`.
    shares_cores = False

    def __init__(self, config: Config, model_path: str) -> None:
        self.config = config
        self.model_path = model_path

    def pid(self) -> int:
        """Of this process."""
        return os.getpid()

    def start(self) -> WorkerInfo:
        """Load the reference; join the others where it lies in shards."""
        started = time.monotonic()
        set_threads()
        compute = self.config.compute
        if compute.device == "cuda" and compute.reference != "whole":
            join_process_group(compute.device, compute.worker_timeout_seconds, alone_too=compute.reference == "cpu")
        self.reference = Reference(
            self.model_path,
            temperature=self.config.grpo.temperature,
            micro_batch_tokens=self.config.grpo.micro_batch_tokens,
            dtype=self.config.model.dtype,
            device=compute.device,
            attention=compute.attention,
            layout=layout_of(compute) if compute.device == "cuda" else PLAIN,
        )
        return ready_since(started)

    def share_cores(self, shares: bool) -> None:
        """Whether policy and reference stand on the same cores here, and have to halve them."""
        self.shares_cores = shares

    @opens_letters
    def log_probs(self, rows: Sequence[Row]) -> list[Sequence[float]]:
        """Log-prob (nats) of every completion token, one list a row, in the order given."""
        with half_the_threads(self.shares_cores):
            return self.reference.log_probs(rows)


class AdapterOff:
    """The reference of a policy that is an adapter on a frozen base (model.train=lora): the policy's own workers answer
    for the base, with the adapter switched off, in the order in which they are asked."""

    def __init__(self, policy: PolicyGroup) -> None:
        self._policy = policy

    def start_log_probs(self, rows: Sequence[Row]) -> Pending[list[Sequence[float]]]:
        """Log-prob of every completion token under the base."""
        return self._policy.start_log_probs(rows, "reference_log_probs")
