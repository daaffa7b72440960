"""The guard of the judge's server and the server's own bookkeeping, with quick stand-ins in the place of vLLM."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from judges import JudgeConfig, JudgeConfigError, JudgeUnreachable, make_judge
from judges.local.server import JudgeServer
from rl.config import door as compose
from rl.config.door import ConfigError
from tests.paths import REPOSITORY

GUARD = Path("judges/local/guard.py").resolve()
# A server that notes its process and that of a child, which outlives it, and then does what it is told.
SERVER = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
with open(sys.argv[1], "a") as notes: print(os.getpid(), child.pid, file=notes, flush=True)
time.sleep(float(sys.argv[2])); sys.exit(7)
"""


def until(holds: Callable[[], object], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.05)


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be collected does not."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def noted(notes: Path) -> list[int]:
    return [int(word) for word in notes.read_text().split()] if notes.exists() else []


@contextlib.contextmanager
def guard(notes: Path, seconds: float) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-I", str(GUARD), sys.executable, "-c", SERVER, str(notes), str(seconds)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdin is not None
        process.stdin.close()


def test_a_server_that_never_comes_up_ends_the_guard_with_its_exit_code(tmp_path: Path) -> None:
    with guard(tmp_path / "notes", 0.0) as process:
        assert process.wait(20) == 7
        until(lambda: not any(map(alive, noted(tmp_path / "notes"))))


def test_a_server_that_came_up_and_dies_is_started_again_without_its_old_children(tmp_path: Path) -> None:
    with guard(tmp_path / "notes", 600.0) as process:
        until(lambda: len(noted(tmp_path / "notes")) == 2)
        assert process.stdin is not None
        process.stdin.write(b"ready\n")
        process.stdin.flush()
        time.sleep(0.5)
        server, child = noted(tmp_path / "notes")
        os.kill(server, signal.SIGKILL)
        until(lambda: len(noted(tmp_path / "notes")) == 4)
        assert not alive(child) and all(map(alive, noted(tmp_path / "notes")[2:]))
        process.stdin.close()
        assert process.wait(20) == 0
        until(lambda: not any(map(alive, noted(tmp_path / "notes"))))


def test_a_guard_that_is_told_to_end_takes_everything_down(tmp_path: Path) -> None:
    with guard(tmp_path / "notes", 600.0) as process:
        until(lambda: len(noted(tmp_path / "notes")) == 2)
        process.terminate()
        assert process.wait(20) == 0
        until(lambda: not any(map(alive, noted(tmp_path / "notes"))))


def test_a_guard_that_is_told_to_end_while_it_waits_to_start_again_starts_nothing_more(tmp_path: Path) -> None:
    with guard(tmp_path / "notes", 0.6) as process:
        until(lambda: len(noted(tmp_path / "notes")) == 2)
        assert process.stdin is not None
        process.stdin.write(b"ready\n")
        process.stdin.flush()
        # It dies after 0.6 s and is started again after 0.5, 1, 2, .. s; three lives, then a pause of 2 s.
        until(lambda: len(noted(tmp_path / "notes")) == 6)
        until(lambda: not alive(noted(tmp_path / "notes")[4]))
        process.terminate()
        assert process.wait(20) == 0
        assert len(noted(tmp_path / "notes")) == 6
        assert not any(map(alive, noted(tmp_path / "notes")))


def test_nothing_outlives_a_run_that_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-I", str(GUARD), sys.executable, "-c", SERVER, str(tmp_path / "notes"), "600"]
    run = (
        "import signal, subprocess, time; from rollouts import children;"
        f" guard = children.start({command!r}, death_signal=signal.SIGTERM, stdin=subprocess.PIPE); time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", run], stderr=subprocess.DEVNULL, cwd=REPOSITORY)
    until(lambda: len(noted(tmp_path / "notes")) == 2)
    process.kill()
    process.wait()
    until(lambda: not any(map(alive, noted(tmp_path / "notes"))))
    assert len(noted(tmp_path / "notes")) == 2


