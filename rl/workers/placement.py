"""How many workers of each kind there are and what each gets: arithmetic on ComputeConfig, no Ray."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from rl.config import ComputeConfig, Config
from rl.workers.failures import ClusterUnavailable

# Of Ray: on as few machines as there is room, so that ranks which speak to one another are neighbours.
STRATEGY = "PACK"


@dataclass(frozen=True)
class Placement:
    """One group of workers."""

    count: int
    # GPUs of each worker; a fraction = it shares one.
    num_gpus: float
    threads: int
    # Groups with the same pool name stand on the same CPUs and GPUs, worker by worker.
    pool: str
    # An engine that stands on a GPU of the policy.
    shares_gpu: bool = False

    @property
    def bundles(self) -> list[dict[str, float]]:
        """Resources of the pool, a bundle a worker, for one placement group. Groups of the same pool stand in the same
        bundles, so these hold a whole GPU and a CPU for each of them."""
        if 0 < self.num_gpus < 1:
            return [{"CPU": 3.0, "GPU": 1.0}] * self.count
        return [{"CPU": 1.0} | ({"GPU": self.num_gpus} if self.num_gpus else {})] * self.count

    @property
    def environment(self) -> dict[str, str]:
        spin = {"GOMP_SPINCOUNT": os.environ["GOMP_SPINCOUNT"]}  # also on other machines of a cluster; rl/__init__.py
        return {"OMP_NUM_THREADS": str(self.threads), "TOKENIZERS_PARALLELISM": "false", **spin}


def reference_apart(config: Config) -> bool:
    """Whether the reference is a group of its own. Nothing holds the policy back at grpo.beta=0, and under an adapter
    (model.train=lora) lies the reference itself."""
    return config.grpo.beta > 0 and config.model.train != "lora"


def place(compute: ComputeConfig, num_gpus: float, held: bool = True, at_once: bool = False) -> dict[str, Placement]:
    """The groups policy, reference and rollout on a cluster with so many GPUs (0 on CPU).

    On CPU each worker is a process with its share of the cores. Groups that take turns may use all of them each; groups
    that work at once (`at_once`: the step streams) have half each, because two passes of one thread each take less time
    than one after the other with two threads (LOG.md); what the policy does once engines have drawn takes all of them
    (`place_policy`). A count never depends on what is free, because bits depend on it. On CUDA the reference stands on
    the policy's GPUs; engines have GPUs of their own where there are enough, else they share the policy's, one to one.
    Without a reference (`held` = False, for grpo.beta=0) there is no such group.

    Raises:
        ClusterUnavailable: there are too few GPUs.
    """
    cores = os.cpu_count() or 1

    def group(count: int, gpus: float, pool: str) -> Placement:
        return Placement(count, gpus, compute.num_threads or max(1, cores // (2 * count if at_once else count)), pool)

    num_policy, num_rollout, tensor_parallel = (
        compute.num_policy_workers,
        compute.num_rollout_workers,
        compute.tensor_parallel_size,
    )
    if compute.device == "cpu":
        return {
            "policy": group(num_policy, 0, "policy"),
            **({"reference": group(1, 0, "reference")} if held else {}),
            "rollout": group(num_rollout, 0, "rollout"),
        }
    learning = ("policy", "reference") if held else ("policy",)
    if num_gpus >= num_policy + num_rollout * tensor_parallel:
        return {
            **{name: group(num_policy, 1 / len(learning), "policy") for name in learning},
            "rollout": group(num_rollout, tensor_parallel, "rollout"),
        }
    if num_gpus >= num_policy == num_rollout and tensor_parallel == 1:
        shared = group(num_policy, 0.33, "policy")
        return {**dict.fromkeys(learning, shared), "rollout": replace(shared, shares_gpu=True)}
    raise ClusterUnavailable(
        f"the cluster has {num_gpus:g} GPUs; {num_policy} policy workers and {num_rollout} engines of {tensor_parallel}"
        f" GPUs need {num_policy + num_rollout * tensor_parallel}, or {num_policy} shared ones with as many engines of"
        " one GPU: lower compute.num_* or tensor_parallel_size"
    )


def place_policy(compute: ComputeConfig) -> Placement:
    """The policy group where it works alone (SFT, the second half of a step that streams): a whole GPU a rank on CUDA,
    a share of the cores on CPU."""
    count = compute.num_policy_workers
    threads = compute.num_threads or max(1, (os.cpu_count() or 1) // count)
    return Placement(count, 1.0 if compute.device == "cuda" else 0.0, threads, "policy")


def in_background(compute: ComputeConfig) -> bool:
    """Whether a thread writes checkpoints; where the settings leave it open, on GPUs, whose ranks would wait for the
    disk."""
    chosen = compute.background_checkpoints
    return compute.device == "cuda" if chosen is None else chosen
