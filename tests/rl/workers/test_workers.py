"""Real Ray, real engines: results do not depend on the number of workers, failures are named, and nothing outlives a
run."""

from __future__ import annotations

import copy
import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from rl.algo.denominators import denominators
from rl.config import ComputeConfig, Config
from rl.policy.batching import Row
from rl.policy.objectives import GrpoObjective
from rl.policy.policy import Policy, Reference
from rl.workers import processes
from rl.workers.cluster import Cluster, start
from rl.workers.failures import ClusterUnavailable, WorkerFailed
from rl.workers.transport import OverLine
from rollouts.engine.requests import RequestKey, StaleWeights
from rollouts.prompt.processing import EncodedPrompt, media_token_ids
from tests.fakes.tiny_models import make_internvl
from tests.paths import REPOSITORY
from tests.rollouts.engine.engine_cases import (
    LENGTH,
    TEMPERATURE,
    config_for,
    gap,
    prompts_of,
    requests_of,
    rows_of,
    same_share,
    settings,
)

DEADLINE_SECONDS = 200


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_internvl(tmp_path_factory.mktemp("internvl"))


@pytest.fixture(scope="module")
def prompts(folder: Path) -> list[EncodedPrompt]:
    return prompts_of(folder)


@pytest.fixture(scope="module")
def cluster(folder: Path) -> Iterator[Cluster]:
    """Two engines, two ranks of the policy, and a reference."""
    with start(held(config_for(folder, num_policy_workers=2, num_rollout_workers=2)), folder, total_updates=100) as one:
        yield one


def held(config: Config) -> Config:
    """The same with a weight of the KL, without which there is no reference."""
    return dataclasses.replace(config, grpo=dataclasses.replace(config.grpo, beta=0.04))


def some_rows(prompts: list[EncodedPrompt]) -> list[Row]:
    """Rows of fixed tokens; the last prompt has one completion only, so that no split is even."""
    keys = [RequestKey(prompt.prompt_id, index) for prompt in prompts for index in range(4)][:-3]
    by_id = {prompt.prompt_id: prompt.for_trainer() for prompt in prompts}
    completions = [tuple(range(65 + place, 75 + place + place % 7)) for place in range(len(keys))]
    return [
        Row(
            by_id[key.prompt_id], ids, advantage=1.0 if place % 2 else -1.0,
            # As a reference might say: every one of 320 tokens is about as likely as another.
            ref_logprobs=(-5.8,) * len(ids),
        )
        for place, (key, ids) in enumerate(zip(keys, completions, strict=True))
    ]  # fmt: skip


def one_worker_of(cluster: Cluster) -> object:
    """The same group with its first engine only."""
    alone = copy.copy(cluster.rollout)
    alone.size = 1
    return alone


def test_a_missing_model_or_cluster_is_told_before_anything_starts(folder: Path, tmp_path: Path) -> None:
    # First in this file: Ray may be started once at a time in a process, and later tests share a cluster.
    before = len(psutil.Process().children(recursive=True))
    with pytest.raises(FileNotFoundError, match="no model folder"):
        start(config_for(folder), tmp_path / "nothing", total_updates=4)
    compute = dataclasses.replace(ComputeConfig(), ray_address="127.0.0.1:1")
    with pytest.raises(ClusterUnavailable, match=r"127\.0\.0\.1:1.*compute\.ray_address"):
        start(dataclasses.replace(Config(), compute=compute), folder, total_updates=4)
    assert len(psutil.Process().children(recursive=True)) == before


def test_two_engines_give_the_completions_of_one(cluster: Cluster, prompts: list[EncodedPrompt]) -> None:
    requests = requests_of(prompts, per_prompt=8)
    cluster.sync(version=7)
    both = dict(cluster.rollout.sample(requests, settings(7)))
    alone = dict(one_worker_of(cluster).sample(requests, settings(7)))  # type: ignore[attr-defined]
    assert len(both) == len(requests)
    assert {one.engine for one in both.values()} == {"rollout-0", "rollout-1"}
    assert {one.engine for one in alone.values()} == {"rollout-0"}
    assert same_share(both, alone) >= 0.999
    # Prompt number i goes to engine i modulo 2.
    assert {both[RequestKey(prompts[3].prompt_id, index)].engine for index in range(8)} == {"rollout-1"}


