"""Where workers go, as arithmetic; what a signal becomes; the last words of a worker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from rl.config import ComputeConfig, Config, GrpoConfig, ModelConfig
from rl.workers import interrupts, processes
from rl.workers.failures import ClusterUnavailable, last_log_lines
from rl.workers.placement import place, reference_apart
from rl.workers.policy_worker import PolicyWorker
from rl.workers.rollout_worker import engine_settings
from rl.workers.transport import LEAST_STORE_BYTES, store_bytes
from rl.workers.worker_setup import threads_for
from rollouts.engine.arguments import engine_arguments
from rollouts.engine.requests import EngineSettings


def test_on_cpu_groups_have_no_gpus_and_share_the_cores() -> None:
    places = place(ComputeConfig(num_policy_workers=2, num_rollout_workers=3, num_threads=5), num_gpus=0)
    assert {name: (one.count, one.num_gpus, one.threads) for name, one in places.items()} == {
        "policy": (2, 0, 5),
        "reference": (1, 0, 5),
        "rollout": (3, 0, 5),
    }
    alone = place(ComputeConfig(), num_gpus=0)["rollout"]
    assert alone.environment["OMP_NUM_THREADS"] == str(os.cpu_count())


def test_groups_that_work_at_once_have_half_the_cores_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)

    def threads(**changes: object) -> dict[str, int]:
        compute = ComputeConfig(num_policy_workers=2, **changes)  # type: ignore[arg-type]
        return {name: one.threads for name, one in place(compute, num_gpus=0, at_once=True).items()}

    assert threads() == {"policy": 2, "reference": 4, "rollout": 4}
    assert threads(num_threads=3) == {"policy": 3, "reference": 3, "rollout": 3}


class Counter:
    """A policy that notes with how many threads it works."""

    def __init__(self) -> None:
        self.threads: list[int] = []

    def accumulate(self, rows: Any) -> None:
        self.threads.append(torch.get_num_threads())

    def update(self, rows: Any, totals: Any) -> dict[str, float]:
        self.accumulate(rows)
        return {}


@pytest.mark.parametrize(
    ("compute", "expected"),
    [({}, [1, 4, 1, 4]), ({"num_policy_workers": 2}, [1, 2, 1, 2]), ({"num_threads": 1}, [1] * 4)],
)
def test_a_policy_that_is_alone_with_the_machine_takes_all_cores(
    compute: dict[str, int], expected: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    worker = PolicyWorker(Config(compute=ComputeConfig(**compute)), "nowhere", 1)  # type: ignore[arg-type]
    counter = Counter()
    worker.policy = counter  # type: ignore[assignment]
    with threads_for(1):
        for alone in (False, True):
            worker.accumulate(((), alone))
        for alone in (False, True):
            worker.update(((), None, alone))  # type: ignore[arg-type]
        assert torch.get_num_threads() == 1
    assert counter.threads == expected


def test_engines_get_gpus_of_their_own_where_there_are_enough() -> None:
    compute = ComputeConfig(device="cuda", num_policy_workers=4, num_rollout_workers=2, tensor_parallel_size=2)
    places = place(compute, num_gpus=8)  # 4 + 2 x 2
    assert {name: (one.count, one.num_gpus, one.pool) for name, one in places.items()} == {
        "policy": (4, 0.5, "policy"),
        "reference": (4, 0.5, "policy"),
        "rollout": (2, 2, "rollout"),
    }
    with pytest.raises(ClusterUnavailable, match=r"has 7 GPUs.*need 8"):
        place(compute, num_gpus=7)


def test_engines_share_the_gpus_of_the_policy_where_there_are_too_few() -> None:
    compute = ComputeConfig(device="cuda", num_policy_workers=2, num_rollout_workers=2)
    places = place(compute, num_gpus=2)
    assert {(one.count, one.pool) for one in places.values()} == {(2, "policy")}
    assert sum(one.num_gpus for one in places.values()) <= 1.0


def test_without_a_kl_there_is_no_reference_and_the_policy_has_whole_gpus() -> None:
    assert place(ComputeConfig(), num_gpus=0, held=False).keys() == {"policy", "rollout"}
    places = place(ComputeConfig(device="cuda", num_policy_workers=2), num_gpus=3, held=False)
    assert {name: (one.count, one.num_gpus) for name, one in places.items()} == {"policy": (2, 1), "rollout": (1, 1)}
    shared = place(ComputeConfig(device="cuda"), num_gpus=1, held=False)
    assert {name: one.pool for name, one in shared.items()} == {"policy": "policy", "rollout": "policy"}


def test_the_base_of_an_adapter_is_the_reference_and_needs_no_process() -> None:
    assert reference_apart(Config())
    assert not reference_apart(Config(grpo=GrpoConfig(beta=0.0)))
    assert not reference_apart(Config(model=ModelConfig(train="lora")))
    assert reference_apart(Config(model=ModelConfig(train="language")))


def test_an_engine_draws_no_more_at_once_than_it_is_told_and_than_its_share_of_a_step() -> None:
    def at_once(prompts: int = 16, **compute: Any) -> int:
        settings = Config(grpo=GrpoConfig(prompts_per_step=prompts), compute=ComputeConfig(**compute))
        return engine_settings(settings).max_num_seqs

    assert at_once() == 64  # of 16 x 8
    assert at_once(prompts=4) == 32
    assert at_once(device="cuda") == 128
    assert at_once(max_num_seqs=24) == 24
    assert at_once(max_num_seqs=256) == 128
    assert at_once(max_num_seqs=256, num_rollout_workers=2) == 64


def test_an_engine_of_two_gpus_is_one_process_of_ray_and_starts_its_own_ranks() -> None:
    compute = ComputeConfig(device="cuda", num_policy_workers=4, num_rollout_workers=2, tensor_parallel_size=2)
    places = place(compute, num_gpus=8)
    # Two bundles of two GPUs each, and four of one, which policy and reference share.
    assert places["rollout"].bundles == [{"CPU": 1.0, "GPU": 2}] * 2
    assert places["policy"].bundles == places["reference"].bundles == [{"CPU": 3.0, "GPU": 1.0}] * 4
    assert place(ComputeConfig(num_rollout_workers=3), num_gpus=0)["rollout"].bundles == [{"CPU": 1.0}] * 3
    given = engine_arguments("model", EngineSettings(tensor_parallel_size=2), on_cpu=False)
    # Left to itself vLLM takes Ray inside a placement group, and Ray's executor wants bundles of one GPU.
    assert (given["tensor_parallel_size"], given["distributed_executor_backend"]) == (2, "mp")
    assert "distributed_executor_backend" not in engine_arguments("model", EngineSettings(), on_cpu=False)
    assert "tensor_parallel_size" not in engine_arguments("model", EngineSettings(), on_cpu=True)


def test_an_engine_on_a_gpu_of_the_policy_has_a_cache_of_given_size_and_can_sleep() -> None:
    shared = place(ComputeConfig(device="cuda"), num_gpus=1)
    assert [shared[name].shares_gpu for name in ("policy", "reference", "rollout")] == [False, False, True]
    assert not place(ComputeConfig(device="cuda"), num_gpus=2)["rollout"].shares_gpu
    given = engine_arguments("model", EngineSettings(shares_gpu=True, gpu_kv_cache_gib=2.0), on_cpu=False)
    assert (given["kv_cache_memory_bytes"], given["enable_sleep_mode"]) == (2 << 30, True)
    # Only what must be free when vLLM starts: beside a policy that is loaded already there is less.
    assert given["gpu_memory_utilization"] == 0.01
    alone = engine_arguments("model", EngineSettings(gpu_memory_utilization=0.9), on_cpu=False)
    assert alone["gpu_memory_utilization"] == 0.9 and "enable_sleep_mode" not in alone


def be_stopped(number: signal.Signals, unwound: list[int]) -> None:
    try:
        os.kill(os.getpid(), number)
        signal.pause()
    finally:
        with interrupts.held_back():
            os.kill(os.getpid(), number)  # a second one must not cut the clean-up short
            unwound.append(number)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_unwinds_contexts_and_gives_its_exit_code(number: signal.Signals, code: int) -> None:
    before = signal.getsignal(number)
    unwound: list[int] = []
    handlers = interrupts.install()
    try:
        with pytest.raises(interrupts.Interrupted) as caught:
            be_stopped(number, unwound)
    finally:
        interrupts.restore(handlers)
    assert (caught.value.code, unwound) == (code, [number])
    assert signal.getsignal(number) == before


class Finalised:
    """Something that is finalised the moment that it goes, as a library's objects are at any time."""


