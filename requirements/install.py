"""Builds `.venv` with exact versions: `python3 requirements/install.py` (or `make setup`). Needs only Python itself.

A second call finds its stamp, which holds a hash of everything set-up depends on, and ends at once. An interrupted call
leaves no stamp, so the next one goes on from there. Works with and without a way to PyTorch's CPU wheel index, as long
as pip reaches PyPI or a mirror of it.
"""

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / ".rounds-setup"
LISTS = ("requirements/cpu.txt", "requirements/dev.txt")
# A change in any of these, or in what pyproject.toml says of the package, makes the next `make setup` do its work
# again.
INPUTS = (*LISTS, "requirements/install.py", "requirements/torchvision_shim.py")
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
PROBE_SECONDS = 6
MIN_PYTHON = (3, 11)
VERIFY = "import vllm, torchvision, verl, ray, torch; print(torch.__version__, vllm.__version__, ray.__version__)"
# Prints torch's CUDA version, or nothing for a CPU build. Does not import torch: a CUDA build without its libraries
# does not load.
TORCH_BUILD = (
    "import importlib.util as u, pathlib, runpy; "
    "p = pathlib.Path(u.find_spec('torch').submodule_search_locations[0]) / 'version.py'; "
    "v = runpy.run_path(str(p)); print(v.get('cuda') or v.get('hip') or '')"
)


def main() -> int:
    """Exit status: 0 when the environment is ready, 1 after a message that says what to do."""
    if sys.version_info < MIN_PYTHON:
        have = ".".join(str(part) for part in sys.version_info[:3])
        print(f"Rounds needs Python 3.11 or newer, but {sys.executable} is Python {have}.")
        print("Install a newer one, or name one you have: make setup PYTHON=/path/to/python3.11")
        return 1
    key = stamp_key()
    if PYTHON.exists() and STAMP.is_file() and STAMP.read_text() == key:
        return 0
    start = time.monotonic()
    try:
        make_venv()
        install_lists()
        fix_cuda_torch()
        say("installing the project itself")
        pip("install", "-q", "--no-deps", "--no-build-isolation", "-e", str(ROOT))
        run(str(PYTHON), str(ROOT / "requirements" / "torchvision_shim.py"))
        say("checking: import vllm, torchvision, verl, ray")
        run(str(PYTHON), "-c", VERIFY, env={**os.environ, "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"})
    except subprocess.CalledProcessError as error:
        print(
            f"\nset-up stopped: this command ended with exit status {error.returncode}:\n"
            f"  {' '.join(map(str, error.cmd))}"
        )
        print("Its own message is above. `make setup` goes on from here; `rm -rf .venv` starts again from nothing.")
        return 1
    STAMP.write_text(key)
    say(f"ready after {time.monotonic() - start:.0f} s")
    return 0


def stamp_key() -> str:
    """SHA-256 over what set-up depends on, and over the place the environment is in (a virtual environment cannot be
    moved)."""
    import tomllib  # here, because an older Python has none and still has to be told what is needed

    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    package = [
        pyproject["build-system"],
        pyproject["project"],
        pyproject["tool"]["setuptools"],
    ]  # not the settings of ruff or pytest
    digest = hashlib.sha256((str(ROOT) + json.dumps(package, sort_keys=True)).encode())
    for name in INPUTS:
        digest.update(name.encode() + b"\0" + (ROOT / name).read_bytes())
    return digest.hexdigest()


def make_venv() -> None:
    """A virtual environment in `.venv`; one whose Python does not start is made again."""
    works = PYTHON.exists() and subprocess.run([str(PYTHON), "-c", "import pip"], capture_output=True).returncode == 0
    if not works:
        say("making .venv with Python " + sys.version.split()[0])
        run(sys.executable, "-m", "venv", "--clear", str(VENV))


def install_lists() -> None:
    """Install the exact lists, with PyTorch's CPU index where it answers, and without it where it does not."""
    lists = [part for name in LISTS for part in ("-r", str(ROOT / name))]
    command = ["install", "-qq", "--no-deps", *lists]
    if cpu_index_answers():
        say(f"installing packages (2 to 5 minutes); PyTorch from {CPU_INDEX}")
        try:
            pip(*command, "--extra-index-url", CPU_INDEX)
            return
        except subprocess.CalledProcessError:
            say("that did not work; trying once more without PyTorch's CPU index")
    else:
        say(
            "installing packages (2 to 5 minutes); PyTorch's CPU index does not answer, so all come from pip's own"
            " sources"
        )
    pip(*command)


def cpu_index_answers() -> bool:
    """True when the index's page about torch can be read within a few seconds (asked in a process: a DNS look-up has no
    time limit)."""
    probe = f"import urllib.request as u; u.urlopen('{CPU_INDEX}/torch/', timeout={PROBE_SECONDS}).read(64)"
    try:
        done = subprocess.run([sys.executable, "-c", probe], capture_output=True, timeout=PROBE_SECONDS + 2)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def fix_cuda_torch() -> None:
    """Where pip could only find a CUDA build of torch, say so and give it the CUDA libraries it loads at import."""
    version = subprocess.run([str(PYTHON), "-c", TORCH_BUILD], capture_output=True, text=True, check=True)
    build = version.stdout.strip()
    if not build:
        return
    say(f"NOTE: pip gave a CUDA build of torch (CUDA {build}): none of its sources has the CPU build.")
    say("It works on a CPU, but needs several GB of NVIDIA libraries, which are installed now. To avoid that, reach")
    say(f"{CPU_INDEX} (or a mirror of it) and run: rm -rf .venv && make setup")
    pip("install", "-q", "torch==2.13.0")


def pip(*arguments: str) -> None:
    """pip of the new environment, without questions and without the notice of a newer pip."""
    run(str(PYTHON), "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments)


def run(*command: str, env: "dict[str, str] | None" = None) -> None:
    """Run a command with its output shown. Raises CalledProcessError."""
    subprocess.run(command, check=True, cwd=ROOT, env=env, stdin=subprocess.DEVNULL)


def say(text: str) -> None:
    """One line of progress, at once."""
    print(f"[setup] {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
