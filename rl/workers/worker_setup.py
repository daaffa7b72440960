"""What every worker process does first: threads, process group, and a word on who it is."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist

# Set for every worker of a group; vLLM would take them for its own.
RANK_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class WorkerInfo:
    """A worker that is ready."""

    pid: int
    host: str
    # From the first line of the worker's own set-up until it can work.
    start_seconds: float


def set_threads() -> None:
    """As many threads as OMP_NUM_THREADS says; torch reads it only where it was set before the import."""
    if "OMP_NUM_THREADS" in os.environ:
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


@contextmanager
def half_the_threads(halve: bool) -> Iterator[None]:
    """For work that policy and reference do at the same time on the same cores: on two cores, two passes of one thread
    each take less time than one after the other with two threads, which mostly wait for each other (LOG.md). Nothing
    changes where `halve` is False."""
    with threads_for(max(1, torch.get_num_threads() // 2) if halve else None):
        yield


@contextmanager
def threads_for(count: int | None) -> Iterator[None]:
    """So many threads for a piece of work; None = as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def join_process_group(device: str, timeout_seconds: float, alone_too: bool = False) -> None:
    """Join the ranks of this group (gloo on CPU, NCCL on CUDA); alone, there is nothing to join, unless a group of one
    is asked for."""
    if alone_too or int(os.environ.get("WORLD_SIZE", "1")) > 1:
        dist.init_process_group("nccl" if device == "cuda" else "gloo", timeout=timedelta(seconds=timeout_seconds))


def ready_since(started: float) -> WorkerInfo:
    """What a worker answers once it can work; `started` is time.monotonic() of its first line."""
    return WorkerInfo(os.getpid(), os.uname().nodename, time.monotonic() - started)