def test_whatever_ray_started_carries_the_mark_of_its_session(cluster: Cluster) -> None:
    names = " ".join(process.name() for process in processes.with_mark(cluster._session.folder))
    assert all(name in names for name in ("raylet", "gcs_server", "Agent", "RolloutWorker", "PolicyWorker")), names
    assert processes.MARK not in os.environ, "what this process starts later is not Ray's"


def test_two_ranks_make_the_update_of_one_and_engines_follow_it(
    cluster: Cluster, folder: Path, prompts: list[EncodedPrompt]
) -> None:
    alone = Policy(folder, GrpoObjective(held(config_for(folder)).grpo), total_updates=100)
    banned = media_token_ids(alone.processor)
    rows = some_rows(prompts)
    totals = denominators([[len(row.completion_ids) for row in rows]], LENGTH)[0]
    for update in range(3):
        ours, expected = cluster.policy.log_probs(rows), alone.log_probs(rows)
        for own, other in zip(ours, expected, strict=True):
            assert own == pytest.approx(other, abs=2e-4), f"update {update}"
        metrics, alone_metrics = cluster.policy.start_update(rows, totals)(), alone.update(rows, totals)
        assert metrics["grad_norm"] == pytest.approx(alone_metrics["grad_norm"], rel=1e-3)
        assert metrics["loss"] == pytest.approx(alone_metrics["loss"], abs=1e-4)
    with pytest.raises(StaleWeights, match="sync the weights first"):
        list(cluster.rollout.sample(requests_of(prompts), settings(8, banned)))
    cluster.sync(version=8)
    drawn = dict(cluster.rollout.sample(requests_of(prompts), settings(8, banned)))
    assert gap(drawn, cluster.policy.log_probs(rows_of(prompts, drawn))) < 1e-4


def test_engines_that_hear_the_weights_over_a_line_draw_what_engines_that_fetch_them_draw(
    cluster: Cluster, prompts: list[EncodedPrompt]
) -> None:
    requests = requests_of(prompts)
    cluster.sync(version=21)
    fetched = dict(cluster.rollout.sample(requests, settings(21)))
    line = OverLine(cluster.policy, cluster.rollout)
    for version in (22, 23):
        line.start(version)()
        heard = dict(cluster.rollout.sample(requests, settings(version)))
        assert {one.policy_version for one in heard.values()} == {version}
        assert {key: (one.token_ids, one.logprobs) for key, one in heard.items()} == {
            key: (one.token_ids, one.logprobs) for key, one in fetched.items()
        }
    # The next test wants an engine that can be started again.
    cluster.sync(version=24)


def test_the_reference_stays_the_model_it_was(cluster: Cluster, folder: Path, prompts: list[EncodedPrompt]) -> None:
    rows = some_rows(prompts)
    frozen = Reference(folder, temperature=TEMPERATURE).log_probs(rows)
    assert cluster.reference is not None
    later = cluster.reference.start_log_probs(rows)
    cluster.policy.log_probs(rows)
    for own, other in zip(later(), frozen, strict=True):
        assert own == pytest.approx(other, abs=1e-5)


def test_a_checkpoint_comes_back_and_a_saved_model_is_the_policy(
    cluster: Cluster, prompts: list[EncodedPrompt], tmp_path: Path
) -> None:
    rows = some_rows(prompts)
    totals = denominators([[len(row.completion_ids) for row in rows]], LENGTH)[0]
    before = cluster.policy.log_probs(rows)
    assert cluster.policy.restore(tmp_path / "none") is None
    cluster.policy.checkpoint(tmp_path / "checkpoints", 5, {"num_steps": 9})
    cluster.policy.save(tmp_path / "model")
    cluster.policy.start_update(rows, totals)()
    assert cluster.policy.log_probs(rows) != before
    assert cluster.policy.restore(tmp_path / "checkpoints") == (5, {"num_steps": 9})
    assert cluster.policy.log_probs(rows) == before
    saved = Reference(tmp_path / "model", temperature=TEMPERATURE).log_probs(rows)
    for own, other in zip(saved, before, strict=True):
        assert own == pytest.approx(other, abs=2e-4)


