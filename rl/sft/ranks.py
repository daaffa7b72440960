"""Who trains: the ranks of the policy group in Ray, or one rank in this very process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from transformers.utils import logging as transformers_logging

from rl.algo.denominators import Denominators
from rl.config import Config
from rl.policy.batching import Row
from rl.workers.policy_worker import PolicyWorker


class Ranks(Protocol):
    """What SFT needs of a policy that learns: `rl.workers.groups.PolicyGroup`."""

    def start_update(self, rows: Sequence[Row], totals: Denominators) -> Callable[[], dict[str, float]]:
        """Begin one optimiser update; the function that is returned waits for its metrics."""

    def checkpoint(self, root: str | Path, step: int, extra: Mapping[str, Any], keep: int | None = None) -> None:
        """Write everything that an exact resume needs; `save` and `restore` wait until it is written."""

    def restore(self, root: str | Path) -> tuple[int, dict[str, Any]] | None:
        """Take up the newest checkpoint: its step and `extra`; None where there is none."""

    def save(self, path: str | Path) -> None:
        """Write model and processor in Hugging Face format."""


# Starts them for a configuration, the folder of the model and the number of updates of the whole training.
Start = Callable[[Config, str, int], AbstractContextManager[Ranks]]


class OneRank:
    """The only rank, without Ray: for recipes of small models, which begin many short trainings."""

    def __init__(self, worker: PolicyWorker) -> None:
        self._worker = worker

    def start_update(self, rows: Sequence[Row], totals: Denominators) -> Callable[[], dict[str, float]]:
        """The update is done when this returns."""
        metrics = self._worker.update((rows, totals, False))
        return lambda: metrics

    def checkpoint(self, root: str | Path, step: int, extra: Mapping[str, Any], keep: int | None = None) -> None:
        """See `Ranks.checkpoint`."""
        self._worker.checkpoint(str(root), step, dict(extra), keep)

    def restore(self, root: str | Path) -> tuple[int, dict[str, Any]] | None:
        """See `Ranks.restore`."""
        return self._worker.restore(str(root))

    def save(self, path: str | Path) -> None:
        """See `Ranks.save`."""
        self._worker.save_pretrained(str(path))


@contextmanager
def in_this_process(config: Config, model_path: str, total_updates: int) -> Iterator[Ranks]:
    """One rank here, with `compute.num_threads` threads: the same number gives the same weights on CPU."""
    # Its bars for a second's work lie across ours.
    transformers_logging.disable_progress_bar()
    worker = PolicyWorker(config, model_path, total_updates, "sft")
    worker.start()
    if config.compute.num_threads is not None:
        torch.set_num_threads(config.compute.num_threads)
    yield OneRank(worker)


def in_workers(config: Config, model_path: str, total_updates: int) -> AbstractContextManager[Ranks]:
    """`compute.num_policy_workers` ranks in processes of Ray, which end with their memory when the training is done."""
    from rl.workers.cluster import start_policy  # here, because recipes of small models start no Ray

    return start_policy(config, model_path, total_updates, "sft")
