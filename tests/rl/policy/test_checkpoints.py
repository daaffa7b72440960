"""Checkpoints: a resumed run equals one that was never stopped, bit for bit, and a damaged checkpoint is never taken
for a good one."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from rl.policy import checkpoints
from rl.policy.checkpoints import CheckpointError, Saving, load_latest, save, verify
from rollouts.engine.checksum import checksum
from rollouts.store.disk import sha256_file
from tests.fakes.tiny_models import make_internvl
from tests.paths import REPOSITORY
from tests.rl.policy.policy_cases import policy_of, some_rows, totals_of

SHARD = "shard_00000_of_00001.safetensors"
TENSORS = {"weight": torch.arange(6.0).view(2, 3), "rng": torch.arange(5, dtype=torch.uint8)}


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    path = save(tmp_path, 10, TENSORS, {"position": 3, "policy": {"updates": 40}})
    assert path == tmp_path / "step_000010"
    assert sorted(file.name for file in path.iterdir()) == ["MANIFEST.json", "layout.json", SHARD, "state.json"]
    found = load_latest(tmp_path)
    assert found is not None
    assert (found.step, found.path, found.rejected) == (10, path, ())
    assert found.state["policy"] == {"updates": 40}
    assert found.tensors.keys() == TENSORS.keys()
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in TENSORS.items())


def test_a_checkpoint_is_safetensors_and_is_read_by_rows(tmp_path: Path) -> None:
    tensors = {**TENSORS, "step": torch.tensor(3.0), "half": torch.randn(5, 2).bfloat16(), "count": torch.arange(3)}
    path = save(tmp_path, 10, tensors, {})
    loaded = load_file(path / SHARD)
    assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors.items())
    found = load_latest(tmp_path)
    assert found is not None
    assert torch.equal(found.tensors.rows("half", 1, 4), tensors["half"][1:4])
    assert found.tensors.rows("weight", 1, 1).shape == (0, 3)
    assert found.tensors["step"] == 3.0


def test_a_checkpoint_of_the_first_format_is_read(tmp_path: Path) -> None:
    path = tmp_path / "step_000010"
    path.mkdir()
    save_file(TENSORS, path / "state.safetensors")
    (path / "state.json").write_text('{"step": 10, "position": 3}')
    files = {
        name: {"bytes": (path / name).stat().st_size, "sha256": sha256_file(path / name)}
        for name in ("state.safetensors", "state.json")
    }
    (path / "MANIFEST.json").write_text(json.dumps({"format": 1, "step": 10, "files": files}))
    found = load_latest(tmp_path)
    assert found is not None
    assert (found.step, found.state["position"]) == (10, 3)
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in TENSORS.items())
    assert torch.equal(found.tensors.rows("weight", 1, 2), TENSORS["weight"][1:])


def test_to_save_takes_no_second_copy_in_memory(tmp_path: Path) -> None:
    size = 256 << 20
    tensors = {f"weight/{place}": torch.ones(size // 16) for place in range(4)}  # four of 64 MiB

    def peak() -> int:
        text = Path("/proc/self/status").read_text()
        return next(int(line.split()[1]) << 10 for line in text.splitlines() if line.startswith("VmHWM"))

    Path("/proc/self/clear_refs").write_text("5")  # the peak begins here
    before = peak()
    save(tmp_path, 1, tensors, {})
    assert peak() - before < 0.2 * size


def test_no_checkpoint_is_none(tmp_path: Path) -> None:
    assert load_latest(tmp_path) is None
    assert load_latest(tmp_path / "not there") is None


def cut_in_half(path: Path) -> None:
    file = path / SHARD
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip_one_bit(path: Path) -> None:
    file = path / SHARD
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


def lose_the_manifest(path: Path) -> None:
    (path / "MANIFEST.json").unlink()


def cut_the_manifest(path: Path) -> None:
    (path / "MANIFEST.json").write_text('{"format": 2, "files": {"state')


def lose_the_tensors(path: Path) -> None:
    (path / SHARD).unlink()


def change_the_state(path: Path) -> None:
    (path / "state.json").write_text(json.dumps({"step": 20, "position": 7}))


def come_from_the_future(path: Path) -> None:
    (path / "MANIFEST.json").write_text('{"format": 99, "files": {}}')


DAMAGE = [
    cut_in_half,
    flip_one_bit,
    lose_the_manifest,
    cut_the_manifest,
    lose_the_tensors,
    change_the_state,
    come_from_the_future,
]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_taken(
    damage: Callable[[Path], None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path, 10, TENSORS, {"position": 1})
    newest = save(tmp_path, 20, TENSORS, {"position": 2})
    assert verify(newest) is None
    damage(newest)
    assert verify(newest)
    with caplog.at_level(logging.WARNING):
        found = load_latest(tmp_path)
    assert found is not None
    assert (found.step, found.state["position"]) == (10, 1)
    assert "step_000020" in found.rejected[0]
    assert "step_000020" in caplog.text


def test_nothing_but_damaged_checkpoints_is_an_error(tmp_path: Path) -> None:
    flip_one_bit(save(tmp_path, 10, TENSORS, {}))
    with pytest.raises(CheckpointError, match="can be trusted"):
        load_latest(tmp_path)


def test_a_kill_while_writing_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, 10, TENSORS, {})

    def killed(self: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            save(tmp_path, 20, TENSORS, {})
    assert (tmp_path / "step_000020.tmp").is_dir()
    found = load_latest(tmp_path)
    assert found is not None
    assert found.step == 10
    save(tmp_path, 20, TENSORS, {})  # the resumed run comes by again
    assert not (tmp_path / "step_000020.tmp").exists()
    found = load_latest(tmp_path)
    assert found is not None
    assert found.step == 20


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, 10, TENSORS, {})

    def full(partial: Path, _pieces: object) -> None:
        (partial / SHARD).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "_write_shard", full)
    with pytest.raises(CheckpointError, match=r"No space left.*free space"):
        save(tmp_path, 20, TENSORS, {})
    assert [path.name for path in tmp_path.iterdir()] == ["step_000010"]


def test_a_thread_writes_what_the_tensors_were_and_the_checkpoint_counts_when_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, 10, TENSORS, {"position": 1})
    weight = TENSORS["weight"].clone()
    may_write = threading.Event()
    write = checkpoints._write_shard

    def slowly(partial: Path, pieces: Any) -> Any:
        assert may_write.wait(30)
        return write(partial, pieces)

    monkeypatch.setattr(checkpoints, "_write_shard", slowly)
    saving = Saving(tmp_path, 20, {**TENSORS, "weight": weight}, {"position": 2}, keep=1)
    weight.zero_()  # the ranks go on
    found = load_latest(tmp_path)
    assert found is not None and found.step == 10, "it is not whole yet, and the one before is kept"
    may_write.set()
    assert saving.wait() == tmp_path / "step_000020"
    found = load_latest(tmp_path)
    assert found is not None and (found.step, found.state["position"]) == (20, 2)
    assert torch.equal(found.tensors["weight"], TENSORS["weight"])
    assert [path.name for path in tmp_path.iterdir()] == ["step_000020"]
    assert not [path.name for path in found.path.iterdir() if "written" in path.name]


def test_what_stops_a_writing_thread_is_raised_where_it_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, 10, TENSORS, {})
    for fault, said in ((OSError(28, "No space left on device"), r"No space left.*free space"), (KeyError("f8"), "f8")):

        def fails(partial: Path, _pieces: object, fault: Exception = fault) -> None:
            (partial / SHARD).write_bytes(b"half")
            raise fault

        with monkeypatch.context() as patch:
            patch.setattr(checkpoints, "_write_shard", fails)
            saving = Saving(tmp_path, 20, TENSORS, {}, None)
            with pytest.raises(CheckpointError, match=said):
                saving.wait()
        assert [path.name for path in tmp_path.iterdir()] == ["step_000010"]


WRITES_FOR_EVER = """
import sys, time
from pathlib import Path
import torch
from rl.policy import checkpoints
write = checkpoints._write_shard
def half(partial, pieces):
    shard = write(partial, pieces)
    print("half", flush=True)
    time.sleep(600)
