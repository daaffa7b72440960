"""In which order workers are started, and whose memory a shared GPU is: recorded calls, no Ray and no GPU."""

from __future__ import annotations

import dataclasses
import gc
import pickle
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from PIL import Image

from rl.algo.denominators import denominators
from rl.config import ComputeConfig, Config, GrpoConfig, ModelConfig
from rl.policy.batching import Row
from rl.workers.cluster import Cluster, bring_up
from rl.workers.failures import WorkerFailed
from rl.workers.groups import Gone
from rl.workers.parcels import Parcels, opens_letters
from rl.workers.placement import Placement, place
from rl.workers.worker_setup import WorkerInfo
from rollouts.engine.requests import Request, SamplingSettings, StaleWeights, WeightsRejected
from rollouts.engine.sleeping import KV_CACHE, WEIGHTS, Sleeper
from rollouts.prompt.processing import EncodedPrompt

CUDA = Config(compute=ComputeConfig(device="cuda"))


@dataclasses.dataclass
class Recorded:
    """A session whose workers answer at once, and which writes down what it is asked."""

    # Group -> machines of its workers.
    hosts: dict[str, list[str]]
    calls: list[str] = dataclasses.field(default_factory=list)
    timeout: float = 1.0
    dtype: Literal["float32", "bfloat16"] = "float32"
    # What engines say they heard, and the call in which a worker dies; until then the policy still sends.
    heard: str = "checksum"
    dies: str = ""
    # Bytes of what was put into the object store, and of what went with calls.
    put_bytes: int = 0
    called_bytes: int = 0

    def __post_init__(self) -> None:
        self.parcels = Parcels(self.put, self.dtype)

    def put(self, value: Any) -> Answer:
        stored = pickle.dumps(value)
        self.put_bytes += len(stored)
        return Answer("store", pickle.loads(stored))

    def group(self, name: str, worker: type, placement: Placement, *arguments: Any, **options: Any) -> Any:
        self.calls.append(f"{name} begins")
        return VerlGroup(name, self)

    def first_ready(self, references: Any, seconds: float) -> Any:
        dead = [one for one in references if isinstance(getattr(one, "value", None), Gone)]
        return (dead or references)[0]

    def fetch(self, reference: Answer, seconds: float | None = None) -> Any:
        if isinstance(reference.value, Gone):
            raise reference.value
        if isinstance(reference.value, WorkerInfo):
            self.calls.append(f"{reference.name} is ready")
        return reference.value

    def log_files(self, pid: int) -> list[Path]:
        return []

    def close(self) -> None:
        self.calls.append("close")


@dataclasses.dataclass(eq=False)
class Answer:
    """A reference to a worker's answer, and the answer."""

    name: str
    value: Any


class VerlGroup:
    """As much of verl's worker group as `rl.workers.groups` calls."""

    def __init__(self, name: str, session: Recorded) -> None:
        self.name, self.session = name, session
        self.world_size = len(session.hosts[name])
        self.workers = [Worker(name, session) for _ in range(self.world_size)]

    def execute_all_async(self, method: str, *arguments: Any) -> list[Answer]:
        words = [str(one) for argument in arguments for one in (argument if isinstance(argument, list) else [argument])]
        self.session.calls.append(" ".join([f"{self.name}.{method}", *(words if method == "share_cores" else ())]))
        values: list[Any] = [None] * self.world_size
        if method == "send_weights":
            values = ["checksum"] * self.world_size
        if method == "hear_weights":
            values = [(arguments[0], self.session.heard)] * self.world_size
        if method == "start":
            values = [WorkerInfo(1, host, 0.0) for host in self.session.hosts[self.name]]
        dies = self.session.dies == f"{self.name}.{method}"
        return [Answer(self.name, Gone("died") if dies else value) for value in values]


class Opening:
    """A method as workers declare theirs."""

    @opens_letters
    def see(self, part: Any) -> Any:
        return part


@dataclasses.dataclass
class Worker:
    """An actor: every method of it can be called as Ray's are."""

    name: str
    session: Recorded
    checksum: str = "checksum"

    def __getattr__(self, method: str) -> Method:
        return Method(self, method)

    def answer(self, method: str, arguments: tuple[Any, ...]) -> Any:
        """What the worker's own class would do with the call: open the letter and see the rows."""
        part, rest, *prompts = arguments
        opened = Opening().see(part, rest, *(prompt.value for prompt in prompts))
        rows = opened if method == "log_probs" else opened[0]
        assert all(row.prompt.token_ids for row in rows)
        return [[0.0] for _ in rows] if method == "log_probs" else {"loss": 0.0}


@dataclasses.dataclass
class Method:
    worker: Worker
    method: str

    def options(self, **_: Any) -> Method:
        return self

    def remote(self, *arguments: Any) -> Any:
        name, session = self.worker.name, self.worker.session
        session.calls.append(f"{name}.{self.method}")
        session.called_bytes += len(pickle.dumps([one for one in arguments if not isinstance(one, Answer)]))
        if self.method in ("log_probs", "update"):
            return Answer(name, self.worker.answer(self.method, arguments))
        if self.method in ("export_weights", "lend_weights"):
            return Answer(name, {}), Answer(name, self.worker.checksum)
        if self.method in ("load_weights", "borrow_weights"):
            return Answer(name, (arguments[0], arguments[2].value))
        return iter([])


