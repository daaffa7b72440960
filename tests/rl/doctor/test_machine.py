"""The doctor's look at the machine: run folder, disk, judge and Ray, each against a real file, server or socket."""

from __future__ import annotations

import json
import shutil
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from rl.config import ComputeConfig, Config, GrpoConfig, JudgeConfig, ModelConfig
from rl.doctor import checks as doctor


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    assert doctor.check_run_folder(Config(out_dir=str(tmp_path / "new/run"))).good
    (tmp_path / "file").write_text("x")
    assert "not empty" in doctor.check_run_folder(Config(out_dir=str(tmp_path))).text
    assert not doctor.check_run_folder(Config(out_dir=str(tmp_path), resume=True)).good
    (tmp_path / "config.yaml").write_text("seed: 0")
    assert doctor.check_run_folder(Config(out_dir=str(tmp_path), resume=True)).good
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.yaml", "file"]


def test_room_on_the_disk_is_counted_in_checkpoints(tmp_path: Path) -> None:
    config = Config(
        out_dir=str(tmp_path / "run"), model=ModelConfig(path=str(tmp_path)), grpo=GrpoConfig(save_steps=20)
    )
    finding = doctor.check_disk(config, 50)
    assert finding.good
    assert "2 checkpoints" in finding.text
    assert "1 checkpoints" in doctor.check_disk(config, 3).text
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.truncate(
            shutil.disk_usage(tmp_path).free // 4
        )  # a sparse file; two checkpoints and two models are eight such
    assert not doctor.check_disk(config, 50).good


class Endpoint(BaseHTTPRequestHandler):
    """A judge's endpoint that lists one model to whoever has the key."""

    def do_GET(self) -> None:
        allowed = self.headers.get("Authorization") == "Bearer secret"
        self.send_response(200 if allowed else 401)
        self.end_headers()
        self.wfile.write(json.dumps({"data": [{"id": "judge-7b"}]}).encode() if allowed else b"{}")

    def log_message(self, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def endpoint() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Endpoint)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    thread.join()
    server.server_close()


def judge(url: str, model: str = "judge-7b") -> Config:
    return Config(judge=JudgeConfig(kind="openai", base_url=url, model=model, api_key_env="ROUNDS_TEST_KEY"))


def test_a_judge_is_asked_what_it_serves(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROUNDS_TEST_KEY", "secret")
    assert all(finding.good for finding in doctor.check_judge(judge(endpoint)))
    assert "does not list other" in doctor.check_judge(judge(endpoint, "other"))[-1].text
    monkeypatch.setenv("ROUNDS_TEST_KEY", "wrong")
    refused = doctor.check_judge(judge(endpoint))[-1]
    assert "environment variable ROUNDS_TEST_KEY" in refused.fix
    assert "wrong" not in refused.text + refused.fix


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_judge_that_does_not_answer_is_found() -> None:
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
