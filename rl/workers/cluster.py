"""Starts policy, reference and engines as groups of Ray actors and stops them whatever happens. The one home of Ray and
of verl.

Groups are verl's `RayWorkerGroup`s on placement groups of our own. Every wait has a deadline, every failure names its
worker, and no weight passes through the driver (rl/workers/transport.py).
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import logging
import os
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, Self

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayError, RayTaskError
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group

from rl.config import Config
from rl.config.schedule import passes_together, work_at_once
from rl.workers import interrupts, processes
from rl.workers.failures import ClusterUnavailable
from rl.workers.groups import Gone, Group, PolicyGroup, RolloutGroup, Session
from rl.workers.parcels import Parcels
from rl.workers.placement import STRATEGY, Placement, place, place_policy, reference_apart
from rl.workers.policy_worker import Job, PolicyWorker
from rl.workers.reference_worker import AdapterOff, ReferenceWorker
from rl.workers.rollout_worker import RolloutWorker
from rl.workers.transport import LEAST_STORE_BYTES, Transport, store_bytes, transport_for
from rollouts.engine.requests import PrefixHits

log = logging.getLogger(__name__)
LOOPBACK = "127.0.0.1"
CONNECT_SECONDS = 10.0
# Read by Ray's own processes. No usage report, no Python processes that wait for tasks that never come, and workers
# that are not nicer than whatever else runs on the machine (Ray gives them 15).
_RAY_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_enable_worker_prestart": "0",
    "RAY_prestart_worker_first_driver": "0",
    "RAY_worker_niceness": "0",
}


class RaySession:
    """A Ray of our own on this machine, or a connection to one that is there already; nothing of ours is left after
    `close`."""

    def __init__(self, config: Config, num_workers: int, store_bytes: int = LEAST_STORE_BYTES) -> None:
        self.timeout = config.compute.worker_timeout_seconds
        self.own = config.compute.ray_address is None
        self.handlers = interrupts.install()
        self.folder = ""
        self.handles: list[Any] = []
        self._store_bytes = store_bytes
        self.pools: dict[str, PlacementGroup] = {}
        self.parcels = Parcels(ray.put, config.model.dtype)
        # verl's import takes seconds that Ray's start spends waiting. Not the other way round: the kernel ends Ray's
        # processes together with the thread that started them, which is how they follow a driver that is killed.
        verl = threading.Thread(target=importlib.import_module, args=("verl.single_controller.ray",))
        try:
            with interrupts.put_off():
                verl.start()
                self._connect(config.compute.ray_address, num_workers)
                verl.join()
        except BaseException:
            self.close()
            raise

    def _connect(self, address: str | None, num_workers: int) -> None:
        """Join the cluster at `address`, or start one here. Ray gives its own processes 30 s, which a busy machine may
        exceed: then again."""
        logging.getLogger("ray").setLevel(logging.ERROR)
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": False}
        deadline = time.monotonic() + self.timeout
        while True:
            try:
                ray.init(**quiet, **(_joining(address) if address is not None else self._own_cluster(num_workers)))
                return
            except SystemExit as error:
                if error.code == signal.SIGTERM:  # Ray's own handler is in place while it starts
                    raise interrupts.Interrupted(128 + signal.SIGTERM) from None
                interrupts.raise_if_interrupted(error)
                raise
            except Exception as error:  # Ray raises bare Exceptions here
                if address is not None or time.monotonic() > deadline:
                    where = address or "on this machine"
                    raise ClusterUnavailable(
                        f"Ray does not start or answer ({where}): {error}; see compute.ray_address"
                    ) from error
                log.warning("Ray did not start (%s); trying again", error)
                self._stop_ray()
            finally:
                os.environ.pop(processes.MARK, None)
                interrupts.install()

    def _own_cluster(self, num_workers: int) -> dict[str, Any]:
        os.environ.update(_RAY_ENVIRONMENT)
        # Short, because socket names end at 107 characters.
        self.folder = tempfile.mkdtemp(prefix="rounds-ray-", dir="/tmp" if os.access("/tmp", os.W_OK) else None)
        os.environ[processes.MARK] = self.folder
        return {
            "address": "local",
            "num_cpus": num_workers,
            "include_dashboard": False,
            "object_store_memory": self._store_bytes,
            "_temp_dir": self.folder,
        }

    def group(self, name: str, worker: type, placement: Placement, *arguments: Any, **options: Any) -> Any:
        """A verl worker group: its actors are being started when this returns."""
        from verl.single_controller.ray import RayClassWithInitArgs, RayResourcePool, RayWorkerGroup

        own = self.own

        class GroupWithPort(RayWorkerGroup):
            def _get_master_addr_port(self, pg: Any, bundle_index: int = 0, master_port_range: Any = None) -> None:
                """verl starts one more process to find a port; on one machine it can be found here."""
                if not own:
                    super()._get_master_addr_port(pg, bundle_index, master_port_range)
                    return
                with socket.socket() as free:
                    free.bind((LOOPBACK, 0))
                    self._master_addr, self._master_port = LOOPBACK, str(free.getsockname()[1])

        pool = RayResourcePool([placement.count], use_gpu=False, max_colocate_count=1, name_prefix=name)
        pool.pgs = [self._placement_group(placement)]
        blueprint = RayClassWithInitArgs(ray.remote(worker), *arguments)
        blueprint.update_options({"num_gpus": placement.num_gpus, **options})
        # vLLM leaves files in the folder for temporary files, so its workers get one that goes with them.
        environment = placement.environment | ({"TMPDIR": self.folder} if own else {})
        group = GroupWithPort(pool, blueprint, name_prefix=f"{name}-", device_name="cpu", worker_env=environment)
        self.handles += group.workers
        return group

    def _placement_group(self, placement: Placement) -> PlacementGroup:
        """The one of the placement's pool, where there is room for it."""
        if placement.pool not in self.pools:
            self.pools[placement.pool] = placement_group(placement.bundles, strategy=STRATEGY)
        group = self.pools[placement.pool]
        if not group.wait(self.timeout):
            raise ClusterUnavailable(
                f"the cluster has no room for {placement.count} workers with {group.bundle_specs[0]} each"
            )
        return group

    def first_ready(self, references: Sequence[Any], seconds: float) -> Any | None:
        interrupts.raise_if_lost()
        ready, _ = ray.wait(list(references), num_returns=1, timeout=seconds)
        return ready[0] if ready else None

    def fetch(self, reference: Any, seconds: float | None = None) -> Any:
        try:
            return ray.get(reference, timeout=seconds)
        except GetTimeoutError:
            raise Gone(f"gave no answer for {seconds:g} s") from None
        except RayActorError as error:
            raise Gone(f"died: {' '.join(str(error).split())[:400]}") from None
        except RayTaskError as error:
            raise error.cause if isinstance(error.cause, Exception) else Gone(f"raised {error}") from None
        except RayError as error:
            raise Gone(f"was lost: {error}") from None

    def log_files(self, pid: int) -> list[Path]:
        return sorted(Path(self.folder).glob(f"session_*/logs/worker-*-{pid}.*")) if self.folder else []

    def close(self) -> None:
        """Stop every worker and, where it is ours, Ray itself; wait until the processes are gone. May be called
        twice."""
        with interrupts.held_back():
            for handle in self.handles if not self.own else ():
                with contextlib.suppress(Exception):  # a worker that is gone already is as we want it
                    ray.kill(handle, no_restart=True)
            for group in self.pools.values() if not self.own else ():
                with contextlib.suppress(Exception):
                    remove_placement_group(group)
            self._stop_ray()
            self.handles, self.pools = [], {}
        interrupts.restore(self.handlers)
        self.handlers = {}

    def _stop_ray(self) -> None:
        children = processes.processes_of(self.folder) if self.folder else []
        ray.shutdown()
        processes.end(children)
        if self.folder:
            processes.end(processes.with_mark(self.folder))
            shutil.rmtree(self.folder, ignore_errors=True)
        self.folder = ""