def test_an_interruption_that_python_ignored_comes_at_the_next_wait(capfd: pytest.CaptureFixture[str]) -> None:
    handlers = interrupts.install()
    try:
        interrupts.raise_if_lost()  # no signal came
        thing = Finalised()
        # What is raised in a callback like this one, or in a hook of fork, goes nowhere.
        watch = weakref.ref(thing, lambda _: os.kill(os.getpid(), signal.SIGINT))
        del thing
        assert watch() is None
        with pytest.raises(interrupts.Interrupted) as caught:
            interrupts.raise_if_lost()
        try:
            raise ValueError("the run is being cleaned up")
        except ValueError:
            interrupts.raise_if_lost()  # not in the middle of that
    finally:
        interrupts.restore(handlers)
    assert caught.value.code == 130
    assert "ignored" not in capfd.readouterr().err, "it is not lost, so nobody is told that it is"


def start_slowly(number: signal.Signals, done: list[str]) -> None:
    with interrupts.put_off():
        os.kill(os.getpid(), number)
        done.append(f"not torn out by {number.name}")


def test_an_interruption_is_put_off_once() -> None:
    done: list[str] = []
    handlers = interrupts.install()
    try:
        with pytest.raises(interrupts.Interrupted) as caught:
            start_slowly(signal.SIGTERM, done)
        with pytest.raises(interrupts.Interrupted):
            start_slowly(signal.SIGINT, done)
    finally:
        interrupts.restore(handlers)
    assert (caught.value.code, done) == (143, ["not torn out by SIGTERM"]), "who asks twice need not wait"