def model_folder(path: Path) -> Path:
    sizes = {"num_attention_heads": 4, "hidden_size": 128, "num_hidden_layers": 4, "max_position_embeddings": 512}
    path.mkdir()
    (path / "config.json").write_text(json.dumps(sizes))
    (path / "tokenizer.json").write_text("{}")
    return path


class Quick(JudgeServer):
    """Starts another command in the place of vLLM's."""

    code = ""

    def _command(self) -> list[str]:
        return [sys.executable, "-c", self.code, str(self.port)]


class Failing(Quick):
    """Says why, and ends."""

    code = "print('no such architecture'); raise SystemExit(3)"


class Answering(Quick):
    """Is healthy until it is killed."""

    code = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self): self.send_response(200); self.end_headers()
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def test_a_server_that_does_not_come_up_is_an_error_with_the_end_of_its_log(tmp_path: Path) -> None:
    with Failing(model_folder(tmp_path / "model"), tmp_path) as server:
        with pytest.raises(JudgeUnreachable, match=r"has ended(.|\n)*no such architecture(.|\n)*judge=openai"):
            server.wait()
        assert "no such architecture" in (tmp_path / "judge_server.log").read_text()


def test_a_server_that_stops_answering_is_not_up_until_it_answers_again(tmp_path: Path) -> None:
    with Answering(model_folder(tmp_path / "model"), tmp_path) as server:
        server.wait()
        assert server.seconds_to_start is not None and not server.trouble()
        found = subprocess.run(
            ["pgrep", "-f", f"HTTPServer.*{server.port}|serve_forever"], capture_output=True, text=True
        ).stdout
        pids = [int(pid) for pid in found.split() if str(server.port) in Path(f"/proc/{pid}/cmdline").read_text()]
        os.kill(max(pids), signal.SIGKILL)
        until(lambda: server.num_restarts == 1)
        until(server.up.is_set)
    until(lambda: not any(map(alive, pids)))
    assert not server.up.is_set()


def test_the_longest_prompt_and_the_cache_follow_from_the_model(tmp_path: Path) -> None:
    command = JudgeServer(model_folder(tmp_path / "model"), tmp_path)._command()
    assert command[command.index("--max-model-len") + 1] == "512"
    # Key and value, 4 bytes a number, 4 layers, 4 heads of 32 numbers, 2 x 8192 tokens.
    assert command[command.index("--kv-cache-memory-bytes") + 1] == str(2 * 4 * 4 * 4 * 32 * 2 * 8192)


def test_the_key_is_in_no_argument_and_in_no_log(tmp_path: Path) -> None:
    with Answering(model_folder(tmp_path / "model"), tmp_path) as server:
        server.wait()
        key = os.environ["ROUNDS_LOCAL_JUDGE_KEY"]
        assert len(key) >= 32 and key not in " ".join(server._command()) and key not in server.log_path.read_text()


def test_local_settings_that_cannot_work_are_refused(tmp_path: Path) -> None:
    folder = str(model_folder(tmp_path / "model"))
    for changes, said in (
        ({"model": str(tmp_path)}, "holds no config.json"),
        ({"model": folder, "base_url": "http://x/v1"}, "starts a server of its own"),
        ({"model": folder, "show_images": True}, "reads text only"),
        ({"model": folder, "second_opinion": "both"}, "must be an endpoint"),
    ):
        with pytest.raises(JudgeConfigError, match=said):
            make_judge(JudgeConfig(kind="local", **changes))


def test_other_data_and_rewards_on_criteria_need_another_judge(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data=phantoms only(.|\n)*judge=openai"):
        compose.compose(["judge=local", "data=vqa_rad", f"data.root={tmp_path}"])
    with pytest.raises(ConfigError, match="the reward keypoints asks about criteria"):
        compose.compose(["judge=local", "+reward.weights.keypoints=0.5"])
    own = compose.compose(
        ["judge=local", "data=vqa_rad", f"data.root={tmp_path}", f"judge.model={model_folder(tmp_path / 'own')}"]
    )
    assert own.judge.kind == "local"