def _joining(address: str) -> dict[str, Any]:
    """Arguments that join a running cluster. Ray tries a dead address for minutes, so that somebody listens is seen to
    first."""
    target = os.environ.get("RAY_ADDRESS", address) if address == "auto" else address
    host, colon, port = target.rpartition(":")
    if colon and port.isdigit() and "//" not in host:
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
    return {"address": address}


class Starting(Session, Protocol):
    """A session that starts groups: `RaySession`, or one that records what is started."""

    def group(self, name: str, worker: type, placement: Placement, *arguments: Any, **options: Any) -> Any:
        """A verl worker group."""

    def close(self) -> None:
        """Stop what was started."""


class Cluster:
    """The workers of one run; a context manager. Without a policy only engines were started; without a `reference`
    nothing holds the policy back (grpo.beta=0)."""

    def __init__(
        self,
        session: Starting,
        rollout: RolloutGroup,
        policy: PolicyGroup | None,
        reference: Group | AdapterOff | None,
        transport: Transport | None = None,
        side_by_side: bool = True,
    ) -> None:
        self._session = session
        self.rollout = rollout
        # Whether engines can draw while the policy learns; not where they share its GPUs.
        self.side_by_side = side_by_side
        # The version that the engines hold or are being given, and what waits for it.
        self._synced: tuple[int, Callable[[], None]] | None = None
        self._policy = policy
        self.reference = reference
        self._transport = transport
        self._hits = PrefixHits()

    @property
    def policy(self) -> PolicyGroup:
        assert self._policy is not None, "this cluster was started without total_updates, so it has no policy"
        return self._policy

    def sync(self, version: int) -> None:
        """Give the policy's weights as they are now to every engine, as `version`; afterwards engines draw with no
        others."""
        self.start_sync(version)()

    def start_sync(self, version: int) -> Callable[[], None]:
        """The same without waiting: the function that is returned waits, and raises what went wrong. The weights are
        those after every update that was started before. A version that the engines hold, or are being given, is not
        sent again: a version never has other weights."""
        assert self._transport is not None, "this cluster was started without total_updates, so it has no policy"
        if self._synced is None or self._synced[0] != version:
            self._synced = version, functools.cache(self._transport.start(version))
        return self._synced[1]

    def metrics(self) -> dict[str, float]:
        """How the engines have worked since this was last asked; perf/prefix_hit_rate = share of the blocks of prompts
        that were in their cache already, NaN where prompts are shorter than a block."""
        hits, self._hits = self.rollout.hits - self._hits, self.rollout.hits
        return {"perf/prefix_hit_rate": hits.rate}

    def close(self) -> None:
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self.close()
        interrupts.raise_if_interrupted(error)


