"""The doctor's look at the machine: run folder, disk, judge and Ray, each against a real file, server or socket."""

from __future__ import annotations

import shutil
import socket
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rl.config import ComputeConfig, Config, GrpoConfig, JudgeConfig, ModelConfig
from rl.doctor import checks as doctor
from rl.doctor.model import check_arithmetic, seconds_of_a_product
from rl.run.folder import RunFolder
from tests.fakes.scripted_judge import MODEL, Reply, ScriptedJudge, always


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    assert doctor.check_run_folder(Config(out_dir=str(tmp_path / "new/run"))).good
    (tmp_path / "file").write_text("x")
    assert "not empty" in doctor.check_run_folder(Config(out_dir=str(tmp_path))).text
    assert not doctor.check_run_folder(Config(out_dir=str(tmp_path), resume=True)).good
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_to_resume_holds_the_same_run_and_nobody_else_writes_it(tmp_path: Path) -> None:
    config = Config(out_dir=str(tmp_path / "run"), resume=True)
    assert doctor.check_run_folder(config).good, "a run that has not begun begins"
    with RunFolder(config):
        assert "is being written by another run" in doctor.check_run_folder(config).text
    assert doctor.check_run_folder(config).good
    other = doctor.check_run_folder(replace(config, seed=1))
    assert not other.good and "seed: was 0, now 1" in other.text


def test_a_folder_that_cannot_be_made_is_refused() -> None:
    assert "cannot be made" in doctor.check_run_folder(Config(out_dir="/proc/run")).text


def test_room_on_the_disk_is_counted_in_checkpoints(tmp_path: Path) -> None:
    config = Config(out_dir=str(tmp_path / "run"), grpo=GrpoConfig(save_steps=20))
    finding = doctor.check_disk(config, 50)
    assert finding.good
    assert "2 checkpoints" in finding.text
    assert "1 checkpoints" in doctor.check_disk(config, 3).text
    # A checkpoint of 38 billion parameters takes 429 GiB.
    large = replace(config, model=ModelConfig(path="OpenGVLab/InternVL3-38B-hf", dtype="bfloat16"))
    needed = (3 * 12 + 2 * 2) * 38_388_164_992 + (1 << 30)
    assert f"need {needed / 2**30:.1f} GiB" in doctor.check_disk(large, 50).text
    assert doctor.check_disk(large, 50).good == (shutil.disk_usage(tmp_path).free >= needed)


def judge(url: str, model: str = "judge-7b") -> Config:
    return Config(judge=JudgeConfig(kind="openai", base_url=url, model=model, api_key_env="ROUNDS_TEST_KEY"))


def test_a_judge_is_asked_one_question(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROUNDS_TEST_KEY", "secret-key")
    with ScriptedJudge(always("correct")) as server:
        found = doctor.check_judge(judge(server.url, MODEL))
        assert [finding.good for finding in found] == [True, True]
        assert server.num_probes == 1
        assert "does not serve judge.model='other'" in doctor.check_judge(judge(server.url, "other"))[-1].text


@pytest.mark.parametrize("status", [401, 404, 422, 500, 503])
def test_an_endpoint_that_a_run_would_refuse_is_a_cross(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROUNDS_TEST_KEY", "secret-key")
    refusal = Reply(status=status, raw=b'{"detail": "not you: secret-key"}')
    with ScriptedJudge(lambda body: refusal, answers_probe=False) as server:  # /models answers, a question does not
        [made, refused] = doctor.check_judge(replace_attempts(judge(server.url, MODEL)))
    assert (made.good, refused.good) == (True, False)
    assert f"HTTP {status}: 'not you: [key]'" in refused.text
    with ScriptedJudge(always("correct"), models_status=status) as server:
        [_, listed] = doctor.check_judge(judge(server.url, MODEL))
    assert listed.good == (status == 404)  # an endpoint without a list may still judge


def replace_attempts(config: Config) -> Config:
    return replace(config, judge=replace(config.judge, max_attempts=1))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_judge_that_does_not_answer_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROUNDS_TEST_KEY", "secret-key")
    finding = doctor.check_judge(judge(f"http://127.0.0.1:{free_port()}/v1"))[-1]
    assert not finding.good
    assert "judge=rules" in finding.fix
    assert doctor.check_judge(Config())[-1].good


def test_the_ray_address_is_tried() -> None:
    assert doctor.check_ray(Config()).good
    finding = doctor.check_ray(Config(compute=ComputeConfig(ray_address=f"127.0.0.1:{free_port()}")))
    assert not finding.good
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        assert doctor.check_ray(
            Config(compute=ComputeConfig(ray_address=f"127.0.0.1:{listening.getsockname()[1]}"))
        ).good


def test_a_cpu_that_is_slow_in_bfloat16_is_told_by_measurement() -> None:
    asked = Config(model=ModelConfig(dtype="bfloat16"))
    seconds = {torch.float32: 0.01, torch.bfloat16: 0.76}
    [slow] = check_arithmetic(asked, seconds.__getitem__)
    assert slow.good, "a slow run is no wrong run"
    assert (slow.text, slow.fix) == (
        "bfloat16 is slow here: this CPU takes 76 times as long as in float32",
        "model.dtype=float32",
    )
    seconds[torch.bfloat16] = 0.005
    [fast] = check_arithmetic(asked, seconds.__getitem__)
    assert (fast.text, fast.fix) == ("bfloat16: this CPU takes 0.5 times as long as in float32", "")
    assert check_arithmetic(Config()) == []
    assert check_arithmetic(replace(asked, compute=ComputeConfig(device="cuda"))) == []
    assert 0 < seconds_of_a_product(torch.float32) < 1
