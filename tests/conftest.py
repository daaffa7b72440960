"""What all tests share: where real data is found, one thread per process, and no network."""

from __future__ import annotations

import atexit
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# Before anything imports torch: several tests start processes of their own, and a handful of cores is all there may be.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
for variable, value in {
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "VLLM_NO_USAGE_STATS": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "WANDB_MODE": "offline",
    "WANDB_SILENT": "true",
}.items():
    os.environ.setdefault(variable, value)

REPOSITORY = Path(__file__).resolve().parent.parent


def pytest_addoption(parser: pytest.Parser) -> None:
    """`pytest --fast`, as `make test-fast` calls it."""
    parser.addoption("--fast", action="store_true", help="only tests that start nothing (tests/lanes.py)")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--fast"):
        from tests.lanes import FastLane

        config.pluginmanager.register(FastLane(), "fast lane")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real data: ROUNDS_DATA, else ../shared/data beside the repository. Skips the test where there is
    none."""
    folder = Path(os.environ.get("ROUNDS_DATA") or REPOSITORY / "../shared/data").resolve()
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is not a folder (set ROUNDS_DATA to one that holds vqa_rad/)")
    return folder


@pytest.fixture(scope="session")
def vqa_rad_root(real_data: Path) -> Path:
    """The folder of VQA-RAD: trainset.json and images/."""
    folder = real_data / "vqa_rad"
    if not (folder / "trainset.json").is_file():
        pytest.skip(f"no VQA-RAD: {folder} has no trainset.json")
    return folder


@pytest.fixture(scope="session")
def hunt_cases() -> Path:
    """The folder of the inputs found in public bug reports, ../shared/cases/hunt beside the repository. Skips the test
    where there is none: the kinds are tested without it, too."""
    folder = (REPOSITORY / "../shared/cases/hunt").resolve()
    if not folder.is_dir():
        pytest.skip(f"no such cases here: {folder} is not a folder")
    return folder


@pytest.fixture(scope="session")
def metric_oracles() -> dict[str, Any]:
    """What the original implementations of metrics and tests say of short texts, ../shared/cases/metric_oracles.json
    beside the repository. Skips the test where it is not there: hand-computed cases stand beside it."""
    path = (REPOSITORY / "../shared/cases/metric_oracles.json").resolve()
    if not path.is_file():
        pytest.skip(f"no oracles of metrics here: {path} is not a file")
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A viewer of a small run whose judge and rules are known to disagree in places."""
    from tests.fakes import judged_rollouts
    from tests.fakes.view_server import viewing

    viewer = viewing(judged_rollouts.written(tmp_path_factory.mktemp("judged")))
    yield viewer
    viewer.close()


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A viewer of 3 steps x 6 prompts x 4 completions with failures, and the rollouts themselves."""
    from tests.fakes import fake_rollouts
    from tests.fakes.view_server import viewing

    folder = tmp_path_factory.mktemp("many")
    rollouts = fake_rollouts.written(folder, 3, prompts_per_step=6, size=4, failures=0.2)
    viewer = viewing(folder)
    yield viewer, rollouts
    viewer.close()


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """Let the summary be the last thing on the screen: at the interpreter's end DuckDB and Triton list sixty lines of
    objects that nobody freed."""
    atexit.register(_close_stderr)  # not now: pytest's capture puts the old standard error back after this hook


def _close_stderr() -> None:
    sys.stderr.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