def start(config: Config, model_path: str | Path, *, total_updates: int | None) -> Cluster:
    """Start all workers and wait until they can work (see `bring_up`); engines then hold the policy's weights as
    version 0.

    Args:
        model_path: the SFT model: start of the policy, and the frozen reference.
        total_updates: optimiser updates of the whole run (steps x minibatches); None = engines only, with the weights
            on disk as version 0.

    Raises:
        FileNotFoundError: there is no model folder at an absolute path.
        ClusterUnavailable: Ray does not start or has no room.
        WorkerFailed: a worker died or was not ready within compute.worker_timeout_seconds. Everything is stopped again
            in either case.
    """
    path = _model_path(model_path)
    kind = {"held": reference_apart(config), "at_once": work_at_once(config)}
    counts: Mapping[str, Placement] = place(config.compute, float("inf"), **kind)
    num_workers = sum(placement.count for placement in counts.values())
    session = RaySession(config, num_workers, store_bytes(config, path))
    try:
        places = place(config.compute, ray.cluster_resources().get("GPU", 0.0), **kind)
        return bring_up(session, config, path, places, total_updates)
    except BaseException as error:
        session.close()
        interrupts.raise_if_interrupted(error)
        raise


def bring_up(
    session: Starting, config: Config, path: str, places: Mapping[str, Placement], total_updates: int | None
) -> Cluster:
    """Start the workers where they are placed: all at the same time, or, where engines share the policy's GPUs, engines
    first and alone. vLLM measures free memory while it starts, and asleep it leaves that to the others."""
    shares_gpu = places["rollout"].shares_gpu
    # Engines take longest, so they are first in the queue for the cores.
    arguments = (config, path, 0 if total_updates is None else None, shares_gpu)
    engines = session.group("rollout", RolloutWorker, places["rollout"], *arguments, max_restarts=1)
    rollout = RolloutGroup("rollout", engines, session)
    if total_updates is None:
        rollout.wait_until_ready()
        return Cluster(session, rollout, None, None)
    if shares_gpu:
        rollout.wait_until_ready()
        rollout.sleep()
    ranks = session.group("policy", PolicyWorker, places["policy"], config, path, total_updates)
    learning: list[Group] = [policy := PolicyGroup("policy", ranks, session)]
    reference: Group | AdapterOff | None = None
    if reference_apart(config):
        frozen = session.group("reference", ReferenceWorker, places["reference"], config, path)
        learning.append(reference := Group("reference", frozen, session))
    elif config.grpo.beta > 0:
        reference = AdapterOff(policy)
    for group in learning if shares_gpu else (rollout, *learning):
        group.wait_until_ready()
    if config.compute.device == "cpu" and passes_together(config) and not work_at_once(config):
        share_cores(learning)
    for group in learning if shares_gpu else ():
        group.before_work = rollout.sleep
    transport = transport_for(config.compute, policy, rollout, shares_gpu)
    cluster = Cluster(session, rollout, policy, reference, transport, side_by_side=not shares_gpu)
    cluster.sync(version=0)
    return cluster


def share_cores(groups: Sequence[Group]) -> None:
    """Tell every worker whether one of another group stands on its machine: both then work with half of the threads,
    because they are asked at the same time."""
    for group in groups:
        others = {info.host for other in groups if other is not group for info in other.infos}
        group.wait(group.ask_each("share_cores", [info.host in others for info in group.infos]))


@contextlib.contextmanager
def start_policy(config: Config, model_path: str | Path, total_updates: int, job: Job) -> Iterator[PolicyGroup]:
    """The ranks of the policy alone, for a job that draws nothing; they and their memory are gone afterwards.

    Raises:
        FileNotFoundError, ClusterUnavailable, WorkerFailed: see `start`.
    """
    path, placement = _model_path(model_path), place_policy(config.compute)
    session = RaySession(config, placement.count)
    try:
        ranks = session.group("policy", PolicyWorker, placement, config, path, total_updates, job)
        group = PolicyGroup("policy", ranks, session)
        group.wait_until_ready()
        yield group
    except BaseException as error:
        session.close()
        interrupts.raise_if_interrupted(error)
        raise
    session.close()


def _model_path(model_path: str | Path) -> str:
    path = str(Path(model_path).resolve()) if Path(model_path).exists() else str(model_path)
    if Path(path).is_absolute() and not Path(path).is_dir():
        raise FileNotFoundError(f"no model folder at {path}; expected a folder in Hugging Face format")
    return path
