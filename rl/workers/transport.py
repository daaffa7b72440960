"""How the policy's weights come to the engines: one seam, with a home for each kind of placement.

| placement | home | what travels |
|---|---|---|
| CPU | `ObjectStore` | all weights, once to each machine, through Ray's object store |
| engines on GPUs of their own | `OverLine` | all weights, once to each GPU, over NCCL, a bucket at a time |
| engines on the policy's GPUs | `Handles` | handles; the weights stay where they are |

`compute.weight_transport` may ask for another one. Each tensor is summed up where it lies, before and after, and a
version counts as given only when all agree.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import torch

from rl.config import ComputeConfig, Config
from rl.workers.groups import PolicyGroup, RolloutGroup, wait_together
from rollouts.engine.live_weights import checkpoint_shapes, count_elements
from rollouts.engine.requests import WeightsRejected

# Of an object store, whatever the model.
LEAST_STORE_BYTES = 512 << 20
# What a step's prompts, rows and log-probs take of it.
ROWS_BYTES = 256 << 20
# The share of its store above which Ray writes objects to disk (object_spilling_threshold).
SPILLS_ABOVE = 0.8


class Transport(Protocol):
    """Gives the policy's weights as they are now to every engine."""

    def start(self, version: int) -> Callable[[], None]:
        """Begin; the function that is returned waits until every engine has confirmed them as `version`.

        Raises (the returned function):
            StaleWeights: an engine confirmed others.
            WeightsRejected: they arrived damaged or were not taken over.
        """


class ObjectStore:
    """Rank 0 puts whole tensors into the object store, engines fetch them there, on whatever machine they are."""

    def __init__(self, policy: PolicyGroup, rollout: RolloutGroup) -> None:
        self._policy = policy
        self._rollout = rollout

    def start(self, version: int) -> Callable[[], None]:
        """As `Transport` says."""
        weights, checksums = self._policy.export_weights()
        confirm = self._rollout.start_sync(version, weights, checksums[0])
        return lambda: confirm(self._policy.wait(checksums)[0])


class OverLine:
    """The policy's first rank broadcasts, every GPU of every engine hears, and each loads what has arrived while the
    next is on its way; nothing holds the whole in between. An engine that dies later is not started again.

    Over gloo it is tested with real engines on CPU; over NCCL it has never run.
    """

    def __init__(self, policy: PolicyGroup, rollout: RolloutGroup, gpus_per_engine: int = 1) -> None:
        """Lay the line, once policy and engines are ready."""
        self._policy = policy
        self._rollout = rollout
        address = policy.begin_line(1 + rollout.size * gpus_per_engine)
        ends = [(address, 1 + number * gpus_per_engine) for number in range(rollout.size)]
        wait_together((policy, policy.ask("join_line", address)), (rollout, rollout.ask_each("join_line", ends)))

    def start(self, version: int) -> Callable[[], None]:
        """As `Transport` says."""
        sent = self._policy.ask("send_weights", version)
        heard = self._rollout.start_hearing(version)

        def wait() -> None:
            checksums, answers = wait_together((self._policy, sent), (self._rollout, heard))
            self._rollout.confirm(version, checksums[0], answers)

        return wait


class Handles:
    """Policy rank i and engine i stand on one GPU: every rank gathers the weights there and lends them to its engine,
    for as long as that reads them. An engine that dies later is not started again, because nothing is lent any more.

    It has never run on a GPU; its order of calls and what it refuses are tested on CPU.
    """

    def __init__(self, policy: PolicyGroup, rollout: RolloutGroup) -> None:
        if policy.size != rollout.size:
            raise ValueError(f"{policy.size} ranks of the policy cannot lend to {rollout.size} engines, one to one")
        self._policy = policy
        self._rollout = rollout

    def start(self, version: int) -> Callable[[], None]:
        """As `Transport` says."""
        pairs = self._policy.lend_weights()
        confirm = self._rollout.start_borrowing(version, pairs)

        def wait() -> None:
            checksums = self._policy.wait([checksum for _, checksum in pairs])
            if len(set(checksums)) > 1:
                count = len(set(checksums))
                raise WeightsRejected(
                    f"the policy's ranks hold {count} different sets of weights for version {version}"
                )
            confirm(checksums[0])
            self._policy.wait(self._policy.ask("take_back_weights"))

        return wait


def uses_store(compute: ComputeConfig) -> bool:
    """Whether weights go through Ray's object store."""
    return compute.weight_transport == "store" or (compute.weight_transport == "auto" and compute.device == "cpu")


def store_bytes(config: Config, model_path: str) -> int:
    """Room that an object store of our own needs: rows, and two versions of the weights where they go through it, the
    engines' and the next one. With less room Ray writes them to disk and reads them again, which doubles the
    seconds of a hand-over (LOG.md)."""
    weights = 0
    if uses_store(config.compute):
        shapes = checkpoint_shapes(Path(model_path))
        weights = count_elements(shapes, tied=False) * getattr(torch, config.model.dtype).itemsize
    return max(LEAST_STORE_BYTES, int((ROWS_BYTES + 2 * weights) / SPILLS_ABOVE))


def transport_for(compute: ComputeConfig, policy: PolicyGroup, rollout: RolloutGroup, shares_gpu: bool) -> Transport:
    """The one that the placement asks for, or the settings."""
    if uses_store(compute):
        return ObjectStore(policy, rollout)
    return Handles(policy, rollout) if shares_gpu else OverLine(policy, rollout, compute.tensor_parallel_size)