def test_what_a_worker_raises_arrives_as_it_was_raised(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(NotADirectoryError) as caught:
        cluster.policy.save(tmp_path / "file" / "model")
    assert "policy-0" in "".join(caught.value.__notes__)


def test_an_engine_that_dies_is_started_again_once_and_then_named(
    cluster: Cluster, prompts: list[EncodedPrompt]
) -> None:
    names = {prompt.prompt_id: prompt.fingerprint for prompt in prompts}
    requests = [
        dataclasses.replace(one, fingerprint=names[one.prompt_id]) for one in requests_of(prompts, per_prompt=8)
    ]
    cluster.sync(version=1)
    expected = dict(cluster.rollout.sample(requests, settings(1, length=64)))
    # Prompts and media are with the engines from here on, and come again to the one that starts again.
    cluster.rollout.prepare(requests[::8], settings(1, length=64))
    stream = cluster.rollout.sample(requests, settings(1, length=64))
    drawn = dict([next(stream)])
    psutil.Process(cluster.rollout.infos[1].pid).kill()
    drawn |= dict(stream)
    assert same_share(expected, drawn) >= 0.999 and len(drawn) == len(expected)
    psutil.Process(cluster.rollout.wait(cluster.rollout.ask("pid"))[1]).kill()
    with pytest.raises(WorkerFailed, match=r"worker rollout-1 died[\s\S]*last words"):
        dict(cluster.rollout.sample(requests, settings(1, length=64)))


def session_processes(leader: int) -> list[str]:
    """Processes of the session that the driver leads: Ray's own and the workers, whoever their parent is by now."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                found.append(f"{process.pid} {process.name()}")
        except (psutil.Error, ProcessLookupError, PermissionError):
            continue
    return found


def check_stop(folder: Path, until: str, number: signal.Signals, *, to_all: bool, after: float = 0.0) -> None:
    """Start the driver, wait for a word of it, send the signal, and see that it ends as it should and leaves
    nothing."""
    driver = subprocess.Popen(
        [sys.executable, "-m", "tests.rl.workers.cluster_driver", str(folder)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True, cwd=REPOSITORY,
    )  # fmt: skip
    try:
        assert driver.stdout is not None
        said = []
        for line in driver.stdout:
            said.append(line)
            if line.strip() == until:
                break
        assert said and said[-1].strip() == until, "".join(said)
        time.sleep(after)
        assert driver.poll() is None, "the driver ended before it was told to"
        if until == "SAMPLING":
            assert len(session_processes(driver.pid)) > 5
        (os.killpg if to_all else os.kill)(driver.pid, number)
        rest, _ = driver.communicate(timeout=DEADLINE_SECONDS)
        assert driver.returncode == (-number if number == signal.SIGKILL else 128 + number), rest[-3000:]
        # Nobody is left to stop Ray after SIGKILL; its helpers notice after a minute that the rest is gone.
        patience = time.monotonic() + (100 if number == signal.SIGKILL else 30)
        while (left := session_processes(driver.pid)) and time.monotonic() < patience:
            time.sleep(0.2)
        assert not left
    finally:
        for line in session_processes(driver.pid):
            os.kill(int(line.split()[0]), signal.SIGKILL)


def test_control_c_while_sampling_leaves_nothing(folder: Path) -> None:
    check_stop(folder, "SAMPLING", signal.SIGINT, to_all=True)


@pytest.mark.slow
@pytest.mark.parametrize("after", [0.2, 1.0, 3.0, 5.0, 8.0, 12.0])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_every_moment_of_start_up_can_be_interrupted(folder: Path, number: signal.Signals, after: float) -> None:
    check_stop(folder, "STARTING", number, to_all=number == signal.SIGINT, after=after)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_driver_takes_its_workers_along(folder: Path, number: signal.Signals) -> None:
    check_stop(folder, "SAMPLING", number, to_all=False)