def started(config: Config, num_gpus: float, **hosts: str) -> tuple[Cluster, list[str]]:
    """The cluster that is brought up on so many GPUs, and what its workers were asked meanwhile."""
    machines = {
        "rollout": ["a"],
        "policy": ["a"],
        "reference": ["a"],
        **{name: list(one) for name, one in hosts.items()},
    }
    session = Recorded(machines, dtype=config.model.dtype)
    places = place(config.compute, num_gpus, held=config.grpo.beta > 0)
    cluster = bring_up(session, config, "model", places, 4)
    return cluster, session.calls


def test_on_a_shared_gpu_the_engine_starts_alone_and_sleeps_before_the_policy_loads() -> None:
    _, calls = started(CUDA, num_gpus=1)
    assert calls == [
        "rollout begins", "rollout.pid", "rollout.start", "rollout is ready", "rollout.sleep",
        "policy begins", "policy.pid", "policy.start", "reference begins", "reference.pid", "reference.start",
        "policy is ready", "reference is ready",
        "policy.lend_weights", "rollout.borrow_weights", "policy.take_back_weights",
    ]  # fmt: skip


def test_with_gpus_of_their_own_all_start_together_and_nobody_sleeps() -> None:
    cluster, calls = started(CUDA, num_gpus=2)
    assert calls.index("policy begins") < calls.index("rollout is ready")
    cluster.policy.log_probs([])
    assert "rollout.sleep" not in calls
    # Weights cross from GPU to GPU, over a line that is laid once all are ready.
    sync = ["policy.send_weights", "rollout.hear_weights"]
    laid = ["policy.serve_line", "policy.join_line", "rollout.join_line"]
    assert calls[calls.index("policy.serve_line") :] == [*laid, *sync, "policy.log_probs"]
    del calls[:]
    cluster.sync(1)
    assert calls == sync


def test_weights_go_through_the_store_where_the_settings_say_so_and_on_a_cpu() -> None:
    through_store = ["policy.export_weights", "rollout.load_weights"]
    stored = dataclasses.replace(CUDA, compute=ComputeConfig(device="cuda", weight_transport="store"))
    for config, num_gpus in ((stored, 2), (stored, 1), (Config(), 0)):
        cluster, calls = started(config, num_gpus=num_gpus)
        del calls[:]
        cluster.sync(1)
        assert calls == through_store
    direct = dataclasses.replace(Config(), compute=ComputeConfig(weight_transport="direct"))
    assert started(direct, num_gpus=0)[1][-2:] == ["policy.send_weights", "rollout.hear_weights"]


def test_an_engine_that_confirms_other_weights_than_were_sent_ends_the_run() -> None:
    cluster, _ = started(CUDA, num_gpus=2)
    session: Any = cluster._session
    session.heard = "others"
    with pytest.raises(StaleWeights, match=r"rollout-0 holds \(1, 'others'\), wanted \(1, 'checksum'\)"):
        cluster.sync(1)


def test_an_engine_that_dies_while_it_hears_is_named_although_the_policy_still_sends() -> None:
    cluster, _ = started(CUDA, num_gpus=2)
    session: Any = cluster._session
    session.dies = "rollout.hear_weights"
    with pytest.raises(WorkerFailed, match="worker rollout-0 died"):
        cluster.sync(1)


def test_ranks_that_lend_different_weights_give_no_version() -> None:
    config = dataclasses.replace(
        CUDA, compute=ComputeConfig(device="cuda", num_policy_workers=2, num_rollout_workers=2)
    )
    cluster, calls = started(config, num_gpus=2, policy="aa", rollout="aa", reference="aa")
    del calls[:]
    cluster.policy.workers[1].checksum = "another"
    with pytest.raises(WeightsRejected, match="2 different sets of weights for version 1"):
        cluster.sync(1)
    # Every rank lends to the engine of its number.
    assert calls == ["policy.lend_weights", "policy.lend_weights", "rollout.borrow_weights", "rollout.borrow_weights"]


def test_engines_sleep_while_the_policy_works_and_wake_with_their_weights() -> None:
    cluster, calls = started(CUDA, num_gpus=1)
    for version in (1, 2):
        del calls[:]
        cluster.sync(version)
        list(cluster.rollout.sample([], SamplingSettings(1.0, 8, version)))
        assert cluster.reference is not None
        wait = cluster.reference.start_log_probs([])
        cluster.policy.log_probs([])
        wait()
        # Once a step, before the first of the two passes.
        assert calls == [
            "policy.lend_weights", "rollout.borrow_weights", "policy.take_back_weights",
            "rollout.sleep", "reference.log_probs", "policy.log_probs",
        ]  # fmt: skip


