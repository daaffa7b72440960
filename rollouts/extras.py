"""What `pip install rounds-rl` leaves out, and the one line that a command says where it is missing."""

from __future__ import annotations

import importlib.util

# An extra of pyproject.toml -> the modules by which its presence shows.
EXTRAS = {
    "train": ("torch", "transformers", "trl", "ray", "verl", "datasets", "jinja2", "psutil", "wandb"),
    "view": ("duckdb", "fastapi", "tokenizers", "uvicorn"),
    "cpu": ("vllm",),
}
# vLLM comes in a build for CPUs and one for CUDA.
_INSTEAD = {"cpu": " (on CUDA 'rounds-rl[gpu]')"}


def require(command: str, *extras: str) -> None:
    """Go on where all modules of the extras are installed (none is imported). Raises SystemExit, status 1, with one
    line that says what is missing and how to install it."""
    missing = {
        extra: names
        for extra in extras
        if (names := [name for name in EXTRAS[extra] if importlib.util.find_spec(name) is None])
    }
    if missing:
        # `cpu` and `gpu` hold `train` and `view`, so the last extra of a command brings the others with it.
        last = list(missing)[-1]
        modules = ", ".join(name for names in missing.values() for name in names)
        raise SystemExit(f"{command} needs {modules}: pip install 'rounds-rl[{last}]'{_INSTEAD.get(last, '')}")