def test_what_ray_makes_of_an_interruption_is_one_again() -> None:
    bare = SystemExit(1)
    handlers = interrupts.install()
    try:
        interrupts.raise_if_interrupted(bare)  # no signal came: a plain exit stays what it is
        with pytest.raises(interrupts.Interrupted):
            be_stopped(signal.SIGTERM, [])
        with pytest.raises(interrupts.Interrupted) as caught:
            interrupts.raise_if_interrupted(bare)
        interrupts.raise_if_interrupted(ValueError("something else"))
    finally:
        interrupts.restore(handlers)
    assert caught.value.code == 143


def test_only_processes_of_the_session_are_ended(tmp_path: Path) -> None:
    sleeping = "import sys, time; time.sleep(60)"
    ours, other = (
        subprocess.Popen([sys.executable, "-c", sleeping, str(folder)])
        for folder in (tmp_path / "ray", tmp_path / "else")
    )
    try:
        found = processes.processes_of(str(tmp_path / "ray"))
        assert [process.pid for process in found] == [ours.pid]
        ours.terminate()
        processes.end(found)
        assert not psutil.pid_exists(ours.pid) and other.poll() is None
    finally:
        for process in (ours, other):
            process.kill()
            process.wait()


def test_an_orphan_of_the_session_is_found_by_its_mark(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'],"
        " stdout=-3).pid)"
    )
    pids = {
        name: int(
            subprocess.check_output(
                [sys.executable, "-c", code], env={**os.environ, processes.MARK: str(tmp_path / name)}
            )
        )
        for name in ("ray", "else")
    }
    try:
        assert not processes.processes_of(str(tmp_path / "ray")), "its parent is gone, so it is nobody's child"
        found = processes.with_mark(str(tmp_path / "ray"))
        assert [process.pid for process in found] == [pids["ray"]]
        found[0].terminate()
        processes.end(found)
        assert not processes.with_mark(str(tmp_path / "ray")) and processes.with_mark(str(tmp_path / "else"))
    finally:
        for pid in pids.values():
            if psutil.pid_exists(pid):
                os.kill(pid, signal.SIGKILL)


def test_the_last_words_are_the_end_of_the_log(tmp_path: Path) -> None:
    (tmp_path / "a.err").write_text("\n".join(f"line {number}" for number in range(30)) + "\n\n")
    assert last_log_lines([tmp_path / "a.err"], num_lines=2) == "  | line 28\n  | line 29"
    assert "no log" in last_log_lines([])


def test_an_object_store_has_room_for_two_versions_of_the_weights(tmp_path: Path) -> None:
    size = 4 * 300_000_000
    header = json.dumps({"w": {"dtype": "F32", "shape": [1000, 300_000], "data_offsets": [0, size]}}).encode()
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + size)  # a file with a hole: nothing is written

    def room(**changes: Any) -> int:
        return store_bytes(Config(compute=ComputeConfig(**changes)), str(tmp_path))

    # Two times 1.2 GB and 256 MiB for rows, of which Ray keeps 80 % in memory.
    assert room() == int((2**28 + 2 * 1.2e9) / 0.8) == 3_335_544_320
    halved = Config(model=ModelConfig(dtype="bfloat16"))
    assert store_bytes(halved, str(tmp_path)) == int((2**28 + 1.2e9) / 0.8)
    assert room(device="cuda") == LEAST_STORE_BYTES, "weights go another way"
    assert room(device="cuda", weight_transport="store") == 3_335_544_320
    assert store_bytes(Config(), "a/hub-id") == LEAST_STORE_BYTES