checkpoints.save(Path(sys.argv[1]), 10, {"weight/a": torch.ones(3)}, {})
checkpoints._write_shard = half
checkpoints.Saving(Path(sys.argv[1]), 20, {"weight/a": torch.zeros(3)}, {}, 1).wait()
"""


def test_a_kill_while_a_thread_writes_leaves_the_one_before_and_the_next_removes_the_rest(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITES_FOR_EVER, str(tmp_path)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "half\n"
        process.kill()
    assert (tmp_path / "step_000020.tmp").is_dir()
    found = load_latest(tmp_path)
    assert found is not None and found.step == 10 and torch.equal(found.tensors["weight/a"], torch.ones(3))
    save(tmp_path, 30, TENSORS, {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step_000010", "step_000030"]


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    for step in (10, 20, 30):
        save(tmp_path, step, TENSORS, {}, keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step_000020", "step_000030"]


def test_a_step_may_be_written_again(tmp_path: Path) -> None:
    save(tmp_path, 10, TENSORS, {"position": 1})
    save(tmp_path, 10, TENSORS, {"position": 2})
    found = load_latest(tmp_path)
    assert found is not None
    assert found.state["position"] == 2


@pytest.fixture(scope="module")
def internvl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_internvl(tmp_path_factory.mktemp("internvl"))


def test_resuming_is_bit_identical_to_never_stopping(internvl: Path, tmp_path: Path) -> None:
    schedule = {"warmup_ratio": 0.25, "lr_scheduler_type": "cosine", "beta": 0.0, "weight_decay": 0.01}
    batches = [some_rows(internvl, seed) for seed in range(4)]
    straight = policy_of(internvl, **schedule)
    expected = [straight.update(rows, totals_of(rows)) for rows in batches]

    first = policy_of(internvl, **schedule)
    for rows in batches[:2]:
        first.update(rows, totals_of(rows))
    tensors, meta = first.state()
    save(tmp_path, 2, tensors, meta)
    del first, tensors

    found = load_latest(tmp_path)
    assert found is not None
    second = policy_of(internvl, **schedule)
    second.load_state(found.tensors, found.state)
    metrics = [second.update(rows, totals_of(rows)) for rows in batches[2:]]
    assert metrics == expected[2:]
    assert checksum(second.state()[0]) == checksum(straight.state()[0])
    assert checksum(second.weights()) == checksum(straight.weights())


def test_resuming_without_the_moments_would_be_noticed(internvl: Path) -> None:
    first, second = some_rows(internvl, 0), some_rows(internvl, 1)
    straight, forgetful = policy_of(internvl, beta=0.0), policy_of(internvl, beta=0.0)
    straight.update(first, totals_of(first))
    tensors, meta = straight.state()
    weights_only = {name: tensor for name, tensor in tensors.items() if name == "rng" or name.startswith("weight/")}
    forgetful.load_state(weights_only, meta)
    assert checksum(forgetful.weights()) == checksum(straight.weights())
    for policy in (straight, forgetful):
        policy.update(second, totals_of(second))
    assert checksum(forgetful.weights()) != checksum(straight.weights())


def test_the_state_of_another_run_is_refused(internvl: Path) -> None:
    policy = policy_of(internvl)
    tensors, meta = policy.state()
    with pytest.raises(ValueError, match="does not fit this run"):
        policy.load_state(tensors, {**meta, "total_updates": 1})
    with pytest.raises(ValueError, match="does not fit this run"):
        policy.load_state({"rng": tensors["rng"]}, meta)


def test_a_copy_of_the_folder_is_as_good(tmp_path: Path) -> None:
    path = save(tmp_path / "here", 10, TENSORS, {})
    shutil.copytree(path, tmp_path / "there" / path.name)
    assert load_latest(tmp_path / "there") is not None
