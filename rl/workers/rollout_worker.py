"""One engine that draws completions. After a restart it holds no weights and refuses to draw until it is given the
wanted ones."""

from __future__ import annotations

import math
import os
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from torch import Tensor

from rl.config import Config
from rl.data.sizes import images_of
from rl.workers.worker_setup import RANK_VARIABLES, WorkerInfo, ready_since, set_threads
from rollouts.engine.requests import (
    EngineDead,
    EngineSettings,
    PrefixHits,
    Refusal,
    Request,
    RequestKey,
    SamplingSettings,
    Stream,
)
from rollouts.records import Completion

if TYPE_CHECKING:
    from rollouts.engine.handles import Handed
    from rollouts.engine.line import Address
    from rollouts.engine.vllm import VllmEngine

# Exit code of a worker whose engine died.
ENGINE_DIED = 70
# Where compute.max_num_seqs says nothing. On CPU more in flight draws hardly faster, and what was asked first would
# finish as late as the rest, so that judges would start late.
MAX_SEQUENCES_IN_FLIGHT = {"cpu": 64, "cuda": 512}


class RolloutWorker:
    """Holds a VllmEngine; `start` starts it."""

    def __init__(self, config: Config, model_path: str, disk_version: int | None, shares_gpu: bool = False) -> None:
        self.config = config
        self.shares_gpu = shares_gpu
        self.model_path = model_path
        self.disk_version = disk_version
        self.name = f"rollout-{os.environ['RANK']}"
        self.engine: VllmEngine | None = None

    def pid(self) -> int:
        """Of this process."""
        return os.getpid()

    def start(self) -> WorkerInfo:
        """Start the engine, with the weights on disk where they count as a version."""
        started = time.monotonic()
        for name in RANK_VARIABLES:
            os.environ.pop(name, None)
        set_threads()
        # Not at the head of the file: the driver imports this module too, and must not pay for vLLM.
        from rollouts.engine.vllm import VllmEngine

        with _death_of_the_engine_is_ours():
            settings = engine_settings(self.config, shares_gpu=self.shares_gpu)
            self.engine = VllmEngine(self.model_path, settings, self.disk_version, self.name)
        return ready_since(started)

    def load_weights(self, version: int, weights: Mapping[str, Tensor], checksum: str) -> tuple[int, str]:
        """Returns version and checksum of what the engine draws with from now on."""
        if self.engine is None:  # restarted
            self.start()
        assert self.engine is not None
        with _death_of_the_engine_is_ours():
            self.engine.load_weights(version, weights, checksum)
            self.engine.confirm(version, checksum)
        return version, checksum

    def borrow_weights(self, version: int, handed: Handed, checksum: str) -> tuple[int, str]:
        """The same with weights that lie on this GPU already."""
        if self.engine is None:
            raise EngineDead(f"{self.name} was restarted and holds no weights; sync them first")
        with _death_of_the_engine_is_ours():
            self.engine.borrow_weights(version, handed, checksum)
            self.engine.confirm(version, checksum)
        return version, checksum

    def join_line(self, part: tuple[Address, int]) -> None:
        """Be an end of the line from the policy, from this number on."""
        assert self.engine is not None, "it was ready when the policy began the line"
        self.engine.join_line(*part, self.config.compute.worker_timeout_seconds)

    def hear_weights(self, version: int) -> tuple[int, str]:
        """The same with weights that are being sent over the line."""
        if self.engine is None:
            raise EngineDead(f"{self.name} was restarted and is on no line; resume the run")
        with _death_of_the_engine_is_ours():
            checksum = self.engine.hear_weights(version)
            self.engine.confirm(version, checksum)
        return version, checksum

    def sleep(self) -> None:
        """Leave the GPU's memory to the policy until weights come, or completions are asked for."""
        if self.engine is not None:
            with _death_of_the_engine_is_ours():
                self.engine.sleep()

    def prepare(self, requests: Sequence[Request], settings: SamplingSettings | None) -> None:
        """Render the prompts of the next call ahead; without any there are no settings."""
        if self.engine is not None:  # else it was restarted, and is told again with its weights
            with _death_of_the_engine_is_ours():
                self.engine.prepare(requests, settings)

    def sample(
        self, requests: Sequence[Request], settings: SamplingSettings, stream: Stream | None = None
    ) -> Iterator[list[tuple[RequestKey, Completion | Refusal]] | PrefixHits]:
        """Completions as they finish, those that finish together in one list; at the end how often the prompts of this
        call were in the cache already."""
        if self.engine is None:
            raise EngineDead(f"{self.name} was restarted and holds no weights; sync them first")
        before = self.engine.hits
        with _death_of_the_engine_is_ours():
            yield from self.engine.sample_together(requests, settings, stream)
        yield self.engine.hits - before


@contextmanager
def _death_of_the_engine_is_ours() -> Iterator[None]:
    """A worker with a dead engine is of no use: say why and exit, so that Ray can start another."""
    try:
        yield
    except EngineDead:
        traceback.print_exc(file=sys.stderr)
        sys.stderr.flush()
        os._exit(ENGINE_DIED)


def engine_settings(config: Config, *, shares_gpu: bool = False) -> EngineSettings:
    """What the configuration says about one engine, which may stand on a GPU of the policy."""
    compute = config.compute
    share = math.ceil(config.grpo.prompts_per_step * config.grpo.num_generations / compute.num_rollout_workers)
    return EngineSettings(
        dtype=config.model.dtype,
        max_model_len=config.model.max_model_len,
        max_images=config.model.max_images,
        images=images_of(config.model),
        max_num_seqs=min(share, compute.max_num_seqs or MAX_SEQUENCES_IN_FLIGHT[compute.device]),
        cpu_kv_cache_gib=compute.cpu_kv_cache_gib,
        gpu_memory_utilization=compute.gpu_memory_utilization,
        shares_gpu=shares_gpu,
        gpu_kv_cache_gib=compute.gpu_kv_cache_gib,
        tensor_parallel_size=compute.tensor_parallel_size,
    )