def test_engines_draw_beside_the_policy_unless_they_share_its_gpu_and_a_version_is_sent_once() -> None:
    assert [started(CUDA, num_gpus=number)[0].side_by_side for number in (1, 2)] == [False, True]
    assert started(Config(), num_gpus=0)[0].side_by_side
    cluster, calls = started(CUDA, num_gpus=1)
    del calls[:]
    for _ in range(2):
        cluster.start_sync(3)()
    assert calls == ["policy.lend_weights", "rollout.borrow_weights", "policy.take_back_weights"]


def test_threads_are_halved_only_where_policy_and_reference_stand_on_one_machine() -> None:
    cpu = Config(compute=ComputeConfig(num_policy_workers=2), grpo=GrpoConfig(old_logprobs="policy"))
    _, calls = started(cpu, num_gpus=0, policy="ab", reference="a")
    assert [call for call in calls if "share_cores" in call] == [
        "policy.share_cores True False",
        "reference.share_cores True",
    ]
    free = dataclasses.replace(cpu, grpo=GrpoConfig(beta=0.0, old_logprobs="policy"))
    _, calls = started(free, num_gpus=0, policy="ab")
    assert [call for call in calls if "share_cores" in call] == ["policy.share_cores False False"]
    for grpo in (GrpoConfig(), GrpoConfig(old_logprobs="policy", max_staleness=1)):
        _, calls = started(dataclasses.replace(cpu, grpo=grpo), num_gpus=0, policy="ab")
        assert not [call for call in calls if "share_cores" in call], "groups that work at once have half each already"
    _, calls = started(CUDA, num_gpus=1)
    assert not [call for call in calls if "share_cores" in call], "on a GPU the pass does not run on these cores"


def prompt(number: int) -> EncodedPrompt:
    """112 x 112 pixels: 147 KiB as the trainer's float32, 74 KiB in bfloat16, 37 KiB as RGB."""
    pixels = torch.full((1, 3, 112, 112), float(number))
    image = Image.new("RGB", (112, 112), (number, 0, 0))
    return EncodedPrompt(f"p{number}", "text", tuple(range(60)), {"pixel_values": pixels}, {"image": (image,)})


@pytest.mark.parametrize(("dtype", "num_bytes"), [("float32", 4), ("bfloat16", 2)])
def test_a_step_sends_every_prompt_once_to_engines_and_once_to_trainers(dtype: Any, num_bytes: int) -> None:
    config = Config(model=ModelConfig(dtype=dtype), compute=ComputeConfig(num_policy_workers=2))
    cluster, _ = started(config, num_gpus=0, policy="aa")
    session: Any = cluster._session
    asked = [prompt(number) for number in range(8)]
    pixels = sum(3 * 112 * 112 * num_bytes + 112 * 112 * 3 for _ in asked)
    before = session.put_bytes + session.called_bytes
    requests = [
        Request(one.prompt_id, index, one.text, one.engine_media, index, one.token_ids)
        for one in asked
        for index in range(8)
    ]
    with pytest.raises(WorkerFailed, match="lost 64 completions"):  # these engines draw nothing
        list(cluster.rollout.sample(requests, SamplingSettings(1.0, 8, 0)))
    trained = [one.for_trainer() for one in asked]
    rows = [Row(one, tuple(range(20)), 1.0) for one in trained for _ in range(8)]
    assert cluster.reference is not None
    wait = cluster.reference.start_log_probs(rows)
    assert cluster.policy.log_probs(rows) == wait() == [[0.0]] * 64
    for start in range(0, 64, 16):
        assert cluster.policy.start_update(rows[start : start + 16], denominators([[20] * 16], 20)[0])() == {
            "loss": 0.0
        }
    sent = session.put_bytes + session.called_bytes - before
    assert pixels < sent < 1.1 * pixels, "three times the trainer's pixels before"
    # With the step its prompts are gone from the store as well.
    assert len(session.parcels._known) == 8
    del rows, trained, wait
    gc.collect()
    assert not session.parcels._known


class Bed:
    """Writes down how an engine is put to sleep and woken."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def sleep(self, level: int) -> None:
        self.calls.append(f"sleep {level}")

    def wake_up(self, tags: list[str]) -> None:
        self.calls.append(f"wake {' '.join(tags)}")


def test_weights_wake_before_the_cache_and_nothing_is_done_twice() -> None:
    bed = Bed()
    sleeper = Sleeper(bed, enabled=True)
    sleeper.wake(WEIGHTS, KV_CACHE)
    assert bed.calls == [], "it is awake"
    sleeper.sleep()
    sleeper.sleep()
    sleeper.wake(WEIGHTS)
    bed.calls.append("load")
    sleeper.wake(KV_CACHE)
    sleeper.wake(WEIGHTS, KV_CACHE)
    # Level 1: what comes back is what was there, buffers in no checkpoint included.
    assert bed.calls == ["sleep 1", "wake weights", "load", "wake kv_cache"]
    alone = Sleeper(bed, enabled=False)
    alone.sleep()
    alone.wake(WEIGHTS)
    assert len(bed.calls) == 4
